//! How a new pool is cut out of its devices: pure, and the same every time.
#![forbid(unsafe_code)]

use uuid::Uuid;

use super::extent_map::{DeviceSpace, ExtentError, ExtentMap, Placement};
use super::label::{JournalPlacement, Label, LabelState};
use super::plan_error::PlanError;
use super::role::{Extents, Role};
use super::segment::Segment;
use super::sizes::{
    FIRST_EXTENT_OFFSET, JOURNAL_REGIONS, TAIL_RESERVED_BYTES, default_extent_bytes,
    device_extents, journal_region_bytes, metadata_bytes, smallest_data_bytes,
};
use crate::units::{BlockSize, Bytes};

const LABEL_AREAS_BYTES: u64 = FIRST_EXTENT_OFFSET.get() + TAIL_RESERVED_BYTES.get();

/// A device that a pool may be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceOffer {
    /// The uuid that its label will have.
    pub uuid: Uuid,
    /// Its whole length.
    pub usable_bytes: Bytes,
    /// Whether it is for metadata and journal only.
    pub is_metadata_device: bool,
}

/// What the user may say about a new pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolOptions {
    /// The data block size.
    pub block_size: BlockSize,
    /// The extent length; by the devices' lengths when `None`.
    pub extent_bytes: Option<Bytes>,
    /// The most data to take; all that fits when `None`.
    pub data_bytes: Option<Bytes>,
    /// The metadata's length; by the formula when `None`.
    pub metadata_bytes: Option<Bytes>,
    /// The length of a journal region; by the formula when `None`.
    pub journal_region_bytes: Option<Bytes>,
    /// Whether room for a repaired copy of the metadata is set aside.
    pub spare: bool,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            block_size: BlockSize::DEFAULT,
            extent_bytes: None,
            data_bytes: None,
            metadata_bytes: None,
            journal_region_bytes: None,
            spare: true,
        }
    }
}

/// How long the parts of a pool are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSizes {
    /// The data device.
    pub data_bytes: Bytes,
    /// The metadata device.
    pub metadata_bytes: Bytes,
    /// The room for a repaired copy of the metadata; zero without one.
    pub spare_bytes: Bytes,
    /// One region of the journal; a copy has two.
    pub journal_region_bytes: Bytes,
    /// What no role has taken.
    pub free_bytes: Bytes,
}

/// A new pool's layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolPlan {
    /// Which extents hold what.
    pub map: ExtentMap,
    /// The journal's copies, each with its device.
    pub journal: Vec<(Uuid, JournalPlacement)>,
    /// How long the parts are.
    pub sizes: PoolSizes,
    /// The data block size.
    pub block_size: BlockSize,
    offers: Vec<DeviceOffer>,
}

impl PoolPlan {
    /// The labels that a pool's devices get, in the order in which they were offered.
    pub fn labels(
        &self,
        pool_uuid: Uuid,
        pool_name: &str,
        state: LabelState,
        created_at: u64,
    ) -> Vec<Label> {
        let placements = |uuid: Uuid| {
            self.journal.iter().filter(|(device, _)| *device == uuid).map(|(_, at)| *at).collect()
        };
        (0_u32..)
            .zip(&self.offers)
            .map(|(device_index, offer)| Label {
                pool_uuid,
                pool_name: pool_name.to_owned(),
                device_uuid: offer.uuid,
                device_index,
                state,
                generation: 1,
                extent_bytes: self.map.extent_bytes(),
                device_bytes: offer.usable_bytes,
                created_at,
                block_size: self.block_size,
                placements: placements(offer.uuid),
                segments: self.map.segments_on(offer.uuid),
            })
            .collect()
    }
}

/// Plans a pool over `devices`.
///
/// The journal comes first on its devices: copy 0 on the metadata device or on the first device,
/// copy 1 on the largest other device when there is one. Then metadata and its spare: on the
/// metadata device when there is one, else on the journal's device and, for the spare, on the
/// other one. The data takes what is left of the data devices, in the order of the arguments.
pub fn plan_pool(devices: &[DeviceOffer], options: &PoolOptions) -> Result<PoolPlan, PlanError> {
    let planner = Planner::new(devices, options)?;
    let data = planner.largest_data()?;
    let map = planner.lay_out(data).map_err(|refusal| planner.explain(data, refusal))?;
    let extent_bytes = map.extent_bytes();
    let free = map.free_extents_total().get() * extent_bytes.get();
    let journal = (0_u8..).zip(map.segments(Role::Journal));
    let journal: Option<Vec<_>> =
        journal.map(|(copy, segment)| placement(copy, &segment, extent_bytes)).collect();
    Ok(PoolPlan {
        journal: journal.unwrap_or_default(),
        sizes: PoolSizes {
            data_bytes: map.length(Role::Data),
            metadata_bytes: map.length(Role::Metadata),
            spare_bytes: map.length(Role::MetadataSpare),
            journal_region_bytes: planner.region(data),
            free_bytes: Bytes::new(free),
        },
        map,
        block_size: options.block_size,
        offers: devices.to_vec(),
    })
}

