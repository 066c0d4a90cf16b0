//! What two thin devices map differently, and what one maps: ranges of virtual blocks, in order.
//!
//! Snapshots share the nodes of their trees. A node that both trees point to holds the same mappings in both, so it is
//! never read: the cost is in what differs. The trees are walked side by side in the order of their keys. Each side
//! shows one thing at a time, its *head*: a mapping, or a pointer to a node that is not read yet. Two equal pointers are
//! passed over together; of two heads with different first keys the lower one is opened or told; with the same first
//! key, the one that is higher above the leaves is opened, because the other may lie below it; at the same height, both.
//!
//! How high a root is above its leaves is written nowhere. Both leftmost paths are read in turn, until one comes to a
//! node of the other, which fixes the difference of the heights, or both are at a leaf.
//!
//! Mappings are compared by their data block. Their time says when sharing was broken, not whether the data differs.
#![forbid(unsafe_code)]

mod descent;
mod merged;
mod side;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use self::descent::measure;
use self::merged::Merged;
use self::side::{Head, Reader, Side};
use super::btree;
use super::error::{MetadataError, Tree};
use super::field::u64_at;
use super::source::BlockSource;
use super::superblock::Superblock;
use crate::units::{DataBlocks, ThinId};

/// How a range differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiffKind {
    /// Mapped in the second device only.
    Added,
    /// Mapped in both, to different data blocks.
    Changed,
    /// Mapped in the first device only.
    Removed,
}

/// A run of virtual blocks that differ in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiffRange {
    /// The first one.
    pub virtual_block: u64,
    /// How many there are.
    pub length: DataBlocks,
    /// How they differ.
    pub kind: DiffKind,
}

/// What a comparison cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiffReport {
    /// Nodes of both devices' trees that were read.
    pub nodes_read: u64,
}

/// Gives `sink` every range in which `to` differs from `from`, ascending and merged; without `from` all that `to` maps,
/// as added. Holds no more than one path of each tree.
///
/// Nodes that both trees share are not read. Only when their heights differ, at most one more for each level.
pub fn diff<E: From<MetadataError>>(
    source: &dyn BlockSource,
    superblock: &Superblock,
    from: Option<ThinId>,
    to: ThinId,
    sink: &mut dyn FnMut(DiffRange) -> Result<(), E>,
) -> Result<DiffReport, E> {
    let mut reader = Reader::new(source);
    let mut to = side_of(source, superblock, to)?;
    let mut from = match from {
        Some(id) => side_of(source, superblock, id)?,
        None => Side::empty(),
    };
    measure(&mut reader, &mut from, &mut to)?;
    let mut merged = Merged::new(sink);
    loop {
        match (from.head(), to.head()) {
            (Head::End, Head::End) => break,
            (Head::Subtree(a), Head::Subtree(b)) if a.block == b.block => {
                from.advance();
                to.advance();
            }
            (a, b) => match a.first().cmp(&b.first()) {
                Ordering::Less => pass(&mut reader, &mut from, DiffKind::Removed, &mut merged)?,
                Ordering::Greater => pass(&mut reader, &mut to, DiffKind::Added, &mut merged)?,
                Ordering::Equal => open(&mut reader, (&mut from, a), (&mut to, b), &mut merged)?,
            },
        }
    }
    merged.end()?;
    Ok(DiffReport { nodes_read: reader.nodes_read })
}

/// Tells a mapping that only this side has, or opens its pointer.
fn pass<E: From<MetadataError>>(
    reader: &mut Reader<'_>,
    side: &mut Side,
    kind: DiffKind,
    merged: &mut Merged<'_, E>,
) -> Result<(), E> {
    if let Head::Entry { key, .. } = side.head() {
        merged.add(key, kind)?;
        side.advance();
        return Ok(());
    }
    Ok(side.open(reader)?)
}

/// Two heads with the same first key.
fn open<E: From<MetadataError>>(
    reader: &mut Reader<'_>,
    (from, a): (&mut Side, Head),
    (to, b): (&mut Side, Head),
    merged: &mut Merged<'_, E>,
) -> Result<(), E> {
    if let (Head::Entry { key, data_block }, Head::Entry { data_block: other, .. }) = (a, b) {
        if data_block != other {
            merged.add(key, DiffKind::Changed)?;
        }
        from.advance();
        to.advance();
        return Ok(());
    }
    let (a, b) = (a.height(), b.height());
    if a >= b {
        from.open(reader)?;
    }
    if b >= a {
        to.open(reader)?;
    }
    Ok(())
}

/// A device's tree, with nothing of it read.
fn side_of(
    source: &dyn BlockSource,
    superblock: &Superblock,
    id: ThinId,
) -> Result<Side, MetadataError> {
    let key = u64::from(id.get());
    let top = btree::lookup(source, Tree::Devices, superblock.data_mapping_root, key)?;
    let Some(root) = top else {
        return Err(MetadataError::NoDevice { device: source.name(), id });
    };
    Ok(Side::new(Tree::Mappings(id), u64_at(&root, 0)))
}
