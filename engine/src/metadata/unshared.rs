//! What of a device no other tree reaches: that much a delete has to take apart.
#![forbid(unsafe_code)]

use std::ops::Range;

use super::btree;
use super::checksum::BlockKind;
use super::error::{KeyRange, MetadataError, SpaceMapKind, Tree};
use super::fault::NodeFault;
use super::field::u64_at;
use super::node::Node;
use super::proof::settled_superblock;
use super::reference_counts::{BITMAP_HEADER_BYTES, ENTRIES_PER_BITMAP, bitmap_count};
use super::source::BlockSource;
use super::space_map::{INDEX_ENTRIES, INDEX_ENTRY_BYTES, IndexEntry, MAX_METADATA_BITMAPS};
use super::superblock::Superblock;
use crate::aligned::AlignedBuffer;
use crate::units::ThinId;

/// A busy pool commits while its bitmaps are read.
const MAX_ATTEMPTS: u32 = 64;

/// The leaves that only one device's tree reaches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unshared {
    /// The virtual blocks that they map, from first to last; ascending. Between two ranges nothing is
    /// mapped, or a leaf is shared.
    pub ranges: Vec<Range<u64>>,
    /// How many blocks they map.
    pub mapped_blocks: u64,
}

/// Finds the leaves of a device that no other tree reaches, by the reference counts of their blocks
/// and of those above them; what is shared is not read. Only for a device that nobody writes to or
/// takes a snapshot of: what only it reaches stays so while the pool goes on.
///
/// A held metadata snapshot shares what is above the device's own root, which is not looked at.
pub fn unshared(source: &dyn BlockSource, id: ThinId) -> Result<Unshared, MetadataError> {
    let mut before = settled_superblock(source)?;
    for _ in 0..MAX_ATTEMPTS {
        let key = u64::from(id.get());
        let top = btree::lookup(source, Tree::Devices, before.data_mapping_root, key);
        let counts = Counts::read(source, &before);
        let after = settled_superblock(source)?;
        if after == before {
            let mut leaves = Leaves { counts: counts?, found: Unshared::default() };
            if let Some(root) = top?.map(|value| u64_at(&value, 0)) {
                btree::walk(source, Tree::Mappings(id), root, &mut leaves)?;
            }
            return Ok(leaves.found);
        }
        before = after;
    }
    Err(MetadataError::Moving { device: source.name(), attempts: MAX_ATTEMPTS })
}

/// The bitmaps of the metadata space map.
struct Counts(Vec<AlignedBuffer>);

impl Counts {
    fn read(source: &dyn BlockSource, superblock: &Superblock) -> Result<Self, MetadataError> {
        let map = &superblock.metadata_space_map;
        let count = map.total_blocks.div_ceil(ENTRIES_PER_BITMAP).min(MAX_METADATA_BITMAPS);
        let index = read(source, BlockKind::Index, map.bitmap_root)?;
        let entries = index.get(INDEX_ENTRIES..).unwrap_or_default();
        let entries = (0..count).zip(entries.chunks_exact(INDEX_ENTRY_BYTES));
        entries
            .map(|(_, bytes)| read(source, BlockKind::Bitmap, IndexEntry::parse(bytes).block))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether exactly one pointer leads to a block.
    fn is_single(&self, block: u64) -> bool {
        let bitmap = usize::try_from(block / ENTRIES_PER_BITMAP).ok().and_then(|at| self.0.get(at));
        let entries = bitmap.and_then(|bytes| bytes.get(BITMAP_HEADER_BYTES..));
        entries.and_then(|entries| bitmap_count(entries, block)) == Some(1)
    }
}

fn read(
    source: &dyn BlockSource,
    kind: BlockKind,
    block: u64,
) -> Result<AlignedBuffer, MetadataError> {
    let bytes = source.read_block(block)?;
    let (stored, computed) = (BlockKind::stored(&bytes), kind.compute(&bytes));
    if stored == computed {
        return Ok(bytes);
    }
    let tree = Tree::ReferenceCounts(SpaceMapKind::Metadata);
    let fault = NodeFault::Checksum { stored, computed };
    Err(btree::damage(source, tree, block, KeyRange::ALL, fault))
}

/// Collects leaves that are reached by one pointer, through nodes that are.
struct Leaves {
    counts: Counts,
    found: Unshared,
}

impl btree::Visitor for Leaves {
    fn enter(&mut self, _: Tree, block: u64, _: KeyRange) -> Result<bool, MetadataError> {
        Ok(self.counts.is_single(block))
    }

