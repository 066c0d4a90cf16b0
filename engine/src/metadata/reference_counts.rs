//! Reference counts in the shape that the kernel's bitmaps have.
//!
//! Memory: two bits for each block of a stretch of 16320 in which any block is counted, one byte
//! for each block of a stretch with one of three references or more, and a map entry (some 30
//! bytes) for each block with 255 or more.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::field::BLOCK_BYTES;

/// Bytes of a bitmap block before its entries (`struct disk_bitmap_header`).
pub(super) const BITMAP_HEADER_BYTES: usize = 16;
/// Bytes of a bitmap block that hold entries.
const BITMAP_BYTES: usize = BLOCK_BYTES - BITMAP_HEADER_BYTES;
/// Entries in one byte: two bits each.
const ENTRIES_PER_BYTE: u64 = 4;
/// Entries in one bitmap block.
pub(super) const ENTRIES_PER_BITMAP: u64 = BITMAP_BYTES as u64 * ENTRIES_PER_BYTE;
/// The byte that says that the count is wider than a byte.
const HUGE: u8 = u8::MAX;
/// The count that says that the real one is in the tree.
pub(super) const IN_TREE: u32 = 3;

/// How often each of a number of blocks is referred to.
#[derive(Debug)]
pub(super) struct ReferenceCounts {
    total_blocks: u64,
    allocated_blocks: u64,
    bitmaps: BTreeMap<u64, Box<[u8]>>,
    /// By stretch, a byte for each block: its count from three references on.
    large: BTreeMap<u64, Box<[u8]>>,
    /// What does not fit into a byte.
    huge: BTreeMap<u64, u32>,
}

/// One bitmap, ready to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BitmapSummary {
    /// How many of its blocks nothing refers to.
    pub(super) free: u32,
    /// The first of them; the number of entries when there is none.
    pub(super) first_free: u32,
}

impl ReferenceCounts {
    /// Counts nothing yet, for blocks below `total_blocks`.
    pub(super) fn new(total_blocks: u64) -> Self {
        Self {
            total_blocks,
            allocated_blocks: 0,
            bitmaps: BTreeMap::new(),
            large: BTreeMap::new(),
            huge: BTreeMap::new(),
        }
    }

    /// How many blocks are kept count of.
    pub(super) fn total_blocks(&self) -> u64 {
        self.total_blocks
    }

    /// How many blocks are referred to.
    pub(super) fn allocated_blocks(&self) -> u64 {
        self.allocated_blocks
    }

    /// The counts that a bitmap cannot hold, in order.
    pub(super) fn large(&self) -> impl Iterator<Item = (u64, u32)> {
        self.large.iter().flat_map(move |(index, counts)| {
            let blocks = index.saturating_mul(ENTRIES_PER_BITMAP)..;
            let counted = blocks.zip(counts.iter()).filter(|(_, count)| **count > 0);
            counted.map(|(block, count)| (block, self.widen(block, *count)))
        })
    }

    /// The count behind a byte.
    fn widen(&self, block: u64, count: u8) -> u32 {
        match count {
            HUGE => self.huge.get(&block).copied().unwrap_or(u32::from(HUGE)),
            count => u32::from(count),
        }
    }

    /// How many bitmaps it takes.
    pub(super) fn bitmap_count(&self) -> u64 {
        self.total_blocks.div_ceil(ENTRIES_PER_BITMAP)
    }

    /// The entries of one bitmap, without its header; `None` when they are all zero.
    pub(super) fn bitmap(&self, index: u64) -> Option<&[u8]> {
        self.bitmaps.get(&index).map(AsRef::as_ref)
    }

    /// Counts one more reference; gives the count before it, or `None` beyond the last block.
    pub(super) fn increment(&mut self, block: u64) -> Option<u32> {
        if block >= self.total_blocks {
            return None;
        }
        let (index, byte, shift) = place(block);
        let bitmap =
            self.bitmaps.entry(index).or_insert_with(|| vec![0; BITMAP_BYTES].into_boxed_slice());
        let cell = bitmap.get_mut(byte)?;
        let before = decode(*cell >> shift);
        if before == 0 {
            self.allocated_blocks += 1;
        }
        if before < IN_TREE {
            *cell = *cell & !(0b11 << shift) | encode(before + 1) << shift;
        }
        if before + 1 < IN_TREE {
            return Some(before);
        }
        Some(self.increment_large(block, before))
    }

    /// Counts one more where there will be three or more; gives the count before it.
    fn increment_large(&mut self, block: u64, at_least: u32) -> u32 {
        let entry = usize::try_from(block % ENTRIES_PER_BITMAP).unwrap_or(usize::MAX);
        let bytes = usize::try_from(ENTRIES_PER_BITMAP).unwrap_or(0);
        let stretch = self.large.entry(block / ENTRIES_PER_BITMAP);
        let stretch = stretch.or_insert_with(|| vec![0; bytes].into_boxed_slice());
        let Some(count) = stretch.get_mut(entry) else { return at_least };
        if *count == HUGE {
            let huge = self.huge.entry(block).or_insert(u32::from(HUGE));
            let before = *huge;
            *huge = huge.saturating_add(1);
            return before;
        }
        let before = u32::from(*count).max(at_least);
        *count = u8::try_from(before + 1).unwrap_or(HUGE);
        if *count == HUGE {
            self.huge.insert(block, before + 1);
        }
        before
    }

