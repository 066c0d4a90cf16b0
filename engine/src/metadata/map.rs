//! Where on the data device lie the blocks of each device, and whether it has them alone.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::cell_grid::CellGrid;
use super::data_owners::DataOwners;
use super::error::MetadataError;
use super::mappings::{TIME_BITS, device_roots};
use super::node::Node;
use super::owner::Owner;
use super::source::BlockSource;
use super::superblock::Superblock;
use super::survey::{Reached, Root, Surveyor, survey};
use super::usage::{believable, beyond_end};
use crate::units::{DataBlocks, ThinId};

/// How many devices can be shown one by one: each has a bit, and the last bit stands for all others.
pub const SHOWN_MAX: usize = 63;
const OTHERS: u64 = 1 << SHOWN_MAX;

/// What is wanted of a pool.
#[derive(Debug, Clone, Copy)]
pub struct MapRequest<'a> {
    /// How long the data device is: a metadata snapshot does not hold it.
    pub total_data_blocks: DataBlocks,
    /// How many cells it is divided into, if it has as many blocks.
    pub cells: usize,
    /// Devices that are shown one by one; what comes after the first [`SHOWN_MAX`] is of the others.
    pub shown: &'a [ThinId],
}

/// Who has which part of a data device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataMap {
    /// The cells that it is divided into.
    pub grid: CellGrid,
    /// Every cell, whoever has its blocks.
    pub cells: Vec<CellBlocks>,
    /// Every cell as each device sees it that was asked for and is there.
    pub shown: BTreeMap<ThinId, Vec<CellBlocks>>,
    /// How many devices there are besides.
    pub other_count: usize,
    /// Every cell as all of these see it: exclusive is what a single one of them has alone. Empty without any.
    pub others: Vec<CellBlocks>,
}

/// How many blocks of a cell are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CellBlocks {
    /// By one device alone: they are free once it is deleted.
    pub exclusive: u64,
    /// By several devices.
    pub shared: u64,
}

impl CellBlocks {
    /// All cells together.
    pub fn sum(cells: &[Self]) -> Self {
        cells.iter().fold(Self::default(), |sum, cell| Self {
            exclusive: sum.exclusive.saturating_add(cell.exclusive),
            shared: sum.shared.saturating_add(cell.shared),
        })
    }

    /// Exclusive or shared.
    pub const fn mapped(self) -> u64 {
        self.exclusive.saturating_add(self.shared)
    }
}

/// Finds out which parts of the data device every device below `superblock` has.
///
/// `progress` gets the number of nodes met so far. Time: every node is read and checked once. Memory: one byte (at worst
/// four) for each data block of a stretch of 4096 with a mapped one, twice that when there are others than those shown;
/// some 100 bytes for each node and 4 for each pointer to one; 16 bytes for each cell of each device shown. Damage ends
/// it: a map with holes would show them as free.
pub fn map(
    source: &dyn BlockSource,
    superblock: &Superblock,
    request: &MapRequest<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<DataMap, MetadataError> {
    let found = device_roots(source, superblock.data_mapping_root)?;
    let asked: BTreeSet<ThinId> = request.shown.iter().take(SHOWN_MAX).copied().collect();
    // Those shown come first, so that the number of an owner tells its bit.
    let (shown, others): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|(device, _)| asked.contains(device));
    let roots = shown.iter().chain(&others).enumerate().map(|(number, (device, block))| Root {
        device: *device,
        block: *block,
        owners: [Owner::number(number), Owner::NOBODY],
        mask: if number < shown.len() { 1 << number } else { OTHERS },
    });
    let total_blocks = believable(source, request.total_data_blocks);
    let grid = CellGrid::new(DataBlocks::new(total_blocks), request.cells);
    let mut tally = Tally {
        source,
        grid,
        data: DataOwners::new(total_blocks),
        data_of_others: (!others.is_empty()).then(|| DataOwners::new(total_blocks)),
        mapped: vec![vec![0; grid.cell_count()]; shown.len()],
        met_blocks: 0,
        progress,
    };
    survey(source, &roots.collect::<Vec<_>>(), &mut tally)?;
    let (cells, mut held) = tally.finish();
    Ok(DataMap {
        grid,
        cells,
        others: held.pop().unwrap_or_default(),
        other_count: others.len(),
        shown: shown.into_iter().map(|(device, _)| device).zip(held).collect(),
    })
}

