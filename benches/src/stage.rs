//! Where a group works, and how much.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// Everything once, on small sizes: shows that it works, measures nothing.
    Once,
    /// A few minutes in all, for a first look.
    Quick,
    /// What the documentation shows.
    Full,
}

impl Extent {
    /// The value for this extent.
    pub fn pick<T>(self, once: T, quick: T, full: T) -> T {
        match self {
            Self::Once => once,
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// Empty disks, and how much to do on them. A group leaves its disks free of holders.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The disks, all of one kind and size. Everything on them is overwritten.
    pub disks: Vec<PathBuf>,
    /// How much is measured.
    pub extent: Extent,
}

impl Stage {
    /// One of the disks.
    pub fn disk(&self, index: usize) -> Result<&Path> {
        let count = self.disks.len();
        let disk = self.disks.get(index);
        disk.map(PathBuf::as_path).with_context(|| {
            format!("this group needs {} disks, and {count} were given", index + 1)
        })
    }
}
