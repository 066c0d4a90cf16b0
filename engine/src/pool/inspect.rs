//! Looking at pools without the claim: labels, journal and kernel, each as it is at this moment.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::claim::{holder, is_held_elsewhere};
use super::error::PoolError;
use super::fallen::fallen_filesystems;
use super::handle::Pool;
use super::kernel::{ThinDevice, node_of, thin_device};
use super::located::{Located, linear_segments};
use super::metadata_margin::outlook;
use super::open::{damaged_copies, is_open};
use super::report::{usage, volume_views};
use super::segmented::Segmented;
use super::view::{DeviceView, PoolState, PoolView, VolumeView};
use crate::block_device::{Access, BlockDevice};
use crate::catalogue::{Catalogue, Epoch};
use crate::dm::{Dm, ThinPoolStatus};
use crate::journal::Tail;
use crate::layout::{LabelState, Role};
use crate::metadata::{
    BlockSource, DeviceDetails, SuperblockState, list_devices, prove_devices, read_superblock,
};
use crate::plan::Health;
use crate::units::{BlockSize, Bytes, DataBlocks, ThinId};

/// How often the device tree is read while commits move it.
const TREE_ATTEMPTS: u32 = 10;

/// A pool as it is now, whatever its state.
pub(super) fn view(dm: &dyn Dm, located: &Located) -> Result<PoolView, PoolError> {
    let mut view = from_labels(located);
    let catalogue = match located.read_catalogue() {
        Ok((catalogue, loaded)) => {
            if let Tail::Damaged { offset } = loaded.position.tail {
                view.problems.push(format!(
                    "the journal's last write is torn at byte {offset}; the next writer sets it aside"
                ));
            }
            let copies = damaged_copies(&loaded.position);
            view.problems.extend(copies.iter().map(ToString::to_string));
            from_catalogue(&mut view, located, &catalogue);
            Some(catalogue)
        }
        Err(error) => {
            let is_missing = matches!(error, PoolError::JournalMissing { .. });
            view.state = if is_missing { PoolState::Incomplete } else { PoolState::Damaged };
            view.problems.push(error.to_string());
            None
        }
    };
    if is_open(dm, located)? {
        if view.state == PoolState::Closed {
            view.state = PoolState::Open;
        }
        from_kernel(&mut view, dm, located, catalogue.as_ref())?;
    }
    Ok(view)
}

fn from_labels(located: &Located) -> PoolView {
    let found = &located.found;
    let first = found.devices.first();
    let mut view = PoolView {
        name: located.name.clone(),
        uuid: found.uuid,
        state: PoolState::Closed,
        health: None,
        problems: found.problems.iter().map(ToString::to_string).collect(),
        devices: Vec::new(),
        block_size: first.map_or(BlockSize::DEFAULT, |device| device.label.block_size),
        created_at: None,
        usage: None,
        metadata_outlook: None,
        fallen_filesystems: Vec::new(),
        unused: None,
        policy: None,
        transaction_id: None,
        snapshot_time: None,
        volume_count: 0,
        snapshot_count: 0,
        virtual_bytes: Bytes::ZERO,
        tombstones: Vec::new(),
        reaping_bytes: None,
        orphans: Vec::new(),
        held_root: None,
        clean: true,
        writer: None,
        is_written_elsewhere: false,
    };
    view.devices.extend(found.devices.iter().map(|device| DeviceView {
        path: Some(device.path.clone()),
        uuid: device.label.device_uuid,
        size: device.size,
    }));
    for device in &found.devices {
        if matches!(device.label.state, LabelState::Creating | LabelState::Destroying) {
            view.state = PoolState::Damaged;
            view.problems.push(format!(
                "the label of {} says {:?}; make or destroy the pool anew",
                device.path.display(),
                device.label.state
            ));
        }
    }
    if located.is_exported() && view.state == PoolState::Closed {
        view.state = PoolState::Exported;
    }
    if let Err(error) = found.require_sound() {
        view.state = PoolState::Damaged;
        view.problems.push(error.to_string());
    }
    view
}

fn from_catalogue(view: &mut PoolView, located: &Located, catalogue: &Catalogue) {
    view.created_at = Some(catalogue.pool().created_at);
    view.snapshot_count = catalogue.volumes().filter(|volume| volume.is_snapshot()).count();
    view.volume_count = catalogue.volume_count() - view.snapshot_count;
    view.virtual_bytes = Bytes::new(
        catalogue.volumes().map(|volume| volume.size.get()).fold(0, u64::saturating_add),
    );
    view.tombstones = catalogue.tombstones().keys().copied().collect();
    view.orphans = catalogue.orphans().iter().copied().collect();
    view.policy = Some(*catalogue.policy());
    view.unused = catalogue
        .extent_map()
        .ok()
        .and_then(|map| map.free_extents_total().checked_bytes(map.extent_bytes()));
    view.clean = matches!(catalogue.epoch(), Epoch::Released { .. });
    for device in catalogue.devices() {
        if located.disk(device.uuid).is_none() {
            view.devices.push(DeviceView { path: None, uuid: device.uuid, size: device.size });
        }
    }
    let strangers = located.strangers(catalogue);
    view.devices.retain(|device| !strangers.iter().any(|(uuid, _)| *uuid == device.uuid));
    view.problems.extend(strangers.iter().map(|(_, path)| {
        format!(
            "{path} was about to join the pool and did not; `thinly pool grow --force` takes it, and anything else may",
            path = path.display()
        )
    }));
    if let Err(error) = located.require_complete(catalogue) {
        view.state = PoolState::Incomplete;
        view.problems.push(error.to_string());
    }
}

