//! Extents of a live linear on their way to another device, one at a time.
//!
//! Order: the linear's next table is loaded; the linear is paused; the extent is copied and flushed;
//! one record makes the new place the true one; the linear runs on, by the new table.
//!
//! Crash argument: nobody writes to the extent between the copy and the resume, so while the record is
//! under way both places hold the same bytes, and whichever the journal names later is right. A process
//! that dies leaves the linear paused, by its old table: whoever attaches next reads the journal first
//! and gives the linear the table that the catalogue says before it runs ([`finish_moves`]). Where the
//! journal itself fails, nobody can tell which place counts: the extent serves nothing until then, so
//! that neither copy becomes older than the other.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::error::PoolError;
use super::evacuation_error::EvacuationError;
use super::handle::Pool;
use super::located::{Located, linear_segments};
use super::locks::lock;
use super::stretch::begins_with;
use super::swap::Swap;
use crate::aligned::AlignedBuffer;
use crate::block_device::{Access, BlockDevice, DeviceError};
use crate::catalogue::{Catalogue, Record};
use crate::dm::process::SignalGuard;
use crate::dm::{Dm, DmName, SuspendOptions, TableLine, TableSlot, Target};
use crate::layout::{LinearSegment, Relocation, Role, Segment};
use crate::plan::linear_table;
use crate::units::{Bytes, Sectors};

/// How much is copied by one read and one write.
pub(super) const COPY_BYTES: usize = 1 << 20;

/// Why an extent did not move.
#[derive(Debug)]
pub(super) enum NotMoved {
    /// It cannot be read where it is. It stays there and is served as before.
    Unreadable(DeviceError),
    /// Anything else.
    Failed(Box<PoolError>),
}

impl<E: Into<PoolError>> From<E> for NotMoved {
    fn from(error: E) -> Self {
        Self::Failed(Box::new(error.into()))
    }
}

/// The disks that are copied between, and the memory to do it with: while a linear is paused nothing
/// is allocated, because what the kernel writes out to find memory may be waiting for that linear.
#[derive(Debug)]
pub(super) struct Copier {
    disks: HashMap<Uuid, BlockDevice>,
    buffer: AlignedBuffer,
}

impl Copier {
    pub(super) fn new() -> Self {
        let mut buffer = AlignedBuffer::zeroed(COPY_BYTES);
        // Touched, so that its pages are there.
        buffer.fill(1);
        Self { disks: HashMap::new(), buffer }
    }

    /// Opens the disks of a move.
    pub(super) fn open(
        &mut self,
        located: &Located,
        from: Uuid,
        to: Uuid,
    ) -> Result<(), PoolError> {
        for (uuid, access) in [(from, Access::ReadOnly), (to, Access::ReadWrite)] {
            if let Entry::Vacant(free) = self.disks.entry(uuid) {
                let disk = located.disk(uuid).ok_or_else(|| PoolError::BadLabels {
                    pool: located.found.name.clone(),
                    problem: format!("device {uuid} is not found by its label"),
                })?;
                free.insert(BlockDevice::open(&disk.path, access)?);
            }
        }
        Ok(())
    }

    /// Copies a range of one disk to another one, durably.
    pub(super) fn copy(
        &mut self,
        (from, from_offset): (Uuid, Bytes),
        (to, to_offset): (Uuid, Bytes),
        length: Bytes,
    ) -> Result<(), NotMoved> {
        let (Some(from), Some(to)) = (self.disks.get(&from), self.disks.get(&to)) else {
            return Ok(());
        };
        let mut done = 0;
        while done < length.get() {
            let step = (COPY_BYTES as u64).min(length.get() - done);
            self.buffer.set_length(usize::try_from(step).unwrap_or(COPY_BYTES));
            from.read_at(from_offset.get() + done, &mut self.buffer)
                .map_err(NotMoved::Unreadable)?;
            to.write_unflushed(to_offset.get() + done, &self.buffer)?;
            done += step;
        }
        Ok(to.flush()?)
    }
}

