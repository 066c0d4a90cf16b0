//! One of two trees, on its way from the first key to the last.
#![forbid(unsafe_code)]

use std::collections::VecDeque;

use super::super::btree::{MAX_DEPTH, damage, read_node};
use super::super::error::{KeyRange, MetadataError, Tree};
use super::super::fault::NodeFault;
use super::super::mappings::TIME_BITS;
use super::super::node::Node;
use super::super::source::BlockSource;

/// A node that is pointed to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pointer {
    pub(super) block: u64,
    pub(super) keys: KeyRange,
    /// Levels above an arbitrary one that is the same in both trees.
    pub(super) height: i32,
}

/// What comes next on a side.
#[derive(Debug, Clone, Copy)]
pub(super) enum Head {
    End,
    Entry { key: u64, data_block: u64 },
    Subtree(Pointer),
}

impl Head {
    /// The least key that is left; nothing sorts last.
    pub(super) fn first(self) -> (bool, u64) {
        match self {
            Self::End => (true, 0),
            Self::Entry { key, .. } => (false, key),
            Self::Subtree(pointer) => (false, pointer.keys.first),
        }
    }

    /// A mapping is below every node.
    pub(super) fn height(self) -> i32 {
        match self {
            Self::Subtree(pointer) => pointer.height,
            Self::End | Self::Entry { .. } => i32::MIN,
        }
    }
}

/// Reads the nodes of both sides, and sees that all leaves lie at the same height.
pub(super) struct Reader<'a> {
    source: &'a dyn BlockSource,
    pub(super) nodes_read: u64,
    leaf_height: Option<i32>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a dyn BlockSource) -> Self {
        Self { source, nodes_read: 0, leaf_height: None }
    }

    pub(super) fn read(
        &mut self,
        tree: Tree,
        block: u64,
        keys: KeyRange,
        depth: usize,
    ) -> Result<Node, MetadataError> {
        if depth >= MAX_DEPTH {
            return Err(damage(self.source, tree, block, keys, NodeFault::TooDeep { depth }));
        }
        self.nodes_read += 1;
        read_node(self.source, tree, block, keys)
    }

    fn check_height(&mut self, tree: Tree, node: &Node, height: i32) -> Result<(), MetadataError> {
        let is_even = if node.is_internal() {
            self.leaf_height.is_none_or(|leaf| height > leaf)
        } else {
            *self.leaf_height.get_or_insert(height) == height
        };
        if is_even {
            return Ok(());
        }
        Err(damage(self.source, tree, node.block(), node.keys(), NodeFault::UnevenDepth))
    }
}

/// A node that was opened, and how far it is read.
#[derive(Debug)]
struct Level {
    node: Node,
    index: usize,
    height: i32,
}

/// One tree: the path to its head.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) tree: Tree,
    /// The root, until it is opened.
    pub(super) root: Option<Pointer>,
    levels: Vec<Level>,
    /// What was read of the leftmost path already, the root first.
    pub(super) ready: VecDeque<Node>,
}

impl Side {
    pub(super) fn new(tree: Tree, block: u64) -> Self {
        let root = Some(Pointer { block, keys: KeyRange::ALL, height: 0 });
        Self { tree, root, levels: Vec::new(), ready: VecDeque::new() }
    }

    /// A device that maps nothing.
    pub(super) fn empty() -> Self {
        Self { tree: Tree::Devices, root: None, levels: Vec::new(), ready: VecDeque::new() }
    }

    pub(super) fn head(&self) -> Head {
        if let Some(root) = self.root {
            return Head::Subtree(root);
        }
        let Some(Level { node, index, height }) = self.levels.last() else { return Head::End };
        let number = node.number(*index);
        if !node.is_internal() {
            return Head::Entry { key: node.key(*index), data_block: number >> TIME_BITS };
        }
        let keys = node.child_keys(*index);
        Head::Subtree(Pointer { block: number, keys, height: height - 1 })
    }

    /// Passes over the head.
    pub(super) fn advance(&mut self) {
        if self.root.take().is_some() {
            return;
        }
        while let Some(level) = self.levels.last_mut() {
            level.index += 1;
            if level.index < level.node.entries() {
                return;
            }
            self.levels.pop();
        }
    }

    /// Reads the node that the head points to; its first entry is the head then.
    pub(super) fn open(&mut self, reader: &mut Reader<'_>) -> Result<(), MetadataError> {
        let Head::Subtree(Pointer { block, keys, height }) = self.head() else { return Ok(()) };
        let node =
            match self.ready.pop_front_if(|node| (node.block(), node.keys()) == (block, keys)) {
                Some(node) => node,
                None => reader.read(self.tree, block, keys, self.levels.len())?,
            };
        reader.check_height(self.tree, &node, height)?;
        if node.entries() == 0 {
            // An empty tree, or a leaf that lost its last mapping.
            self.advance();
            return Ok(());
        }
        self.root = None;
        self.levels.push(Level { node, index: 0, height });
        Ok(())
    }
}
