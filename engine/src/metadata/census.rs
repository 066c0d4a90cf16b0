//! Counting the references to every block that one superblock leads to, each node read once.
#![forbid(unsafe_code)]

use std::collections::HashSet;

use super::btree::{Visitor, damage, walk};
use super::details::thin_id;
use super::error::{KeyRange, MetadataError, Tree};
use super::fault::NodeFault;
use super::mappings::TIME_BITS;
use super::node::Node;
use super::reference_counts::ReferenceCounts;
use super::source::BlockSource;
use super::superblock::{SUPERBLOCK_LOCATION, Superblock};
use crate::units::ThinId;

/// What the census does with each node; it gets each once.
pub(super) type NodeSink<'a> = dyn FnMut(&Node) -> Result<(), MetadataError> + 'a;

/// What a census found.
#[derive(Debug)]
pub(super) struct Counted {
    /// References to metadata blocks, the live superblock's own included.
    pub(super) metadata: ReferenceCounts,
    /// References to data blocks.
    pub(super) data: ReferenceCounts,
}

/// Counts every reference below `superblock`.
///
/// Memory: that of both [`ReferenceCounts`], 16 bytes for each device, and some 10 bytes for each
/// node above the device trees.
pub(super) fn count(
    source: &dyn BlockSource,
    superblock: &Superblock,
    mut counted: Counted,
    sink: &mut NodeSink<'_>,
) -> Result<Counted, MetadataError> {
    counted.metadata.increment(SUPERBLOCK_LOCATION);
    let upper = HashSet::from([SUPERBLOCK_LOCATION]);
    let mut census = Census { source, counted, upper, devices: Vec::new(), sink };
    walk(source, Tree::Details, superblock.device_details_root, &mut census)?;
    walk(source, Tree::Devices, superblock.data_mapping_root, &mut census)?;
    for (id, root) in std::mem::take(&mut census.devices) {
        walk(source, Tree::Mappings(id), root, &mut census)?;
    }
    Ok(census.counted)
}

struct Census<'a, 'sink> {
    source: &'a dyn BlockSource,
    counted: Counted,
    /// Blocks that no device tree may reach; only device trees share nodes.
    upper: HashSet<u64>,
    devices: Vec<(ThinId, u64)>,
    sink: &'a mut NodeSink<'sink>,
}

impl Visitor for Census<'_, '_> {
    fn enter(&mut self, tree: Tree, block: u64, keys: KeyRange) -> Result<bool, MetadataError> {
        let total = self.counted.metadata.total_blocks();
        let Some(before) = self.counted.metadata.increment(block) else {
            let fault = NodeFault::BeyondEnd { block_count: total };
            return Err(damage(self.source, tree, block, keys, fault));
        };
        let unshared = !matches!(tree, Tree::Mappings(_));
        if self.upper.contains(&block) || (unshared && before > 0) {
            return Err(damage(self.source, tree, block, keys, NodeFault::Reused));
        }
        if unshared {
            self.upper.insert(block);
        }
        Ok(before == 0)
    }

    fn visit(&mut self, tree: Tree, node: &Node) -> Result<(), MetadataError> {
        (self.sink)(node)?;
        if node.is_internal() {
            return Ok(());
        }
        for index in 0..node.entries() {
            match tree {
                Tree::Details => {
                    thin_id(self.source, tree, node, index)?;
                }
                Tree::Devices => {
                    let id = thin_id(self.source, tree, node, index)?;
                    self.devices.push((id, node.number(index)));
                }
                Tree::Mappings(_) => self.count_mapping(tree, node, index)?,
                Tree::Bitmaps | Tree::ReferenceCounts(_) => {}
            }
        }
        Ok(())
    }
}

impl Census<'_, '_> {
    fn count_mapping(
        &mut self,
        tree: Tree,
        node: &Node,
        index: usize,
    ) -> Result<(), MetadataError> {
        let data_block = node.number(index) >> TIME_BITS;
        if self.counted.data.increment(data_block).is_some() {
            return Ok(());
        }
        let total = self.counted.data.total_blocks();
        let fault = NodeFault::DataBlockBeyondEnd { key: node.key(index), data_block, total };
        Err(damage(self.source, tree, node.block(), node.keys(), fault))
    }
}
