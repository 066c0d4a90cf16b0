//! Who lives where, as the map that refuses to become wrong.
#![forbid(unsafe_code)]

use uuid::Uuid;

use super::apply_error::ApplyError;
use super::record::PoolDevice;
use super::state::Catalogue;
use crate::layout::{DeviceSpace, ExtentError, ExtentMap, Extents, Role, Segment, device_extents};
use crate::units::Bytes;

impl Catalogue {
    /// The map of the pool's extents.
    pub fn extent_map(&self) -> Result<ExtentMap, ExtentError> {
        self.grown(&[], &[])
    }

    /// The same with devices that are about to join.
    pub fn extent_map_with(&self, devices: &[PoolDevice]) -> Result<ExtentMap, ExtentError> {
        self.grown(devices, &[])
    }

    /// How long a role is.
    pub fn length_of(&self, role: Role) -> Bytes {
        let of_role = self.segments.iter().filter(|segment| segment.role == role);
        let extents = of_role.map(|segment| segment.count.get()).fold(0, u64::saturating_add);
        Bytes::new(extents.saturating_mul(self.pool.extent.get()))
    }

    /// The same with more devices and more segments.
    pub(super) fn grown(
        &self,
        devices: &[PoolDevice],
        segments: &[Segment],
    ) -> Result<ExtentMap, ExtentError> {
        let extent = self.pool.extent;
        let space = |device: &PoolDevice| DeviceSpace {
            device: device.uuid,
            extents: device_extents(device.size, extent),
        };
        let spaces: Vec<DeviceSpace> = self.devices.iter().chain(devices).map(space).collect();
        let mut map = ExtentMap::new(extent, &spaces)?;
        map.insert(&self.segments)?;
        map.insert(segments)?;
        Ok(map)
    }

    /// The same with a role in other places. Only a copy of the journal may go away: no other role
    /// becomes shorter or longer by being moved.
    pub(super) fn relocated(
        &self,
        role: Role,
        segments: &[Segment],
    ) -> Result<ExtentMap, ExtentError> {
        let mut map = self.extent_map()?;
        let had = map.extents(role);
        map.remove(role);
        map.insert(segments)?;
        let has = map.extents(role);
        let fits = if role == Role::Journal { has > Extents::ZERO } else { has == had };
        if fits && segments.iter().all(|segment| segment.role == role) {
            Ok(map)
        } else {
            Err(ExtentError::Gap { role, expected: had, found: has })
        }
    }

    /// Refuses to let a device go that carries something: the only one always does.
    pub(super) fn check_unused(&self, device: Uuid) -> Result<(), ApplyError> {
        let is_known = self.devices.iter().any(|known| known.uuid == device);
        let carries = self.segments.iter().any(|segment| segment.device == device);
        if is_known && !carries { Ok(()) } else { Err(ApplyError::DeviceInUse { device }) }
    }
}
