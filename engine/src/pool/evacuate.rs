//! Emptying a device of a pool that is used, and letting it go: a disk that is about to die, or is
//! wanted elsewhere.
//!
//! Nothing is moved before it is known that all of it has a place. Extents move one by one (see
//! `relocate.rs`), so an evacuation that ends half-way has moved what it has moved, and the next one
//! goes on. What cannot be read stays where it is and is told of; the device is let go only when
//! nothing is left on it (see `leave.rs`).
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

use super::error::PoolError;
use super::evacuation_error::EvacuationError;
use super::grow::GrowPool;
use super::handle::Pool;
use super::journal_move::{copies_without_twin, place};
use super::located::Located;
use super::locks::lock;
use super::relocate::{Copier, NotMoved};
use super::repair::mend_labels;
use crate::block_device::DeviceError;
use crate::layout::{
    ExtentError, ExtentMap, Extents, LABEL_SEGMENTS_MAX, Role, Stuck, emptied, next_relocation,
};
use crate::plan::{Operation, admit};
use crate::units::Bytes;

/// Labels follow the catalogue after so many extents: a salvage believes them.
const LABELS_EVERY: u64 = 256;

/// Which device is emptied, and onto what.
#[derive(Debug, Clone, Default)]
pub struct EvacuateDevice {
    /// The device, or the disk that it is a partition of.
    pub device: PathBuf,
    /// Devices that join the pool first.
    pub onto: Vec<PathBuf>,
    /// Whether what is on those may be overwritten. Never overrides a mount or a user.
    pub force: bool,
    /// Whether whole disks are used without a partition table.
    pub raw: bool,
}

/// What an evacuation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evacuated {
    /// The device that left.
    pub device: Uuid,
    /// Its node.
    pub path: PathBuf,
    /// What was moved off it.
    pub moved: Bytes,
    /// The longest pause that users of the pool may have noticed.
    pub longest_pause: Duration,
    /// Whether nothing on the device says any more that it belongs to the pool.
    pub wiped: bool,
}

/// How far an evacuation is.
#[derive(Debug, Default)]
struct Course {
    moved: Bytes,
    longest_pause: Duration,
    stuck: Stuck,
    first: Option<DeviceError>,
}

