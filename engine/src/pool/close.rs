//! Taking a pool out of the kernel, and off its disks.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use super::claim::{claim, forget_holder};
use super::error::PoolError;
use super::handle::Pool;
use super::kernel::node_of;
use super::located::Located;
use super::open::{attach, is_open};
use super::read_only_view::{holds, info};
use super::settle::{thins, views};
use super::stack::remove;
use crate::block_device::{Access, BlockDevice, DeviceError};
use crate::catalogue::Volume;
use crate::dm::Dm;
use crate::dm::block::reread_partitions;
use crate::layout::{
    DeviceFacts, Label, LabelState, System, wipe_labels, wipe_own_gpt, write_labels,
};

/// Removing a thin waits for an RCU grace period; waits in parallel share one.
const PARALLEL_REMOVALS: usize = 32;

/// Removes every device of a pool. Refused, with everything left as it was, while a volume is open.
pub(super) fn close(dm: &Arc<dyn Dm>, located: &Located) -> Result<(), PoolError> {
    let pool = match attach(dm, located) {
        Ok(pool) => pool,
        // Every way out of these needs the pool closed, so they must not keep it open.
        Err(
            PoolError::Journal(_)
            | PoolError::Replay(_)
            | PoolError::Foreign(_)
            | PoolError::Metadata(_)
            | PoolError::BlankMetadata { .. },
        ) => return take_down(&**dm, located),
        Err(error) => return Err(error),
    };
    let active = pool.active_volumes()?;
    pool.refuse_open(&active)?;
    pool.remove_thins(&active)?;
    pool.release_epoch()?;
    let Pool { dm, names, metadata, journal, .. } = pool;
    drop(metadata);
    for name in [&names.pool_device, &names.data, &names.metadata] {
        remove(&*dm, name)?;
    }
    // The claim goes last: until here nobody else could attach.
    forget_holder(located.uuid());
    drop(journal);
    remove(&*dm, &names.journal)
}

/// Removes the devices of a pool whose journal or metadata cannot be used, or those that are left of a close or an open
/// that died half-way, and writes nothing.
pub(super) fn take_down(dm: &dyn Dm, located: &Located) -> Result<(), PoolError> {
    let names = &located.names;
    let claimed = match dm.info(&names.journal) {
        Ok(journal) if journal.live_table => Some(claim(located, &node_of(journal.number))?),
        Ok(_) => None,
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error.into()),
    };
    let (views, thins) = (views(dm, located)?, thins(dm, located)?);
    for device in views.iter().chain(&thins) {
        let own = match names.thin_id_of(&device.name) {
            Some(id) => info(dm, &names.view(id)?)?.as_ref().is_some_and(holds),
            None => false,
        };
        if dm.info(&device.name)?.open_count > u32::from(own) {
            return Err(PoolError::DeviceInUse { device: device.name.to_string() });
        }
    }
    for device in views.iter().chain(&thins) {
        remove(dm, &device.name)?;
    }
    for name in [&names.pool_device, &names.data, &names.metadata, &names.spare] {
        remove(dm, name)?;
    }
    if claimed.is_some() {
        forget_holder(located.uuid());
    }
    drop(claimed);
    remove(dm, &names.journal)
}

/// Wipes a pool. The labels say so first: what a crash leaves is recognised and finished.
pub(super) fn destroy(dm: &Arc<dyn Dm>, located: &Located) -> Result<(), PoolError> {
    located.found.require_sound()?;
    if located.is_exported() {
        return Err(PoolError::Exported { pool: located.found.name.clone() });
    }
    if is_open(&**dm, located)? {
        close(dm, located)?;
    } else {
        take_down(&**dm, located)?;
    }
    // The claim on every disk at once, before anything is written.
    let disks = located
        .found
        .devices
        .iter()
        .map(|device| Ok((BlockDevice::open(&device.path, Access::Exclusive)?, &device.label)))
        .collect::<Result<Vec<(BlockDevice, &Label)>, PoolError>>()?;
    for (disk, label) in &disks {
        let (state, generation) = (LabelState::Destroying, label.generation + 1);
        write_labels(disk, &Label { state, generation, ..(*label).clone() })?;
    }
    for (disk, label) in &disks {
        for placement in &label.placements {
            disk.zero_range(placement.offset.get(), placement.length.get())?;
        }
        for segment in &label.segments {
            if let Some(offset) = segment.device_offset(label.extent_bytes) {
                disk.zero_range(offset.get(), label.extent_bytes.get().min(1 << 20))?;
            }
        }
    }
    for (disk, _) in &disks {
        wipe_labels(disk)?;
    }
    let paths: Vec<PathBuf> = disks.iter().map(|(disk, _)| disk.path().to_owned()).collect();
    drop(disks);
    paths.iter().try_for_each(|path| unpartition(path))
}

/// Gives a disk that [`create`](super::create) partitioned back as it was: blank. The pool is gone by
/// now, so a disk that somebody has opened meanwhile just keeps its table.
pub(super) fn unpartition(partition: &Path) -> Result<(), PoolError> {
    let system = System::default();
    let facts = DeviceFacts::read(&system, partition)?;
    if !facts.is_partition {
        return Ok(());
    }
    let disk = match BlockDevice::open(&system.node(&facts.disk.0), Access::Exclusive) {
        Err(DeviceError::Busy { .. }) => return Ok(()),
        opened => opened?,
    };
    if wipe_own_gpt(&disk, facts.logical_block_bytes)? {
        // Until then the kernel shows a partition that is not there.
        let _ = reread_partitions(&disk);
    }
    Ok(())
}

impl Pool {
    /// Volumes that have a device in the kernel.
    pub(super) fn active_volumes(&self) -> Result<Vec<Volume>, PoolError> {
        let listed = self.dm.list(&self.names.name_prefix(), &self.names.uuid_prefix())?;
        let catalogue = self.catalogue();
        Ok(listed
            .iter()
            .filter_map(|device| self.names.thin_id_of(&device.name))
            .filter_map(|id| catalogue.owner(id).cloned())
            .collect())
    }

    pub(super) fn refuse_open(&self, active: &[Volume]) -> Result<(), PoolError> {
        for volume in active {
            if let Some(device) = self.thin_device(volume)? {
                self.refuse_users(volume, &device)?;
            }
        }
        Ok(())
    }

    fn remove_thins(&self, active: &[Volume]) -> Result<(), PoolError> {
        for batch in active.chunks(PARALLEL_REMOVALS) {
            thread::scope(|scope| {
                let removals: Vec<_> = batch
                    .iter()
                    .map(|volume| scope.spawn(move || self.remove_device(volume)))
                    .collect();
                removals.into_iter().try_for_each(|removal| match removal.join() {
                    Ok(removed) => removed,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
            })?;
        }
        // What is left belongs to no volume: a reaper or an activation that died.
        let listed = self.dm.list(&self.names.name_prefix(), &self.names.uuid_prefix())?;
        let views = listed.iter().filter(|device| self.names.view_id_of(&device.name).is_some());
        let thins = listed.iter().filter(|device| self.names.thin_id_of(&device.name).is_some());
        for device in views.chain(thins) {
            remove(&*self.dm, &device.name)?;
        }
        Ok(())
    }
}
