//! How much metadata the volumes of a pool may still come to need: arithmetic, and nothing else.
//!
//! A snapshot takes one block of metadata when it is made, and later up to as many as its origin's
//! tree has: each write or discard below a shared node copies that node. What was admitted cannot be
//! taken back, so the worst case is counted before a snapshot is taken:
//!
//! * A node of a B-tree is at least a third full (`merge_threshold`, dm-btree-remove.c): a leaf has 84
//!   to 252 mappings. `nodes(n)` is the most nodes that `n` mappings can take.
//! * A volume that shares its tree with a snapshot, clone or source may come to have all of it alone:
//!   `nodes(mapped)`. With two or more relatives its data blocks may be counted three times and more,
//!   and such counts are kept in a tree of their own, with 112 to 336 in a leaf.
//! * A volume that shares nothing has its nodes already, but random discards and writes can thin
//!   them out to a third.
//! * Each free data block may become a mapping.
//! * Snapshots are never written to: their trees stay what they are.
#![forbid(unsafe_code)]

use crate::units::{DataBlocks, MetadataBlocks};

/// The fewest mappings in a leaf, and children in a node above it: a third of 252.
const ENTRIES_MIN: u64 = 84;

/// The fewest counts in a leaf of the tree of large reference counts: a third of 336.
const COUNTS_MIN: u64 = 112;

/// For what the kernel's own bookkeeping changes in one transaction.
const RESERVE_BLOCKS: u64 = 256;

/// A volume that can be written, as far as its metadata goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WritableTree {
    /// What it maps.
    pub mapped: DataBlocks,
    /// Snapshots of it, clones of it, and what it was cloned from.
    pub relatives: usize,
}

impl WritableTree {
    /// The most metadata that it may need beyond what is in use now.
    pub fn potential(self) -> u64 {
        let mapped = self.mapped.get();
        match self.relatives {
            0 => nodes(mapped, ENTRIES_MIN).saturating_sub(mapped / (3 * ENTRIES_MIN)),
            1 => nodes(mapped, ENTRIES_MIN),
            _ => nodes(mapped, ENTRIES_MIN).saturating_add(nodes(mapped, COUNTS_MIN)),
        }
    }
}

/// The most blocks of metadata that a pool may come to need beyond what is in use now.
pub fn metadata_potential(
    trees: impl IntoIterator<Item = WritableTree>,
    free_data: DataBlocks,
) -> MetadataBlocks {
    let trees = trees.into_iter().map(WritableTree::potential).fold(0, u64::saturating_add);
    let new = nodes(free_data.get(), ENTRIES_MIN);
    MetadataBlocks::new(trees.saturating_add(new).saturating_add(RESERVE_BLOCKS))
}

/// What a copy of something of this size may add to the potential, before what it maps is looked up.
pub fn copy_potential(size: DataBlocks) -> u64 {
    WritableTree { mapped: size, relatives: 2 }.potential()
}

/// The most nodes of a tree with this many entries.
fn nodes(entries: u64, entries_min: u64) -> u64 {
    let mut level = entries.div_ceil(entries_min);
    let mut total = level;
    while level > 1 {
        level = level.div_ceil(ENTRIES_MIN);
        total += level;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_trees_that_are_a_third_full() {
        for (entries, expected) in [
            (0, 0),
            (1, 1),
            (84, 1),
            (85, 2 + 1),
            (84 * 84, 84 + 1),
            (84 * 84 + 1, 85 + 2 + 1),
            (1_000_000, 11905 + 142 + 2 + 1),
        ] {
            assert_eq!(nodes(entries, ENTRIES_MIN), expected, "{entries}");
        }
        assert!(nodes(u64::MAX, ENTRIES_MIN) < u64::MAX / 80);
    }

    #[test]
    fn sharing_counts_and_so_does_what_is_free() {
        let tree = |mapped, relatives| WritableTree { mapped: DataBlocks::new(mapped), relatives };
        assert_eq!(tree(84_000, 1).potential(), 1000 + 12 + 1);
        assert_eq!(tree(84_000, 0).potential(), 1013 - 333);
        assert_eq!(tree(84_000, 2).potential(), 1013 + 750 + 9 + 1);
        assert_eq!(copy_potential(DataBlocks::new(84_000)), tree(84_000, 7).potential());
        let need = metadata_potential([tree(84, 1), tree(84, 1)], DataBlocks::new(168));
        assert_eq!(need.get(), 1 + 1 + (2 + 1) + RESERVE_BLOCKS);
        let all = metadata_potential([tree(u64::MAX, 2); 9], DataBlocks::new(u64::MAX));
        assert!(all.get() > u64::MAX / 12);
    }
}
