//! How high device trees are. The kernel keeps every tree balanced, so the height of a node is a
//! property of the node itself, whichever way leads to it; following first children down finds it.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::error::{KeyRange, MetadataError};
use super::fault::NodeFault;
use super::fetch::{Fetched, fetch};
use super::field::U64_BYTES;
use super::node::{Node, Shape};
use super::source::BlockSource;

/// `MAX_SPINE_DEPTH`, dm-btree.c: what the kernel itself is ready to walk.
const MAX_HEIGHT: usize = 63;

/// A node that was read to find a height, kept so that it is not read again.
pub(super) type Kept = Result<Node<Box<[u8]>>, NodeFault>;

/// The heights of some trees, and the nodes that were read to find them.
///
/// Memory: 16 bytes for each entry of the nodes on the first way down every distinct tree.
pub(super) struct Heights<'a> {
    source: &'a dyn BlockSource,
    kept: HashMap<u64, Kept>,
    /// Known heights; `None` where no way down ends at a leaf, or is still being tried.
    known: HashMap<u64, Option<usize>>,
}

impl<'a> Heights<'a> {
    /// Reads the first way down from each of `roots`, all of a level at once.
    pub(super) fn probe(source: &'a dyn BlockSource, roots: &[u64]) -> Result<Self, MetadataError> {
        let mut heights = Self { source, kept: HashMap::new(), known: HashMap::new() };
        let mut frontier = roots.to_vec();
        while !frontier.is_empty() {
            frontier.sort_unstable();
            frontier.dedup();
            frontier.retain(|block| !heights.kept.contains_key(block));
            let mut below = Vec::new();
            let read = std::mem::take(&mut frontier);
            fetch(
                source,
                &read,
                &|place, bytes| check(&read, place, bytes),
                &mut |place, node| {
                    let kept = keep(node);
                    if let Some(child) = kept.as_ref().ok().and_then(first_child) {
                        below.push(child);
                    }
                    heights.kept.insert(read.get(place).copied().unwrap_or_default(), kept);
                    Ok(())
                },
            )?;
            frontier = below;
        }
        Ok(heights)
    }

    /// The height of the tree below `root`: 0 for a leaf. `None` when no leaf can be reached,
    /// which on sound metadata does not happen.
    pub(super) fn of(&mut self, root: u64) -> Option<usize> {
        self.search(root, 0)
    }

    /// Tries the children in turn: a damaged first child must not hide the rest of its tree. Every
    /// node is tried once, so that a cycle ends.
    fn search(&mut self, block: u64, depth: usize) -> Option<usize> {
        if let Some(height) = self.known.get(&block) {
            return *height;
        }
        if depth > MAX_HEIGHT {
            return None;
        }
        self.known.insert(block, None);
        let children = match self.node(block) {
            Ok(node) if !node.is_internal() => {
                self.known.insert(block, Some(0));
                return Some(0);
            }
            Ok(node) => (0..node.entries()).map(|index| node.number(index)).collect(),
            Err(_) => Vec::new(),
        };
        let below = children.into_iter().find_map(|child| self.search(child, depth + 1));
        let height = below.map(|below| below + 1);
        self.known.insert(block, height);
        height
    }

    fn node(&mut self, block: u64) -> &Kept {
        let source = self.source;
        self.kept.entry(block).or_insert_with(|| {
            if block >= source.block_count() {
                return Err(NodeFault::BeyondEnd { block_count: source.block_count() });
            }
            let bytes = source.read_block(block).map_err(|error| unreadable(&error))?;
            let node = Node::parse(block, &bytes[..], U64_BYTES, KeyRange::ALL)?;
            Ok(node.compact())
        })
    }

    /// Takes a node that was read already.
    pub(super) fn take(&mut self, block: u64) -> Option<Kept> {
        self.kept.remove(&block)
    }

    /// Whether a node was read already.
    pub(super) fn holds(&self, block: u64) -> bool {
        self.kept.contains_key(&block)
    }
}

/// The fault of a block that the device does not give.
pub(super) fn unreadable(error: &MetadataError) -> NodeFault {
    match error {
        MetadataError::BeyondEnd { block_count, .. } => {
            NodeFault::BeyondEnd { block_count: *block_count }
        }
        error => NodeFault::Unreadable { reason: error.to_string() },
    }
}

fn check(blocks: &[u64], place: usize, bytes: &[u8]) -> Result<Shape, NodeFault> {
    let block = blocks.get(place).copied().unwrap_or_default();
    Node::parse(block, bytes, U64_BYTES, KeyRange::ALL).map(|node| node.shape())
}

fn keep(fetched: Fetched<'_, Result<Shape, NodeFault>>) -> Kept {
    match fetched {
        Ok((shape, bytes)) => Ok(Node::checked(shape?, bytes).compact()),
        Err(error) => Err(unreadable(&error)),
    }
}

fn first_child(node: &Node<Box<[u8]>>) -> Option<u64> {
    (node.is_internal() && node.entries() > 0).then(|| node.number(0))
}
