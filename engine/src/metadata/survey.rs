//! Reading every device tree, each node once, a level at a time from the highest down.
//!
//! Device trees share nodes, so together they are no tree. But every tree is balanced: a node has
//! the same height whichever way leads to it. When all nodes above a height were read, every
//! pointer to the nodes at that height is known, and with it who reaches them. So nothing has to be
//! read twice or corrected afterwards, the blocks of a level can be read in the order that they
//! have on the device with many reads in flight, and since heights only fall, no cycle can keep
//! the walk going.
//!
//! Memory: some 100 bytes for each distinct node and 4 bytes for each pointer to one.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::btree::damage;
use super::error::{KeyRange, MetadataError, Tree};
use super::fault::{NodeFault, NodeKind};
use super::fetch::fetch;
use super::field::U64_BYTES;
use super::heights::{Heights, unreadable};
use super::node::Node;
use super::owner::Owners;
use super::source::BlockSource;
use crate::units::ThinId;

/// One device tree to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Root {
    /// The device, for messages.
    pub(super) device: ThinId,
    /// Its root.
    pub(super) block: u64,
    /// Who reaches everything below it.
    pub(super) owners: Owners,
    /// Bits that are passed down to everything below it.
    pub(super) mask: u64,
}

/// A node of the level that is being read.
#[derive(Debug, Clone)]
pub(super) struct Reached {
    /// Its block.
    pub(super) block: u64,
    /// The keys that every way to it promises.
    pub(super) keys: KeyRange,
    /// Who reaches it.
    pub(super) owners: Owners,
    /// The bits of all that reach it.
    pub(super) mask: u64,
    /// How many pointers lead to it.
    pub(super) references: u32,
    /// A device that reaches it.
    pub(super) device: ThinId,
}

/// What is done on a survey.
pub(super) trait Surveyor {
    /// A node could not be used, nor what is below it. An error ends the survey.
    fn damaged(&mut self, damage: MetadataError) -> Result<(), MetadataError> {
        Err(damage)
    }

    /// Every pointer to a node is known; it comes before what is in it.
    fn node(&mut self, reached: &Reached) -> Result<(), MetadataError>;

    /// A leaf was read.
    fn leaf(&mut self, reached: &Reached, leaf: &Node<&[u8]>) -> Result<(), MetadataError>;
}

/// What lies below a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Below {
    /// Nodes, each counted once.
    pub(super) nodes: u64,
    /// Mappings.
    pub(super) mappings: u64,
}

/// Reads everything below `roots`; gives what lies below each, in their order.
pub(super) fn survey(
    source: &dyn BlockSource,
    roots: &[Root],
    surveyor: &mut dyn Surveyor,
) -> Result<Vec<Below>, MetadataError> {
    let mut blocks: Vec<u64> = roots.iter().map(|root| root.block).collect();
    blocks.retain(|block| *block < source.block_count());
    let mut walk = Walk { source, heights: Heights::probe(source, &blocks)?, levels: Vec::new() };
    let mut places = Vec::with_capacity(roots.len());
    for root in roots {
        places.push(walk.enter_root(root, surveyor)?);
    }
    let mut linked = Vec::new();
    for height in (0..walk.levels.len()).rev() {
        linked.push(walk.read_level(height, surveyor)?);
    }
    linked.reverse();
    let sums = sums(&linked);
    let below = |place: Option<(usize, usize)>| {
        let (height, index) = place?;
        sums.get(height)?.get(index).copied()
    };
    Ok(places.into_iter().map(|place| below(place).unwrap_or_default()).collect())
}

/// The nodes of one height, as far as pointers to them were met.
#[derive(Default)]
struct Level {
    places: HashMap<u64, u32>,
    nodes: Vec<Reached>,
}

/// What a level was found to hold, by the order in which its nodes were first met.
struct Linked {
    /// Places in the level below, of all nodes.
    children: Vec<u32>,
    /// Which of them are a node's; for a leaf the number of its mappings instead.
    spans: Vec<(u32, u32)>,
}

struct Walk<'a> {
    source: &'a dyn BlockSource,
    heights: Heights<'a>,
    levels: Vec<Level>,
}

