//! What volumes hold alone: dear to find out, so it is found out beside the scrapes, not in them.
//!
//! The metadata of a pool is walked once (the cost of `thinly usage`) when a scrape meets an answer
//! that is older than the interval. The scrape does not wait: it tells the last answer. Nobody who
//! does not scrape pays.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use thinly_engine::pool::{Engine, PoolError};
use thinly_engine::units::Bytes;
use uuid::Uuid;

use crate::failure::chain;

/// What the volumes of a pool hold alone.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    /// By volume.
    pub(super) bytes: HashMap<Uuid, Bytes>,
    /// How long it took to find out.
    pub(super) took: Duration,
}

/// One pool.
#[derive(Debug, Default)]
struct Known {
    begun: Option<Instant>,
    is_running: bool,
    answer: Option<Arc<Answer>>,
}

/// What is known of all pools.
#[derive(Debug, Clone)]
pub(super) struct Exclusive {
    interval: Duration,
    pools: Arc<Mutex<HashMap<Uuid, Known>>>,
}

impl Exclusive {
    /// Answers get no older than `interval` and what it takes to renew them; zero is never to ask.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, pools: Arc::default() }
    }

    /// The last answer for a pool, if there is one; has it renewed when it is too old.
    pub(super) fn answer(&self, pool: Uuid) -> Option<Arc<Answer>> {
        if self.interval.is_zero() {
            return None;
        }
        let mut pools = lock(&self.pools);
        let known = pools.entry(pool).or_default();
        let is_fresh = known.begun.is_some_and(|begun| begun.elapsed() < self.interval);
        if !known.is_running && !is_fresh {
            known.is_running = true;
            known.begun = Some(Instant::now());
            let pools = Arc::clone(&self.pools);
            // A thread of its own: the walk must not take one that calls are waiting for.
            let walk = move || renew(&pools, pool);
            if let Err(error) =
                std::thread::Builder::new().name("accounting".to_owned()).spawn(walk)
            {
                known.is_running = false;
                tracing::warn!("what volumes hold alone is not renewed: {error}");
            }
        }
        known.answer.clone()
    }

    /// Forgets the pools that are not served any more.
    pub(super) fn retain(&self, is_served: impl Fn(Uuid) -> bool) {
        lock(&self.pools).retain(|pool, _| is_served(*pool));
    }
}

fn renew(pools: &Mutex<HashMap<Uuid, Known>>, pool: Uuid) {
    let begun = Instant::now();
    let found = walk(pool);
    let mut pools = lock(pools);
    let Some(known) = pools.get_mut(&pool) else { return };
    known.is_running = false;
    match found {
        Ok(bytes) => known.answer = Some(Arc::new(Answer { bytes, took: begun.elapsed() })),
        Err(error) => {
            // An answer that cannot be renewed is told no more: it would never grow old.
            known.answer = None;
            tracing::warn!(%pool, "what volumes hold alone is not known: {}", chain(&error));
        }
    }
}

fn walk(pool: Uuid) -> Result<HashMap<Uuid, Bytes>, PoolError> {
    let accounting = Engine::new()?.usage(&pool.to_string(), &[], &mut |_, _| ())?;
    let volumes = accounting.volumes.into_iter();
    Ok(volumes.filter_map(|it| Some((it.uuid, it.cost?.exclusive_bytes))).collect())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
