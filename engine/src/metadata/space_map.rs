//! Space maps: which blocks are in use, and how often.
#![forbid(unsafe_code)]

use super::field::{U64_BYTES, put_u64, u64_at};

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
