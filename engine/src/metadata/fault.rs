//! The checks that a block of metadata can fail.
#![forbid(unsafe_code)]

use std::fmt;

use thiserror::Error;

use crate::units::UnitError;

/// The check that a superblock failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SuperblockFault {
    /// It is no dm-thin superblock.
    #[error(
        "its magic number is {found}, not {expected}: this is not dm-thin metadata, or its first \
         block was overwritten"
    )]
    Magic {
        /// The number found.
        found: u64,
        /// The number of dm-thin.
        expected: u64,
    },
    /// Its bytes changed after the kernel wrote them.
    #[error(
        "its checksum is {stored:#010x} where its bytes give {computed:#010x}: repair the metadata \
         onto a spare (thin_repair), or restore a copy"
    )]
    Checksum {
        /// The checksum on it.
        stored: u32,
        /// The checksum of its bytes.
        computed: u32,
    },
    /// It was written for another place.
    #[error(
        "it says that it is block {found}: the device is shifted, or it is a misdirected write"
    )]
    BlockNumber {
        /// The block that it says it is.
        found: u64,
    },
    /// Another format.
    #[error("its format is version {found}; only version {expected} is understood")]
    Version {
        /// The version found.
        found: u32,
        /// The version understood.
        expected: u32,
    },
    /// Features from a newer kernel.
    #[error("it uses incompatible features ({flags:#x}) that need a newer release")]
    IncompatFlags {
        /// The feature bits.
        flags: u32,
    },
    /// A data block size that dm-thin refuses.
    #[error("its data block size is impossible: {0}")]
    DataBlockSize(#[source] UnitError),
    /// Metadata blocks of another length.
    #[error("its metadata blocks are {found_bytes} bytes long; dm-thin has 4096 only")]
    MetadataBlockSize {
        /// The length found.
        found_bytes: u64,
    },
}

/// What a tree node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// Its values are other nodes.
    Internal,
    /// Its values are what the tree is for.
    Leaf,
}

impl fmt::Display for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Internal => "an internal node",
            Self::Leaf => "a leaf",
        })
    }
}

/// The check that a tree node failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NodeFault {
    /// Its number is no block of the device.
    #[error("there is no such block, the device has {block_count}")]
    BeyondEnd {
        /// How many blocks there are.
        block_count: u64,
    },
    /// Its bytes changed after the kernel wrote them, or it is no tree node.
    #[error(
        "its checksum is {stored:#010x} where its bytes, as a tree node, give {computed:#010x}"
    )]
    Checksum {
        /// The checksum on it.
        stored: u32,
        /// The checksum of its bytes.
        computed: u32,
    },
    /// It was written for another place.
    #[error("it says that it is block {found}")]
    BlockNumber {
        /// The block that it says it is.
        found: u64,
    },
    /// Neither internal node nor leaf.
    #[error("its flags are {flags:#x}, neither an internal node's nor a leaf's")]
    Flags {
        /// The flags found.
        flags: u32,
    },
    /// It belongs to another tree.
    #[error("its values are {found} bytes long, not {expected}: it belongs to another tree")]
    ValueSize {
        /// The length found.
        found: u32,
        /// The length in this tree.
        expected: u32,
    },
    /// More room claimed than a block has.
    #[error("it claims room for {max_entries} entries, more than a block has")]
    MaxEntries {
        /// The claim.
        max_entries: u32,
    },
    /// More entries than room, or an internal node with none.
    #[error("it claims {entries} entries and has room for {max_entries}")]
    EntryCount {
        /// The claim.
        entries: u32,
        /// The room.
        max_entries: u32,
    },
    /// Keys that do not ascend.
    #[error("key {index} is not above the key before it")]
    KeyOrder {
        /// The place of the key in the node.
        index: usize,
    },
    /// A key outside what the parent promised.
    #[error("it holds key {key}, which belongs elsewhere")]
    KeyOutside {
        /// The key.
        key: u64,
    },
    /// A device number above 24 bits.
    #[error("it names a thin device {key}, above the kernel's limit")]
    ThinIdTooLarge {
        /// The key.
        key: u64,
    },
    /// It is part of the trees twice where nothing may be shared.
    #[error("another part of the metadata uses it already")]
    Reused,
    /// A mapping to data that the data device does not have.
    #[error("it maps virtual block {key} to data block {data_block}, the data device has {total}")]
    DataBlockBeyondEnd {
        /// The virtual block.
        key: u64,
        /// The data block.
        data_block: u64,
        /// How many data blocks there are.
        total: u64,
    },
    /// The device did not give it.
    #[error("it cannot be read: {reason}")]
    Unreadable {
        /// What the device said.
        reason: String,
    },
    /// An internal node where the tree has its leaves, or the other way round.
    #[error("it is {found}, where the rest of its tree has {expected}")]
    Height {
        /// What it is.
        found: NodeKind,
        /// What it should be.
        expected: NodeKind,
    },
    /// An index does not have all bitmaps, or has more.
    #[error("it leads to {found} bitmaps in order where there must be {wanted}")]
    MissingBitmap {
        /// How many there must be.
        wanted: u64,
        /// How many there are from the first on.
        found: u64,
    },
    /// No way down from it ends at a leaf.
    #[error("no way down from it leads to a leaf that can be read")]
    Bottomless,
    /// It is its own ancestor.
    #[error("the way to it passes through it already")]
    Cycle,
    /// A leaf where other branches go on, or the other way round.
    #[error("it lies at another depth than the tree's other nodes of its kind")]
    UnevenDepth,
    /// Deeper than any tree that fits onto a device.
    #[error("it lies {depth} levels deep, more than any real tree")]
    TooDeep {
        /// The depth.
        depth: usize,
    },
}
