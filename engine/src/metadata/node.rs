//! One node of a B-tree, checked before anything in it is believed.
#![forbid(unsafe_code)]

use std::ops::Deref;

use super::checksum::BlockKind;
use super::error::KeyRange;
use super::fault::{NodeFault, NodeKind};
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

/// A node that passed every check, over bytes that it owns or that lie in a longer read.
#[derive(Debug)]
pub(super) struct Node<B = AlignedBuffer> {
    bytes: B,
    shape: Shape,
}

/// What the checks found out about a node: its bytes can be looked at again without them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    block: u64,
    internal: bool,
    entries: usize,
    values: usize,
    value_size: usize,
    keys: KeyRange,
}

impl<B: Deref<Target = [u8]>> Node<B> {
    /// Checks the bytes of `block` as a node of a tree whose leaves hold values of
    /// `leaf_value_size` bytes, at a place that promises keys in `keys`.
    pub(super) fn parse(
        block: u64,
        bytes: B,
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
        let shape = Shape { block, internal, entries, values, value_size, keys };
        let node = Self { bytes, shape };
        node.check_keys()?;
        Ok(node)
    }

    /// A node that was checked before, over the same bytes.
    pub(super) fn checked(shape: Shape, bytes: B) -> Self {
        Self { bytes, shape }
    }

    /// What the checks found out.
    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    fn check_keys(&self) -> Result<(), NodeFault> {
        let mut previous = None;
        for (index, key) in (0..self.shape.entries).map(|index| (index, self.key(index))) {
            if previous.is_some_and(|previous| key <= previous) {
                return Err(NodeFault::KeyOrder { index });
            }
            if !self.shape.keys.contains(key) {
                return Err(NodeFault::KeyOutside { key });
            }
            previous = Some(key);
        }
        Ok(())
    }

    /// What it is.
    pub(super) fn kind(&self) -> NodeKind {
        if self.shape.internal { NodeKind::Internal } else { NodeKind::Leaf }
    }

    /// A copy with room for the entries that there are and no more, checked already.
    pub(super) fn compact(&self) -> Node<Box<[u8]>> {
        let Shape { entries, values, value_size, .. } = self.shape;
        let keys = self.bytes.get(..KEYS + entries * U64_BYTES).unwrap_or_default();
        let stored = self.bytes.get(values..values + entries * value_size).unwrap_or_default();
        let shape = Shape { values: keys.len(), ..self.shape };
        Node { bytes: [keys, stored].concat().into_boxed_slice(), shape }
    }

    /// The same node at a place that promises other keys than those it was checked against.
    pub(super) fn at(self, keys: KeyRange) -> Result<Self, NodeFault> {
        let shape = Shape { keys, ..self.shape };
        let ends = [0, self.shape.entries.saturating_sub(1)];
        for index in ends.into_iter().filter(|index| *index < self.shape.entries) {
            let key = self.key(index);
            if !keys.contains(key) {
                return Err(NodeFault::KeyOutside { key });
            }
        }
        Ok(Self { shape, ..self })
    }

    /// The block that this node was read from.
    pub(super) fn block(&self) -> u64 {
        self.shape.block
    }

    /// The block as it is on disk.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the values are other nodes of the same tree.
    pub(super) fn is_internal(&self) -> bool {
        self.shape.internal
    }

    /// The keys that the place of this node promises.
    pub(super) fn keys(&self) -> KeyRange {
        self.shape.keys
    }

    /// How many entries there are.
    pub(super) fn entries(&self) -> usize {
        self.shape.entries
    }

    /// The key of an entry.
    pub(super) fn key(&self, index: usize) -> u64 {
        u64_at(&self.bytes, KEYS + index * U64_BYTES)
    }

    /// The value of an entry.
    pub(super) fn value(&self, index: usize) -> &[u8] {
        let start = self.shape.values + index * self.shape.value_size;
        self.bytes.get(start..start + self.shape.value_size).unwrap_or_default()
    }

    /// The value of an entry in an internal node, or of a tree that holds numbers.
    pub(super) fn number(&self, index: usize) -> u64 {
        u64_at(self.value(index), 0)
    }

