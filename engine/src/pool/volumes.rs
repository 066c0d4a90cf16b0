//! Volumes: create, grow, rename, delete.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use super::error::PoolError;
use super::handle::Pool;
use super::kernel::ThinDevice;
use super::links::{remove_link, write_link};
use super::locks::{VolumeLock, lock};
use super::view::VolumeView;
use crate::catalogue::{Provision, Record, ThinState, Timestamp, Volume, VolumeName};
use crate::plan::{Operation, admit, link_path, resize};
use crate::units::{Bytes, SECTOR_BYTES, ThinId};

/// The largest volume: what fits a signed 64-bit count of bytes, as file offsets are.
pub(super) const VOLUME_BYTES_MAX: u64 = (i64::MAX as u64) / SECTOR_BYTES * SECTOR_BYTES;

/// The time, for the records: the pure core never asks for it.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

pub(super) fn check_size(size: Bytes) -> Result<(), PoolError> {
    let refuse = |why| Err(PoolError::BadSize { size, why });
    match size.get() {
        0 => refuse("a volume has at least one sector of 512 bytes"),
        bytes if !bytes.is_multiple_of(SECTOR_BYTES) => refuse("it is no multiple of 512 bytes"),
        bytes if bytes > VOLUME_BYTES_MAX => refuse("file offsets end below 8 EiB"),
        _ => Ok(()),
    }
}

impl Pool {
    /// Creates a volume: one journal write, nothing in the kernel. A blank volume has nothing to
    /// lose, so it gets its thin id when it is first activated or copied.
    pub fn create_volume(&self, name: &VolumeName, size: Bytes) -> Result<VolumeView, PoolError> {
        let uuid = self.make_volume(name, size, None)?;
        let made = self.volume_record(uuid).map_or_else(|| self.find(name), Ok)?;
        Ok(self.view_with(&made, None, Some(Bytes::ZERO)))
    }

    /// Creates a volume, with or without a provision, and gives its identity.
    pub(super) fn make_volume(
        &self,
        name: &VolumeName,
        size: Bytes,
        provision: Option<Provision>,
    ) -> Result<Uuid, PoolError> {
        check_size(size)?;
        self.admit(Operation::Create)?;
        let uuid = Uuid::new_v4();
        let made = Record::VolumeCreated { uuid, name: name.clone(), size, created_at: now() };
        self.commit(match provision {
            None => made,
            Some(provision) => Record::Provisioned {
                made: Some(Box::new(made)),
                provisions: vec![(uuid, provision)],
            },
        })?;
        Ok(uuid)
    }

    /// Grows a volume or snapshot; while it is active its users see the new size at once.
    pub fn resize(&self, name: &VolumeName, size: Bytes) -> Result<VolumeView, PoolError> {
        check_size(size)?;
        let (_lock, volume) = self.lock_one(name)?;
        if size < volume.size {
            let (current, requested) = (volume.size, size);
            return Err(PoolError::Shrink { name: name.clone(), current, requested });
        }
        self.refuse_receiving(&volume)?;
        self.admit(Operation::Resize)?;
        let length = size.to_sectors_exact()?;
        let active = match self.thin_device(&volume)? {
            Some(device) if device.suspended => return Err(suspended_elsewhere(name, &device)),
            Some(device) => Some((device.id, length, device.read_only)),
            None => None,
        };
        self.execute(&resize(volume.uuid, size, active))?;
        self.volume(name)
    }

    /// Gives a volume or snapshot another name. Its data, its device and its users see nothing.
    pub fn rename(&self, from: &VolumeName, to: &VolumeName) -> Result<VolumeView, PoolError> {
        let (_lock, volume) = self.lock_one(from)?;
        admit(self.health()?.0, Operation::Rename)?;
        let device = self.thin_device(&volume)?;
        self.commit(Record::Renamed { uuid: volume.uuid, name: to.clone() })?;
        if let Some(device) = device {
            remove_link(&self.link_of(&volume));
            let renamed = Volume { name: to.clone(), ..volume };
            write_link(&self.link_of(&renamed), &device.node());
        }
        self.volume(to)
    }

