//! Who lives where, as the map that refuses to become wrong.
#![forbid(unsafe_code)]

use super::record::PoolDevice;
use super::state::Catalogue;
use crate::layout::{DeviceSpace, ExtentError, ExtentMap, Role, Segment, device_extents};
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
}