    /// The last entry whose key is not above `key`.
    pub(super) fn find(&self, key: u64) -> Option<usize> {
        let (mut low, mut high) = (0, self.shape.entries);
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
        let end =
            if next < self.shape.entries { Some(self.key(next)) } else { self.shape.keys.end };
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

#[cfg(test)]
mod tests {
    use super::super::field::{put, put_u32, put_u64};
    use super::*;

    const RANGE: KeyRange = KeyRange { first: 10, end: Some(100) };

    /// A leaf of three entries in block 7.
    fn leaf() -> AlignedBuffer {
        let mut bytes = AlignedBuffer::zeroed(BLOCK_BYTES);
        put_u32(&mut bytes, FLAGS, LEAF);
        put_u64(&mut bytes, BLOCK_NUMBER, 7);
        put_u32(&mut bytes, ENTRY_COUNT, 3);
        put_u32(&mut bytes, MAX_ENTRIES, 252);
        put_u32(&mut bytes, VALUE_SIZE, 8);
        for (index, key) in [10, 20, 99].into_iter().enumerate() {
            put_u64(&mut bytes, KEYS + index * U64_BYTES, key);
            put_u64(&mut bytes, KEYS + 252 * U64_BYTES + index * U64_BYTES, key * 1000);
        }
        bytes
    }

    fn parse_with(offset: usize, field: &[u8]) -> Result<Node, NodeFault> {
        let mut bytes = leaf();
        put(&mut bytes, offset, field);
        BlockKind::Node.seal(&mut bytes);
        Node::parse(7, bytes, 8, RANGE)
    }

    #[test]
    fn finds_the_largest_key_not_above() {
        let node = parse_with(0, &[]).unwrap();
        let found: Vec<_> = [0, 9, 10, 19, 20, 98, 99, u64::MAX].map(|key| node.find(key)).into();
        assert_eq!(found, [None, None, Some(0), Some(0), Some(1), Some(1), Some(2), Some(2)]);
        assert_eq!((node.number(2), node.value(1)), (99_000, &20_000_u64.to_le_bytes()[..]));
        assert_eq!(node.child_keys(0), KeyRange { first: 10, end: Some(20) });
        assert_eq!(node.child_keys(2), KeyRange { first: 99, end: Some(100) });
    }

    #[test]
    fn every_damaged_field_is_named() {
        let fault = |offset, field: &[u8]| parse_with(offset, field).unwrap_err();
        assert_eq!(fault(BLOCK_NUMBER, &[8]), NodeFault::BlockNumber { found: 8 });
        assert_eq!(fault(FLAGS, &[0]), NodeFault::Flags { flags: 0 });
        assert_eq!(fault(FLAGS, &[3]), NodeFault::Flags { flags: 3 });
        assert_eq!(fault(VALUE_SIZE, &[24]), NodeFault::ValueSize { found: 24, expected: 8 });
        assert_eq!(fault(MAX_ENTRIES, &[255]), NodeFault::MaxEntries { max_entries: 255 });
        assert_eq!(fault(MAX_ENTRIES, &[2]), NodeFault::EntryCount { entries: 3, max_entries: 2 });
        let too_many = NodeFault::EntryCount { entries: 253, max_entries: 252 };
        assert_eq!(fault(ENTRY_COUNT, &[253]), too_many);
        assert_eq!(fault(KEYS + U64_BYTES, &[10]), NodeFault::KeyOrder { index: 1 });
        assert_eq!(fault(KEYS, &[9]), NodeFault::KeyOutside { key: 9 });
        assert_eq!(fault(KEYS + 2 * U64_BYTES, &[100]), NodeFault::KeyOutside { key: 100 });
        let mut empty = leaf();
        put_u32(&mut empty, FLAGS, INTERNAL);
        put_u32(&mut empty, ENTRY_COUNT, 0);
        BlockKind::Node.seal(&mut empty);
        let nothing = NodeFault::EntryCount { entries: 0, max_entries: 252 };
        assert_eq!(Node::parse(7, empty, 8, RANGE).unwrap_err(), nothing);
        for offset in [0, FLAGS, PADDING, KEYS, BLOCK_BYTES - 1] {
            let mut bytes = leaf();
            BlockKind::Node.seal(&mut bytes);
            bytes[offset] ^= 0x80;
            let fault = Node::parse(7, bytes, 8, RANGE).unwrap_err();
            assert!(matches!(fault, NodeFault::Checksum { .. }), "{offset}: {fault}");
        }
    }
}
