//! The kernel's word on a thin device: asked each time, never remembered.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::error::PoolError;
use super::handle::Pool;
use super::locks::lock;
use crate::block_device::DeviceNumber;
use crate::catalogue::Volume;
use crate::dm::{DeviceInfo, Dm, DmName, DmUuid, TableSlot, ThinStatus};
use crate::metadata::prove_devices;
use crate::plan::DeviceNames;
use crate::units::{Bytes, Sectors, ThinId};

/// A thin device that is in the kernel.
#[derive(Debug, Clone)]
pub(super) struct ThinDevice {
    pub(super) id: ThinId,
    pub(super) name: DmName,
    pub(super) uuid: Option<DmUuid>,
    pub(super) number: DeviceNumber,
    pub(super) live: bool,
    pub(super) suspended: bool,
    pub(super) read_only: bool,
    pub(super) open_count: u32,
}

impl ThinDevice {
    /// The device of a thin id as the kernel just described it.
    pub(super) fn of(id: ThinId, name: DmName, info: DeviceInfo) -> Self {
        Self {
            id,
            name,
            uuid: info.uuid,
            number: info.number,
            live: info.live_table,
            suspended: info.suspended,
            read_only: info.read_only,
            open_count: info.open_count,
        }
    }

    /// The node that devtmpfs makes.
    pub(super) fn node(&self) -> PathBuf {
        node_of(self.number)
    }
}

/// The node of a dm device: devtmpfs makes it at once, without udev.
pub(super) fn node_of(number: DeviceNumber) -> PathBuf {
    PathBuf::from(format!("/dev/dm-{}", number.minor))
}

/// Asks the kernel for the device of a thin id.
pub(super) fn thin_device(
    dm: &dyn Dm,
    names: &DeviceNames,
    id: ThinId,
) -> Result<Option<ThinDevice>, PoolError> {
    let name = names.thin(id)?;
    match dm.info(&name) {
        Ok(info) => Ok(Some(ThinDevice::of(id, name, info))),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Pool {
    /// The length of a device's live table.
    pub(super) fn live_length(&self, device: &ThinDevice) -> Result<Sectors, PoolError> {
        let table = self.dm.table(&device.name, TableSlot::Live)?;
        Ok(table.first().map_or(Sectors::ZERO, |line| line.length))
    }

    /// The device of a volume, if the kernel has one.
    pub(super) fn thin_device(&self, volume: &Volume) -> Result<Option<ThinDevice>, PoolError> {
        match volume.thin.id() {
            Some(id) => thin_device(&*self.dm, &self.names, id),
            None => Ok(None),
        }
    }

    /// What an active volume maps at this moment: one ioctl instead of several reads. `None` where
    /// the kernel does not say.
    pub(super) fn mapped_of_active(&self, device: &ThinDevice) -> Option<Bytes> {
        if !device.live {
            return None;
        }
        lock(&self.proven).remove(&device.id);
        match self.dm.thin_status(&device.name) {
            Ok(ThinStatus::Mapped { mapped_sectors, .. }) => Some(mapped_sectors.to_bytes()),
            _ => None,
        }
    }

    /// What a volume maps, as of the pool's last commit; `None` when it cannot be read just now.
    pub(super) fn mapped_of(&self, volume: &Volume) -> Option<Bytes> {
        let Some(id) = volume.thin.id() else { return Some(Bytes::ZERO) };
        let length_of = |blocks| self.identity.block_size.length_of(blocks);
        if let Some(blocks) = lock(&self.proven).remove(&id) {
            return Some(length_of(blocks));
        }
        let proof = prove_devices(&self.metadata, &[id]).ok()?;
        proof.details.get(&id).map(|details| length_of(details.mapped_blocks))
    }
}
