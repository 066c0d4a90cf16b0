//! Looking up keys in a tree, and walking it.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::error::{KeyRange, MetadataError, Tree};
use super::fault::NodeFault;
use super::node::Node;
use super::source::BlockSource;

/// `MAX_SPINE_DEPTH`, dm-btree.c: what the kernel itself is ready to walk.
pub(super) const MAX_DEPTH: usize = 63;

impl Tree {
    /// Bytes of a value in this tree's leaves.
    pub(super) const fn value_size(self) -> usize {
        match self {
            Self::Details => super::details::DETAILS_BYTES,
            Self::Devices | Self::Mappings(_) => super::field::U64_BYTES,
            Self::Bitmaps => super::space_map::INDEX_ENTRY_BYTES,
            Self::ReferenceCounts(_) => super::field::U32_BYTES,
        }
    }
}

/// Reads and checks one node.
pub(super) fn read_node(
    source: &dyn BlockSource,
    tree: Tree,
    block: u64,
    keys: KeyRange,
) -> Result<Node, MetadataError> {
    let block_count = source.block_count();
    if block >= block_count {
        return Err(damage(source, tree, block, keys, NodeFault::BeyondEnd { block_count }));
    }
    let bytes = source.read_block(block)?;
    Node::parse(block, bytes, tree.value_size(), keys)
        .map_err(|fault| damage(source, tree, block, keys, fault))
}

/// The error for a node that failed a check.
pub(super) fn damage(
    source: &dyn BlockSource,
    tree: Tree,
    block: u64,
    keys: KeyRange,
    fault: NodeFault,
) -> MetadataError {
    MetadataError::Node { device: source.name(), block, tree, keys, fault }
}

/// The value under one key.
pub(super) fn lookup(
    source: &dyn BlockSource,
    tree: Tree,
    root: u64,
    key: u64,
) -> Result<Option<Vec<u8>>, MetadataError> {
    Ok(lookup_many(source, tree, root, &[key])?.remove(&key))
}

/// The values under `keys`, which must ascend; each node on the way is read once.
pub(super) fn lookup_many(
    source: &dyn BlockSource,
    tree: Tree,
    root: u64,
    keys: &[u64],
) -> Result<BTreeMap<u64, Vec<u8>>, MetadataError> {
    let mut found = BTreeMap::new();
    let mut pending = vec![(Step { block: root, keys: KeyRange::ALL, depth: 0 }, keys)];
    while let Some((step, mut wanted)) = pending.pop() {
        if step.depth >= MAX_DEPTH {
            let fault = NodeFault::TooDeep { depth: step.depth };
            return Err(damage(source, tree, step.block, step.keys, fault));
        }
        let node = read_node(source, tree, step.block, step.keys)?;
        while let Some(&key) = wanted.first() {
            let Some(index) = node.find(key) else {
                wanted = &wanted[1..];
                continue;
            };
            if node.is_internal() {
                let keys = node.child_keys(index);
                let below = wanted.partition_point(|key| keys.contains(*key));
                let (inside, rest) = wanted.split_at(below.max(1));
                let child = Step { block: node.number(index), keys, depth: step.depth + 1 };
                pending.push((child, inside));
                wanted = rest;
            } else {
                if node.key(index) == key {
                    found.insert(key, node.value(index).to_vec());
                }
                wanted = &wanted[1..];
            }
        }
    }
    Ok(found)
}

/// The last entry of a tree: its key and value.
pub(super) fn last_entry(
    source: &dyn BlockSource,
    tree: Tree,
    root: u64,
) -> Result<Option<(u64, Vec<u8>)>, MetadataError> {
    let mut step = Step { block: root, keys: KeyRange::ALL, depth: 0 };
    loop {
        if step.depth >= MAX_DEPTH {
            let fault = NodeFault::TooDeep { depth: step.depth };
            return Err(damage(source, tree, step.block, step.keys, fault));
        }
        let node = read_node(source, tree, step.block, step.keys)?;
        let Some(last) = node.entries().checked_sub(1) else {
            return Ok(None);
        };
        if !node.is_internal() {
            return Ok(Some((node.key(last), node.value(last).to_vec())));
        }
        let (block, keys) = (node.number(last), node.child_keys(last));
        step = Step { block, keys, depth: step.depth + 1 };
    }
}

/// Where a walk or a lookup stands.
#[derive(Debug, Clone, Copy)]
struct Step {
    block: u64,
    keys: KeyRange,
    depth: usize,
}

/// What is done on a walk.
pub(super) trait Visitor {
    /// A pointer to `block` was met; `false` leaves out what is below it.
    fn enter(&mut self, tree: Tree, block: u64, keys: KeyRange) -> Result<bool, MetadataError>;

    /// A node cannot be used, nor what is below it. An error ends the walk.
    fn damaged(&mut self, damage: MetadataError) -> Result<(), MetadataError> {
        Err(damage)
    }

    /// A node was read.
    fn visit(&mut self, tree: Tree, node: &Node) -> Result<(), MetadataError>;
}

/// Walks a tree in the order of its keys.
pub(super) fn walk(
    source: &dyn BlockSource,
    tree: Tree,
    root: u64,
    visitor: &mut dyn Visitor,
) -> Result<(), MetadataError> {
    let mut ancestors: Vec<u64> = Vec::new();
    let mut pending = vec![Step { block: root, keys: KeyRange::ALL, depth: 0 }];
    while let Some(Step { block, keys, depth }) = pending.pop() {
        ancestors.truncate(depth);
        if ancestors.contains(&block) {
            visitor.damaged(damage(source, tree, block, keys, NodeFault::Cycle))?;
            continue;
        }
        if depth >= MAX_DEPTH {
            visitor.damaged(damage(source, tree, block, keys, NodeFault::TooDeep { depth }))?;
            continue;
        }
        if !visitor.enter(tree, block, keys)? {
            continue;
        }
        let node = match read_node(source, tree, block, keys) {
            Ok(node) => node,
            Err(damage) => {
                visitor.damaged(damage)?;
                continue;
            }
        };
        visitor.visit(tree, &node)?;
        if node.is_internal() {
            ancestors.push(block);
            pending.extend((0..node.entries()).rev().map(|index| Step {
                block: node.number(index),
                keys: node.child_keys(index),
                depth: depth + 1,
            }));
        }
    }
    Ok(())
}