    /// Deletes a volume or snapshot. It is gone when this returns; its space is freed by
    /// [`Pool::reap`].
    pub fn delete(&self, name: &VolumeName) -> Result<(), PoolError> {
        let (_lock, volume) = self.lock_one(name)?;
        self.refuse_deletion()?;
        self.remove_device(&volume)?;
        self.commit(Record::Deleted { uuid: volume.uuid })
    }

    /// Refuses a deletion before any device is touched.
    pub(super) fn refuse_deletion(&self) -> Result<(), PoolError> {
        self.refuse_if_poisoned()?;
        Ok(admit(self.health()?.0, Operation::Delete)?)
    }

    /// Locks a volume by its name and looks it up again under the lock: it may have been renamed
    /// or deleted while we waited.
    pub(super) fn lock_one(
        &self,
        name: &VolumeName,
    ) -> Result<(VolumeLock<'_>, Volume), PoolError> {
        loop {
            let uuid = self.find(name)?.uuid;
            let held = self.locks.volumes(&[uuid]);
            let volume = self.find(name)?;
            if volume.uuid == uuid {
                return Ok((held, volume));
            }
        }
    }

    /// Locks several volumes at once, in the order given.
    pub(super) fn lock_all(
        &self,
        names: &[VolumeName],
    ) -> Result<(VolumeLock<'_>, Vec<Volume>), PoolError> {
        loop {
            let found = |names: &[VolumeName]| -> Result<Vec<Volume>, PoolError> {
                names.iter().map(|name| self.find(name)).collect()
            };
            let uuids: Vec<Uuid> = found(names)?.iter().map(|volume| volume.uuid).collect();
            let held = self.locks.volumes(&uuids);
            let volumes = found(names)?;
            if volumes.iter().map(|volume| volume.uuid).eq(uuids) {
                return Ok((held, volumes));
            }
        }
    }

    /// The thin id of a volume that has data.
    pub(super) fn ready_id(&self, volume: &Volume) -> Result<ThinId, PoolError> {
        match volume.thin {
            ThinState::Ready(id) => Ok(id),
            ThinState::Lost(id) => Err(PoolError::VolumeLost { name: volume.name.clone(), id }),
            ThinState::Pending => self.allocate(volume),
        }
    }

    /// The link that an active volume has.
    pub(super) fn link_of(&self, volume: &Volume) -> PathBuf {
        link_path(self.identity.name.as_str(), volume.name.as_str(), volume.uuid)
    }

    /// A volume or snapshot as it stands.
    pub fn volume(&self, name: &VolumeName) -> Result<VolumeView, PoolError> {
        let volume = self.find(name)?;
        let device = self.thin_device(&volume)?;
        Ok(self.view_of(&volume, device))
    }

    /// The view of a copy at the moment it was made: its thin id is new, so no device has it.
    pub(super) fn volume_just_made(&self, name: &VolumeName) -> Result<VolumeView, PoolError> {
        Ok(self.view_of(&self.find(name)?, None))
    }

    /// The view of a volume whose device the caller has just asked the kernel for.
    pub(super) fn view_of(&self, volume: &Volume, device: Option<ThinDevice>) -> VolumeView {
        let mapped = device
            .as_ref()
            .and_then(|device| self.mapped_of_active(device))
            .or_else(|| self.mapped_of(volume));
        self.view_with(volume, device, mapped)
    }

    /// The view of a volume of which the caller knows what the kernel says.
    pub(super) fn view_with(
        &self,
        volume: &Volume,
        device: Option<ThinDevice>,
        mapped: Option<Bytes>,
    ) -> VolumeView {
        let known = super::report::known(&lock(&self.state).catalogue, volume);
        super::report::volume_view(&self.identity, volume, known, device, mapped)
    }
}

pub(super) fn suspended_elsewhere(name: &VolumeName, device: &ThinDevice) -> PoolError {
    PoolError::OriginSuspended { name: name.clone(), device: device.name.to_string() }
}
