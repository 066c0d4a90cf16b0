//! A snapshot of one origin that is inactive, idle, or written to.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use thinly_engine::catalogue::VolumeName;
use thinly_engine::pool::VolumeAccess;

use super::Rounds;
use crate::bed::{Bed, ORIGIN_DATA_BYTES, VOLUME_SIZE};
use crate::pair::{Pair, in_turn};
use crate::results::{Bound, Group, Table};
use crate::samples::timed;
use crate::watcher::{Access, Watcher};

/// How long a writer writes before its origin is frozen.
const RUN_UP: Duration = Duration::from_millis(20);

/// What the origin is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Inactive,
    Idle,
    Written,
}

#[derive(Debug, Default)]
struct Measured {
    window: Pair,
    whole: Pair,
}

pub(super) fn single(
    bed: &mut Bed,
    rounds: Rounds,
    group: &mut Group,
    table: &mut Table,
) -> Result<()> {
    let mut found = [Origin::Inactive, Origin::Idle, Origin::Written]
        .map(|origin| (origin, Measured::default()));
    for turn in 0..rounds.all() {
        for (origin, measured) in &mut found {
            if turn == rounds.warm_up {
                *measured = Measured::default();
            }
            measured.turn(bed, *origin, turn).with_context(|| format!("origin {origin:?}"))?;
        }
    }
    for (origin, measured) in &found {
        let words = match origin {
            Origin::Inactive => "an inactive origin",
            Origin::Idle => "an active idle origin",
            Origin::Written => "an active written origin",
        };
        let bound = Bound::AtMost(1.1);
        if *origin == Origin::Inactive {
            let rival = "create_snap + status and proof reads + 4 KiB O_DSYNC";
            measured.whole.tell(group, table, &format!("snapshot of {words}"), rival, bound);
            continue;
        }
        let rival = "suspend + create_snap + resume";
        measured.window.tell(group, table, &format!("frozen window of {words}"), rival, bound);
        let rival = "the window + status and proof reads + 4 KiB O_DSYNC";
        measured.whole.tell(group, table, &format!("snapshot of {words}"), rival, bound);
    }
    Ok(())
}

impl Measured {
    /// One snapshot of each side; both are gone afterwards.
    fn turn(&mut self, bed: &mut Bed, origin: Origin, turn: usize) -> Result<()> {
        let ours_first = turn.is_multiple_of(2);
        let name = VolumeName::new("snapshot")?;
        let id = bed.floor.take_id()?;
        let view = bed.pool.volume(&bed.origin)?;
        let device = view.device.context("the origin has no device")?;
        let floor_device = bed.floor.device(bed.floor_origin)?;
        if origin == Origin::Inactive {
            bed.pool.deactivate(&bed.origin)?;
            bed.floor.deactivate(bed.floor_origin)?;
        }
        let written = origin == Origin::Written;
        let (pool, dm) = (&bed.pool, &bed.dm);
        dm.take_window();
        let ours = || {
            beside(written.then_some(&device), || timed(|| Ok(pool.snapshot(&bed.origin, &name)?)))
        };
        let (floor, floor_origin) = (&mut bed.floor, bed.floor_origin);
        let bare = || {
            beside(written.then_some(&floor_device), || {
                if origin == Origin::Inactive {
                    let ((), whole) = timed(|| floor.snapshot_inactive(floor_origin, id))?;
                    return Ok((Duration::ZERO, whole));
                }
                floor.snapshot(floor_origin, id).map(|times| (times.window, times.whole))
            })
        };
        let (_, ours, bare_window, bare) = in_turn(ours_first, ours, bare)?;
        self.whole.push(ours, bare);
        if origin == Origin::Inactive {
            bed.pool.activate(&bed.origin, VolumeAccess::ReadWrite)?;
            bed.floor.activate(floor_origin, VOLUME_SIZE)?;
        } else {
            let window = dm.take_window().context("the engine froze nothing")?;
            self.window.push(window, bare_window);
        }
        bed.pool.delete(&name)?;
        bed.pool.reap(&mut |_| {})?;
        bed.floor.delete(id)
    }
}

/// Does something, beside a writer on a device if there is one.
fn beside<T>(
    device: Option<&impl AsRef<std::path::Path>>,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let Some(device) = device else { return work() };
    let watcher = Watcher::start(device.as_ref(), ORIGIN_DATA_BYTES, Access::Write, 1 << 17)?;
    thread::sleep(RUN_UP);
    let done = work();
    watcher.finish()?;
    done
}