impl Walk<'_> {
    fn enter_root(
        &mut self,
        root: &Root,
        surveyor: &mut dyn Surveyor,
    ) -> Result<Option<(usize, usize)>, MetadataError> {
        let fault = |fault| {
            damage(self.source, Tree::Mappings(root.device), root.block, KeyRange::ALL, fault)
        };
        let block_count = self.source.block_count();
        if root.block >= block_count {
            surveyor.damaged(fault(NodeFault::BeyondEnd { block_count }))?;
            return Ok(None);
        }
        let Some(height) = self.heights.of(root.block) else {
            let cause = match self.heights.take(root.block) {
                Some(Err(cause)) => cause,
                _ => NodeFault::Bottomless,
            };
            surveyor.damaged(fault(cause))?;
            return Ok(None);
        };
        if self.levels.len() <= height {
            self.levels.resize_with(height + 1, Level::default);
        }
        let reached = Reached {
            block: root.block,
            keys: KeyRange::ALL,
            owners: root.owners,
            mask: root.mask,
            references: 1,
            device: root.device,
        };
        let level = self.levels.get_mut(height);
        Ok(level.map(|level| (height, to_index(level.meet(reached)))))
    }

    fn read_level(
        &mut self,
        height: usize,
        surveyor: &mut dyn Surveyor,
    ) -> Result<Linked, MetadataError> {
        let level = self.levels.get_mut(height).map(std::mem::take).unwrap_or_default();
        let nodes = level.nodes;
        drop(level.places);
        let mut order: Vec<usize> = (0..nodes.len()).collect();
        order.sort_unstable_by_key(|place| nodes.get(*place).map(|node| node.block));
        let mut reading = Reading {
            source: self.source,
            nodes: &nodes,
            expected: if height == 0 { NodeKind::Leaf } else { NodeKind::Internal },
            below: height.checked_sub(1).and_then(|below| self.levels.get_mut(below)),
            linked: Linked { children: Vec::new(), spans: vec![(0, 0); nodes.len()] },
            surveyor,
        };
        let mut unread = Vec::with_capacity(order.len());
        for place in order {
            let Some(reached) = nodes.get(place) else { continue };
            reading.surveyor.node(reached)?;
            if self.heights.holds(reached.block) {
                let kept = self.heights.take(reached.block).unwrap_or(Err(NodeFault::Bottomless));
                let node = kept.and_then(|node| node.at(reached.keys));
                let node = node.as_ref().map(|node| Node::checked(node.shape(), node.bytes()));
                reading.take(place, node.map_err(Clone::clone))?;
            } else {
                unread.push((place, reached.block, reached.keys));
            }
        }
        let blocks: Vec<u64> = unread.iter().map(|(_, block, _)| *block).collect();
        let examine = |index: usize, bytes: &[u8]| {
            let (_, block, keys) = unread.get(index).copied().unwrap_or((0, 0, KeyRange::ALL));
            Node::parse(block, bytes, U64_BYTES, keys).map(|node| node.shape())
        };
        fetch(self.source, &blocks, &examine, &mut |index, fetched| {
            let place = unread.get(index).map_or(0, |(place, _, _)| *place);
            reading.take(
                place,
                match fetched {
                    Ok((Ok(shape), bytes)) => Ok(Node::checked(shape, bytes)),
                    Ok((Err(fault), _)) => Err(fault),
                    Err(error) => Err(unreadable(&error)),
                },
            )
        })?;
        Ok(reading.linked)
    }
}

/// A level while its nodes come in, in whatever order.
struct Reading<'a> {
    source: &'a dyn BlockSource,
    nodes: &'a [Reached],
    expected: NodeKind,
    below: Option<&'a mut Level>,
    linked: Linked,
    surveyor: &'a mut dyn Surveyor,
}

impl Reading<'_> {
    fn take(
        &mut self,
        place: usize,
        node: Result<Node<&[u8]>, NodeFault>,
    ) -> Result<(), MetadataError> {
        let Some(reached) = self.nodes.get(place) else { return Ok(()) };
        let expected = self.expected;
        let node = node.and_then(|node| match node.kind() {
            found if found == expected => Ok(node),
            found => Err(NodeFault::Height { found, expected }),
        });
        let node = match node {
            Ok(node) => node,
            Err(fault) => {
                let tree = Tree::Mappings(reached.device);
                let damage = damage(self.source, tree, reached.block, reached.keys, fault);
                return self.surveyor.damaged(damage);
            }
        };
        let span = match self.expected {
            NodeKind::Leaf => {
                self.surveyor.leaf(reached, &node)?;
                (0, to_place(node.entries()))
            }
            NodeKind::Internal => self.descend(reached, &node)?,
        };
        if let Some(slot) = self.linked.spans.get_mut(place) {
            *slot = span;
        }
        Ok(())
    }

    fn descend(
        &mut self,
        reached: &Reached,
        node: &Node<&[u8]>,
    ) -> Result<(u32, u32), MetadataError> {
        let start = to_place(self.linked.children.len());
        let block_count = self.source.block_count();
        for index in 0..node.entries() {
            let (block, keys) = (node.number(index), node.child_keys(index));
            if block >= block_count {
                let tree = Tree::Mappings(reached.device);
                let fault = NodeFault::BeyondEnd { block_count };
                self.surveyor.damaged(damage(self.source, tree, block, keys, fault))?;
            } else if let Some(below) = self.below.as_deref_mut() {
                let child = Reached { block, keys, references: 1, ..reached.clone() };
                self.linked.children.push(below.meet(child));
            }
        }
        Ok((start, to_place(self.linked.children.len())))
    }
}

impl Level {
    /// Adds a pointer to a node; gives the node's place.
    fn meet(&mut self, pointer: Reached) -> u32 {
        let next = to_place(self.nodes.len());
        let place = *self.places.entry(pointer.block).or_insert(next);
        let Some(node) = self.nodes.get_mut(to_index(place)) else {
            self.nodes.push(pointer);
            return place;
        };
        for (mine, theirs) in node.owners.iter_mut().zip(pointer.owners) {
            *mine = mine.and(theirs);
        }
        node.mask |= pointer.mask;
        node.references = node.references.saturating_add(1);
        node.keys = node.keys.intersection(pointer.keys);
        place
    }
}

/// What lies below every node, level by level from the leaves up.
fn sums(levels: &[Linked]) -> Vec<Vec<Below>> {
    let mut sums: Vec<Vec<Below>> = Vec::with_capacity(levels.len());
    for (height, level) in levels.iter().enumerate() {
        let lower = height.checked_sub(1).and_then(|below| sums.get(below));
        let level = level.spans.iter().map(|&(start, end)| match lower {
            None => Below { nodes: 1, mappings: u64::from(end) },
            Some(lower) => {
                let children = level.children.get(to_index(start)..to_index(end));
                let children = children.unwrap_or_default().iter();
                let found = children.filter_map(|child| lower.get(to_index(*child)));
                found.fold(Below { nodes: 1, mappings: 0 }, |sum, below| Below {
                    nodes: sum.nodes.saturating_add(below.nodes),
                    mappings: sum.mappings.saturating_add(below.mappings),
                })
            }
        });
        sums.push(level.collect());
    }
    sums
}

/// A place as it is stored: there are fewer nodes than a metadata device has blocks, some 4 million.
fn to_place(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

fn to_index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}
