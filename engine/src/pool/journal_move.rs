//! A copy of the journal on its way to another device.
//!
//! Where the journal is, the labels say, because it is read before the catalogue is. Order: a record
//! gives the new place to the journal; the journal's linear is paused; the copy is copied; the new
//! device's label names it, then the old one's does not any more; the linear runs on, by the new table;
//! a record gives the old place back.
//!
//! Crash argument: while the linear is paused no record is written, so both places hold the same
//! journal. A crash between the two labels leaves both naming it: then there is one copy more, the
//! newest of all is the one that is read (`journal/mirror.rs`), and the next writer makes them equal
//! before it writes. No extent that a label names is ever free in the catalogue: it has the new place
//! before a label names it, and the old one until none does.
#![forbid(unsafe_code)]

use uuid::Uuid;

use super::error::PoolError;
use super::evacuation_error::EvacuationError;
use super::handle::Pool;
use super::located::Located;
use super::locks::lock;
use super::relocate::{Copier, NotMoved};
use super::swap::Swap;
use crate::block_device::{Access, BlockDevice};
use crate::catalogue::{Catalogue, Record};
use crate::dm::process::SignalGuard;
use crate::dm::{Dm, SuspendOptions, TableLine, TableSlot};
use crate::layout::{
    ExtentError, ExtentMap, Extents, FoundDevice, JournalPlacement, Label, LinearSegment, Role,
    Segment, read_labels, write_labels,
};
use crate::plan::linear_table;
use crate::units::Bytes;

/// Where a copy of the journal may go: one run, on a device without a copy if there is one.
pub(super) fn place(map: &ExtentMap, leaving: Uuid, count: Extents) -> Option<Segment> {
    let length = count.checked_bytes(map.extent_bytes())?;
    let others = map.devices().iter().map(|space| space.device).filter(|uuid| *uuid != leaving);
    let has_copy = |uuid: &Uuid| map.segments_on(*uuid).iter().any(|on| on.role == Role::Journal);
    let (with, without): (Vec<Uuid>, Vec<Uuid>) = others.partition(has_copy);
    let mut in_order = without.into_iter().chain(with);
    in_order.find_map(|device| map.allocate_run(Role::Journal, length, device).ok())
}

/// Another device's place for the same copy.
fn twin(
    located: &Located,
    leaving: Uuid,
    copy: JournalPlacement,
) -> Option<(&FoundDevice, JournalPlacement)> {
    let is_twin = |found: &FoundDevice, at: &JournalPlacement| {
        at.copy == copy.copy && found.label.device_uuid != leaving
    };
    located.placements().into_iter().find(|(found, at)| is_twin(found, at))
}

/// The copies of the journal on a device that have to have a place elsewhere.
pub(super) fn copies_without_twin(located: &Located, leaving: Uuid) -> Vec<JournalPlacement> {
    let on_it = located.disk(leaving).map(|found| found.label.placements.clone());
    let mut copies = on_it.unwrap_or_default();
    copies.retain(|copy| twin(located, leaving, *copy).is_none());
    copies
}

/// The journal's segments that a label names, but for those on a device that is gone, numbered anew.
fn named_segments(located: &Located, catalogue: &Catalogue, gone: Option<Uuid>) -> Vec<Segment> {
    let extent = catalogue.pool().extent;
    let placements = located.placements();
    let is_named = |segment: &&Segment| {
        placements.iter().any(|(found, at)| {
            Some(segment.device) != gone
                && found.label.device_uuid == segment.device
                && segment.device_offset(extent) == Some(at.offset)
        })
    };
    let of_journal = catalogue.segments().iter().filter(|segment| segment.role == Role::Journal);
    let mut logical = 0;
    of_journal
        .filter(is_named)
        .map(|segment| {
            let logical_start = Extents::new(logical);
            logical += segment.count.get();
            Segment { logical_start, ..*segment }
        })
        .collect()
}

impl Pool {
    /// Moves the copies of the journal that a device carries.
    pub(super) fn move_journal_off(&self, leaving: Uuid) -> Result<(), PoolError> {
        let _only_one = lock(&self.growing);
        let located = self.locate()?;
        let copies = located.disk(leaving).map(|found| found.label.placements.clone());
        for copy in copies.unwrap_or_default() {
            self.move_copy(&self.locate()?, leaving, copy)?;
        }
        self.give_back_unnamed(&self.locate()?, None)
    }

    /// Frees places that no label names: those that were left, and those of a move that a crash cut off.
    /// What a label still names, because it could not be rewritten, stays the journal's: the next writer
    /// makes it equal to the others, over whatever else were there. Only on a device that is `gone` it
    /// counts for nothing.
    pub(super) fn give_back_unnamed(
        &self,
        located: &Located,
        gone: Option<Uuid>,
    ) -> Result<(), PoolError> {
        let catalogue = self.catalogue();
        let segments = named_segments(located, &catalogue, gone);
        let has = catalogue.segments().iter().filter(|segment| segment.role == Role::Journal);
        if segments.is_empty() || segments.len() == has.count() {
            return Ok(());
        }
        self.commit(Record::Relocated { role: Role::Journal, segments })
    }

