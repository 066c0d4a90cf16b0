//! What every volume and snapshot of a pool really costs.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::error::PoolError;
use super::located::Located;
use super::metadata_view::{MetadataView, read_metadata};
use super::report::origin_name;
use crate::catalogue::{Catalogue, PoolName, Volume, VolumeKind, VolumeName};
use crate::dm::Dm;
use crate::metadata::{
    DeviceUsage, MetadataUsage, UsageRequest, settled_superblock, usage as usage_of_metadata,
};
use crate::units::{BlockSize, Bytes, DataBlocks, METADATA_BLOCK_BYTES, MetadataBlocks, ThinId};

/// What the volumes of a pool cost, each and together.
#[derive(Debug, Clone)]
pub struct Accounting {
    /// The pool.
    pub pool: PoolName,
    /// Its block size: what all costs are multiples of.
    pub block_size: BlockSize,
    /// Every volume and snapshot, by name.
    pub volumes: Vec<VolumeUsage>,
    /// Thin devices without a volume: deleted and not yet reaped, or orphans. What a volume shares
    /// with one of them is not exclusive to it until that is gone.
    pub others: Vec<OtherUsage>,
    /// The volumes asked for as a set, all of them as one.
    pub set: Option<SetCost>,
    /// Data that anything maps.
    pub mapped_bytes: Bytes,
    /// Of this, what several thin devices map.
    pub shared_bytes: Bytes,
    /// The data device.
    pub total_bytes: Bytes,
    /// Metadata that holds mappings.
    pub metadata_bytes: Bytes,
}

/// What one volume or snapshot costs.
#[derive(Debug, Clone)]
pub struct VolumeUsage {
    /// Its name.
    pub name: VolumeName,
    /// Its uuid.
    pub uuid: Uuid,
    /// Volume, clone or snapshot.
    pub kind: VolumeKind,
    /// The present name of what it was copied from.
    pub origin_name: Option<VolumeName>,
    /// Its thin id; `None` while it has none.
    pub thin_id: Option<ThinId>,
    /// Its virtual size.
    pub virtual_bytes: Bytes,
    /// What it costs; `None` when its thin device was not in the pool at the moment looked at.
    pub cost: Option<Cost>,
}

/// A thin device that no volume has.
#[derive(Debug, Clone, Copy)]
pub struct OtherUsage {
    /// Its id.
    pub thin_id: ThinId,
    /// Whether it is deleted and waits to be reaped; otherwise it belongs to nobody.
    pub is_deleted: bool,
    /// What it costs.
    pub cost: Cost,
}

/// What a thin device costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Data that it maps.
    pub mapped_bytes: Bytes,
    /// Data that is free once it is deleted.
    pub exclusive_bytes: Bytes,
    /// Data that it maps and others too.
    pub shared_bytes: Bytes,
    /// Metadata that holds its mappings.
    pub metadata_bytes: Bytes,
    /// Metadata that is free once it is deleted.
    pub exclusive_metadata_bytes: Bytes,
}

/// What several volumes cost together.
#[derive(Debug, Clone)]
pub struct SetCost {
    /// The volumes.
    pub names: Vec<VolumeName>,
    /// Data that is free once all of them are deleted.
    pub exclusive_bytes: Bytes,
    /// Metadata that is free once all of them are deleted.
    pub exclusive_metadata_bytes: Bytes,
}

/// Reads a pool's metadata once and adds up; `progress` gets blocks done and about their total.
pub(super) fn usage(
    dm: &dyn Dm,
    located: &Located,
    set: &[VolumeName],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Accounting, PoolError> {
    let (catalogue, _) = located.read_catalogue()?;
    let mut members = BTreeSet::new();
    for name in set {
        members.extend(named(&catalogue, name)?.thin.id());
    }
    let members: Vec<ThinId> = members.into_iter().collect();
    // Only what was asked for by name must be there: a pool where snapshots come all the time would
    // otherwise never be shown to two readers at once.
    read_metadata(dm, located, &members, |view| {
        let guess = settled_superblock(view.source)?.metadata_space_map.allocated_blocks;
        let request = UsageRequest { total_data_blocks: view.total_data_blocks, set: &members };
        let found = usage_of_metadata(view.source, view.superblock, &request, &mut |done| {
            progress(done, guess.max(done));
        })?;
        Ok(account(view, &found, set))
    })
}

/// The volume of this name.
pub(super) fn named<'a>(
    catalogue: &'a Catalogue,
    name: &VolumeName,
) -> Result<&'a Volume, PoolError> {
    catalogue.find(name).ok_or_else(|| PoolError::NoVolume {
        pool: catalogue.pool().name.clone(),
        name: name.clone(),
    })
}

fn account(view: &MetadataView<'_>, found: &MetadataUsage, set: &[VolumeName]) -> Accounting {
    let catalogue = view.catalogue;
    let block_size = catalogue.pool().block_size;
    let data = |blocks: DataBlocks| block_size.length_of(blocks);
    let cost_of = |id: ThinId| found.devices.get(&id).map(|usage| cost(block_size, usage));
    let mut volumes: Vec<VolumeUsage> = catalogue
        .volumes()
        .map(|volume| VolumeUsage {
            name: volume.name.clone(),
            uuid: volume.uuid,
            kind: volume.kind.clone(),
            origin_name: origin_name(catalogue, volume),
            thin_id: volume.thin.id(),
            virtual_bytes: volume.size,
            // A pending volume has nothing yet, which is known; a thin device that is not there is not.
            cost: volume.thin.id().map_or(Some(Cost::default()), cost_of),
        })
        .collect();
    volumes.sort_by(|one, other| one.name.cmp(&other.name));
    let known: BTreeSet<ThinId> = volumes.iter().filter_map(|volume| volume.thin_id).collect();
    let others: BTreeMap<_, _> =
        found.devices.iter().filter(|(id, _)| !known.contains(id)).collect();
    Accounting {
        pool: catalogue.pool().name.clone(),
        block_size,
        volumes,
        others: others
            .into_iter()
            .map(|(id, usage)| OtherUsage {
                thin_id: *id,
                is_deleted: catalogue.tombstones().contains_key(id),
                cost: cost(block_size, usage),
            })
            .collect(),
        set: found.set.map(|freed| SetCost {
            names: set.to_vec(),
            exclusive_bytes: data(freed.exclusive_blocks),
            exclusive_metadata_bytes: metadata(freed.exclusive_metadata_blocks),
        }),
        mapped_bytes: data(found.mapped_blocks),
        shared_bytes: data(found.shared_blocks),
        total_bytes: data(view.total_data_blocks),
        metadata_bytes: metadata(found.metadata_blocks),
    }
}

fn cost(block_size: BlockSize, usage: &DeviceUsage) -> Cost {
    Cost {
        mapped_bytes: block_size.length_of(usage.mapped_blocks),
        exclusive_bytes: block_size.length_of(usage.exclusive_blocks),
        shared_bytes: block_size.length_of(usage.shared_blocks()),
        metadata_bytes: metadata(usage.metadata_blocks),
        exclusive_metadata_bytes: metadata(usage.exclusive_metadata_blocks),
    }
}

fn metadata(blocks: MetadataBlocks) -> Bytes {
    Bytes::new(blocks.get().saturating_mul(METADATA_BLOCK_BYTES))
}