impl Pool {
    /// Moves one run of extents. Returns how long its linear was paused.
    pub(super) fn relocate(
        &self,
        located: &Located,
        copier: &mut Copier,
        relocation: &Relocation,
    ) -> Result<Duration, NotMoved> {
        let role = relocation.from.role;
        let map = lock(&self.state).catalogue.extent_map().map_err(PoolError::from)?;
        let segments = relocation.applied(&map);
        let record = Record::Relocated { role, segments: segments.clone() };
        let device = match role {
            Role::Data => &self.names.data,
            Role::Metadata => &self.names.metadata,
            // No device of the kernel lies over it, and what it holds counts for nothing.
            Role::MetadataSpare | Role::Journal => {
                self.commit(record)?;
                return Ok(Duration::ZERO);
            }
        };
        let extent = map.extent_bytes();
        let table = table_of(located, device, &segments, extent)?;
        let place = |segment: &Segment| {
            let offset = segment.device_offset(extent).unwrap_or(Bytes::ZERO);
            (segment.device, offset)
        };
        let length = relocation.from.count.checked_bytes(extent).unwrap_or(Bytes::ZERO);
        copier.open(located, relocation.from.device, relocation.device)?;
        if self.journal.needs_checkpoint() {
            self.checkpoint()?;
        }
        let _alone = self.geometry.write();
        // Nothing may end this thread while a device is paused.
        let _signals = SignalGuard::block().ok();
        let since = Instant::now();
        let swap = Swap::begin(&self.dm, device, &table)?;
        copier.copy(place(&relocation.from), place(&relocation.target()), length)?;
        match self.commit(record) {
            Ok(()) => {}
            Err(error) if self.lies_at(role, &segments) => {
                // Applied, and perhaps durable.
                let error = error.to_string();
                self.poison(&error);
                swap.finish_with(&without(&table, &relocation.target(), extent))?;
                let doubt = EvacuationError::InDoubt { role, length, reason: error };
                return Err(PoolError::from(doubt).into());
            }
            Err(refused) => return Err(refused.into()),
        }
        if let Err(error) = swap.finish() {
            self.poison(&error.to_string());
            return Err(error.into());
        }
        Ok(since.elapsed())
    }

    fn lies_at(&self, role: Role, segments: &[Segment]) -> bool {
        let state = lock(&self.state);
        let of_role = state.catalogue.segments().iter().filter(|segment| segment.role == role);
        let covers = |wanted: &Segment| {
            of_role.clone().any(|has| {
                has.device == wanted.device
                    && has.logical_start <= wanted.logical_start
                    && has.logical_end() >= wanted.logical_end()
                    && has
                        .device_start
                        .checked_add(wanted.logical_start.saturating_sub(has.logical_start))
                        == Some(wanted.device_start)
            })
        };
        segments.iter().all(covers)
    }
}

/// The table of a linear over these segments.
pub(super) fn table_of(
    located: &Located,
    device: &DmName,
    segments: &[Segment],
    extent: Bytes,
) -> Result<Vec<TableLine>, PoolError> {
    let lines: Option<Vec<LinearSegment>> =
        segments.iter().map(|segment| segment.to_linear(extent)).collect();
    lines.and_then(|lines| linear_table(&lines, |uuid| located.number_of(uuid))).ok_or_else(|| {
        PoolError::BadLabels {
            pool: located.found.name.clone(),
            problem: format!("a disk under {device} is missing; attach it and try again"),
        }
    })
}

