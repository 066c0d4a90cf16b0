//! Writing a B-tree from its sorted entries, bottom up.
#![forbid(unsafe_code)]

use super::checksum::BlockKind;
use super::error::MetadataError;
use super::field::{BLOCK_BYTES, U64_BYTES, put, put_u32, put_u64};
use super::image_writer::ImageWriter;
use super::node::{
    BLOCK_NUMBER, ENTRY_COUNT, FLAGS, INTERNAL, KEYS, LEAF, MAX_ENTRIES, VALUE_SIZE,
};
use super::reference_counts::ReferenceCounts;

/// Gives out the blocks of an image that nothing refers to.
#[derive(Debug)]
pub(super) struct Allocator {
    counts: ReferenceCounts,
    next: u64,
    device: String,
}

impl Allocator {
    /// Gives out what `counts` has free; `device` is for messages.
    pub(super) fn new(counts: ReferenceCounts, device: String) -> Self {
        Self { counts, next: 0, device }
    }

    /// Takes the next free block.
    pub(super) fn allocate(&mut self) -> Result<u64, MetadataError> {
        let block = self.counts.find_free(self.next).ok_or_else(|| MetadataError::NoRoom {
            device: self.device.clone(),
            total_blocks: self.counts.total_blocks(),
        })?;
        self.counts.increment(block);
        self.next = block + 1;
        Ok(block)
    }

    /// Counts one more pointer to a block that was given out.
    #[cfg(any(test, feature = "generator"))]
    pub(super) fn share(&mut self, block: u64) {
        self.counts.increment(block);
    }

    /// The counts, with every block that was given out.
    pub(super) fn counts(&self) -> &ReferenceCounts {
        &self.counts
    }
}

/// Writes a tree of `count` entries, which must ascend, into free blocks; gives its root.
///
/// Entries are spread evenly, because the kernel expects a third of the room in every node but
/// the root to be used.
pub(super) fn write_tree<const N: usize>(
    image: &mut ImageWriter<'_>,
    blocks: &mut Allocator,
    count: usize,
    entries: impl Iterator<Item = (u64, [u8; N])>,
) -> Result<u64, MetadataError> {
    let mut level = write_level(image, blocks, LEAF, count, entries)?;
    while level.len() > 1 {
        let children = level.iter().map(|(key, block)| (*key, block.to_le_bytes()));
        level = write_level(image, blocks, INTERNAL, level.len(), children)?;
    }
    Ok(level.first().map_or(0, |(_, root)| *root))
}

/// Writes the nodes of one level; gives the first key and the block of each.
fn write_level<const N: usize>(
    image: &mut ImageWriter<'_>,
    blocks: &mut Allocator,
    flags: u32,
    count: usize,
    mut entries: impl Iterator<Item = (u64, [u8; N])>,
) -> Result<Vec<(u64, u64)>, MetadataError> {
    let room = max_entries(N);
    let nodes = count.div_ceil(room).max(1);
    let mut written = Vec::with_capacity(nodes);
    for node in 0..nodes {
        let length = count / nodes + usize::from(node < count % nodes);
        let block = blocks.allocate()?;
        let first_key = write_node(image, block, flags, length, entries.by_ref().take(length))?;
        written.push((first_key, block));
    }
    Ok(written)
}

/// Writes one node of `length` entries into `block`; gives its first key.
pub(super) fn write_node<const N: usize>(
    image: &mut ImageWriter<'_>,
    block: u64,
    flags: u32,
    length: usize,
    entries: impl Iterator<Item = (u64, [u8; N])>,
) -> Result<u64, MetadataError> {
    let room = max_entries(N);
    let mut bytes = [0; BLOCK_BYTES];
    put_u32(&mut bytes, FLAGS, flags);
    put_u64(&mut bytes, BLOCK_NUMBER, block);
    put_u32(&mut bytes, ENTRY_COUNT, to_field(length));
    put_u32(&mut bytes, MAX_ENTRIES, to_field(room));
    put_u32(&mut bytes, VALUE_SIZE, to_field(N));
    let mut first_key = 0;
    for (index, (key, value)) in entries.enumerate() {
        if index == 0 {
            first_key = key;
        }
        put_u64(&mut bytes, KEYS + index * U64_BYTES, key);
        put(&mut bytes, KEYS + room * U64_BYTES + index * N, &value);
    }
    BlockKind::Node.seal(&mut bytes);
    image.write(block, &bytes)?;
    Ok(first_key)
}

/// `calc_max_entries`, dm-btree.c: a multiple of three, so that three nodes can share evenly.
const fn max_entries(value_size: usize) -> usize {
    let room = (BLOCK_BYTES - KEYS) / (U64_BYTES + value_size);
    room / 3 * 3
}

fn to_field(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::btree::{last_entry, lookup};
    use super::super::error::Tree;
    use super::super::field::u64_at;
    use super::super::source::ImageFile;
    use super::*;
    use crate::units::ThinId;

    #[test]
    fn rooms_are_the_kernels() {
        assert_eq!([4, 8, 16, 24].map(max_entries), [336, 252, 168, 126]);
    }

    #[test]
    fn every_size_reads_back() {
        let tree = Tree::Mappings(ThinId::MAX);
        for count in [0, 1, 252, 253, 504, 505, 252 * 252, 252 * 252 + 1] {
            let file = tempfile::NamedTempFile::new().unwrap();
            let mut image = ImageWriter::new(file.as_file(), 400).unwrap();
            let mut blocks = Allocator::new(ReferenceCounts::new(400), String::new());
            let entries = (0..count as u64).map(|n| (n * 3 + 1, (n + 7).to_le_bytes()));
            let root = write_tree(&mut image, &mut blocks, count, entries).unwrap();
            let source = ImageFile::open(file.path()).unwrap();
            for n in (0..count as u64).step_by(97).chain(count.checked_sub(1).map(|n| n as u64)) {
                let value = lookup(&source, tree, root, n * 3 + 1).unwrap().unwrap();
                assert_eq!(u64_at(&value, 0), n + 7);
                assert_eq!(lookup(&source, tree, root, n * 3 + 2).unwrap(), None);
            }
            let last = last_entry(&source, tree, root).unwrap().map(|(key, _)| key);
            assert_eq!(last, (count as u64).checked_sub(1).map(|n| n * 3 + 1));
        }
    }

    #[test]
    fn a_full_image_is_reported() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut image = ImageWriter::new(file.as_file(), 2).unwrap();
        let mut blocks = Allocator::new(ReferenceCounts::new(2), String::new());
        let entries = (0..505).map(|n| (n, [0; 8]));
        let error = write_tree(&mut image, &mut blocks, 505, entries).unwrap_err();
        assert!(matches!(error, MetadataError::NoRoom { total_blocks: 2, .. }), "{error}");
    }
}
