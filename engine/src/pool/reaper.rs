//! What one handle's reaper is told and what it has done.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use super::handle::Pool;
use super::locks::lock;
use super::reap_budget::{Load, Pace, ReapBudget};
use crate::units::Bytes;

/// What the reaper of a handle has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReapCounters {
    /// Discards sent.
    pub discards: u64,
    /// What they gave back.
    pub discarded_bytes: Bytes,
    /// The longest of them.
    pub longest_discard: Bytes,
    /// What was overwritten with zeros.
    pub erased_bytes: Bytes,
}

/// The reaper's part of a handle.
#[derive(Debug, Default)]
pub(super) struct Reaper {
    /// Held by the one reaper: an id that another one freed may be somebody's volume by now.
    pub(super) only_one: Mutex<()>,
    budget: Mutex<ReapBudget>,
    /// One pace for all workers, and since when its clock runs.
    pace: Mutex<(Option<Instant>, Pace)>,
    stop: Mutex<bool>,
    stopped: Condvar,
    /// Whether `stop` is set, for those who ask often.
    is_stopped: AtomicBool,
    deletes: RwLock<()>,
    discards: AtomicU64,
    discarded_bytes: AtomicU64,
    longest_discard: AtomicU64,
    erased_bytes: AtomicU64,
}

impl Reaper {
    pub(super) fn budget(&self) -> ReapBudget {
        *lock(&self.budget)
    }

    /// How long to wait after a step that ends now.
    pub(super) fn pace(
        &self,
        budget: &ReapBudget,
        step: (Duration, Bytes),
        load: Load,
    ) -> Duration {
        let mut pace = lock(&self.pace);
        let (since, pace) = &mut *pace;
        let now = since.get_or_insert_with(Instant::now).elapsed();
        pace.wait(budget, now, step, load)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    /// Sleeps for `duration` or until the reaper is to stop; tells whether it is.
    pub(super) fn sleep(&self, duration: Duration) -> bool {
        if duration > Duration::ZERO {
            let stop = lock(&self.stop);
            let slept = self.stopped.wait_timeout_while(stop, duration, |stop| !*stop);
            drop(slept);
        }
        self.is_stopped()
    }

    /// For the delete of what is small, whatever else is deleted at the same time.
    pub(super) fn deletes_small(&self) -> RwLockReadGuard<'_, ()> {
        self.deletes.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// While this is held nothing else is deleted, so what is shared stays shared.
    pub(super) fn deletes_alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.deletes.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count_discard(&self, length: Bytes) {
        self.discards.fetch_add(1, Ordering::Relaxed);
        self.longest_discard.fetch_max(length.get(), Ordering::Relaxed);
    }

    pub(super) fn count_discarded(&self, mapped: Bytes) {
        self.discarded_bytes.fetch_add(mapped.get(), Ordering::Relaxed);
    }

    pub(super) fn count_erased(&self, length: Bytes) {
        self.erased_bytes.fetch_add(length.get(), Ordering::Relaxed);
    }

    pub(super) fn counters(&self) -> ReapCounters {
        ReapCounters {
            discards: self.discards.load(Ordering::Relaxed),
            discarded_bytes: Bytes::new(self.discarded_bytes.load(Ordering::Relaxed)),
            longest_discard: Bytes::new(self.longest_discard.load(Ordering::Relaxed)),
            erased_bytes: Bytes::new(self.erased_bytes.load(Ordering::Relaxed)),
        }
    }
}

impl Pool {
    /// Sets what freeing deleted volumes may cost their neighbours. What is being emptied at this
    /// moment goes on as it was begun.
    pub fn set_reap_budget(&self, budget: ReapBudget) {
        *lock(&self.reaper.budget) = budget;
    }

    /// Makes a running [`Pool::reap`] end after its present step, and every later one at once: for
    /// a writer that is about to let the pool go. What it leaves, the next one finds.
    pub fn stop_reaping(&self) {
        *lock(&self.reaper.stop) = true;
        self.reaper.is_stopped.store(true, Ordering::Release);
        self.reaper.stopped.notify_all();
    }
}
