//! Which extents a pool gets when it grows: pure.
#![forbid(unsafe_code)]

use uuid::Uuid;

use super::extent_map::{ExtentError, ExtentMap, Placement};
use super::role::{Extents, Role};
use super::segment::Segment;
use super::sizes::{METADATA_BYTES_MAX, metadata_bytes};
use crate::units::{BlockSize, Bytes};

/// What a pool is to grow by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrowthRequest<'a> {
    /// Data; all that fits when `None`.
    pub data: Option<Bytes>,
    /// Metadata beyond what the data asks for.
    pub metadata: Bytes,
    /// Where data may go; every device that is not for metadata alone when empty.
    pub data_devices: &'a [Uuid],
    /// What must stay free.
    pub keep_free: Bytes,
}

/// Extents for a growth.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Growth {
    /// What the roles get.
    pub segments: Vec<Segment>,
    /// More data.
    pub data: Bytes,
    /// More metadata; the room for a repaired copy grows as much.
    pub metadata: Bytes,
}

/// Plans a growth. The metadata grows by what the formula has for the larger pool beyond what it
/// has for the present one, so that a length chosen by a person stays a choice; its spare keeps up.
pub fn plan_growth(
    map: &ExtentMap,
    block_size: BlockSize,
    request: &GrowthRequest<'_>,
) -> Result<Growth, ExtentError> {
    let planner = Planner { map, block_size, request, devices: data_devices(map, request) };
    let extent = map.extent_bytes();
    if let Some(data) = request.data {
        return planner.lay_out(Extents::holding(data, extent));
    }
    let free = planner.devices.iter().map(|device| map.free_extents(*device).get()).sum::<u64>();
    let (mut good, mut bad) = (0, free + 1);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        match planner.lay_out(Extents::new(middle)) {
            Ok(_) => good = middle,
            Err(_) => bad = middle,
        }
    }
    planner.lay_out(Extents::new(good))
}

/// A device that holds metadata or the journal and no data is for those alone, unless it was named.
fn data_devices(map: &ExtentMap, request: &GrowthRequest<'_>) -> Vec<Uuid> {
    if !request.data_devices.is_empty() {
        return request.data_devices.to_vec();
    }
    let all = map.devices().iter().map(|space| space.device);
    all.filter(|device| {
        let on = map.segments_on(*device);
        on.is_empty() || on.iter().any(|segment| segment.role == Role::Data)
    })
    .collect()
}

struct Planner<'a> {
    map: &'a ExtentMap,
    block_size: BlockSize,
    request: &'a GrowthRequest<'a>,
    devices: Vec<Uuid>,
}

impl Planner<'_> {
    fn lay_out(&self, data: Extents) -> Result<Growth, ExtentError> {
        let extent = self.map.extent_bytes();
        let more_data = data.checked_bytes(extent).unwrap_or(Bytes::new(u64::MAX));
        let metadata = self.metadata(more_data);
        let mut map = self.map.clone();
        let mut segments = Vec::new();
        let spare = map.extents(Role::MetadataSpare) > Extents::ZERO;
        for role in [Role::Metadata, Role::MetadataSpare] {
            if metadata == Bytes::ZERO || (role == Role::MetadataSpare && !spare) {
                continue;
            }
            let homes = homes(&map, role);
            let placed = map.allocate(role, metadata, Placement::Prefer(&homes))?;
            map.insert(&placed)?;
            segments.extend(placed);
        }
        if data > Extents::ZERO {
            let placed = map.allocate(Role::Data, more_data, Placement::Only(&self.devices))?;
            map.insert(&placed)?;
            segments.extend(placed);
        }
        let free = map.free_extents_total();
        let keep = Extents::holding(self.request.keep_free, extent);
        if free < keep {
            let needs = Extents::new(data.get().saturating_add(keep.get()));
            let free = self.map.free_extents_total();
            return Err(ExtentError::NoRoom { role: Role::Data, needs, free });
        }
        Ok(Growth { segments, data: more_data, metadata })
    }

    /// How much more metadata there is to be, in whole extents, below the kernel's limit.
    fn metadata(&self, more_data: Bytes) -> Bytes {
        let extent = self.map.extent_bytes();
        let data = self.map.length(Role::Data);
        let larger = Bytes::new(data.get().saturating_add(more_data.get()));
        let before = metadata_bytes(data, self.block_size, extent);
        let after = metadata_bytes(larger, self.block_size, extent);
        let more = after.saturating_sub(before).get().saturating_add(self.request.metadata.get());
        let room = METADATA_BYTES_MAX.saturating_sub(self.map.length(Role::Metadata));
        let more = Extents::holding(Bytes::new(more.min(room.get())), extent);
        let whole = Extents::new(room.get() / extent.get());
        more.min(whole).checked_bytes(extent).unwrap_or(Bytes::ZERO)
    }
}

/// Where a role is already, the last place first: what is beside it becomes one segment with it.
fn homes(map: &ExtentMap, role: Role) -> Vec<Uuid> {
    map.segments(role).iter().rev().map(|segment| segment.device).collect()
}

#[cfg(test)]
#[path = "growth_tests.rs"]
mod tests;