/// A table with a run of extents that serves nothing.
fn without(table: &[TableLine], run: &Segment, extent: Bytes) -> Vec<TableLine> {
    let Some(run) = run.to_linear(extent) else { return table.to_vec() };
    let (begin, end) = (run.logical_start.get(), run.logical_start.get() + run.length.get());
    let mut lines = Vec::new();
    for line in table {
        let (first, last) = (line.start.get(), line.start.get() + line.length.get());
        if end <= first || last <= begin {
            lines.push(line.clone());
            continue;
        }
        lines.extend(part(line, first, begin.max(first)));
        let (from, to) = (begin.max(first), end.min(last));
        let (start, length) = (Sectors::new(from), Sectors::new(to - from));
        lines.push(TableLine { start, length, target: Target::Error });
        lines.extend(part(line, end.min(last), last));
    }
    lines
}

/// The part of a line between two sectors of the device; none when it is empty.
fn part(line: &TableLine, from: u64, to: u64) -> Option<TableLine> {
    let Target::Linear(linear) = &line.target else { return None };
    (from < to).then(|| {
        let mut linear = linear.clone();
        linear.offset = Sectors::new(linear.offset.get() + (from - line.start.get()));
        let (start, length) = (Sectors::new(from), Sectors::new(to - from));
        TableLine { start, length, target: Target::Linear(linear) }
    })
}

/// Ends moves that a crash cut off: a linear that is paused, or that has a part which serves nothing,
/// gets the table that the catalogue says, before it serves anything.
pub(super) fn finish_moves(
    dm: &dyn Dm,
    located: &Located,
    catalogue: &Catalogue,
) -> Result<(), PoolError> {
    let names = &located.names;
    for (name, role) in [(&names.metadata, Role::Metadata), (&names.data, Role::Data)] {
        let info = match dm.info(name) {
            Ok(info) if info.live_table => info,
            Ok(_) => continue,
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error.into()),
        };
        let live = dm.table(name, TableSlot::Live)?;
        let fails = live.iter().any(|line| line.target == Target::Error);
        if !info.suspended && !fails {
            continue;
        }
        let segments = linear_segments(catalogue, role)?;
        let wanted = linear_table(&segments, |device| located.number_of(device));
        let Some(wanted) = wanted else { continue };
        // A growth that was cut off is ended by whoever stretches; another table of the same length
        // is a move.
        if begins_with(&wanted, &live) {
            continue;
        }
        // Without a guard: the way back would be the table that must not serve.
        dm.load(name, &wanted, false)?;
        if !info.suspended {
            dm.suspend(name, SuspendOptions { lock_fs: false, flush: true })?;
        }
        dm.resume(name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block_device::DeviceNumber;
    use crate::dm::{DeviceReference, LinearTable};
    use crate::layout::Extents;

    fn line(start: u64, length: u64, offset: u64) -> TableLine {
        let device = DeviceReference::from(DeviceNumber { major: 8, minor: 1 });
        let target = Target::Linear(LinearTable { device, offset: Sectors::new(offset) });
        TableLine { start: Sectors::new(start), length: Sectors::new(length), target }
    }

    #[test]
    fn what_is_in_doubt_serves_nothing_and_the_rest_as_before() {
        let extent = Bytes::new(8 << 9);
        let table = [line(0, 80, 1000), line(80, 16, 5000)];
        let run = |at, count| Segment {
            role: Role::Data,
            logical_start: Extents::new(at),
            device: Uuid::from_u128(1),
            device_start: Extents::new(77),
            count: Extents::new(count),
        };
        let error = |start, length| TableLine {
            start: Sectors::new(start),
            length: Sectors::new(length),
            target: Target::Error,
        };
        let inside = without(&table, &run(3, 1), extent);
        assert_eq!(
            inside,
            [line(0, 24, 1000), error(24, 8), line(32, 48, 1032), line(80, 16, 5000)]
        );
        let first = without(&table, &run(0, 1), extent);
        assert_eq!(first, [error(0, 8), line(8, 72, 1008), line(80, 16, 5000)]);
        let last = without(&table, &run(10, 2), extent);
        assert_eq!(last, [line(0, 80, 1000), error(80, 16)]);
    }
}