/// The placement that a journal segment stands for.
fn placement(copy: u8, segment: &Segment, extent: Bytes) -> Option<(Uuid, JournalPlacement)> {
    let offset = segment.device_offset(extent)?;
    let length = segment.count.checked_bytes(extent)?;
    Some((segment.device, JournalPlacement { copy, offset, length }))
}

/// The fixed circumstances of one plan.
struct Planner<'a> {
    offers: &'a [DeviceOffer],
    options: &'a PoolOptions,
    empty: ExtentMap,
    journal_devices: Vec<Uuid>,
    metadata_devices: Vec<Uuid>,
    data_devices: Vec<Uuid>,
    total: Bytes,
}

impl<'a> Planner<'a> {
    fn new(devices: &'a [DeviceOffer], options: &'a PoolOptions) -> Result<Self, PlanError> {
        let smallest = devices.iter().map(|offer| offer.usable_bytes).min();
        let smallest = smallest.ok_or(PlanError::NoDataDevice)?;
        let extent_bytes = options.extent_bytes.unwrap_or_else(|| default_extent_bytes(smallest));
        let space = |offer: &DeviceOffer| DeviceSpace {
            device: offer.uuid,
            extents: device_extents(offer.usable_bytes, extent_bytes),
        };
        let spaces: Vec<DeviceSpace> = devices.iter().map(space).collect();
        let of_kind = |metadata: bool| -> Vec<Uuid> {
            let kind = devices.iter().filter(|offer| offer.is_metadata_device == metadata);
            kind.map(|offer| offer.uuid).collect()
        };
        let (metadata_devices, data_devices) = (of_kind(true), of_kind(false));
        let first = metadata_devices.first().or(data_devices.first());
        let (Some(first), false) = (first.copied(), data_devices.is_empty()) else {
            return Err(PlanError::NoDataDevice);
        };
        let others = devices.iter().rev().filter(|offer| offer.uuid != first);
        let second = others.max_by_key(|offer| offer.usable_bytes).map(|offer| offer.uuid);
        let total = devices.iter().map(|offer| offer.usable_bytes.get()).sum();
        let planner = Self {
            offers: devices,
            options,
            empty: ExtentMap::new(extent_bytes, &spaces)?,
            journal_devices: [Some(first), second].into_iter().flatten().collect(),
            metadata_devices,
            data_devices,
            total: Bytes::new(total),
        };
        planner.check_options()?;
        Ok(planner)
    }

    fn check_options(&self) -> Result<(), PlanError> {
        let least_data = smallest_data_bytes(self.options.block_size);
        let checks = [
            ("data", self.options.data_bytes, least_data, "16 MiB and one block are the least"),
            ("metadata", self.options.metadata_bytes, Bytes::new(2 << 20), "2 MiB is the least"),
            (
                "journal region",
                self.options.journal_region_bytes,
                Bytes::new(1 << 20),
                "1 MiB is the least",
            ),
        ];
        for (option, value, least, reason) in checks {
            if let Some(value) = value.filter(|value| *value < least) {
                return Err(PlanError::Option { option, value, reason });
            }
        }
        Ok(())
    }

    fn bytes(&self, extents: u64) -> Bytes {
        Bytes::new(extents.saturating_mul(self.empty.extent_bytes().get()))
    }

    fn region(&self, data: Extents) -> Bytes {
        let extent = self.empty.extent_bytes();
        match self.options.journal_region_bytes {
            Some(region) => self.bytes(Extents::holding(region, extent).get()),
            None => journal_region_bytes(self.bytes(data.get()), extent),
        }
    }

    fn metadata(&self, data: Extents) -> Bytes {
        let extent = self.empty.extent_bytes();
        let data = self.bytes(data.get());
        self.options
            .metadata_bytes
            .unwrap_or_else(|| metadata_bytes(data, self.options.block_size, extent))
    }

