//! What a check finds.
#![forbid(unsafe_code)]

use std::fmt;

use super::super::error::{MetadataError, SpaceMapKind};
use super::super::fault::NodeFault;
use crate::units::ThinId;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Good to know; nothing is wrong.
    Note,
    /// Space is lost or an answer is wrong; no data is in danger.
    Warning,
    /// Data is lost, or will be when the pool is written.
    Error,
}

/// One thing that a check found.
#[derive(Debug)]
#[non_exhaustive]
pub enum CheckFinding {
    /// A block that the trees need cannot be used.
    Damage(MetadataError),
    /// A block of a space map cannot be used.
    SpaceMapBlock {
        /// Which map.
        map: SpaceMapKind,
        /// The block.
        block: u64,
        /// What is wrong with it.
        fault: NodeFault,
    },
    /// Blocks are in use more often than the space map says.
    CountTooLow {
        /// Which map.
        map: SpaceMapKind,
        /// The first of them.
        first: u64,
        /// How many there are.
        length: u64,
        /// What the map says.
        stored: u32,
        /// How often they are in use.
        counted: u32,
    },
    /// Blocks are in use less often than the space map says.
    Leaked {
        /// Which map.
        map: SpaceMapKind,
        /// The first of them.
        first: u64,
        /// How many there are.
        length: u64,
        /// What the map says.
        stored: u32,
        /// How often they are in use.
        counted: u32,
    },
    /// The index of a space map disagrees with a bitmap.
    IndexEntry {
        /// Which map.
        map: SpaceMapKind,
        /// The bitmap.
        bitmap: u64,
        /// Free blocks that the index promises.
        stored_free: u32,
        /// Free blocks in the bitmap.
        found_free: u32,
    },
    /// The superblock disagrees with a space map.
    AllocatedBlocks {
        /// Which map.
        map: SpaceMapKind,
        /// What the superblock says.
        stored: u64,
        /// What the map holds.
        found: u64,
    },
    /// A space map counts blocks that the device does not have.
    BeyondDevice {
        /// What the map counts.
        stored: u64,
        /// What the device has.
        block_count: u64,
    },
    /// A device maps another number of blocks than its details say.
    MappedBlocks {
        /// The device.
        device: ThinId,
        /// What its details say.
        stored: u64,
        /// What it maps.
        found: u64,
    },
    /// A device with mappings and without details.
    NoDetails {
        /// The device.
        device: ThinId,
    },
    /// A device with details and without mappings.
    NoMappings {
        /// The device.
        device: ThinId,
    },
    /// A mapping, or a device, from after the pool's present.
    FromTheFuture {
        /// The device.
        device: ThinId,
        /// Its time.
        time: u32,
        /// The pool's time.
        now: u32,
    },
    /// The kernel has asked for a check.
    NeedsCheck,
    /// A metadata snapshot is held.
    HeldRoot {
        /// Its block.
        block: u64,
    },
    /// What could not be looked at, and why.
    NotChecked {
        /// It.
        what: &'static str,
        /// The reason.
        why: &'static str,
    },
}

impl CheckFinding {
    /// How bad it is.
    pub const fn severity(&self) -> Severity {
        match self {
            Self::Damage(_)
            | Self::SpaceMapBlock { .. }
            | Self::CountTooLow { .. }
            | Self::BeyondDevice { .. }
            | Self::NoDetails { .. }
            | Self::NoMappings { .. }
            | Self::FromTheFuture { .. } => Severity::Error,
            // Too few are promised: thin_restore itself leaves one too few, and nothing comes of it.
            Self::IndexEntry { stored_free, found_free, .. } if *stored_free < *found_free => {
                Severity::Note
            }
            Self::AllocatedBlocks { stored, found, .. } if *stored > *found => Severity::Note,
            Self::Leaked { .. }
            | Self::IndexEntry { .. }
            | Self::AllocatedBlocks { .. }
            | Self::MappedBlocks { .. }
            | Self::NeedsCheck => Severity::Warning,
            Self::HeldRoot { .. } | Self::NotChecked { .. } => Severity::Note,
        }
    }

