//! The tree of one volume that changes and shares what it was with its snapshots.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::ops::Range;

use super::super::error::MetadataError;
use super::super::image_writer::ImageWriter;
use super::super::mappings::TIME_BITS;
use super::super::node::{INTERNAL, LEAF};
use super::super::reference_counts::ReferenceCounts;
use super::super::tree_writer::{Allocator, write_node};

/// Where trees go, and what counts the references that they make.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) image: ImageWriter<'a>,
    pub(super) blocks: Allocator,
    pub(super) data: ReferenceCounts,
}

/// One level of a tree: its nodes share `entries` evenly, because the kernel expects a third of
/// the room in every node but the root to be used.
#[derive(Debug)]
struct Level {
    entries: usize,
    blocks: Vec<u64>,
}

impl Level {
    fn new(entries: usize, node_entries: usize) -> Self {
        Self { entries, blocks: vec![0; entries.div_ceil(node_entries).max(1)] }
    }

    /// The entries of one node.
    fn of_node(&self, node: usize) -> Range<usize> {
        let nodes = self.blocks.len();
        node * self.entries / nodes..(node + 1) * self.entries / nodes
    }

    /// The node that holds an entry.
    fn node_of(&self, entry: usize) -> usize {
        ((entry + 1) * self.blocks.len() - 1) / self.entries
    }
}

/// A volume whose virtual blocks from 0 on are all mapped. Changing a mapping never moves a key,
/// so the shape of its tree stays: what changes is copied, as the kernel does it, and no more.
#[derive(Debug)]
pub(super) struct Volume {
    /// The packed mapping of each virtual block.
    mappings: Vec<u64>,
    /// From the leaves to the root.
    levels: Vec<Level>,
}

impl Volume {
    /// Maps the virtual blocks to `data` at `time` and writes the tree.
    pub(super) fn write(
        target: &mut Target<'_>,
        data: Vec<u64>,
        time: u32,
        node_entries: usize,
    ) -> Result<Self, MetadataError> {
        let mappings: Vec<u64> = data.into_iter().map(|block| pack(block, time)).collect();
        let mut levels = vec![Level::new(mappings.len(), node_entries)];
        while let Some(nodes) = levels.last().map(|level| level.blocks.len()).filter(|n| *n > 1) {
            levels.push(Level::new(nodes, node_entries));
        }
        let leaves = levels.first().map_or(0, |level| level.blocks.len());
        let mut volume = Self { mappings, levels };
        volume.copy(target, (0..leaves).collect())?;
        Ok(volume)
    }

    /// The block of the root.
    pub(super) fn root(&self) -> u64 {
        self.levels.last().and_then(|level| level.blocks.first()).copied().unwrap_or(0)
    }

    /// The packed mapping of each virtual block.
    pub(super) fn mappings(&self) -> &[u64] {
        &self.mappings
    }

    /// Maps `keys` to the data blocks from `data` on, while something else keeps the old tree.
    pub(super) fn remap(
        &mut self,
        target: &mut Target<'_>,
        keys: &BTreeSet<u64>,
        data: u64,
        time: u32,
    ) -> Result<(), MetadataError> {
        let mut leaves = BTreeSet::new();
        for (key, block) in keys.iter().zip(data..) {
            let key = usize::try_from(*key).unwrap_or(usize::MAX);
            if let (Some(mapping), Some(level)) = (self.mappings.get_mut(key), self.levels.first())
            {
                *mapping = pack(block, time);
                leaves.insert(level.node_of(key));
            }
        }
        if leaves.is_empty() {
            target.blocks.share(self.root());
        }
        self.copy(target, leaves)
    }

    /// Writes `leaves`, and all nodes above them, into new blocks. Each new node has the one
    /// pointer that its place had; a node that a new parent shares with the old one gets one more.
    fn copy(
        &mut self,
        target: &mut Target<'_>,
        leaves: BTreeSet<usize>,
    ) -> Result<(), MetadataError> {
        let mut below = BTreeSet::new();
        let mut nodes = leaves;
        for depth in 0..self.levels.len() {
            for node in &nodes {
                let block = target.blocks.allocate()?;
                if let Some(place) = self.levels[depth].blocks.get_mut(*node) {
                    *place = block;
                }
                self.write_node(target, depth, *node, &below)?;
            }
            below = nodes;
            let above = self.levels.get(depth + 1);
            nodes = above.map_or_else(BTreeSet::new, |level| {
                below.iter().map(|node| level.node_of(*node)).collect()
            });
        }
        Ok(())
    }

    /// Writes one node; of its children, those in `renewed` are new themselves.
    fn write_node(
        &self,
        target: &mut Target<'_>,
        depth: usize,
        node: usize,
        renewed: &BTreeSet<usize>,
    ) -> Result<(), MetadataError> {
        let level = &self.levels[depth];
        let entries = level.of_node(node);
        let block = level.blocks[node];
        if depth == 0 {
            for mapping in &self.mappings[entries.clone()] {
                target.data.increment(mapping >> TIME_BITS);
            }
        } else {
            let children = &self.levels[depth - 1].blocks;
            for child in entries.clone().filter(|child| !renewed.contains(child)) {
                target.blocks.share(children[child]);
            }
        }
        let flags = if depth == 0 { LEAF } else { INTERNAL };
        let values =
            depth.checked_sub(1).map_or(&self.mappings, |below| &self.levels[below].blocks);
        let length = entries.len();
        let entries =
            entries.map(|entry| (self.first_key(depth, entry), values[entry].to_le_bytes()));
        write_node(&mut target.image, block, flags, length, entries)?;
        Ok(())
    }

    /// The key of an entry in a level.
    fn first_key(&self, depth: usize, entry: usize) -> u64 {
        let levels = self.levels[..depth].iter().rev();
        levels.fold(entry, |entry, level| level.of_node(entry).start) as u64
    }
}

/// `pack_block_time`, dm-thin-metadata.c.
fn pack(block: u64, time: u32) -> u64 {
    block << TIME_BITS | u64::from(time)
}
