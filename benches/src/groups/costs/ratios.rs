//! The engine against the bare floor: one operation of each, in turns.

use anyhow::{Context, Result};
use thinly_engine::catalogue::VolumeName;
use thinly_engine::pool::VolumeAccess;

use crate::bed::{Bed, VOLUME_SIZE};
use crate::pair::{Pair, in_turn};
use crate::results::{Bound, Group};
use crate::samples::timed;

/// Rounds that are not counted: the first freeze locks the process's memory, the first activation
/// fills the kernel's caches.
const WARM_UP_ROUNDS: usize = 3;

#[derive(Debug, Default)]
struct Rounds {
    write: Pair,
    create: Pair,
    create_and_activate: Pair,
    deactivate: Pair,
    activate: Pair,
    window: Pair,
    snapshot: Pair,
    delete: Pair,
    reap: Pair,
}

/// Measures every operation `count` times.
pub(super) fn ratios(bed: &Bed, count: usize, group: &mut Group) -> Result<()> {
    let mut warm_up = Rounds::default();
    for turn in 0..WARM_UP_ROUNDS {
        warm_up.round(bed, turn).context("in a round that is not counted")?;
    }
    let mut rounds = Rounds::default();
    for turn in 0..count {
        rounds.round(bed, turn).with_context(|| format!("in round {turn}"))?;
    }
    rounds.tell(group, count);
    Ok(())
}

impl Rounds {
    fn tell(&self, group: &mut Group, rounds: usize) {
        let mut table = Pair::table(format!("{rounds} rounds in turns, microseconds"));
        let mut tell = |pair: &Pair, name: &str, rival: &str, bound: Bound| {
            pair.tell(group, &mut table, name, rival, bound);
        };
        let write = "write + fdatasync of 4 KiB, as the journal does it";
        tell(&self.write, write, "4 KiB O_DSYNC", Bound::Shown);
        tell(&self.create, "create, durable", "create_thin + status", Bound::AtMost(0.5));
        let window = "suspend + create_snap + resume";
        tell(&self.window, "snapshot, frozen window", window, Bound::AtMost(1.1));
        let whole = "the window + status and proof reads + 4 KiB O_DSYNC";
        tell(&self.snapshot, "snapshot of an active idle origin", whole, Bound::AtMost(1.1));
        tell(&self.activate, "activate", "create + load + resume", Bound::AtMost(1.3));
        let first = "create_thin + status + create + load + resume";
        tell(&self.create_and_activate, "create and activate", first, Bound::AtMost(1.3));
        tell(&self.deactivate, "deactivate", "remove", Bound::Shown);
        tell(&self.delete, "delete, durable", "delete + status", Bound::Shown);
        tell(&self.reap, "reap of an empty volume", "delete + status", Bound::Shown);
        group.tables.push(table);
    }

    /// One round leaves both pools with the volumes that they had before.
    fn round(&mut self, bed: &Bed, turn: usize) -> Result<()> {
        let ours_first = turn.is_multiple_of(2);
        let pool = &bed.pool;
        let floor = &bed.floor;
        let name = VolumeName::new("volume")?;
        let (blank, id) = (floor.take_id()?, floor.take_id()?);

        let ours = || floor.write_record_and_flush();
        self.write.push_turn(ours_first, ours, || floor.write_record())?;

        let ours = || pool.create_volume(&name, VOLUME_SIZE).context("creating a volume");
        let bare = || floor.create_thin(blank);
        self.create.push_turn(ours_first, ours, bare)?;
        pool.delete(&name)?;

        let ours = || {
            pool.create_volume(&name, VOLUME_SIZE).context("creating a volume")?;
            pool.activate(&name, VolumeAccess::ReadWrite).context("activating")
        };
        let bare = || {
            floor.create_thin(id)?;
            floor.activate(id, VOLUME_SIZE)
        };
        self.create_and_activate.push_turn(ours_first, ours, bare)?;

        let ours = || pool.deactivate(&name).context("deactivating");
        self.deactivate.push_turn(ours_first, ours, || floor.deactivate(id))?;

        let ours = || pool.activate(&name, VolumeAccess::ReadWrite).context("activating again");
        self.activate.push_turn(ours_first, ours, || floor.activate(id, VOLUME_SIZE))?;
        pool.deactivate(&name)?;
        floor.deactivate(id)?;

        self.snapshot_round(bed, ours_first)?;

        let pool = &bed.pool;
        let floor = &bed.floor;
        let delete_ours = || timed(|| pool.delete(&name).context("deleting"));
        let delete_bare = || timed(|| floor.delete(id));
        let ((), ours, (), bare) = in_turn(ours_first, delete_ours, delete_bare)?;
        self.delete.push(ours, bare);
        let (report, ours) = timed(|| pool.reap(&mut |_| {}).context("reaping"))?;
        anyhow::ensure!(report.reaped == 1, "one volume was to be reaped: {report:?}");
        self.reap.push(ours, bare);
        floor.delete(blank)
    }

    fn snapshot_round(&mut self, bed: &Bed, ours_first: bool) -> Result<()> {
        let name = VolumeName::new("snapshot")?;
        let id = bed.floor.take_id()?;
        let (pool, origin) = (&bed.pool, &bed.origin);
        let (floor, floor_origin) = (&bed.floor, bed.floor_origin);
        let ours = || timed(|| pool.snapshot(origin, &name).context("taking a snapshot"));
        let bare = || floor.snapshot(floor_origin, id).map(|times| (times, times.whole));
        let (_, ours, times, bare) = in_turn(ours_first, ours, bare)?;
        let window = bed.dm.take_window().context("the engine froze nothing")?;
        self.snapshot.push(ours, bare);
        self.window.push(window, times.window);
        bed.pool.delete(&name)?;
        bed.pool.reap(&mut |_| {})?;
        bed.floor.delete(id)
    }
}