struct Tally<'a> {
    source: &'a dyn BlockSource,
    grid: CellGrid,
    data: DataOwners,
    /// What any of the others maps: several of them may map a block in leaves of their own.
    data_of_others: Option<DataOwners>,
    /// Mappings of each device shown, by cell: it maps no block twice.
    mapped: Vec<Vec<u64>>,
    met_blocks: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl Surveyor for Tally<'_> {
    fn node(&mut self, _: &Reached) -> Result<(), MetadataError> {
        self.met_blocks += 1;
        (self.progress)(self.met_blocks);
        Ok(())
    }

    fn leaf(&mut self, reached: &Reached, leaf: &Node<&[u8]>) -> Result<(), MetadataError> {
        let [owner, _] = reached.owners;
        let mut others = self.data_of_others.as_mut().filter(|_| reached.mask & OTHERS != 0);
        // Neighbours mostly lie in one cell: a division and a look at every bit for each cell, not for each mapping.
        let mut run = (0, 0..0, 0);
        for index in 0..leaf.entries() {
            let data_block = leaf.number(index) >> TIME_BITS;
            if !self.data.claim(data_block, owner) {
                let mapping = (leaf.key(index), data_block);
                return Err(beyond_end(self.source, reached, mapping, self.data.total_blocks()));
            }
            if let Some(data) = &mut others {
                data.claim(data_block, Owner::number(0));
            }
            if !run.1.contains(&data_block) {
                add(&mut self.mapped, reached.mask, run.0, run.2);
                let cell = self.grid.cell_of(data_block);
                run = (cell, self.grid.blocks_of(cell), 0);
            }
            run.2 += 1;
        }
        add(&mut self.mapped, reached.mask, run.0, run.2);
        Ok(())
    }
}

/// Adds mappings of a cell to all whose bit is set.
fn add(mapped: &mut [Vec<u64>], mask: u64, cell: usize, count: u64) {
    let reached = mapped.iter_mut().enumerate().filter(|(seat, _)| mask >> seat & 1 == 1);
    for slot in reached.filter_map(|(_, cells)| cells.get_mut(cell)) {
        *slot += count;
    }
}

impl Tally<'_> {
    /// Every cell, and every cell as each device shown sees it, and then all others.
    fn finish(self) -> (Vec<CellBlocks>, Vec<Vec<CellBlocks>>) {
        let (grid, mut mapped) = (self.grid, self.mapped);
        let last = mapped.len();
        let mut cells = vec![CellBlocks::default(); grid.cell_count()];
        let mut exclusive = vec![vec![0; grid.cell_count()]; last + 1];
        self.data.runs(&mut |first, length, owner| {
            let mut alone = owner.single().and_then(|number| exclusive.get_mut(number.min(last)));
            each_cell(grid, first..first + length, &mut |cell, count| {
                let Some(blocks) = cells.get_mut(cell) else { return };
                match alone.as_mut().and_then(|alone| alone.get_mut(cell)) {
                    Some(alone) => {
                        *alone += count;
                        blocks.exclusive += count;
                    }
                    None => blocks.shared += count,
                }
            });
        });
        mapped.push(self.data_of_others.map_or_else(Vec::new, |data| mapped_of(&data, grid)));
        let held = mapped.iter().zip(&exclusive).map(|(mapped, exclusive)| {
            let cells = mapped.iter().zip(exclusive).map(|(mapped, exclusive)| CellBlocks {
                exclusive: *exclusive,
                shared: mapped.saturating_sub(*exclusive),
            });
            cells.collect()
        });
        (cells, held.collect())
    }
}

/// How many blocks of each cell anybody has.
fn mapped_of(data: &DataOwners, grid: CellGrid) -> Vec<u64> {
    let mut mapped = vec![0; grid.cell_count()];
    data.runs(&mut |first, length, _| {
        each_cell(grid, first..first + length, &mut |cell, count| {
            if let Some(mapped) = mapped.get_mut(cell) {
                *mapped += count;
            }
        });
    });
    mapped
}

/// Divides a run of blocks among the cells that it lies in.
fn each_cell(grid: CellGrid, mut run: Range<u64>, take: &mut dyn FnMut(usize, u64)) {
    while !run.is_empty() {
        let cell = grid.cell_of(run.start);
        let end = grid.blocks_of(cell).end.min(run.end);
        take(cell, end.saturating_sub(run.start));
        run.start = end.max(run.start + 1);
    }
}

#[cfg(test)]
mod tests;
