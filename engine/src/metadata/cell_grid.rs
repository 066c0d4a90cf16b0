//! A data device divided into cells, so that it can be looked at as a whole.
#![forbid(unsafe_code)]

use std::ops::Range;

use crate::units::DataBlocks;

/// More than anybody can see, and a bound for the memory.
const CELLS_MAX: u64 = 1 << 16;

/// A data device divided into cells whose lengths differ by one block at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellGrid {
    total_blocks: u64,
    cell_count: u64,
}

impl CellGrid {
    /// Divides `total_data_blocks` into `cells_max` cells, or into fewer where a cell would be empty.
    pub fn new(total_data_blocks: DataBlocks, cells_max: usize) -> Self {
        let total_blocks = total_data_blocks.get();
        let wanted = u64::try_from(cells_max).unwrap_or(CELLS_MAX).clamp(1, CELLS_MAX);
        Self { total_blocks, cell_count: wanted.min(total_blocks) }
    }

    /// All blocks.
    pub const fn total_data_blocks(self) -> DataBlocks {
        DataBlocks::new(self.total_blocks)
    }

    /// How many cells there are.
    pub fn cell_count(self) -> usize {
        usize::try_from(self.cell_count).unwrap_or(usize::MAX)
    }

    /// The cell that a block lies in.
    pub(super) fn cell_of(self, block: u64) -> usize {
        let wide = u128::from(block) * u128::from(self.cell_count);
        let cell = wide.checked_div(u128::from(self.total_blocks)).unwrap_or(0);
        usize::try_from(cell).unwrap_or(usize::MAX)
    }

    /// The blocks of a cell.
    pub fn blocks_of(self, cell: usize) -> Range<u64> {
        let first = |cell: u64| {
            let wide = u128::from(cell.min(self.cell_count)) * u128::from(self.total_blocks);
            let first = wide.div_ceil(u128::from(self.cell_count.max(1)));
            u64::try_from(first).unwrap_or(u64::MAX)
        };
        let cell = u64::try_from(cell).unwrap_or(u64::MAX);
        first(cell)..first(cell.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_cells_cover_every_block_once(total in 0_u64..5000, cells_max in 1_usize..1500) {
            let grid = CellGrid::new(DataBlocks::new(total), cells_max);
            prop_assert!(grid.cell_count() <= cells_max);
            let mut next = 0;
            let shortest = total.checked_div(grid.cell_count() as u64).unwrap_or(0);
            for cell in 0..grid.cell_count() {
                let blocks = grid.blocks_of(cell);
                prop_assert_eq!(blocks.start, next);
                let length = blocks.end - blocks.start;
                prop_assert!(length >= shortest.max(1) && length <= shortest + 1);
                prop_assert!(blocks.clone().all(|block| grid.cell_of(block) == cell));
                next = blocks.end;
            }
            prop_assert_eq!(next, total);
            prop_assert!(grid.blocks_of(grid.cell_count()).is_empty());
        }
    }

    #[test]
    fn no_size_overflows() {
        let grid = CellGrid::new(DataBlocks::new(u64::MAX), usize::MAX);
        assert_eq!(grid.cell_of(u64::MAX - 1) + 1, grid.cell_count());
        assert_eq!(grid.blocks_of(grid.cell_count() - 1).end, u64::MAX);
    }
}