    /// How often a block is referred to.
    pub(super) fn count(&self, block: u64) -> u32 {
        let (index, byte, shift) = place(block);
        let cell = self.bitmaps.get(&index).and_then(|bitmap| bitmap.get(byte));
        match cell.map_or(0, |cell| decode(*cell >> shift)) {
            IN_TREE => {
                let entry = usize::try_from(block % ENTRIES_PER_BITMAP).unwrap_or(usize::MAX);
                let count = self.large.get(&index).and_then(|counts| counts.get(entry));
                count.map_or(IN_TREE, |count| self.widen(block, *count))
            }
            count => count,
        }
    }

    /// The first block at or above `from` that nothing refers to.
    pub(super) fn find_free(&self, from: u64) -> Option<u64> {
        (from..self.total_blocks).find(|block| self.is_free(*block))
    }

    fn is_free(&self, block: u64) -> bool {
        let (index, byte, shift) = place(block);
        let cell = self.bitmaps.get(&index).and_then(|bitmap| bitmap.get(byte));
        cell.is_none_or(|cell| decode(*cell >> shift) == 0)
    }

    /// What the index says of one bitmap.
    pub(super) fn summary(&self, index: u64) -> BitmapSummary {
        let first = index.saturating_mul(ENTRIES_PER_BITMAP);
        let entries = self.total_blocks.saturating_sub(first).min(ENTRIES_PER_BITMAP);
        let entries = u32::try_from(entries).unwrap_or(u32::MAX);
        let Some(bitmap) = self.bitmap(index) else {
            return BitmapSummary { free: entries, first_free: 0 };
        };
        let cells = bitmap.iter().flat_map(|byte| [0, 2, 4, 6].map(|shift| byte >> shift));
        let mut summary = BitmapSummary { free: 0, first_free: entries };
        for (entry, cell) in (0..entries).zip(cells) {
            if decode(cell) == 0 {
                summary.free += 1;
                summary.first_free = summary.first_free.min(entry);
            }
        }
        summary
    }
}

/// The count of one entry of a bitmap, which is without its header; `None` when it is in the tree.
pub(super) fn bitmap_count(bitmap: &[u8], entry: u64) -> Option<u32> {
    let (_, byte, shift) = place(entry);
    match bitmap.get(byte).map_or(0, |cell| decode(*cell >> shift)) {
        IN_TREE => None,
        count => Some(count),
    }
}

/// The bitmap of a block, the byte in it, and the bit in that.
fn place(block: u64) -> (u64, usize, u32) {
    let entry = block % ENTRIES_PER_BITMAP;
    let byte = usize::try_from(entry / ENTRIES_PER_BYTE).unwrap_or(usize::MAX);
    let shift = u32::try_from(entry % ENTRIES_PER_BYTE * 2).unwrap_or(0);
    (block / ENTRIES_PER_BITMAP, byte, shift)
}

/// The lower bit of a pair is the count's higher one (`sm_lookup_bitmap`).
fn decode(cell: u8) -> u32 {
    match cell & 0b11 {
        0b00 => 0,
        0b10 => 1,
        0b01 => 2,
        _ => IN_TREE,
    }
}

fn encode(count: u32) -> u8 {
    match count {
        0 => 0b00,
        1 => 0b10,
        2 => 0b01,
        _ => 0b11,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pairs_have_the_kernels_bit_order() {
        let mut counts = ReferenceCounts::new(8);
        for (block, times) in [(0, 1), (1, 2), (2, 3), (3, 70_000), (5, 1)] {
            for before in 0..times {
                assert_eq!(counts.increment(block), Some(before));
            }
            assert_eq!(counts.count(block), times);
        }
        assert_eq!(counts.bitmap(0).unwrap()[..2], [0b11_11_01_10, 0b00_00_10_00]);
        assert_eq!(counts.large().collect::<Vec<_>>(), [(2, 3), (3, 70_000)]);
        assert_eq!(counts.summary(0), BitmapSummary { free: 3, first_free: 4 });
        assert_eq!((counts.find_free(0), counts.find_free(5)), (Some(4), Some(6)));
        assert_eq!(counts.increment(8), None);
    }

    proptest! {
        #[test]
        fn agrees_with_plain_counters(blocks in prop::collection::vec(16_300_u64..16_400, 0..400)) {
            let total = 16_380;
            let mut counts = ReferenceCounts::new(total);
            let mut plain = BTreeMap::new();
            for block in blocks {
                if block < total {
                    let count = plain.entry(block).or_insert(0_u32);
                    prop_assert_eq!(counts.increment(block), Some(*count));
                    *count += 1;
                } else {
                    prop_assert_eq!(counts.increment(block), None);
                }
            }
            prop_assert_eq!(counts.allocated_blocks(), plain.len() as u64);
            let large: BTreeMap<u64, u32> =
                plain.iter().filter(|(_, n)| **n >= 3).map(|(b, n)| (*b, *n)).collect();
            prop_assert_eq!(counts.large().collect::<BTreeMap<_, _>>(), large);
            let free = counts.summary(0).free + counts.summary(1).free;
            prop_assert_eq!(u64::from(free), total - plain.len() as u64);
            let first = (0..total).find(|block| !plain.contains_key(block));
            prop_assert_eq!(counts.find_free(0), first);
        }
    }
}
