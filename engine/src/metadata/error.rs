//! What can be wrong with metadata, and what it takes away.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::fault::{NodeFault, SuperblockFault};
use crate::block_device::DeviceError;
use crate::units::ThinId;

/// What a reader of metadata meets.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// The device did not give the block.
    #[error("cannot read metadata block {block}: {source}")]
    Device {
        /// The first block asked for.
        block: u64,
        /// What the device said; it names the path.
        source: DeviceError,
    },
    /// An image of metadata cannot be opened.
    #[error("cannot open the metadata image {path}: {source}", path = path.display())]
    OpenImage {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// An image of metadata did not give the block.
    #[error("cannot read block {block} of the metadata image {path}: {source}", path = path.display())]
    ReadImage {
        /// The file.
        path: PathBuf,
        /// The first block asked for.
        block: u64,
        /// The system's answer.
        source: io::Error,
    },
    /// A block outside the device was asked for.
    #[error(
        "block {block} is beyond the end of {device}, which has {block_count} metadata blocks; \
         was the device made smaller?"
    )]
    BeyondEnd {
        /// The device or image.
        device: String,
        /// The block asked for.
        block: u64,
        /// How many blocks there are.
        block_count: u64,
    },
    /// The first block holds nothing but zeros where a pool should be.
    #[error(
        "{device} holds no pool: its first 4 KiB are zero, and the kernel would format it; \
         do not load a pool over it, restore a copy of its metadata first"
    )]
    Blank {
        /// The device or image.
        device: String,
    },
    /// A superblock failed a check.
    #[error("the superblock in block {block} of {device} cannot be used: {fault}")]
    Superblock {
        /// The device or image.
        device: String,
        /// 0, or the held root.
        block: u64,
        /// The check that failed.
        #[source]
        fault: SuperblockFault,
    },
    /// A tree node failed a check.
    #[error(
        "metadata block {block} of {device} is damaged: {fault}; it led to {tree}, {keys}, which \
         cannot be read; close the pool and repair its metadata onto a spare (thin_repair), or \
         restore a copy",
        keys = tree.keys(*keys)
    )]
    Node {
        /// The device or image.
        device: String,
        /// The damaged block.
        block: u64,
        /// The tree that it is part of.
        tree: Tree,
        /// The keys that only this block leads to.
        keys: KeyRange,
        /// The check that failed.
        #[source]
        fault: NodeFault,
    },
    /// Other commits kept moving the superblock.
    #[error(
        "the pool on {device} committed during each of {attempts} attempts to read it; try again \
         when it is less busy"
    )]
    Moving {
        /// The device.
        device: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// An image file cannot be written.
    #[error(
        "cannot write block {block} of the metadata image: {source}; check the space and the \
         permissions where it goes"
    )]
    WriteImage {
        /// The block.
        block: u64,
        /// The system's answer.
        source: io::Error,
    },
    /// A dump cannot be written.
    #[error("cannot write the dump: {source}; check the space where it goes")]
    WriteDump {
        /// The system's answer.
        source: io::Error,
    },
    /// A device that was asked for is not there.
    #[error("{device} has no thin device {id}; `thinly image ls` shows what an image has")]
    NoDevice {
        /// The device or image.
        device: String,
        /// What was asked for.
        id: ThinId,
    },
    /// A device is in one of the two trees that should have it.
    #[error(
        "thin device {id} of {device} is missing in {tree}: what there is of it cannot be used; \
         repair the metadata onto a spare (thin_repair), or name the devices that are wanted"
    )]
    HalfDevice {
        /// The device or image.
        device: String,
        /// The thin device.
        id: ThinId,
        /// The tree without it.
        tree: Tree,
    },
    /// The space maps find no room beside the trees.
    #[error(
        "the space maps do not fit beside the trees of {device} into {total_blocks} metadata \
         blocks; check the number of data blocks, or grow the metadata device"
    )]
    NoRoom {
        /// The device or image that is copied.
        device: String,
        /// How many blocks there are.
        total_blocks: u64,
    },
    /// A pool that should be closed is being written.
    #[error(
        "the pool on {device} committed while its metadata was copied: it is open somewhere; \
         close it, or copy it under a metadata snapshot"
    )]
    NotClosed {
        /// The device.
        device: String,
    },
    /// Whoever asked went away before the end.
    #[error("the reading of metadata was given up before its end")]
    Cancelled,
    /// The metadata snapshot that was being copied is gone.
    #[error(
        "the metadata snapshot in block {block} of {device} is not held, so the copy may be \
         mixed; reserve one and copy again"
    )]
    NotHeld {
        /// The device.
        device: String,
        /// Where the snapshot was.
        block: u64,
    },
}

/// A tree inside the metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tree {
    /// The tree of device details.
    Details,
    /// The tree of device trees.
    Devices,
    /// One device's mappings.
    Mappings(ThinId),
    /// The index of the data space map's bitmaps.
    Bitmaps,
    /// The counts of a space map that its bitmaps cannot hold.
    ReferenceCounts(SpaceMapKind),
}

/// One of the two space maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SpaceMapKind {
    /// Of the data device.
    Data,
    /// Of the metadata device itself.
    Metadata,
}

impl fmt::Display for SpaceMapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Data => "data",
            Self::Metadata => "metadata",
        })
    }
}

impl Tree {
    /// The keys of `range`, in this tree's words.
    fn keys(self, range: KeyRange) -> impl fmt::Display {
        let noun = match self {
            Self::Details | Self::Devices => "thin ids",
            Self::Mappings(_) => "virtual blocks",
            Self::Bitmaps => "bitmaps",
            Self::ReferenceCounts(SpaceMapKind::Data) => "data blocks",
            Self::ReferenceCounts(SpaceMapKind::Metadata) => "metadata blocks",
        };
        fmt::from_fn(move |f| match range.end {
            Some(end) => write!(f, "{noun} {} to {}", range.first, end.saturating_sub(1)),
            None => write!(f, "{noun} {} and above", range.first),
        })
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Details => f.write_str("the details of thin devices"),
            Self::Devices => f.write_str("the mappings of whole thin devices"),
            Self::Mappings(id) => {
                write!(f, "the mappings of thin device {id} and of what shares them with it")
            }
            Self::Bitmaps => f.write_str("the bitmaps of the data space map"),
            Self::ReferenceCounts(map) => write!(f, "the reference counts of the {map} space map"),
        }
    }
}

/// The keys that a node may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// The first key.
    pub first: u64,
    /// The first key after it; `None` is no limit.
    pub end: Option<u64>,
}

impl KeyRange {
    /// Every key.
    pub const ALL: Self = Self { first: 0, end: None };

    /// The keys that are in both.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        let end = match (self.end, other.end) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (end, None) | (None, end) => end,
        };
        Self { first: self.first.max(other.first), end }
    }

    /// Whether `key` is inside.
    pub fn contains(self, key: u64) -> bool {
        key >= self.first && self.end.is_none_or(|end| key < end)
    }
}
