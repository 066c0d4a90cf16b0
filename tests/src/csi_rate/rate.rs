//! Many calls at a time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use thinly_benches::results::{Bound, Group, Table};
use thinly_engine::catalogue::VolumeName;

use super::sides::{ORIGINS, Operation, Sides};

/// How many calls are under way at a time: each has its own origin.
const IN_FLIGHT: usize = ORIGINS;
/// The least of what is possible that must be reached.
const GOAL: f64 = 0.8;

/// Runs `work` `count` times on as many threads as are in flight; tells how often a second. What
/// it gets is the number of its thread.
fn rate(count: usize, work: impl Fn(usize) -> Result<()> + Sync) -> Result<f64> {
    let left = AtomicUsize::new(count);
    let take =
        || left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
    let worker = |number: usize| -> Result<()> {
        while take().is_ok() {
            work(number)?;
        }
        Ok(())
    };
    let worker = &worker;
    let began = Instant::now();
    thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> =
            (0..IN_FLIGHT).map(|number| scope.spawn(move || worker(number))).collect();
        for worker in workers {
            worker.join().map_err(|_| anyhow!("a worker failed"))??;
        }
        Ok(())
    })?;
    #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
    let count = count as f64;
    Ok(count / began.elapsed().as_secs_f64())
}

/// What was made and is to be deleted.
struct Made<T>(Mutex<Vec<T>>);

impl<T> Made<T> {
    const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn push(&self, made: T) -> Result<()> {
        self.0.lock().map_err(|_| anyhow!("a worker failed"))?.push(made);
        Ok(())
    }

    fn take(&self) -> Result<T> {
        let mut made = self.0.lock().map_err(|_| anyhow!("a worker failed"))?;
        made.pop().context("more deletions than creations")
    }
}

/// Calls and the engine's operations a second.
fn rates(sides: &Sides, count: usize) -> Result<[(f64, f64); 3]> {
    let (ids, names) = (Made::<String>::new(), Made::<VolumeName>::new());
    let engine = rate(count, |_| names.push(sides.create_by_engine()?))?;
    let calls = rate(count, |_| ids.push(sides.create_by_call()?))?;
    let created = (calls, engine);
    let engine = rate(count, |worker| sides.snapshot_by_engine(worker))?;
    let calls = rate(count, |worker| sides.snapshot_by_call(worker))?;
    let copied = (calls, engine);
    let engine = rate(count, |_| sides.delete_by_engine(&names.take()?))?;
    let calls = rate(count, |_| sides.delete_by_call(&ids.take()?))?;
    Ok([created, copied, (calls, engine)])
}

pub(super) fn measure(sides: &Sides, count: usize, group: &mut Group) -> Result<()> {
    let probes = rate(count, |_| {
        ensure!(sides.client.is_ready(), "the driver is not ready any more");
        Ok(())
    })?;
    let mut table = Table::new(
        format!("A second, with {IN_FLIGHT} in flight"),
        &["call", "calls", "Probe", "engine", "of both", "share of the slower"],
    );
    for (operation, (calls, engine)) in Operation::ALL.into_iter().zip(rates(sides, count)?) {
        let of_both = 1.0 / (probes.recip() + engine.recip());
        let share = calls / probes.min(engine);
        let name = operation.name();
        let whole = |rate: f64| format!("{rate:.0}");
        table.row([
            name.to_owned(),
            whole(calls),
            whole(probes),
            whole(engine),
            whole(of_both),
            format!("{share:.2}"),
        ]);
        let what = format!("{name}, {IN_FLIGHT} in flight, against the slower of Probe and engine");
        let bound = match operation {
            Operation::CreateVolume | Operation::CreateSnapshot => Bound::AtLeast(GOAL),
            Operation::DeleteVolume => Bound::Shown,
        };
        group.goal(what, share, "x", bound);
        let what = format!("{name}, {IN_FLIGHT} in flight, against Probe and engine in turns");
        group.goal(what, calls / of_both, "x", Bound::Shown);
    }
    group.tables.push(table);
    Ok(())
}
