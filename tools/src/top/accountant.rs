//! Reads what volumes hold alone, as `thinly usage` does: beside everything else, and not too often.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

use thinly_engine::pool::{Engine, PoolError};
use uuid::Uuid;

use super::pace::pause_after;
use super::sample::{Reading, now};
use super::wish::Wish;
use crate::failure::Failure;

/// One reading. `progress` gets metadata blocks read and about their total.
pub(super) fn read(engine: &Engine, pool: Uuid, progress: &mut dyn FnMut(u64, u64)) -> Reading {
    let begun = Instant::now();
    let exclusive = engine.usage(&pool.to_string(), &[], progress).map(|accounting| {
        let volumes = accounting.volumes.into_iter();
        volumes.filter_map(|it| Some((it.uuid, it.cost?.exclusive_bytes))).collect()
    });
    let exclusive = exclusive.map_err(|error: PoolError| Failure::from(error).message());
    Reading { at: now(), took: begun.elapsed(), exclusive }
}

/// Why a reading was left: the program ends.
struct Left;

/// Reads the wanted pool again and again, until nobody looks any more.
pub(super) fn run(engine: &Engine, wish: &Wish, tell: &dyn Fn(Uuid, Reading) -> bool) {
    let mut due: HashMap<Uuid, Instant> = HashMap::new();
    loop {
        let wanted = wish.get();
        let pool = wanted.pool.filter(|_| !wanted.is_paused);
        let waits =
            pool.and_then(|pool| due.get(&pool)).map(|at| at.duration_since(Instant::now()));
        match (pool, waits.unwrap_or_default()) {
            (Some(pool), wait) if wait.is_zero() => {
                let Some(reading) = read_unless_over(engine, wish, pool) else { return };
                let pause = pause_after(reading.took);
                due.insert(pool, Instant::now().checked_add(pause).unwrap_or_else(Instant::now));
                if !tell(pool, reading) {
                    return;
                }
            }
            (pool, wait) => {
                if !wish.wait(wanted, pool.map(|_| wait)) {
                    return;
                }
            }
        }
    }
}

/// `None` when the program ends meanwhile. A reading of an open pool holds its metadata snapshot: it
/// is unwound from within, not cut off, so that the snapshot is given back.
fn read_unless_over(engine: &Engine, wish: &Wish, pool: Uuid) -> Option<Reading> {
    let mut leave_if_over = |_, _| {
        if wish.is_over() {
            // No message and no hook: nothing is wrong.
            resume_unwind(Box::new(Left));
        }
    };
    match catch_unwind(AssertUnwindSafe(|| read(engine, pool, &mut leave_if_over))) {
        Ok(reading) => Some(reading),
        Err(cause) if cause.is::<Left>() => None,
        Err(cause) => resume_unwind(cause),
    }
}
