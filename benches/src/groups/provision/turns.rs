//! Every operation by every contender, in turns.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use super::contender::{Contender, Slot};
use crate::pair::Pair;
use crate::samples::{Samples, timed};

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    /// A volume that is not active.
    Create,
    /// A volume and its device.
    CreateActive,
    /// A snapshot of an active origin that nobody writes.
    Snapshot,
    /// An active volume goes.
    Delete,
    /// And its space is free.
    DeleteAndReap,
}

impl Operation {
    pub(super) const ALL: [Self; 5] =
        [Self::Create, Self::CreateActive, Self::Snapshot, Self::Delete, Self::DeleteAndReap];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::CreateActive => "create + activate",
            Self::Snapshot => "snapshot of an active idle origin",
            Self::Delete => "delete, active",
            Self::DeleteAndReap => "delete, active, and reap",
        }
    }
}

/// Slots that were not used yet, by any contender.
#[derive(Debug)]
pub(super) struct Slots(AtomicU32);

impl Slots {
    /// Begins behind the ids that the pools hold already.
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(100))
    }

    pub(super) fn take_many(&self, count: usize) -> Result<Vec<Slot>> {
        let count = u32::try_from(count)?;
        let first = self.0.fetch_add(count, Ordering::Relaxed);
        let slots: Result<Vec<Slot>, _> = (first..first + count).map(Slot::new).collect();
        slots.context("no names are left")
    }
}

/// The times of all contenders.
#[derive(Debug, Default)]
pub(super) struct Times(HashMap<(Operation, &'static str), Samples>);

impl Times {
    /// Does everything `rounds` times; where nothing is warm, once more, uncounted, before: caches
    /// fill, and the process's memory is locked. Who goes first changes from round to round.
    pub(super) fn measure(
        contenders: &[&dyn Contender],
        slots: &Slots,
        rounds: usize,
        is_warm: bool,
    ) -> Result<Self> {
        let mut times = Self::default();
        if !is_warm {
            Self::default().round(contenders, slots, 0)?;
        }
        for turn in 0..rounds {
            times.round(contenders, slots, turn)?;
        }
        Ok(times)
    }

    /// What was measured of a contender: nothing where it did not take part.
    pub(super) fn of(&self, operation: Operation, contender: &'static str) -> Samples {
        self.0.get(&(operation, contender)).cloned().unwrap_or_default()
    }

    /// One against another.
    pub(super) fn pair(
        &self,
        operation: Operation,
        ours: &'static str,
        rival: &'static str,
    ) -> Pair {
        Pair { ours: self.of(operation, ours), rival: self.of(operation, rival) }
    }

    /// One round leaves everybody with the volumes that they had before.
    fn round(&mut self, contenders: &[&dyn Contender], slots: &Slots, turn: usize) -> Result<()> {
        let mut turns = contenders.to_vec();
        let count = turns.len().max(1);
        turns.rotate_left(turn % count);
        let mut made = Vec::new();
        for &contender in &turns {
            made.push((contender, slots.take_many(3)?));
        }
        for (contender, slots) in &made {
            self.time(Operation::Create, *contender, || contender.create(slots[0]))?;
        }
        for (contender, slots) in &made {
            self.time(Operation::CreateActive, *contender, || {
                contender.create_active(slots[1]).map(drop)
            })?;
        }
        for (contender, slots) in &made {
            self.time(Operation::Snapshot, *contender, || contender.snapshot(slots[2]))?;
        }
        for (contender, slots) in &made {
            self.delete(*contender, slots[1])?;
        }
        for (contender, slots) in &made {
            contender.delete(&[slots[0], slots[2]])?;
            contender.reap()?;
        }
        Ok(())
    }

    fn delete(&mut self, contender: &dyn Contender, slot: Slot) -> Result<()> {
        let ((), delete) = timed(|| contender.delete_active(slot))
            .with_context(|| format!("deleting by {}", contender.name()))?;
        let ((), reap) = timed(|| contender.reap())?;
        self.samples(Operation::Delete, contender).push(delete);
        self.samples(Operation::DeleteAndReap, contender).push(delete + reap);
        Ok(())
    }

    fn time(
        &mut self,
        operation: Operation,
        contender: &dyn Contender,
        work: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let ((), time) =
            timed(work).with_context(|| format!("{} by {}", operation.name(), contender.name()))?;
        self.samples(operation, contender).push(time);
        Ok(())
    }

    fn samples(&mut self, operation: Operation, contender: &dyn Contender) -> &mut Samples {
        self.0.entry((operation, contender.name())).or_default()
    }
}