    fn visit(&mut self, _: Tree, node: &Node) -> Result<(), MetadataError> {
        let Some(last) = node.entries().checked_sub(1).filter(|_| !node.is_internal()) else {
            return Ok(());
        };
        let (first, end) = (node.key(0), node.key(last).saturating_add(1));
        match self.found.ranges.last_mut() {
            Some(before) if before.end == first => before.end = end,
            _ => self.found.ranges.push(first..end),
        }
        self.found.mapped_blocks += node.entries() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::super::fixture::superblock_of;
    use super::super::generate::{Shape, Spread, generate};
    use super::super::mappings::device_roots;
    use super::*;

    /// Every leaf of a device: its block, its keys.
    #[derive(Default)]
    struct All(Vec<(u64, Range<u64>)>);

    impl btree::Visitor for All {
        fn enter(&mut self, _: Tree, _: u64, _: KeyRange) -> Result<bool, MetadataError> {
            Ok(true)
        }

        fn visit(&mut self, _: Tree, node: &Node) -> Result<(), MetadataError> {
            if !node.is_internal() {
                let end = node.key(node.entries() - 1) + 1;
                self.0.push((node.block(), node.key(0)..end));
            }
            Ok(())
        }
    }

    #[test]
    fn they_are_the_leaves_that_one_device_reaches() {
        let alone = Shape::one_volume(60_000);
        for shape in [
            Shape::snapshots(60_000, 5, Spread::Clustered),
            Shape::snapshots(60_000, 5, Spread::Random),
            Shape { changed_blocks: 0, ..Shape::snapshots(5000, 2, Spread::Random) },
            alone.clone(),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            let generated = generate(&shape, file.as_file()).unwrap();
            let image = fs::read(file.path()).unwrap();
            let root = superblock_of(&image).data_mapping_root;
            let mut leaves = BTreeMap::new();
            let mut reached: BTreeMap<u64, u32> = BTreeMap::new();
            for (id, root) in device_roots(&image, root).unwrap() {
                let mut all = All::default();
                btree::walk(&image, Tree::Mappings(id), root, &mut all).unwrap();
                all.0.iter().for_each(|(block, _)| *reached.entry(*block).or_default() += 1);
                leaves.insert(id, all.0);
            }
            let mut found_any = false;
            for id in &generated.devices {
                let own = leaves[id].iter().filter(|(block, _)| reached[block] == 1);
                let expected: Vec<u64> = own.flat_map(|(_, keys)| keys.clone()).collect();
                let found = unshared(&image, *id).unwrap();
                found_any |= found.mapped_blocks > 0;
                assert_eq!(found.mapped_blocks, expected.len() as u64);
                let keys: Vec<u64> = found.ranges.into_iter().flatten().collect();
                assert_eq!(keys, expected, "{shape:?}, device {id}");
            }
            assert_eq!(found_any, shape.changed_blocks > 0 || shape.snapshots_each == 0);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        let generated = generate(&alone, file.as_file()).unwrap();
        let image = fs::read(file.path()).unwrap();
        let all = unshared(&image, generated.devices[0]).unwrap();
        assert_eq!(all.ranges.first(), Some(&(0..60_000)));
        assert_eq!((all.ranges.len(), all.mapped_blocks), (1, 60_000));
        assert_eq!(unshared(&image, ThinId::new(99).unwrap()).unwrap(), Unshared::default());
    }
}
