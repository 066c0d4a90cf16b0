//! Which extents of which device hold what: a pure map that refuses to become wrong.
//!
//! Invariants, checked at every insertion:
//! * a role's segments follow each other without a gap, from extent zero on;
//! * no two segments share an extent of a device;
//! * every segment lies inside its device and has at least one extent;
//! * two neighbours that continue each other are one segment, so that labels stay short.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use super::extent_record::ExtentMapRecord;
use super::role::{Extents, Role};
use super::segment::{LinearSegment, Segment};
use crate::units::{Bytes, SECTOR_BYTES};

/// Why an extent map would not be true.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExtentError {
    /// The extent length is no multiple of 4 KiB, or zero.
    #[error("extents of {0} bytes are refused; use a multiple of 4096 bytes")]
    ExtentBytes(Bytes),
    /// The pool has no such device.
    #[error("device {0} is not part of this pool; name one of its devices or add it first")]
    UnknownDevice(Uuid),
    /// The device is in the map already.
    #[error("device {0} is part of this pool already; add another device")]
    DuplicateDevice(Uuid),
    /// The device would become shorter than what it holds.
    #[error(
        "device {device} would shrink to {offered} extents, but extent {used} is its last one in \
         use; give the device back its length"
    )]
    DeviceShrinks {
        /// The device.
        device: Uuid,
        /// The new number of extents.
        offered: Extents,
        /// The last extent in use.
        used: Extents,
    },
    /// There is no room.
    #[error("{role} needs {needs} extents, {free} are free where it may go; add a device")]
    NoRoom {
        /// For what.
        role: Role,
        /// How many extents were asked for.
        needs: Extents,
        /// How many are free (in one run, where one run is needed).
        free: Extents,
    },
    /// A segment without extents, or one whose end overflows.
    #[error("a {role} segment on device {device} has an impossible length of {count} extents")]
    Length {
        /// The segment's role.
        role: Role,
        /// The segment's device.
        device: Uuid,
        /// Its length.
        count: Extents,
    },
    /// A segment reaches past the end of its device.
    #[error("a {role} segment ends at extent {end} of device {device}, which has only {has}")]
    OutsideDevice {
        /// The segment's role.
        role: Role,
        /// The segment's device.
        device: Uuid,
        /// The extent after its last one.
        end: Extents,
        /// The device's number of extents.
        has: Extents,
    },
    /// Two segments share an extent.
    #[error("extent {extent} of device {device} is claimed by {first} and by {second}")]
    Overlap {
        /// The device.
        device: Uuid,
        /// The first extent that both claim.
        extent: Extents,
        /// One claimant.
        first: Role,
        /// The other one.
        second: Role,
    },
    /// A role's segments leave a gap or start late.
    #[error("{role} continues at extent {found}, expected {expected}; a segment is missing")]
    Gap {
        /// The role.
        role: Role,
        /// Where the next segment had to start.
        expected: Extents,
        /// Where it starts.
        found: Extents,
    },
}

/// One device's room for extents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSpace {
    /// The device.
    pub device: Uuid,
    /// How many extents it has, used or not.
    pub extents: Extents,
}

