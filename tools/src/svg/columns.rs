//! Cells as columns: as high as the share of their blocks that is held.
#![forbid(unsafe_code)]

use std::fmt::Write;

use thinly_engine::metadata::{CellBlocks, CellGrid};

/// No share is lower than this, so that a single block is seen.
const HEIGHT_MIN: u64 = 2;

/// Where columns stand, in pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) left: u64,
    pub(super) top: u64,
    pub(super) width: u64,
    pub(super) height: u64,
}

/// The outlines of what is exclusive, and of what is shared, which stands on it.
#[derive(Debug, Default)]
pub(super) struct Outlines {
    pub(super) exclusive: String,
    pub(super) shared: String,
}

impl Frame {
    /// Draws all cells; neighbours of the same height are one column.
    pub(super) fn columns(self, grid: CellGrid, cells: &[CellBlocks]) -> Outlines {
        let mut outlines = Outlines::default();
        let mut run = (0, 0, [0, 0]);
        for (cell, blocks) in cells.iter().enumerate() {
            let length = grid.blocks_of(cell);
            let heights = self.heights(*blocks, length.end.saturating_sub(length.start));
            if heights != run.2 {
                self.draw(&mut outlines, grid, run);
                run = (cell, cell, heights);
            }
            run.1 = cell + 1;
        }
        self.draw(&mut outlines, grid, run);
        outlines
    }

    /// How high the exclusive and the shared part of a column are.
    fn heights(self, held: CellBlocks, cell_blocks: u64) -> [u64; 2] {
        let height = |blocks: u64| {
            if blocks == 0 {
                return 0;
            }
            let share = u128::from(blocks) * u128::from(self.height);
            let rounded = share.saturating_add(u128::from(cell_blocks / 2));
            let height = rounded.checked_div(u128::from(cell_blocks)).unwrap_or(0);
            u64::try_from(height).unwrap_or(self.height).clamp(HEIGHT_MIN, self.height)
        };
        let [exclusive, shared] = [height(held.exclusive), height(held.shared)];
        // What was made visible takes its place from the larger one.
        if exclusive > shared {
            [exclusive.min(self.height - shared), shared]
        } else {
            [exclusive, shared.min(self.height - exclusive)]
        }
    }

    fn draw(self, into: &mut Outlines, grid: CellGrid, run: (usize, usize, [u64; 2])) {
        let (first, end, [exclusive, shared]) = run;
        let (left, right) = (self.x_of(grid, first), self.x_of(grid, end));
        let bottom = self.top + self.height;
        for (path, bottom, height) in [
            (&mut into.exclusive, bottom, exclusive),
            (&mut into.shared, bottom - exclusive, shared),
        ] {
            if height > 0 && right > left {
                let (top, width) = (bottom - height, right - left);
                // A string takes whatever is written to it.
                let _ = write!(path, "M{left} {top}h{width}v{height}h-{width}z");
            }
        }
    }

    /// Where a cell begins: there are no more cells than pixels, so each has at least one.
    fn x_of(self, grid: CellGrid, cell: usize) -> u64 {
        let [cell, count] = [cell, grid.cell_count()].map(|n| u64::try_from(n).unwrap_or(u64::MAX));
        self.left + cell.saturating_mul(self.width).checked_div(count).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAME: Frame = Frame { left: 0, top: 0, width: 1000, height: 16 };

    proptest! {
        #[test]
        fn what_is_held_is_seen_and_fits(
            blocks in 1_u64..=1 << 40,
            exclusive in 0_u64..=1 << 40,
            shared in 0_u64..=1 << 40,
        ) {
            let exclusive = exclusive % (blocks + 1);
            let shared = shared % (blocks - exclusive + 1);
            let [lower, upper] = FRAME.heights(CellBlocks { exclusive, shared }, blocks);
            prop_assert!(lower + upper <= FRAME.height);
            prop_assert_eq!((lower == 0, upper == 0), (exclusive == 0, shared == 0));
            let off = |height: u64, part: u64| {
                let exact = u128::from(part) * u128::from(FRAME.height) / u128::from(blocks);
                u128::from(height).abs_diff(exact)
            };
            prop_assert!(off(lower, exclusive) <= 2 && off(upper, shared) <= 2);
            prop_assert!(exclusive + shared < blocks || lower + upper >= FRAME.height - 1);
        }
    }

    #[test]
    fn a_single_block_of_a_large_device_is_seen() {
        let one = CellBlocks { exclusive: 1, shared: 0 };
        assert_eq!(FRAME.heights(one, 1 << 30), [HEIGHT_MIN, 0]);
        let both = CellBlocks { exclusive: (1 << 30) - 1, shared: 1 };
        assert_eq!(FRAME.heights(both, 1 << 30), [FRAME.height - HEIGHT_MIN, HEIGHT_MIN]);
    }
}
