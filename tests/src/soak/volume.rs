//! A volume or snapshot as it must be, and reading it back.
#![forbid(unsafe_code)]

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::libc;
use thinly_engine::aligned::AlignedBuffer;

use crate::power_cut::content;
use crate::power_cut::model::{CHUNK_BYTES, ModelVolume};

/// How much is read at once.
const STEP_BYTES: usize = 1 << 20;

/// What one must hold, and its device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Volume {
    pub(super) content: ModelVolume,
    /// The name of its origin, of a snapshot.
    pub(super) origin: Option<String>,
    /// Its device while it is active, and whether that may be written.
    pub(super) device: Option<(PathBuf, bool)>,
    /// A write to it failed: what it wrote may be there in part until it is read back.
    pub(super) is_torn: bool,
}

impl Volume {
    pub(super) fn blank(size: u64) -> Self {
        Self { content: ModelVolume { size, ..ModelVolume::default() }, ..Self::default() }
    }

    /// A copy as it is at this moment.
    pub(super) fn copied(&self) -> Self {
        let mut content = self.content.clone();
        if !self.is_torn {
            content.settle();
        }
        Self { content, is_torn: self.is_torn, ..Self::default() }
    }

    /// Holds from now on what `source` does, and keeps its size.
    pub(super) fn put_back(&mut self, source: &Self) {
        self.content.chunks.clone_from(&source.content.chunks);
        self.is_torn = source.is_torn;
    }

    /// A write or discard (number 0) that was answered, and flushed or not.
    pub(super) fn wrote(&mut self, offset: u64, length: u64, number: u64, is_synced: bool) {
        self.content.put(offset, length, number);
        if is_synced && !self.is_torn {
            self.content.settle();
        }
    }

    /// A write or discard that failed: any part of it may be there.
    pub(super) fn failed(&mut self, offset: u64, length: u64, number: u64) {
        self.content.put(offset, length, number);
        self.is_torn = true;
    }

    pub(super) fn is_snapshot(&self) -> bool {
        self.origin.is_some()
    }

    /// Compares all of a device with what it may hold. Whatever is found is what it holds from now on.
    pub(super) fn read_back(&mut self, device: &Path) -> Result<()> {
        let file = File::options().read(true).custom_flags(libc::O_DIRECT).open(device)?;
        let size = self.content.size;
        let mut buffer = AlignedBuffer::zeroed(STEP_BYTES);
        let mut is_torn = false;
        let mut settled = Vec::new();
        for offset in (0..size).step_by(STEP_BYTES) {
            let length = usize::try_from(size - offset)?.min(STEP_BYTES);
            file.read_exact_at(&mut buffer[..length], offset)
                .with_context(|| format!("reading at {offset}"))?;
            content::check(&self.content, offset, &buffer[..length])?;
            for (chunk, bytes) in (offset / CHUNK_BYTES..).zip(buffer[..length].chunks(4096)) {
                let numbers = self.content.numbers(chunk);
                if numbers.len() > 1 {
                    match found(numbers, chunk, bytes)? {
                        Some(number) => settled.push((chunk, number)),
                        None => is_torn = true,
                    }
                }
            }
        }
        for (chunk, number) in settled {
            self.content.chunks.insert(chunk, vec![number]);
        }
        self.is_torn = is_torn;
        Ok(())
    }

    /// The chunks of which it is known what they hold, and that another one holds otherwise.
    pub(super) fn differing(&self, other: Option<&Self>) -> Vec<u64> {
        let nothing = ModelVolume::default();
        let other = other.map_or(&nothing, |other| &other.content);
        let all = self.content.chunks.keys().chain(other.chunks.keys());
        let differs = |chunk: &&u64| {
            let (own, others) = (self.content.numbers(**chunk), other.numbers(**chunk));
            own.len() == 1 && others.len() == 1 && own != others
        };
        all.filter(differs).copied().collect()
    }
}

/// Which of the writes a chunk holds; `None` when it holds parts of several.
fn found(numbers: &[u64], chunk: u64, bytes: &[u8]) -> Result<Option<u64>> {
    for number in numbers {
        if content::pattern(*number, chunk * CHUNK_BYTES, CHUNK_BYTES)? == bytes {
            return Ok(Some(*number));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A file in place of a device; it must be on a disk for direct reads.
    fn device(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new_in(".").unwrap();
        file.write_all(bytes).unwrap();
        file.as_file().sync_all().unwrap();
        file
    }

    #[test]
    fn what_is_read_decides_what_a_failed_write_left() {
        let mut volume = Volume::blank(8192);
        volume.wrote(0, 8192, 1, true);
        volume.failed(0, 8192, 2);
        let bytes = |first, second| {
            let part = |number, at| content::pattern(number, at, 4096).unwrap();
            [part(first, 0), part(second, 4096)].concat()
        };
        volume.read_back(device(&bytes(2, 1)).path()).unwrap();
        assert_eq!((volume.content.numbers(0), volume.content.numbers(1)), (&[2][..], &[1][..]));
        assert!(!volume.is_torn);
        volume.wrote(4096, 4096, 3, true);
        assert!(volume.read_back(device(&bytes(2, 1)).path()).is_err());
        volume.read_back(device(&bytes(2, 3)).path()).unwrap();
    }
}