/// Which devices an allocation may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement<'a> {
    /// These first, in this order; then every other device.
    Prefer(&'a [Uuid]),
    /// These only, in this order.
    Only(&'a [Uuid]),
}

/// The map of a pool's extents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ExtentMapRecord", into = "ExtentMapRecord")]
pub struct ExtentMap {
    extent_bytes: Bytes,
    devices: Vec<DeviceSpace>,
    /// Ordered by role, then by place inside the role.
    segments: Vec<Segment>,
    /// Devices that get nothing new: one is being emptied. Not stored.
    closed: Vec<Uuid>,
}

impl ExtentMap {
    /// An empty map over `devices`.
    pub fn new(extent_bytes: Bytes, devices: &[DeviceSpace]) -> Result<Self, ExtentError> {
        if extent_bytes == Bytes::ZERO || !extent_bytes.get().is_multiple_of(8 * SECTOR_BYTES) {
            return Err(ExtentError::ExtentBytes(extent_bytes));
        }
        let mut map =
            Self { extent_bytes, devices: Vec::new(), segments: Vec::new(), closed: Vec::new() };
        for space in devices {
            map.add_device(*space)?;
        }
        Ok(map)
    }

    /// The length of one extent.
    pub fn extent_bytes(&self) -> Bytes {
        self.extent_bytes
    }

    /// The devices, in the order in which they were added.
    pub fn devices(&self) -> &[DeviceSpace] {
        &self.devices
    }

    /// Gives nothing new to a device.
    pub fn close_device(&mut self, device: Uuid) {
        self.closed.push(device);
    }

    /// Adds an empty device.
    pub fn add_device(&mut self, space: DeviceSpace) -> Result<(), ExtentError> {
        if self.extents_of(space.device).is_some() {
            return Err(ExtentError::DuplicateDevice(space.device));
        }
        self.devices.push(space);
        Ok(())
    }

    /// Takes note of a device's new length.
    pub fn resize_device(&mut self, device: Uuid, extents: Extents) -> Result<(), ExtentError> {
        let ends = self.segments.iter().filter(|segment| segment.device == device);
        let end = ends.filter_map(Segment::device_end).max().unwrap_or(Extents::ZERO);
        if end > extents {
            let used = end.saturating_sub(Extents::new(1));
            return Err(ExtentError::DeviceShrinks { device, offered: extents, used });
        }
        let space = self.devices.iter_mut().find(|space| space.device == device);
        space.ok_or(ExtentError::UnknownDevice(device))?.extents = extents;
        Ok(())
    }

    /// Every segment, ordered by role and by place inside the role.
    pub fn all_segments(&self) -> &[Segment] {
        &self.segments
    }

    /// A role's segments, in order.
    pub fn segments(&self, role: Role) -> Vec<Segment> {
        self.segments.iter().filter(|segment| segment.role == role).copied().collect()
    }

    /// The segments on one device: what its label repeats.
    pub fn segments_on(&self, device: Uuid) -> Vec<Segment> {
        self.segments.iter().filter(|segment| segment.device == device).copied().collect()
    }

    /// How many extents a role has.
    pub fn extents(&self, role: Role) -> Extents {
        let counts = self.segments.iter().filter(|s| s.role == role).map(|s| s.count.get());
        Extents::new(counts.sum())
    }

    /// How long a role is.
    pub fn length(&self, role: Role) -> Bytes {
        Bytes::new(self.extents(role).get().saturating_mul(self.extent_bytes.get()))
    }

    /// How many extents of a device are free.
    pub fn free_extents(&self, device: Uuid) -> Extents {
        let counts = self.free_runs(device).into_iter().map(|(_, count)| count.get());
        Extents::new(counts.sum())
    }

    /// How many extents are free on all devices together.
    pub fn free_extents_total(&self) -> Extents {
        let counts = self.devices.iter().map(|space| self.free_extents(space.device).get());
        Extents::new(counts.sum())
    }

    /// The free runs of a device as (first extent, count), in order.
    pub fn free_runs(&self, device: Uuid) -> Vec<(Extents, Extents)> {
        if self.closed.contains(&device) {
            return Vec::new();
        }
        let total = self.extents_of(device).unwrap_or(Extents::ZERO).get();
        let mut used: Vec<(u64, u64)> = self
            .segments
            .iter()
            .filter(|segment| segment.device == device)
            .map(|segment| (segment.device_start.get(), segment.count.get()))
            .collect();
        used.sort_unstable();
        let mut runs = Vec::new();
        let mut next = 0;
        for (start, count) in used {
            if start > next {
                runs.push((Extents::new(next), Extents::new(start - next)));
            }
            next = start + count;
        }
        if total > next {
            runs.push((Extents::new(next), Extents::new(total - next)));
        }
        runs
    }

    /// Proposes segments that make `role` longer by at least `length`; [`Self::insert`] takes them.
    pub fn allocate(
        &self,
        role: Role,
        length: Bytes,
        placement: Placement<'_>,
    ) -> Result<Vec<Segment>, ExtentError> {
        let needs = Extents::holding(length, self.extent_bytes);
        let mut left = needs.get();
        let mut logical = self.extents(role).get();
        let mut proposal = Vec::new();
        for device in self.order(placement)? {
            for (start, free) in self.free_runs(device) {
                let count = left.min(free.get());
                if count == 0 {
                    break;
                }
                proposal.push(Segment {
                    role,
                    logical_start: Extents::new(logical),
                    device,
                    device_start: start,
                    count: Extents::new(count),
                });
                left -= count;
                logical += count;
            }
        }
        if left > 0 {
            let free = needs.saturating_sub(Extents::new(left));
            return Err(ExtentError::NoRoom { role, needs, free });
        }
        Ok(proposal)
    }

    /// Proposes one run of extents on one device, at the end of `role`.
    pub fn allocate_run(
        &self,
        role: Role,
        length: Bytes,
        device: Uuid,
    ) -> Result<Segment, ExtentError> {
        let count = Extents::holding(length, self.extent_bytes);
        if self.extents_of(device).is_none() {
            return Err(ExtentError::UnknownDevice(device));
        }
        let runs = self.free_runs(device);
        let fitting = runs.iter().find(|(_, free)| *free >= count);
        let Some((start, _)) = fitting else {
            let free = runs.iter().map(|(_, free)| *free).max().unwrap_or(Extents::ZERO);
            return Err(ExtentError::NoRoom { role, needs: count, free });
        };
        let logical_start = self.extents(role);
        Ok(Segment { role, logical_start, device, device_start: *start, count })
    }

    /// Takes segments in; the map stays as it was when they do not fit its invariants.
    pub fn insert(&mut self, segments: &[Segment]) -> Result<(), ExtentError> {
        let mut candidate: Vec<Segment> = self.segments.iter().chain(segments).copied().collect();
        candidate.sort_by_key(|segment| (segment.role, segment.logical_start));
        self.check(&candidate)?;
        let mut merged: Vec<Segment> = Vec::with_capacity(candidate.len());
        for segment in candidate {
            match merged.last_mut() {
                // A journal copy stays a segment of its own: it is one placement.
                Some(last) if segment.role != Role::Journal && last.continues_with(&segment) => {
                    last.count = Extents::new(last.count.get() + segment.count.get());
                }
                _ => merged.push(segment),
            }
        }
        self.segments = merged;
        Ok(())
    }

    /// Frees all of a role's extents and returns what they were.
    pub fn remove(&mut self, role: Role) -> Vec<Segment> {
        let (removed, kept) =
            self.segments.iter().copied().partition(|segment| segment.role == role);
        self.segments = kept;
        removed
    }

    /// A role's dm-linear table.
    pub fn linear_table(&self, role: Role) -> Result<Vec<LinearSegment>, ExtentError> {
        let segments = self.segments.iter().filter(|segment| segment.role == role);
        let overflow = |s: &Segment| ExtentError::Length { role, device: s.device, count: s.count };
        segments.map(|s| s.to_linear(self.extent_bytes).ok_or_else(|| overflow(s))).collect()
    }

    fn extents_of(&self, device: Uuid) -> Option<Extents> {
        self.devices.iter().find(|space| space.device == device).map(|space| space.extents)
    }

    fn order(&self, placement: Placement<'_>) -> Result<Vec<Uuid>, ExtentError> {
        let (named, others) = match placement {
            Placement::Prefer(named) => (named, true),
            Placement::Only(named) => (named, false),
        };
        let mut order = Vec::new();
        for device in named {
            if self.extents_of(*device).is_none() {
                return Err(ExtentError::UnknownDevice(*device));
            }
            if !order.contains(device) {
                order.push(*device);
            }
        }
        if others {
            let rest = self.devices.iter().map(|space| space.device);
            let rest: Vec<Uuid> = rest.filter(|device| !order.contains(device)).collect();
            order.extend(rest);
        }
        Ok(order)
    }

    /// Checks segments that are ordered by role and place.
    fn check(&self, segments: &[Segment]) -> Result<(), ExtentError> {
        for role in Role::ALL {
            let mut expected = Extents::ZERO;
            for segment in segments.iter().filter(|segment| segment.role == role) {
                if segment.logical_start != expected {
                    return Err(ExtentError::Gap { role, expected, found: segment.logical_start });
                }
                expected = self.check_one(segment)?;
            }
        }
        check_overlaps(segments)
    }

    /// Checks one segment by itself; returns where its role goes on.
    fn check_one(&self, segment: &Segment) -> Result<Extents, ExtentError> {
        let Segment { role, device, count, .. } = *segment;
        let length = ExtentError::Length { role, device, count };
        let has = self.extents_of(device).ok_or(ExtentError::UnknownDevice(device))?;
        let (Some(end), Some(next)) = (segment.device_end(), segment.logical_end()) else {
            return Err(length);
        };
        if count == Extents::ZERO || segment.to_linear(self.extent_bytes).is_none() {
            return Err(length);
        }
        if end > has {
            return Err(ExtentError::OutsideDevice { role, device, end, has });
        }
        Ok(next)
    }
}

/// Finds an extent that two segments claim.
fn check_overlaps(segments: &[Segment]) -> Result<(), ExtentError> {
    let mut by_device: Vec<&Segment> = segments.iter().collect();
    by_device.sort_by_key(|segment| (segment.device, segment.device_start));
    for pair in by_device.windows(2) {
        let [first, second] = pair else { continue };
        let end = first.device_end().unwrap_or(Extents::new(u64::MAX));
        if first.device == second.device && end > second.device_start {
            return Err(ExtentError::Overlap {
                device: first.device,
                extent: second.device_start,
                first: first.role,
                second: second.role,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "extent_map_tests.rs"]
mod tests;
