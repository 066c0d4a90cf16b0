//! A catalogue rebuilt from what the pool itself holds, when the journal is gone and there is no
//! backup: every thin device becomes a volume, named by its id.
#![forbid(unsafe_code)]

use std::sync::Arc;

use uuid::Uuid;

use super::backup::rewrite_journal;
use super::error::PoolError;
use super::located::{Located, linear_segments};
use super::open::is_open;
use super::segmented::Segmented;
use super::volumes::now;
use crate::aligned::AlignedBuffer;
use crate::catalogue::{
    Catalogue, Content, PoolDevice, PoolIdentity, Record, ThinState, Timestamp, Volume, VolumeKind,
    VolumeName,
};
use crate::dm::Dm;
use crate::layout::{FilesystemFacts, Role, System, filesystem_of};
use crate::metadata::{
    Superblock, SuperblockState, highest_mapped_block, list_devices, mapped_data_block,
    read_superblock,
};
use crate::units::{Bytes, DataBlocks, ThinId};

/// A volume that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SalvagedVolume {
    /// The name that it got.
    pub name: VolumeName,
    /// Its thin id.
    pub thin_id: ThinId,
    /// Its size: the filesystem's, or what is mapped, whichever is larger.
    pub virtual_bytes: Bytes,
    /// The filesystem on it, when one was recognised.
    pub filesystem: Option<String>,
}

/// What a salvage found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SalvageReport {
    /// The volumes.
    pub volumes: Vec<SalvagedVolume>,
}

/// Rebuilds the catalogue of a closed pool. Refused while its journal can be read.
pub(super) fn salvage(dm: &Arc<dyn Dm>, located: &Located) -> Result<SalvageReport, PoolError> {
    located.require_whole()?;
    if is_open(&**dm, located)? {
        return Err(PoolError::AlreadyOpen { pool: located.found.name.clone() });
    }
    if located.read_catalogue().is_ok() {
        return Err(PoolError::NothingToSalvage { pool: located.found.name.clone() });
    }
    let mut catalogue = catalogue_of_labels(located)?;
    let metadata = Segmented::open(located, &linear_segments(&catalogue, Role::Metadata)?)?;
    let data = Segmented::open(located, &linear_segments(&catalogue, Role::Data)?)?;
    let SuperblockState::Valid(superblock) = read_superblock(&metadata)? else {
        return Err(PoolError::BlankMetadata { pool: located.found.name.clone() });
    };
    let mut volumes = Vec::new();
    for id in list_devices(&metadata, &superblock)?.into_keys() {
        let found = examine(&metadata, &data, &superblock, id)?;
        catalogue.apply(Record::Checkpointed(volume_of(&found)))?;
        volumes.push(found);
    }
    catalogue.restart_epoch(superblock.transaction_id);
    rewrite_journal(dm, located, &catalogue)?;
    Ok(SalvageReport { volumes })
}

/// What the labels repeat of the catalogue: the pool, its disks and who lives where.
fn catalogue_of_labels(located: &Located) -> Result<Catalogue, PoolError> {
    let Some(first) = located.found.devices.first() else {
        return Err(PoolError::NoPool { pool: located.found.name.clone() });
    };
    let mut discards = true;
    for device in &located.found.devices {
        let facts = crate::layout::DeviceFacts::read(&System::default(), &device.path)?;
        discards &= facts.discards;
    }
    let mut catalogue = Catalogue::new(PoolIdentity {
        uuid: located.uuid(),
        name: located.name.clone(),
        created_at: Timestamp(first.label.created_at.saturating_mul(1000)),
        block_size: first.label.block_size,
        extent: first.label.extent_bytes,
        discard_passdown: discards,
    });
    let mut segments = Vec::new();
    for device in &located.found.devices {
        catalogue.apply(Record::DeviceAdded(PoolDevice {
            uuid: device.label.device_uuid,
            index: device.label.device_index,
            size: device.label.device_bytes,
        }))?;
        segments.extend(device.label.segments.iter().copied());
    }
    segments.sort_by_key(|segment| (segment.role, segment.logical_start));
    catalogue.apply(Record::SegmentsAdded(segments))?;
    Ok(catalogue)
}

fn examine(
    metadata: &Segmented,
    data: &Segmented,
    superblock: &Superblock,
    id: ThinId,
) -> Result<SalvagedVolume, PoolError> {
    let block_size = superblock.data_block_size;
    let mapped = match highest_mapped_block(metadata, superblock, id)? {
        Some(highest) => block_size.length_of(DataBlocks::new(highest.saturating_add(1))),
        None => Bytes::ZERO,
    };
    let filesystem = match mapped_data_block(metadata, superblock, id, 0)? {
        Some(block) => {
            let length = block_size.bytes().get().min(HEAD_BYTES_MAX);
            let mut head = AlignedBuffer::zeroed(usize::try_from(length).unwrap_or(0));
            data.read_at(block_size.length_of(DataBlocks::new(block)).get(), &mut head)?;
            filesystem_of(&head)
        }
        None => None,
    };
    let length = filesystem.as_ref().map_or(Bytes::ZERO, |facts: &FilesystemFacts| facts.length);
    let virtual_bytes = length.max(mapped).max(block_size.bytes());
    Ok(SalvagedVolume {
        name: VolumeName::new(&format!("salvaged-{id}"))?,
        thin_id: id,
        virtual_bytes: Bytes::new(virtual_bytes.get().next_multiple_of(4096)),
        filesystem: filesystem.map(|facts| facts.name.to_owned()),
    })
}

/// Enough for the first superblock of every filesystem that is known: btrfs has it at 64 KiB, which
/// lies in the first data block unless that is the smallest possible.
const HEAD_BYTES_MAX: u64 = 128 << 10;

fn volume_of(found: &SalvagedVolume) -> Volume {
    Volume {
        uuid: Uuid::new_v4(),
        name: found.name.clone(),
        size: found.virtual_bytes,
        created_at: now(),
        kind: VolumeKind::Blank,
        thin: ThinState::Ready(found.thin_id),
        content: Content::Touched,
    }
}
