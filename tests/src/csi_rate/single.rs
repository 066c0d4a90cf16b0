//! One call at a time.

use std::time::Duration;

use anyhow::{Result, ensure};
use thinly_benches::results::{Bound, Group, Table};
use thinly_benches::{Samples, timed};

use super::sides::{ORIGINS, Operation, Sides};

/// The most that a call may take of the sum of its parts.
const GOAL: f64 = 1.2;

/// Rounds that are not counted.
const WARM_UP: usize = 3;

#[derive(Default)]
struct Times {
    call: Samples,
    engine: Samples,
}

pub(super) fn table() -> Table {
    Table::new(
        "Medians of one call at a time, ms",
        &["call", "volumes", "call", "p90", "Probe", "engine", "ratio"],
    )
}

/// All take turns, so that what drifts on the host meets all alike.
pub(super) fn measure(
    sides: &Sides,
    rounds: usize,
    group: &mut Group,
    table: &mut Table,
) -> Result<()> {
    let mut probe = Samples::default();
    let mut times = Operation::ALL.map(|_| Times::default());
    for round in 0..rounds + WARM_UP {
        let (ready, probed) = timed(|| Ok(sides.client.is_ready()))?;
        ensure!(ready, "the driver is not ready any more");
        let (id, created) = timed(|| sides.create_by_call())?;
        let (name, created_by_engine) = timed(|| sides.create_by_engine())?;
        let origin = round % ORIGINS;
        let ((), copied) = timed(|| sides.snapshot_by_call(origin))?;
        let ((), copied_by_engine) = timed(|| sides.snapshot_by_engine(origin))?;
        let ((), deleted) = timed(|| sides.delete_by_call(&id))?;
        let ((), deleted_by_engine) = timed(|| sides.delete_by_engine(&name))?;
        if round < WARM_UP {
            continue;
        }
        probe.push(probed);
        let pairs = [
            (created, created_by_engine),
            (copied, copied_by_engine),
            (deleted, deleted_by_engine),
        ];
        for (times, (call, engine)) in times.iter_mut().zip(pairs) {
            times.call.push(call);
            times.engine.push(engine);
        }
    }
    let millis = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1e3);
    for (operation, times) in Operation::ALL.into_iter().zip(&times) {
        let (call, engine, probe) = (times.call.median(), times.engine.median(), probe.median());
        let ratio = call.as_secs_f64() / (probe + engine).as_secs_f64();
        let (name, volumes) = (operation.name(), sides.volumes);
        table.row([
            name.to_owned(),
            volumes.to_string(),
            millis(call),
            millis(times.call.p90()),
            millis(probe),
            millis(engine),
            format!("{ratio:.2}"),
        ]);
        let bound = match operation {
            Operation::CreateVolume | Operation::CreateSnapshot => Bound::AtMost(GOAL),
            Operation::DeleteVolume => Bound::Shown,
        };
        let what = format!("{name} with {volumes} volumes, against Probe + engine");
        group.goal(what, ratio, "x", bound);
    }
    Ok(())
}
