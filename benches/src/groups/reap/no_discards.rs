//! A disk that takes no discards for a while.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Turns a disk's discards off until it goes.
///
/// Linux 6.12 takes no value back once it is zero: its granularity is zero as well then, and
/// nothing is a multiple of that (`queue_discard_max_store`, `block/blk-sysfs.c`).
#[derive(Debug)]
pub(super) struct NoDiscards {
    setting: PathBuf,
    before: String,
}

impl NoDiscards {
    pub(super) fn new(disk: &Path) -> Result<Self> {
        let name = disk.file_name().context("a disk without a name")?;
        let queue = Path::new("/sys/class/block").join(name).join("queue");
        let setting = queue.join("discard_max_bytes");
        let before = fs::read_to_string(&setting)?.trim().to_owned();
        fs::write(&setting, "0").with_context(|| format!("writing {}", setting.display()))?;
        Ok(Self { setting, before })
    }
}

impl Drop for NoDiscards {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.setting, &self.before) {
            let (setting, before) = (self.setting.display(), &self.before);
            eprintln!(
                "{setting} was {before} and is 0: this kernel does not take it back ({error}); the \
                 disk takes no discards until it is detached or the machine starts again"
            );
        }
    }
}
