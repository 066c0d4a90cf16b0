//! Writes the `newc` cpio archives that the kernel unpacks as its first file system.

/// An archive being made.
#[derive(Debug, Default)]
pub struct Cpio {
    bytes: Vec<u8>,
    inode: usize,
}

impl Cpio {
    /// An empty archive.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory; its parents must be added before it.
    pub fn directory(&mut self, path: &str) {
        self.entry(path, 0o040_755, &[]);
    }

    /// Adds a file that may be executed.
    pub fn file(&mut self, path: &str, content: &[u8]) {
        self.entry(path, 0o100_755, content);
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.inode += 1;
        let header = [
            self.inode,
            usize::try_from(mode).unwrap_or_default(),
            0, // uid
            0, // gid
            1, // links
            0, // mtime
            content.len(),
            0, // the device's four numbers
            0,
            0,
            0,
            path.len() + 1,
            0, // check
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in header {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_starts_on_a_multiple_of_four() {
        let mut cpio = Cpio::new();
        cpio.directory("a");
        cpio.file("a/b", b"12345");
        let bytes = cpio.finish();
        assert_eq!(bytes.len() % 4, 0);
        let starts: Vec<_> =
            (0..bytes.len()).step_by(4).filter(|&i| bytes[i..].starts_with(b"070701")).collect();
        assert_eq!(starts, [0, 112, 236]);
    }
}