    /// What it is, in one word for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Damage(_) => "Damage",
            Self::SpaceMapBlock { .. } => "SpaceMapBlock",
            Self::CountTooLow { .. } => "CountTooLow",
            Self::Leaked { .. } => "Leaked",
            Self::IndexEntry { .. } => "IndexEntry",
            Self::AllocatedBlocks { .. } => "AllocatedBlocks",
            Self::BeyondDevice { .. } => "BeyondDevice",
            Self::MappedBlocks { .. } => "MappedBlocks",
            Self::NoDetails { .. } => "NoDetails",
            Self::NoMappings { .. } => "NoMappings",
            Self::FromTheFuture { .. } => "FromTheFuture",
            Self::NeedsCheck => "NeedsCheck",
            Self::HeldRoot { .. } => "HeldRoot",
            Self::NotChecked { .. } => "NotChecked",
        }
    }

    /// What follows from it.
    pub const fn meaning(&self) -> &'static str {
        match self {
            Self::Damage(_) => "what only this block leads to cannot be read",
            Self::SpaceMapBlock { .. } => "which blocks are free cannot be told",
            Self::CountTooLow { .. } => "the kernel would give blocks away that are in use",
            Self::Leaked { .. } => {
                "this space is lost until a repair (`thinly pool repair --leaks`)"
            }
            Self::IndexEntry { .. } | Self::AllocatedBlocks { .. } => {
                "the kernel's count of free blocks is wrong"
            }
            Self::BeyondDevice { .. } => "the device was made smaller than its pool",
            Self::MappedBlocks { .. } => "what the kernel says of the device's size is wrong",
            Self::NoDetails { .. } | Self::NoMappings { .. } => "the device cannot be activated",
            Self::FromTheFuture { .. } => "a write could change a snapshot",
            Self::NeedsCheck => "the kernel opens the pool for reading only",
            Self::HeldRoot { .. } => "what is deleted stays allocated until it is released",
            Self::NotChecked { .. } => "the answer is not complete",
        }
    }
}

impl fmt::Display for CheckFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damage(damage) => write!(f, "{damage}"),
            Self::SpaceMapBlock { map, block, fault } => {
                write!(f, "block {block} of the {map} space map is damaged: {fault}")
            }
            Self::CountTooLow { map, first, length, stored, counted }
            | Self::Leaked { map, first, length, stored, counted } => {
                let (name, last) =
                    (Blocks(*first, *length), if *length == 1 { "is" } else { "are" });
                write!(f, "{map} {name} {last} in use {counted} times; the space map says {stored}")
            }
            Self::IndexEntry { map, bitmap, stored_free, found_free } => write!(
                f,
                "the index of the {map} space map says that bitmap {bitmap} has {stored_free} free \
                 blocks; it has {found_free}, or its first one is elsewhere"
            ),
            Self::AllocatedBlocks { map, stored, found } => write!(
                f,
                "the superblock says that {stored} {map} blocks are in use; its space map has {found}"
            ),
            Self::BeyondDevice { stored, block_count } => write!(
                f,
                "the metadata space map counts {stored} blocks; the device has {block_count}"
            ),
            Self::MappedBlocks { device, stored, found } => write!(
                f,
                "the details of thin device {device} say that it maps {stored} blocks; it maps {found}"
            ),
            Self::NoDetails { device } => {
                write!(f, "thin device {device} has mappings, and no details")
            }
            Self::NoMappings { device } => {
                write!(f, "thin device {device} has details, and no mappings")
            }
            Self::FromTheFuture { device, time, now } => write!(
                f,
                "thin device {device} has something of time {time}; the pool's time is {now}"
            ),
            Self::NeedsCheck => f.write_str("the pool carries the needs_check flag"),
            Self::HeldRoot { block } => write!(f, "a metadata snapshot is held in block {block}"),
            Self::NotChecked { what, why } => write!(f, "{what} was not checked: {why}"),
        }
    }
}

/// `block 7`, or `blocks 7 to 9`.
struct Blocks(u64, u64);

impl fmt::Display for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(first, 1) => write!(f, "block {first}"),
            Self(first, length) => {
                write!(f, "blocks {first} to {}", first.saturating_add(*length) - 1)
            }
        }
    }
}