    /// The most data extents with which everything has room.
    ///
    /// What the other roles need grows with the data, so halving the interval finds it. A separate
    /// metadata device does not limit the data here: it would hide most of a disk without a word.
    fn largest_data(&self) -> Result<Extents, PlanError> {
        let extent = self.empty.extent_bytes();
        let least = Extents::holding(smallest_data_bytes(self.options.block_size), extent).get();
        let data_free = self.data_devices.iter().map(|d| self.empty.free_extents(*d).get());
        let wanted = self.options.data_bytes.map(|data| Extents::holding(data, extent).get());
        let most = data_free.sum::<u64>();
        if let Some(wanted) = wanted.map(|wanted| wanted.max(least)) {
            return if self.fits(wanted) {
                Ok(Extents::new(wanted))
            } else {
                Err(self.too_small(Extents::new(wanted)))
            };
        }
        if most < least || !self.fits(least) {
            return Err(self.too_small(Extents::new(least)));
        }
        let (mut good, mut bad) = (least, most + 1);
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            if self.fits(middle) {
                good = middle;
            } else {
                bad = middle;
            }
        }
        Ok(Extents::new(good))
    }

    fn fits(&self, data: u64) -> bool {
        match self.lay_out(Extents::new(data)) {
            Ok(_) => true,
            Err((device, _)) => device.is_some() && self.lay_out_data_side(data).is_ok(),
        }
    }

    /// What must fit on the data devices when metadata has a device of its own.
    fn lay_out_data_side(&self, data: u64) -> Result<(), ExtentError> {
        let mut map = self.empty.clone();
        let copy_bytes = self.copy_bytes(Extents::new(data));
        for device in self.journal_devices.iter().filter(|d| self.data_devices.contains(d)) {
            let run = map.allocate_run(Role::Journal, copy_bytes, *device)?;
            map.insert(&[run])?;
        }
        map.allocate(Role::Data, self.bytes(data), Placement::Only(&self.data_devices))?;
        Ok(())
    }

    fn copy_bytes(&self, data: Extents) -> Bytes {
        Bytes::new(self.region(data).get().saturating_mul(JOURNAL_REGIONS))
    }

    /// The map for this much data; a refusal names the separate metadata device if that is full.
    fn lay_out(&self, data: Extents) -> Result<ExtentMap, (Option<Uuid>, ExtentError)> {
        let mut map = self.empty.clone();
        let own = self.metadata_devices.first().copied();
        for device in &self.journal_devices {
            let run = map.allocate_run(Role::Journal, self.copy_bytes(data), *device);
            let full = own.filter(|own| own == device);
            run.and_then(|run| map.insert(&[run])).map_err(|refusal| (full, refusal))?;
        }
        let reversed: Vec<Uuid> = self.journal_devices.iter().rev().copied().collect();
        let metadata = self.metadata(data);
        let spare = if self.options.spare { metadata } else { Bytes::ZERO };
        let parts = [
            (Role::Metadata, metadata, &self.journal_devices),
            (Role::MetadataSpare, spare, &reversed),
        ];
        for (role, length, preferred) in parts {
            let placement = match own {
                Some(_) => Placement::Only(&self.metadata_devices),
                None => Placement::Prefer(preferred),
            };
            let segments = map.allocate(role, length, placement);
            segments
                .and_then(|segments| map.insert(&segments))
                .map_err(|refusal| (own, refusal))?;
        }
        let length = self.bytes(data.get());
        let segments = map.allocate(Role::Data, length, Placement::Only(&self.data_devices));
        segments.and_then(|segments| map.insert(&segments)).map_err(|refusal| (None, refusal))?;
        Ok(map)
    }

    fn too_small(&self, data: Extents) -> PlanError {
        let copies = self.journal_devices.len() as u64;
        let metadata_copies = if self.options.spare { 2 } else { 1 };
        let devices = self.empty.devices().len() as u64;
        let needs = LABEL_AREAS_BYTES * devices
            + self.copy_bytes(data).get() * copies
            + self.metadata(data).get() * metadata_copies
            + self.bytes(data.get()).get();
        PlanError::TooSmall { needs: Bytes::new(needs), has: self.total }
    }

    fn explain(&self, data: Extents, refusal: (Option<Uuid>, ExtentError)) -> PlanError {
        let (Some(device), ExtentError::NoRoom { .. }) = &refusal else {
            return PlanError::Extent(refusal.1);
        };
        let metadata_copies = if self.options.spare { 2 } else { 1 };
        let needs = LABEL_AREAS_BYTES
            + self.copy_bytes(data).get()
            + self.metadata(data).get() * metadata_copies;
        let own = self.offers.iter().find(|offer| offer.uuid == *device);
        let has = own.map_or(Bytes::ZERO, |offer| offer.usable_bytes);
        PlanError::MetadataDeviceTooSmall { device: *device, needs: Bytes::new(needs), has }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
