//! Devices for volumes: activate and deactivate.
#![forbid(unsafe_code)]

use std::thread;
use std::time::Duration;

use super::error::PoolError;
use super::handle::Pool;
use super::kernel::ThinDevice;
use super::links::{remove_link, write_link};
use super::stack::remove;
use super::view::VolumeView;
use crate::catalogue::{Content, Record, ThinState, Volume, VolumeName};
use crate::plan::{
    Access, Operation, activate, activate_pending, admit, allocate_pending, deactivate, refresh,
};
use crate::units::ThinId;

/// How a volume is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeAccess {
    /// As a block device for anybody to write: from now on anything may be on it.
    ReadWrite,
    /// As a block device that refuses writes.
    ReadOnly,
    /// To the caller alone, who records what it does to the content (a driver that formats).
    Internal,
}

impl VolumeAccess {
    /// What it means for this volume: a hand-out for writing ends every right to format it.
    fn of(self, volume: &Volume) -> Access {
        match (self, &volume.content) {
            (Self::ReadOnly, _) => Access::ReadOnly,
            (Self::ReadWrite, Content::Blank | Content::Formatting { .. }) => Access::FirstTouch,
            (Self::ReadWrite | Self::Internal, _) => Access::ReadWrite,
        }
    }
}

/// Something that scans block devices may hold a node for a moment after its last real user.
const BUSY_TRIES: u32 = 10;
const BUSY_PAUSE: Duration = Duration::from_millis(50);

impl Pool {
    /// Makes the device of a volume, and its link. Repeating it is harmless.
    ///
    /// The view says what the kernel answered when the device was started. What is mapped would be
    /// one more question, so it is `None` here; [`Pool::volume`] asks.
    pub fn activate(
        &self,
        name: &VolumeName,
        access: VolumeAccess,
    ) -> Result<VolumeView, PoolError> {
        let (_lock, volume) = self.lock_one(name)?;
        self.refuse_receiving(&volume)?;
        self.activate_locked(&volume, access)
    }

    /// [`Pool::activate`] for a caller that holds the volume's lock.
    pub(super) fn activate_locked(
        &self,
        volume: &Volume,
        access: VolumeAccess,
    ) -> Result<VolumeView, PoolError> {
        let device = match self.thin_device(volume)? {
            Some(device) if device.uuid != Some(self.names.volume_uuid(volume.uuid)?) => {
                return Err(PoolError::DeviceInUse { device: device.name.to_string() });
            }
            Some(device) if device.live => {
                self.refresh(volume, &device, access)?;
                Some(device)
            }
            Some(device) => {
                // Left behind between create and resume: nobody can have it open.
                self.dm.remove(&device.name)?;
                self.make_device(volume, access)?
            }
            None => self.make_device(volume, access)?,
        };
        // Found again: a first activation gave it its thin id.
        let volume = self.find(&volume.name)?;
        if let Some(device) = &device {
            write_link(&self.link_of(&volume), &device.node());
        }
        Ok(self.view_with(&volume, device, None))
    }

    fn make_device(
        &self,
        volume: &Volume,
        access: VolumeAccess,
    ) -> Result<Option<ThinDevice>, PoolError> {
        let length = volume.size.to_sectors_exact()?;
        let access = access.of(volume);
        match volume.thin {
            ThinState::Lost(id) => Err(PoolError::VolumeLost { name: volume.name.clone(), id }),
            ThinState::Ready(id) => {
                self.admit(Operation::Activate)?;
                self.start(&activate(volume.uuid, id, length, access))
            }
            ThinState::Pending => {
                self.admit(Operation::Allocate)?;
                self.with_ids(1, |ids| {
                    self.start(&activate_pending(volume.uuid, ids[0], length, access))
                })
            }
        }
    }

    /// Runs `work` with reserved thin ids and settles them afterwards, however it ends.
    pub(super) fn with_ids<T>(
        &self,
        count: usize,
        work: impl FnOnce(&[ThinId]) -> Result<T, PoolError>,
    ) -> Result<T, PoolError> {
        let ids = self.reserve_ids(count)?;
        let result = work(&ids);
        self.settle_ids(&ids);
        result
    }

    /// Gives a pending volume its thin id without a device: the first snapshot or clone of one.
    pub(super) fn allocate(&self, volume: &Volume) -> Result<ThinId, PoolError> {
        self.admit(Operation::Allocate)?;
        self.with_ids(1, |ids| {
            self.execute(&allocate_pending(volume.uuid, ids[0]))?;
            Ok(ids[0])
        })
    }

    /// Makes an active device what the catalogue says: tables are never trusted to be right. Whether
    /// it takes writes is never changed under its users.
    fn refresh(
        &self,
        volume: &Volume,
        device: &ThinDevice,
        access: VolumeAccess,
    ) -> Result<(), PoolError> {
        if device.suspended {
            return Err(super::volumes::suspended_elsewhere(&volume.name, device));
        }
        if device.read_only != (access == VolumeAccess::ReadOnly) {
            return Err(PoolError::VolumeActive { name: volume.name.clone() });
        }
        if access.of(volume) == Access::FirstTouch {
            let content = Content::Touched;
            self.commit(Record::ContentChanged { uuid: volume.uuid, content })?;
        }
        let length = volume.size.to_sectors_exact()?;
        if self.live_length(device)? == length {
            return Ok(());
        }
        self.admit(Operation::Resize)?;
        self.execute(&refresh(device.id, length, device.read_only))
    }

    /// Removes the device of a volume, and its link. Refused while anybody has it open.
    pub fn deactivate(&self, name: &VolumeName) -> Result<VolumeView, PoolError> {
        let (_lock, volume) = self.lock_one(name)?;
        admit(self.health()?.0, Operation::Deactivate)?;
        self.remove_device(&volume)?;
        Ok(self.view_of(&volume, None))
    }

    /// Removes a device that nobody has open, and a view of it first.
    fn remove_unused(&self, volume: &Volume, device: &ThinDevice) -> Result<(), PoolError> {
        self.refuse_users(volume, device)?;
        if device.open_count > 0 {
            remove(&*self.dm, &self.names.view(device.id)?)?;
        }
        match self.execute(&deactivate(device.id)) {
            Err(PoolError::Dm(error)) if error.is_busy() => Err(PoolError::VolumeInUse {
                name: volume.name.clone(),
                device: device.node(),
                count: device.open_count,
            }),
            removed => removed,
        }
    }

    /// Removes a volume's device if it has one; the caller holds its lock.
    pub(super) fn remove_device(&self, volume: &Volume) -> Result<(), PoolError> {
        for attempt in 1.. {
            let Some(device) = self.thin_device(volume)? else { break };
            let refused = match self.remove_unused(volume, &device) {
                Ok(()) => break,
                Err(error) => error,
            };
            if attempt == BUSY_TRIES || !matches!(refused, PoolError::VolumeInUse { .. }) {
                return Err(refused);
            }
            thread::sleep(BUSY_PAUSE);
        }
        remove_link(&self.link_of(volume));
        Ok(())
    }
}