impl Pool {
    /// Moves everything off a device and lets it go. `progress` hears of bytes moved and bytes in all.
    pub fn evacuate(
        &self,
        request: &EvacuateDevice,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Evacuated, PoolError> {
        self.refuse_if_poisoned()?;
        admit(self.health()?.0, Operation::Evacuate)?;
        let (device, path) = self.member(&self.locate()?, &request.device)?;
        if !request.onto.is_empty() {
            self.grow(&GrowPool {
                devices: request.onto.clone(),
                by: Some(Bytes::ZERO),
                force: request.force,
                raw: request.raw,
                ..GrowPool::default()
            })?;
        }
        {
            // What a move that was cut off had reserved is room for this one.
            let _only_one = lock(&self.growing);
            self.give_back_unnamed(&self.locate()?, None)?;
        }
        self.refuse_without_place(&self.locate()?, device, &path)?;
        self.announce_growth()?;
        lock(&self.leaving).push(device);
        let ended = self.empty_and_release(device, &path, progress);
        lock(&self.leaving).retain(|leaving| *leaving != device);
        ended
    }

    fn empty_and_release(
        &self,
        device: Uuid,
        path: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Evacuated, PoolError> {
        let mut course = Course::default();
        self.move_journal_off(device)?;
        let ended = self.move_extents(device, &mut course, progress);
        // Also after a failure: what was moved lies elsewhere now.
        let mended = self.refuse_if_poisoned().and_then(|()| {
            let _only_one = lock(&self.growing);
            mend_labels(&self.locate()?, &self.catalogue())
        });
        ended?;
        if let Some(first) = course.first {
            let extent = self.identity.extent.get();
            let left = Bytes::new((course.stuck.len() as u64).saturating_mul(extent));
            let path = path.to_owned();
            return Err(EvacuationError::Unreadable { path, left, first }.into());
        }
        mended?;
        let wiped = self.let_go(device)?;
        let Course { moved, longest_pause, .. } = course;
        Ok(Evacuated { device, path: path.to_owned(), moved, longest_pause, wiped })
    }

    /// The device of the pool that a person means.
    fn member(&self, located: &Located, named: &Path) -> Result<(Uuid, PathBuf), PoolError> {
        let mut only = Located::new(located.found.clone())?;
        let known = self.catalogue();
        let found = only.keep_only(&[named.to_owned()]).ok().and_then(|()| {
            only.found.devices.into_iter().find(|found| {
                known.devices().iter().any(|device| device.uuid == found.label.device_uuid)
            })
        });
        let found = found.ok_or_else(|| EvacuationError::NoMember {
            pool: self.identity.name.to_string(),
            device: named.display().to_string(),
        })?;
        Ok((found.label.device_uuid, found.path))
    }

    /// Moves everything in thought first.
    fn refuse_without_place(
        &self,
        located: &Located,
        device: Uuid,
        path: &Path,
    ) -> Result<(), PoolError> {
        let map = lock(&self.state).catalogue.extent_map()?;
        let bytes = |count: Extents| count.checked_bytes(map.extent_bytes()).unwrap_or(Bytes::ZERO);
        let no_room = |role, needs, free| EvacuationError::NoRoom {
            path: path.to_owned(),
            role,
            needs: bytes(needs),
            free: bytes(free),
        };
        let mut after = emptied(&map, device).map_err(|error| match error {
            ExtentError::NoRoom { role, needs, free } => no_room(role, needs, free).into(),
            other => PoolError::from(other),
        })?;
        for copy in copies_without_twin(located, device) {
            let count = Extents::holding(copy.length, map.extent_bytes());
            let free = after.free_extents_total().saturating_sub(after.free_extents(device));
            let place =
                place(&after, device, count).ok_or_else(|| no_room(Role::Journal, count, free))?;
            after.insert(&[place])?;
        }
        for space in after.devices() {
            if after.segments_on(space.device).len() > LABEL_SEGMENTS_MAX {
                let (device, limit) = (space.device, LABEL_SEGMENTS_MAX);
                return Err(EvacuationError::LabelFull { device, limit }.into());
            }
        }
        Ok(())
    }

    fn move_extents(
        &self,
        device: Uuid,
        course: &mut Course,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), PoolError> {
        let mut copier = Copier::new();
        let mut located = self.locate()?;
        let mut since_labels = 0;
        loop {
            let _only_one = lock(&self.growing);
            self.refuse_if_poisoned()?;
            let map = lock(&self.state).catalogue.extent_map()?;
            progress(course.moved.get(), course.moved.get() + left_on(&map, device).get());
            let next = next_relocation(&map, device, Extents::new(1), &course.stuck)?;
            let Some(relocation) = next else { return Ok(()) };
            if located.disk(relocation.device).is_none() || since_labels == LABELS_EVERY {
                since_labels = 0;
                located = self.locate()?;
                mend_labels(&located, &self.catalogue())?;
            }
            since_labels += 1;
            match self.relocate(&located, &mut copier, &relocation) {
                Ok(pause) => {
                    let bytes = relocation.from.count.checked_bytes(map.extent_bytes());
                    let moved = course.moved.get() + bytes.unwrap_or(Bytes::ZERO).get();
                    course.moved = Bytes::new(moved);
                    course.longest_pause = course.longest_pause.max(pause);
                }
                Err(NotMoved::Unreadable(error)) => {
                    course.stuck.insert((relocation.from.role, relocation.from.logical_start));
                    course.first.get_or_insert(error);
                }
                Err(NotMoved::Failed(error)) => return Err(*error),
            }
        }
    }
}

/// What a device carries.
fn left_on(map: &ExtentMap, device: Uuid) -> Bytes {
    let count = map.segments_on(device).iter().map(|on| on.count.get()).sum();
    Extents::new(count).checked_bytes(map.extent_bytes()).unwrap_or(Bytes::ZERO)
}
