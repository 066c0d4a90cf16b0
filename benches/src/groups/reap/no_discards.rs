//! A disk that takes no discards for a while.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Turns a disk's discards off until it goes.
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
        // The disk works without; what the run ended with is the one thing to tell.
        let _ = fs::write(&self.setting, &self.before);
    }
}