fn from_kernel(
    view: &mut PoolView,
    dm: &dyn Dm,
    located: &Located,
    catalogue: Option<&Catalogue>,
) -> Result<(), PoolError> {
    let lines = dm.status(&located.names.pool_device, false)?;
    let status: ThinPoolStatus = lines.first().map_or("", |line| line.text.as_str()).parse()?;
    let health = Health::of(&status);
    view.health = Some(health);
    if health != Health::Writable {
        view.problems.push(format!("the pool is {health}; {}", health.advice()));
    }
    if let ThinPoolStatus::Working(working) = &status {
        view.transaction_id = Some(working.transaction_id);
        view.held_root = working.held_root;
        view.usage = Some(usage(working, view.block_size));
    }
    let metadata = dm.info(&located.names.metadata)?.number;
    let reader = BlockDevice::open(&node_of(metadata), Access::ReadOnly)?;
    if let Ok(SuperblockState::Valid(superblock)) = read_superblock(&reader) {
        view.snapshot_time = Some(superblock.time);
    }
    if let Some(catalogue) = catalogue {
        view.fallen_filesystems = fallen_filesystems(&located.names, catalogue);
    }
    if let (Some(catalogue), ThinPoolStatus::Working(working)) = (catalogue, &status) {
        let devices = tree(&reader);
        view.metadata_outlook = devices.map(|devices| outlook(catalogue, &devices, working, &[]));
    }
    view.reaping_bytes = mapped_bytes(&reader, view.block_size, &view.tombstones);
    view.writer = holder(located.uuid());
    view.is_written_elsewhere = is_held_elsewhere(located.uuid());
    Ok(())
}

/// Volumes and snapshots as they are now, whether the pool is open or not.
pub(super) fn volumes(dm: &dyn Dm, located: &Located) -> Result<Vec<VolumeView>, PoolError> {
    let (catalogue, _) = located.read_catalogue()?;
    if is_open(dm, located)? {
        let metadata = dm.info(&located.names.metadata)?.number;
        let reader = BlockDevice::open(&node_of(metadata), Access::ReadOnly)?;
        return live_volumes(dm, located, &catalogue, &reader);
    }
    let segments = linear_segments(&catalogue, Role::Metadata)?;
    let tree = match Segmented::open(located, &segments) {
        Ok(reader) => tree(&reader),
        // What is mapped cannot be known while that disk is missing; the rest can.
        Err(PoolError::Incomplete { .. }) => None,
        Err(error) => return Err(error),
    };
    Ok(assemble(&catalogue, BTreeMap::new(), tree.as_ref()))
}

fn live_volumes(
    dm: &dyn Dm,
    located: &Located,
    catalogue: &Catalogue,
    metadata: &dyn BlockSource,
) -> Result<Vec<VolumeView>, PoolError> {
    let names = &located.names;
    let mut devices = BTreeMap::new();
    for listed in dm.list(&names.name_prefix(), &names.uuid_prefix())? {
        let Some(id) = names.thin_id_of(&listed.name) else { continue };
        if let Some(device) = thin_device(dm, names, id)? {
            devices.insert(id, device);
        }
    }
    Ok(assemble(catalogue, devices, tree(metadata).as_ref()))
}

fn assemble(
    catalogue: &Catalogue,
    devices: BTreeMap<ThinId, ThinDevice>,
    tree: Option<&BTreeMap<ThinId, DeviceDetails>>,
) -> Vec<VolumeView> {
    let block_size = catalogue.pool().block_size;
    volume_views(catalogue, devices, |id| {
        let blocks: DataBlocks = tree?.get(&id)?.mapped_blocks;
        Some(block_size.length_of(blocks))
    })
}

/// The device tree between two equal superblocks; `None` when commits do not stop moving it.
pub(super) fn tree(metadata: &dyn BlockSource) -> Option<BTreeMap<ThinId, DeviceDetails>> {
    for _ in 0..TREE_ATTEMPTS {
        let Ok(SuperblockState::Valid(before)) = read_superblock(metadata) else { return None };
        let tree = list_devices(metadata, &before);
        match read_superblock(metadata) {
            Ok(SuperblockState::Valid(after)) if after == before => return tree.ok(),
            _ => {}
        }
    }
    None
}

/// What so many thin devices map, as of the last commit; those that are gone map nothing. `None`
/// when the metadata cannot be read.
fn mapped_bytes(
    metadata: &dyn BlockSource,
    block_size: BlockSize,
    ids: &[ThinId],
) -> Option<Bytes> {
    if ids.is_empty() {
        return Some(Bytes::ZERO);
    }
    let found = prove_devices(metadata, ids).ok()?.details;
    let blocks = found.values().map(|details| details.mapped_blocks.get());
    Some(block_size.length_of(DataBlocks::new(blocks.fold(0, u64::saturating_add))))
}

impl Pool {
    /// What deleted volumes still map, shared blocks included: as of the pool's last commit, which
    /// follows what the reaper frees by a second or so. No ioctl, and no read while there are none.
    /// `None` while it cannot be read.
    pub fn reaping_bytes(&self) -> Option<Bytes> {
        mapped_bytes(&self.metadata, self.identity.block_size, &self.tombstones())
    }

    /// This pool as it is now.
    pub fn view(&self) -> Result<PoolView, PoolError> {
        view(&*self.dm, &Located::find(&self.identity.uuid.to_string())?)
    }

    /// Its volumes and snapshots as they are now.
    pub fn volumes(&self) -> Result<Vec<VolumeView>, PoolError> {
        let located = Located::find(&self.identity.uuid.to_string())?;
        live_volumes(&*Arc::clone(&self.dm), &located, &self.catalogue(), &self.metadata)
    }
}
