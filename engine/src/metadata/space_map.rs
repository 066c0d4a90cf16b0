//! Space maps: which blocks are in use, and how often.
#![forbid(unsafe_code)]

use super::field::{U32_BYTES, U64_BYTES, put_u32, put_u64, u32_at, u64_at};
use super::reference_counts::{BitmapSummary, ENTRIES_PER_BITMAP};

// struct disk_index_entry, dm-space-map-common.h.
const BITMAP_BLOCK: usize = 0;
const FREE: usize = BITMAP_BLOCK + U64_BYTES;
const FIRST_FREE: usize = FREE + U32_BYTES;
/// Bytes of what an index holds of one bitmap.
pub(super) const INDEX_ENTRY_BYTES: usize = FIRST_FREE + U32_BYTES;

// struct disk_bitmap_header and struct disk_metadata_index start alike.
const CHECKSUM: usize = 0;
const UNUSED: usize = CHECKSUM + U32_BYTES;
/// Where a bitmap and the metadata map's index keep their own block number.
pub(super) const BLOCK_NUMBER: usize = UNUSED + U32_BYTES;
/// Where the entries of the metadata map's index start.
pub(super) const INDEX_ENTRIES: usize = BLOCK_NUMBER + U64_BYTES;

/// `MAX_METADATA_BITMAPS`.
pub(super) const MAX_METADATA_BITMAPS: u64 = 255;
/// What a metadata space map can keep count of: the kernel uses no block beyond it.
pub(super) const MAX_METADATA_BLOCKS: u64 = MAX_METADATA_BITMAPS * ENTRIES_PER_BITMAP;

/// What an index holds of one bitmap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IndexEntry {
    /// The block of the bitmap.
    pub(super) block: u64,
    /// What it is said to hold.
    pub(super) summary: BitmapSummary,
}

impl IndexEntry {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        Self {
            block: u64_at(bytes, BITMAP_BLOCK),
            summary: BitmapSummary {
                free: u32_at(bytes, FREE),
                first_free: u32_at(bytes, FIRST_FREE),
            },
        }
    }

    pub(super) fn encode(self) -> [u8; INDEX_ENTRY_BYTES] {
        let mut entry = [0; INDEX_ENTRY_BYTES];
        put_u64(&mut entry, BITMAP_BLOCK, self.block);
        put_u32(&mut entry, FREE, self.summary.free);
        put_u32(&mut entry, FIRST_FREE, self.summary.first_free);
        entry
    }
}

// struct disk_sm_root, dm-space-map-common.h.
const TOTAL_BLOCKS: usize = 0;
const ALLOCATED_BLOCKS: usize = TOTAL_BLOCKS + U64_BYTES;
const BITMAP_ROOT: usize = ALLOCATED_BLOCKS + U64_BYTES;
const REF_COUNT_ROOT: usize = BITMAP_ROOT + U64_BYTES;
const ROOT_BYTES: usize = REF_COUNT_ROOT + U64_BYTES;

/// The root of a space map, as the superblock holds it; all zero in a held superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpaceMapRoot {
    /// How many blocks it keeps count of.
    pub total_blocks: u64,
    /// How many of them are in use.
    pub allocated_blocks: u64,
    /// The index of its bitmaps.
    pub bitmap_root: u64,
    /// The tree of reference counts too large for a bitmap.
    pub ref_count_root: u64,
}

impl SpaceMapRoot {
    /// Reads a root out of its place in the superblock.
    pub(super) fn parse(bytes: &[u8; ROOT_BYTES]) -> Self {
        Self {
            total_blocks: u64_at(bytes, TOTAL_BLOCKS),
            allocated_blocks: u64_at(bytes, ALLOCATED_BLOCKS),
            bitmap_root: u64_at(bytes, BITMAP_ROOT),
            ref_count_root: u64_at(bytes, REF_COUNT_ROOT),
        }
    }

    /// The bytes of the root in the superblock.
    pub(super) fn encode(&self) -> [u8; ROOT_BYTES] {
        let mut bytes = [0; ROOT_BYTES];
        put_u64(&mut bytes, TOTAL_BLOCKS, self.total_blocks);
        put_u64(&mut bytes, ALLOCATED_BLOCKS, self.allocated_blocks);
        put_u64(&mut bytes, BITMAP_ROOT, self.bitmap_root);
        put_u64(&mut bytes, REF_COUNT_ROOT, self.ref_count_root);
        bytes
    }
}
