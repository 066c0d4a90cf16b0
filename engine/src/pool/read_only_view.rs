//! A second device over an active volume that refuses writes, whatever is done to its node.
//!
//! It is a linear table over the volume's device, loaded read-only: the kernel then marks the whole
//! disk, and `BLKROSET` changes only a mark of the node. While it exists the volume's device counts
//! as open, so it cannot be removed from under it; and as every dm device does, it claims what it
//! lies on, so nobody can mount the volume's own device or open it exclusively.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::error::PoolError;
use super::handle::Pool;
use super::kernel::{ThinDevice, node_of};
use super::stack::remove;
use super::volumes::suspended_elsewhere;
use crate::catalogue::{Volume, VolumeName};
use crate::dm::{DeviceInfo, Dm, DmName, DmUuid, TableLine, TableSlot};
use crate::plan::{Operation, view_table};

impl Pool {
    /// The node of a device that shows an active volume and refuses writes. Called again after a
    /// resize, it makes the device as long as the volume is; otherwise repeating it is harmless.
    pub fn read_only_view(&self, name: &VolumeName) -> Result<PathBuf, PoolError> {
        let (_lock, volume) = self.lock_one(name)?;
        self.refuse_receiving(&volume)?;
        self.admit(Operation::Activate)?;
        let device = self.active_device(&volume)?;
        let table = view_table(device.number, self.live_length(&device)?);
        let view = self.names.view(device.id)?;
        let uuid = self.names.view_uuid(volume.uuid)?;
        let info = match info(&*self.dm, &view)? {
            Some(info) if info.live_table && info.uuid.as_ref() == Some(&uuid) => info,
            Some(_) => {
                // Left between create and resume: nobody ever had it.
                remove(&*self.dm, &view)?;
                return self.make_view(&volume, &device, &view, &uuid, &table);
            }
            None => return self.make_view(&volume, &device, &view, &uuid, &table),
        };
        if info.suspended {
            let (name, device) = (name.clone(), view.to_string());
            return Err(PoolError::OriginSuspended { name, device });
        }
        if !info.read_only || self.dm.table(&view, TableSlot::Live)? != table {
            // One resume swaps the table in and lets go on: no crash leaves the view suspended.
            self.dm.load(&view, &table, true)?;
            self.dm.resume(&view)?;
        }
        Ok(node_of(info.number))
    }

    /// The node of a volume's view, if it has one.
    pub fn find_read_only_view(&self, name: &VolumeName) -> Result<Option<PathBuf>, PoolError> {
        let Some(id) = self.find(name)?.thin.id() else { return Ok(None) };
        let view = info(&*self.dm, &self.names.view(id)?)?;
        Ok(view.filter(|view| view.live_table).map(|view| node_of(view.number)))
    }

    /// Removes the view of a volume. Refused while anybody has it open; repeating it is harmless.
    pub fn drop_read_only_view(&self, name: &VolumeName) -> Result<(), PoolError> {
        let (_lock, volume) = self.lock_one(name)?;
        let Some(id) = volume.thin.id() else { return Ok(()) };
        let view = self.names.view(id)?;
        match remove(&*self.dm, &view) {
            Err(busy @ PoolError::DeviceInUse { .. }) => Err(match info(&*self.dm, &view)? {
                Some(info) => in_use(&volume, &info),
                None => busy,
            }),
            removed => removed,
        }
    }

    fn active_device(&self, volume: &Volume) -> Result<ThinDevice, PoolError> {
        let uuid = self.names.volume_uuid(volume.uuid)?;
        match self.thin_device(volume)? {
            Some(device) if device.suspended => Err(suspended_elsewhere(&volume.name, &device)),
            Some(device) if device.live && device.uuid.as_ref() == Some(&uuid) => Ok(device),
            _ => Err(PoolError::VolumeInactive { name: volume.name.clone() }),
        }
    }

    fn make_view(
        &self,
        volume: &Volume,
        device: &ThinDevice,
        view: &DmName,
        uuid: &DmUuid,
        table: &[TableLine],
    ) -> Result<PathBuf, PoolError> {
        let info = self.dm.create(view, uuid)?;
        let made = self.dm.load(view, table, true).and_then(|_| self.dm.resume(view));
        match made {
            Ok(_) => Ok(node_of(info.number)),
            Err(error) => {
                // What cannot be removed has no table, and the next call begins with it anew.
                let _ = remove(&*self.dm, view);
                if !error.is_busy() {
                    return Err(error.into());
                }
                // A mount, or another exclusive open of the volume's device.
                let (name, count) = (volume.name.clone(), device.open_count);
                Err(PoolError::VolumeInUse { name, device: device.node(), count })
            }
        }
    }

    /// Refuses when anybody has a volume's device or its view open; the hold that a view has on its
    /// volume is nobody's.
    pub(super) fn refuse_users(
        &self,
        volume: &Volume,
        device: &ThinDevice,
    ) -> Result<(), PoolError> {
        if device.open_count == 0 {
            return Ok(());
        }
        let view = info(&*self.dm, &self.names.view(device.id)?)?;
        if let Some(view) = view.as_ref().filter(|view| view.open_count > 0) {
            return Err(in_use(volume, view));
        }
        let count = device.open_count.saturating_sub(u32::from(view.as_ref().is_some_and(holds)));
        if count == 0 {
            return Ok(());
        }
        Err(PoolError::VolumeInUse { name: volume.name.clone(), device: device.node(), count })
    }
}

/// Whether a view has a table, and with it the volume's device.
pub(super) const fn holds(view: &DeviceInfo) -> bool {
    view.live_table || view.inactive_table
}

pub(super) fn info(dm: &dyn Dm, device: &DmName) -> Result<Option<DeviceInfo>, PoolError> {
    match dm.info(device) {
        Ok(info) => Ok(Some(info)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn in_use(volume: &Volume, view: &DeviceInfo) -> PoolError {
    let (name, device) = (volume.name.clone(), node_of(view.number));
    PoolError::VolumeInUse { name, device, count: view.open_count }
}
