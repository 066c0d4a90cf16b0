//! The engine against the bare floor: one operation of each, in turns.

use std::time::Duration;

use anyhow::{Context, Result};
use thinly_engine::catalogue::VolumeName;
use thinly_engine::pool::VolumeAccess;

use crate::bed::{Bed, VOLUME_SIZE};
use crate::report::Ratio;
use crate::samples::{Samples, timed};

/// Rounds that are not counted: the first freeze locks the process's memory, the first activation
/// fills the kernel's caches.
const WARM_UP_ROUNDS: usize = 3;

/// One operation of both.
#[derive(Debug, Default)]
struct Pair {
    ours: Samples,
    bare: Samples,
}

impl Pair {
    fn push(&mut self, ours: Duration, bare: Duration) {
        self.ours.push(ours);
        self.bare.push(bare);
    }

    fn ratio(&self, name: &'static str, against: &'static str, goal: Option<f64>) -> Ratio {
        Ratio::new(name, against, &self.ours, &self.bare, goal)
    }
}

#[derive(Debug, Default)]
struct Rounds {
    create: Pair,
    first_activation: Pair,
    deactivate: Pair,
    activate: Pair,
    window: Pair,
    snapshot: Pair,
    delete: Pair,
    reap: Pair,
}

/// Measures every operation `count` times.
pub(crate) fn ratios(bed: &mut Bed, count: usize) -> Result<Vec<Ratio>> {
    let mut warm_up = Rounds::default();
    for turn in 0..WARM_UP_ROUNDS {
        warm_up.round(bed, turn).context("in a round that is not counted")?;
    }
    let mut rounds = Rounds::default();
    for turn in 0..count {
        rounds.round(bed, turn).with_context(|| format!("in round {turn}"))?;
    }
    Ok(rounds.ratios())
}

impl Rounds {
    fn ratios(&self) -> Vec<Ratio> {
        let activation = "create + load + resume";
        vec![
            self.create.ratio("create, durable", "create_thin", Some(1.0)),
            self.window.ratio(
                "snapshot, frozen window",
                "suspend + create_snap + resume",
                Some(1.2),
            ),
            self.snapshot.ratio(
                "snapshot of an active idle origin",
                "the window + proof reads + 4 KiB O_DSYNC",
                Some(1.2),
            ),
            self.activate.ratio("activate", activation, Some(1.3)),
            self.first_activation.ratio(
                "first activation",
                "create_thin + create + load + resume",
                None,
            ),
            self.deactivate.ratio("deactivate", "remove", None),
            self.delete.ratio("delete, durable", "delete", None),
            self.reap.ratio("reap of an empty volume", "delete", None),
        ]
    }

    /// One round leaves both pools with the volumes that they had before.
    fn round(&mut self, bed: &mut Bed, turn: usize) -> Result<()> {
        let ours_first = turn.is_multiple_of(2);
        let pool = &bed.pool;
        let floor = &mut bed.floor;
        let name = VolumeName::new("volume")?;
        let (blank, id) = (floor.take_id()?, floor.take_id()?);

        let ours = || pool.create_volume(&name, VOLUME_SIZE).context("creating a volume");
        let bare = || floor.create_thin(blank);
        self.create.push_turn(ours_first, ours, bare)?;

        let ours = || pool.activate(&name, VolumeAccess::ReadWrite).context("activating");
        let bare = || {
            floor.create_thin(id)?;
            floor.activate(id, VOLUME_SIZE)
        };
        self.first_activation.push_turn(ours_first, ours, bare)?;

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

    fn snapshot_round(&mut self, bed: &mut Bed, ours_first: bool) -> Result<()> {
        let name = VolumeName::new("snapshot")?;
        let id = bed.floor.take_id()?;
        let (pool, origin) = (&bed.pool, &bed.origin);
        let (floor, floor_origin) = (&mut bed.floor, bed.floor_origin);
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

impl Pair {
    fn push_turn<A, B>(
        &mut self,
        ours_first: bool,
        ours: impl FnOnce() -> Result<A>,
        bare: impl FnOnce() -> Result<B>,
    ) -> Result<()> {
        let (_, ours, _, bare) = in_turn(ours_first, || timed(ours), || timed(bare))?;
        self.push(ours, bare);
        Ok(())
    }
}

/// Runs both, one after the other. Who goes first changes from round to round, so that neither
/// always finds what the other left behind.
fn in_turn<A, B>(
    ours_first: bool,
    ours: impl FnOnce() -> Result<(A, Duration)>,
    bare: impl FnOnce() -> Result<(B, Duration)>,
) -> Result<(A, Duration, B, Duration)> {
    if ours_first {
        let (a, ours) = ours()?;
        let (b, bare) = bare()?;
        return Ok((a, ours, b, bare));
    }
    let (b, bare) = bare()?;
    let (a, ours) = ours()?;
    Ok((a, ours, b, bare))
}
