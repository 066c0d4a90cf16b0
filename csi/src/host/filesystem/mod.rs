//! The filesystems that a volume can carry.
#![forbid(unsafe_code)]

mod btrfs_superblock;
mod check;
mod growth;
mod identity;
mod make;
mod signature;

use std::fmt;
use std::str::FromStr;

pub use check::{CheckOutcome, check};
pub use growth::{grow, needs_growth, size_on};
pub use identity::new_identity;
pub use make::make;
pub use signature::{Signature, signature};

use super::error::HostError;

/// A filesystem that a volume can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filesystem {
    /// ext4.
    Ext4,
    /// XFS.
    Xfs,
    /// Btrfs.
    Btrfs,
}

impl Filesystem {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ext4, Self::Xfs, Self::Btrfs];

    /// Its name, as mount knows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Filesystem {
    type Err = HostError;

    fn from_str(name: &str) -> Result<Self, HostError> {
        let found = Self::ALL.into_iter().find(|filesystem| filesystem.name() == name);
        found.ok_or_else(|| HostError::Filesystem { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for filesystem in Filesystem::ALL {
            assert_eq!(filesystem.to_string().parse::<Filesystem>().unwrap(), filesystem);
        }
        for name in ["", "ext3", "EXT4", "ext4 ", "vfat"] {
            assert!(name.parse::<Filesystem>().is_err(), "{name:?}");
        }
    }
}
