//! Who takes a snapshot of a volume in use.

use std::path::PathBuf;

use anyhow::Result;
use thinly_engine::units::Bytes;

use crate::stage::Extent;

/// What a writer writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The thin device.
    Device,
    /// A file in a file system on another one.
    File,
}

impl Target {
    pub(super) const ALL: [Self; 2] = [Self::Device, Self::File];

    /// Its name for people.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Device => "raw device",
            Self::File => "file on ext4",
        }
    }

    /// The name of its volume.
    pub(super) const fn volume(self) -> &'static str {
        match self {
            Self::Device => "raw",
            Self::File => "files",
        }
    }
}

/// How long everything is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// The two volumes.
    pub(super) volume: Bytes,
    /// The file.
    pub(super) file: Bytes,
}

impl Sizes {
    pub(super) fn of(extent: Extent) -> Self {
        Self {
            volume: Bytes::new(extent.pick(32 << 20, 256 << 20, 512 << 20)),
            file: Bytes::new(extent.pick(4 << 20, 128 << 20, 256 << 20)),
        }
    }
}

/// Who takes snapshots of two active volumes of its own.
pub(super) trait Contender {
    /// Its name for people.
    fn name(&self) -> &'static str;

    /// The node of a volume.
    fn device(&self, target: Target) -> Result<PathBuf>;

    /// Takes one snapshot of a volume.
    fn snapshot(&mut self, target: Target) -> Result<()>;

    /// Removes it.
    fn forget(&mut self, target: Target) -> Result<()>;

    /// Takes everything off its disk.
    fn finish(self: Box<Self>) -> Result<()>;
}
