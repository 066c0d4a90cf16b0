//! The guest's kernel log from one moment on.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use nix::libc::O_NONBLOCK;

/// A place in the kernel log; what is read is what came after it.
#[derive(Debug)]
pub struct KernelLog {
    kmsg: File,
}

impl KernelLog {
    /// The log from now on.
    pub fn from_now() -> std::io::Result<Self> {
        let mut kmsg = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open("/dev/kmsg")?;
        kmsg.seek(SeekFrom::End(0))?;
        Ok(Self { kmsg })
    }

    /// Everything logged since the mark or the last call.
    pub fn read(&mut self) -> String {
        let mut text = String::new();
        let mut record = vec![0; 8192];
        loop {
            match self.kmsg.read(&mut record) {
                Ok(0) => break,
                Ok(length) => text.push_str(&readable(&String::from_utf8_lossy(&record[..length]))),
                // EPIPE: the ring has overwritten the next record; the following read continues after it.
                Err(e) if e.raw_os_error() == Some(nix::libc::EPIPE) => {
                    text.push_str("... records lost ...\n");
                }
                Err(_) => break,
            }
        }
        text
    }

    /// As `read`, after asking the kernel for its blocked tasks.
    pub fn with_blocked_tasks(&mut self) -> String {
        // The kernel writes the answer into its log before the write returns; the pause is for other CPUs' lines.
        if let Err(e) = fs::write("/proc/sysrq-trigger", "w") {
            return format!("{}cannot ask for blocked tasks: {e}\n", self.read());
        }
        std::thread::sleep(Duration::from_millis(200));
        self.read()
    }
}

/// `6,339,5140900,-;text` becomes `[    5.140900] text`; continuation lines (they start with a blank) go.
fn readable(record: &str) -> String {
    let Some((head, text)) = record.split_once(';') else { return format!("{record}\n") };
    let micros: u64 = head.split(',').nth(2).and_then(|field| field.parse().ok()).unwrap_or(0);
    let line = text.lines().next().unwrap_or_default();
    format!("[{:5}.{:06}] {line}\n", micros / 1_000_000, micros % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn records_read_like_dmesg() {
        let record = "4,511,12005140,-;device-mapper: thin: 253:3: oops\n SUBSYSTEM=block\n";
        assert_eq!(readable(record), "[   12.005140] device-mapper: thin: 253:3: oops\n");
        assert_eq!(readable("garbage"), "garbage\n");
    }
}
