//! One node of a B-tree, checked before anything in it is believed.

use super::checksum::BlockKind;
use super::error::{KeyRange, NodeFault};
use super::field::{BLOCK_BYTES, U32_BYTES, U64_BYTES, u32_at, u64_at};
use crate::aligned::AlignedBuffer;

// struct node_header, dm-btree-internal.h.
const CHECKSUM: usize = 0;
pub(super) const FLAGS: usize = CHECKSUM + U32_BYTES;
pub(super) const BLOCK_NUMBER: usize = FLAGS + U32_BYTES;
pub(super) const ENTRY_COUNT: usize = BLOCK_NUMBER + U64_BYTES;
pub(super) const MAX_ENTRIES: usize = ENTRY_COUNT + U32_BYTES;
pub(super) const VALUE_SIZE: usize = MAX_ENTRIES + U32_BYTES;
const PADDING: usize = VALUE_SIZE + U32_BYTES;
pub(super) const KEYS: usize = PADDING + U32_BYTES;

/// `INTERNAL_NODE`.
pub(super) const INTERNAL: u32 = 1;
/// `LEAF_NODE`.
pub(super) const LEAF: u32 = 2;

/// Bytes of a value in an internal node: a block number.
const CHILD_BYTES: usize = U64_BYTES;

/// A node that passed every check.
#[derive(Debug)]
pub(super) struct Node {
    bytes: AlignedBuffer,
    block: u64,
    internal: bool,
    entries: usize,
    values: usize,
    value_size: usize,
    keys: KeyRange,
}

impl Node {
    /// Checks the bytes of `block` as a node of a tree whose leaves hold values of
    /// `leaf_value_size` bytes, at a place that promises keys in `keys`.
    pub(super) fn parse(
        block: u64,
        bytes: AlignedBuffer,
        leaf_value_size: usize,
        keys: KeyRange,
    ) -> Result<Self, NodeFault> {
        let stored = BlockKind::stored(&bytes);
        let computed = BlockKind::Node.compute(&bytes);
        if stored != computed {
            return Err(NodeFault::Checksum { stored, computed });
        }
        let found = u64_at(&bytes, BLOCK_NUMBER);
        if found != block {
            return Err(NodeFault::BlockNumber { found });
        }
        let (internal, expected) = match u32_at(&bytes, FLAGS) {
            INTERNAL => (true, CHILD_BYTES),
            LEAF => (false, leaf_value_size),
            flags => return Err(NodeFault::Flags { flags }),
        };
        let value_size = to_size(u32_at(&bytes, VALUE_SIZE));
        if value_size != expected {
            return Err(NodeFault::ValueSize {
                found: u32_at(&bytes, VALUE_SIZE),
                expected: u32::try_from(expected).unwrap_or(u32::MAX),
            });
        }
        let (entries, values) = check_counts(&bytes, internal, value_size)?;
        let node = Self { bytes, block, internal, entries, values, value_size, keys };
        node.check_keys()?;
        Ok(node)
    }

    fn check_keys(&self) -> Result<(), NodeFault> {
        let mut previous = None;
        for (index, key) in (0..self.entries).map(|index| (index, self.key(index))) {
            if previous.is_some_and(|previous| key <= previous) {
                return Err(NodeFault::KeyOrder { index });
            }
            if !self.keys.contains(key) {
                return Err(NodeFault::KeyOutside { key });
            }
            previous = Some(key);
        }
        Ok(())
    }

    /// The block that this node was read from.
    pub(super) fn block(&self) -> u64 {
        self.block
    }

    /// The block as it is on disk.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the values are other nodes of the same tree.
    pub(super) fn is_internal(&self) -> bool {
        self.internal
    }

    /// The keys that the place of this node promises.
    pub(super) fn keys(&self) -> KeyRange {
        self.keys
    }

    /// How many entries there are.
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// The key of an entry.
    pub(super) fn key(&self, index: usize) -> u64 {
        u64_at(&self.bytes, KEYS + index * U64_BYTES)
    }

    /// The value of an entry.
    pub(super) fn value(&self, index: usize) -> &[u8] {
        let start = self.values + index * self.value_size;
        self.bytes.get(start..start + self.value_size).unwrap_or_default()
    }

    /// The value of an entry in an internal node, or of a tree that holds numbers.
    pub(super) fn number(&self, index: usize) -> u64 {
        u64_at(self.value(index), 0)
    }

    /// The last entry whose key is not above `key`.
    pub(super) fn find(&self, key: u64) -> Option<usize> {
        let (mut low, mut high) = (0, self.entries);
        while low < high {
            let middle = low.midpoint(high);
            if self.key(middle) <= key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.checked_sub(1)
    }

    /// The keys that the child at `index` may hold.
    pub(super) fn child_keys(&self, index: usize) -> KeyRange {
        let next = index + 1;
        let end = if next < self.entries { Some(self.key(next)) } else { self.keys.end };
        KeyRange { first: self.key(index), end }
    }
}

/// The number of entries, and where the values start.
fn check_counts(
    bytes: &[u8],
    internal: bool,
    value_size: usize,
) -> Result<(usize, usize), NodeFault> {
    let max_entries = u32_at(bytes, MAX_ENTRIES);
    let room = (BLOCK_BYTES - KEYS) / (U64_BYTES + value_size);
    if to_size(max_entries) > room {
        return Err(NodeFault::MaxEntries { max_entries });
    }
    let entries = u32_at(bytes, ENTRY_COUNT);
    if entries > max_entries || (internal && entries == 0) {
        return Err(NodeFault::EntryCount { entries, max_entries });
    }
    Ok((to_size(entries), KEYS + to_size(max_entries) * U64_BYTES))
}

fn to_size(field: u32) -> usize {
    usize::try_from(field).unwrap_or(usize::MAX)
}
