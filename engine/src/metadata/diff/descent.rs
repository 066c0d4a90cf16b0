//! How high the roots of two trees are above the same level.
#![forbid(unsafe_code)]

use super::super::error::{KeyRange, MetadataError};
use super::side::{Reader, Side};

/// Sets the heights of both roots. What it reads is kept in the sides, so that nothing is read twice.
pub(super) fn measure(
    reader: &mut Reader<'_>,
    from: &mut Side,
    to: &mut Side,
) -> Result<(), MetadataError> {
    let (mut left, mut right) = (Path::new(from), Path::new(to));
    loop {
        // The later device is the higher one more often: nothing of it was there before.
        for is_right in [true, false] {
            if let Some((a, b)) = meeting(&left.blocks, &right.blocks) {
                left.set_height(a);
                right.set_height(b);
                return Ok(());
            }
            let path = if is_right { &mut right } else { &mut left };
            path.descend(reader)?;
        }
        if left.next.is_none() && right.next.is_none() {
            let (a, b) = (left.blocks.len(), right.blocks.len());
            left.set_height(a);
            right.set_height(b);
            return Ok(());
        }
    }
}

/// Where two paths come to the same node.
fn meeting(left: &[u64], right: &[u64]) -> Option<(usize, usize)> {
    let place = |block| right.iter().position(|other| other == block);
    left.iter().enumerate().find_map(|(a, block)| Some((a, place(block)?)))
}

/// The leftmost path of a tree, as far as it is known.
struct Path<'a> {
    side: &'a mut Side,
    blocks: Vec<u64>,
    /// The last of the blocks, which is not read yet; nothing below a leaf.
    next: Option<(u64, KeyRange)>,
}

impl<'a> Path<'a> {
    fn new(side: &'a mut Side) -> Self {
        let next = side.root.map(|root| (root.block, root.keys));
        Self { blocks: next.iter().map(|(block, _)| *block).collect(), next, side }
    }

    fn descend(&mut self, reader: &mut Reader<'_>) -> Result<(), MetadataError> {
        let Some((block, keys)) = self.next.take() else { return Ok(()) };
        let node = reader.read(self.side.tree, block, keys, self.blocks.len() - 1)?;
        if node.is_internal() {
            self.blocks.push(node.number(0));
            self.next = Some((node.number(0), node.child_keys(0)));
        }
        self.side.ready.push_back(node);
        Ok(())
    }

    /// The root is so many levels above the one that both trees are measured from.
    fn set_height(&mut self, levels: usize) {
        if let Some(root) = &mut self.side.root {
            root.height = i32::try_from(levels).unwrap_or(i32::MAX);
        }
    }
}