    fn move_copy(
        &self,
        located: &Located,
        leaving: Uuid,
        copy: JournalPlacement,
    ) -> Result<(), PoolError> {
        // A move that a crash cut off between the labels has its new place already.
        let (device, target) = match twin(located, leaving, copy) {
            Some((found, at)) => (found.label.device_uuid, at),
            None => self.reserve_place(leaving, copy)?,
        };
        let table = journal_table(located, (leaving, copy), (device, target))?;
        let mut copier = Copier::new();
        copier.open(located, leaving, device)?;
        let from = LabelledDisk::open(located, leaving)?;
        let to = LabelledDisk::open(located, device)?;
        let _alone = self.geometry.write();
        let _signals = SignalGuard::block().ok();
        let swap = Swap::begin(&self.dm, &self.names.journal, &table)?;
        if !to.label.placements.contains(&target) {
            let done = copier.copy((leaving, copy.offset), (device, target.offset), copy.length);
            done.map_err(|error| unreadable(error, &from, copy.length))?;
            if let Err(error) = to.name(target) {
                // The new place is named or not, and holds what the old one does. It stays so: where
                // the name cannot be taken back, nothing is written to the journal any more.
                if to.restore().is_err() {
                    self.poison(&error.to_string());
                }
                return Err(error);
            }
        }
        // A disk that takes no writes keeps the name of what becomes old. That does no harm: of all
        // copies the newest one is read.
        let _ = from.unname(copy);
        swap.finish().inspect_err(|error| self.poison(&error.to_string()))
    }

    fn reserve_place(
        &self,
        leaving: Uuid,
        copy: JournalPlacement,
    ) -> Result<(Uuid, JournalPlacement), PoolError> {
        let map = lock(&self.state).catalogue.extent_map()?;
        let count = Extents::holding(copy.length, map.extent_bytes());
        let place = place(&map, leaving, count);
        let offset = place.and_then(|place| place.device_offset(map.extent_bytes()));
        let (Some(place), Some(offset)) = (place, offset) else {
            let free = map.free_extents_total().saturating_sub(map.free_extents(leaving));
            return Err(ExtentError::NoRoom { role: Role::Journal, needs: count, free }.into());
        };
        self.commit(Record::Grown { devices: Vec::new(), segments: vec![place] })?;
        Ok((place.device, JournalPlacement { offset, ..copy }))
    }
}

/// The journal's table with one copy in another place.
fn journal_table(
    located: &Located,
    from: (Uuid, JournalPlacement),
    to: (Uuid, JournalPlacement),
) -> Result<Vec<TableLine>, PoolError> {
    let sectors = |bytes: Bytes| bytes.to_sectors_exact();
    let (old, new) = (sectors(from.1.offset)?, sectors(to.1.offset)?);
    let segments: Vec<LinearSegment> = located
        .journal_segments()?
        .into_iter()
        .map(|segment| {
            if (segment.device, segment.device_offset) == (from.0, old) {
                LinearSegment { device: to.0, device_offset: new, ..segment }
            } else {
                segment
            }
        })
        .collect();
    linear_table(&segments, |uuid| located.number_of(uuid)).ok_or_else(|| PoolError::BadLabels {
        pool: located.found.name.clone(),
        problem: "a disk with a copy of the journal is missing".to_owned(),
    })
}

/// Gives the journal's linear the table that the labels say, where a crash left it another one, perhaps
/// paused. For the holder of the claim: nobody else uses the linear. Whether it has changed.
pub(super) fn follow_labels(dm: &dyn Dm, located: &Located) -> Result<bool, PoolError> {
    let name = &located.names.journal;
    let table_of = |located: &Located| -> Result<Option<Vec<TableLine>>, PoolError> {
        Ok(linear_table(&located.journal_segments()?, |uuid| located.number_of(uuid)))
    };
    let info = dm.info(name)?;
    let (live, wanted) = (dm.table(name, TableSlot::Live)?, table_of(located)?);
    let Some(wanted) = wanted.filter(|wanted| *wanted != live || info.suspended) else {
        return Ok(false);
    };
    // The labels were read before the claim was taken, and its last holder may have moved a copy.
    let again = Located::find(&located.uuid().to_string())?;
    if table_of(&again)?.as_ref() != Some(&wanted) {
        return Err(PoolError::BadLabels {
            pool: located.found.name.clone(),
            problem: "the labels changed while they were read; try again".to_owned(),
        });
    }
    dm.load(name, &wanted, false)?;
    if !info.suspended {
        dm.suspend(name, SuspendOptions { lock_fs: false, flush: true })?;
    }
    dm.resume(name)?;
    Ok(true)
}

/// A disk with the label that it carries at this moment.
struct LabelledDisk {
    disk: BlockDevice,
    label: Label,
}

impl LabelledDisk {
    fn open(located: &Located, uuid: Uuid) -> Result<Self, PoolError> {
        let bad =
            |problem: String| PoolError::BadLabels { pool: located.found.name.clone(), problem };
        let found = located.disk(uuid).ok_or_else(|| bad(format!("device {uuid} is missing")))?;
        let disk = BlockDevice::open(&found.path, Access::ReadWrite)?;
        let label = read_labels(&disk)?.label().cloned();
        let unread = || bad(format!("the label on {} cannot be read", found.path.display()));
        Ok(Self { disk, label: label.ok_or_else(unread)? })
    }

    fn name(&self, copy: JournalPlacement) -> Result<(), PoolError> {
        let mut label = self.label.next();
        label.placements.push(copy);
        Ok(write_labels(&self.disk, &label)?)
    }

    fn unname(&self, copy: JournalPlacement) -> Result<(), PoolError> {
        let mut label = self.label.next();
        label.placements.retain(|at| *at != copy);
        Ok(write_labels(&self.disk, &label)?)
    }

    /// As it was, whatever of another rewrite has reached the disk.
    fn restore(&self) -> Result<(), PoolError> {
        Ok(write_labels(&self.disk, &self.label.next().next())?)
    }
}

fn unreadable(error: NotMoved, from: &LabelledDisk, left: Bytes) -> PoolError {
    match error {
        NotMoved::Unreadable(first) => {
            let path = from.disk.path().to_owned();
            EvacuationError::Unreadable { path, left, first }.into()
        }
        NotMoved::Failed(error) => *error,
    }
}
