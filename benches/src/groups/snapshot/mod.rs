//! Snapshots, by what their origin is doing; of several origins at once; and many in a row.
#![forbid(unsafe_code)]

mod chain;
mod group_of_eight;
mod single;

use anyhow::Result;

use crate::bed::Bed;
use crate::pair::Pair;
use crate::results::Group;
use crate::stage::{Extent, Stage};

/// Each kind of snapshot against the bare window, status, proof and record.
pub(super) fn snapshot(stage: &Stage) -> Result<Group> {
    let mut group = Group::new("snapshot", "Snapshots against the kernel's floor", TEXT);
    let extent = stage.extent;
    let rounds = Rounds::of(extent);
    let mut bed = Bed::new(stage.disk(0)?, stage.disk(1)?)?;
    let mut table = Pair::table(format!("{} rounds in turns, microseconds", rounds.counted));
    single::single(&mut bed, rounds, &mut group, &mut table)?;
    group_of_eight::group_of_eight(&mut bed, rounds, &mut group, &mut table)?;
    group.tables.push(table);
    chain::chain(&mut bed, extent, &mut group)?;
    bed.finish()?;
    Ok(group)
}

/// How often something is done.
#[derive(Debug, Clone, Copy)]
struct Rounds {
    /// Rounds that are not counted: the first freeze locks the process's memory.
    warm_up: usize,
    counted: usize,
}

impl Rounds {
    fn of(extent: Extent) -> Self {
        Self { warm_up: extent.pick(0, 3, 3), counted: extent.pick(2, 20, 80) }
    }

    fn all(self) -> usize {
        self.warm_up + self.counted
    }
}

const TEXT: &str = "\
Two pools of the same make take turns: the engine snapshots on one, bare ioctls on the other do what nobody can leave out:
`suspend`, `create_snap`, `resume` (the *window*, in which the origin stands still), then a status, the reads that prove on
disk that the snapshot is there, and one 4 KiB `O_DSYNC` write for the record (together: the *whole*). An inactive origin
needs no freeze. A written origin has a writer on it that makes one 4 KiB `O_DIRECT` write after the other at random places;
it has to wait for the freeze, and each first write after the snapshot copies a block. A group of eight suspends, messages and
resumes eight times, and pays status, proof and record once; the engine's own window is measured from its first suspend to
its last resume. In the chain each snapshot is one of the snapshot before it, and all stay.";
