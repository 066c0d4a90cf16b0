//! Where on a pool's data device the blocks of every volume and snapshot lie.
#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::fmt;

use super::error::PoolError;
use super::located::Located;
use super::metadata_view::{MetadataView, read_metadata};
use super::volumes::now;
use crate::catalogue::{Catalogue, PoolName, Timestamp, VolumeName};
use crate::dm::Dm;
use crate::metadata::{
    CellBlocks, CellGrid, MapRequest, SHOWN_MAX, list_devices, map as map_of_metadata,
    settled_superblock,
};
use crate::units::{BlockSize, ThinId};

/// Who has which part of a pool's data device.
#[derive(Debug, Clone)]
pub struct PoolMap {
    /// The pool.
    pub pool: PoolName,
    /// Its block size.
    pub block_size: BlockSize,
    /// When it was looked at.
    pub read_at: Timestamp,
    /// The cells that the data device is divided into.
    pub grid: CellGrid,
    /// Every cell, whoever has its blocks.
    pub cells: Vec<CellBlocks>,
    /// Every cell as each holder sees it; what maps most comes first, all others last.
    pub bars: Vec<MapBar>,
}

/// The part of one holder.
#[derive(Debug, Clone)]
pub struct MapBar {
    /// Whose it is.
    pub holder: Holder,
    /// Every cell as the holder sees it.
    pub cells: Vec<CellBlocks>,
}

/// Who has blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A volume or snapshot.
    Volume(VolumeName),
    /// A thin device that was deleted and waits to be reaped.
    Deleted(ThinId),
    /// A thin device that belongs to nobody.
    Orphan(ThinId),
    /// As many thin devices that have no bar of their own; exclusive is what a single one of them has alone.
    Others(usize),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Volume(name) => name.fmt(f),
            Self::Deleted(id) => write!(f, "(deleted, thin id {id})"),
            Self::Orphan(id) => write!(f, "(orphan, thin id {id})"),
            Self::Others(1) => f.write_str("1 other"),
            Self::Others(count) => write!(f, "{count} others"),
        }
    }
}

/// Reads a pool's metadata once: about `cells` cells, and a bar for each of the `bars` devices that map most, as far as
/// there can be so many. `progress` gets blocks done and about their total.
pub(super) fn map(
    dm: &dyn Dm,
    located: &Located,
    (cells, bars): (usize, usize),
    progress: &mut dyn FnMut(u64, u64),
) -> Result<PoolMap, PoolError> {
    let (catalogue, _) = located.read_catalogue()?;
    let needs: Vec<ThinId> = catalogue.volumes().filter_map(|volume| volume.thin.id()).collect();
    read_metadata(dm, located, &needs, |view| {
        let read_at = now();
        let guess = settled_superblock(view.source)?.metadata_space_map.allocated_blocks;
        let shown = most_mapped(view, bars)?;
        let request =
            MapRequest { total_data_blocks: view.total_data_blocks, cells, shown: &shown };
        let found = map_of_metadata(view.source, view.superblock, &request, &mut |done| {
            progress(done, guess.max(done));
        })?;
        let mut by_id = found.shown;
        let own = shown.iter().filter_map(|id| {
            Some(MapBar { holder: holder(view.catalogue, *id), cells: by_id.remove(id)? })
        });
        let others = (found.other_count > 0)
            .then_some(MapBar { holder: Holder::Others(found.other_count), cells: found.others });
        Ok(PoolMap {
            pool: view.catalogue.pool().name.clone(),
            block_size: view.catalogue.pool().block_size,
            read_at,
            grid: found.grid,
            cells: found.cells,
            bars: own.chain(others).collect(),
        })
    })
}

/// The devices that map most: each tells how much, so nothing but their list is read for it.
fn most_mapped(view: &MetadataView<'_>, bars: usize) -> Result<Vec<ThinId>, PoolError> {
    let mut devices: Vec<_> = list_devices(view.source, view.superblock)?.into_iter().collect();
    devices.sort_by_key(|(id, details)| (Reverse(details.mapped_blocks), *id));
    devices.truncate(bars.min(SHOWN_MAX));
    Ok(devices.into_iter().map(|(id, _)| id).collect())
}

pub(super) fn holder(catalogue: &Catalogue, id: ThinId) -> Holder {
    match catalogue.volumes().find(|volume| volume.thin.id() == Some(id)) {
        Some(volume) => Holder::Volume(volume.name.clone()),
        None if catalogue.tombstones().contains_key(&id) => Holder::Deleted(id),
        None => Holder::Orphan(id),
    }
}
