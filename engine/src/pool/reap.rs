//! Freeing what deleted volumes held.
//!
//! A `delete` message holds the pool-wide lock while it takes the device's tree apart, so a large one
//! would stall every neighbour for seconds. What only this device reaches is discarded first, by at
//! most 16 MiB each: between two discards the others get their turn. What another tree reaches as well
//! is left to the message, which does not go below it: a discard there would first copy the leaves.
//!
//! Several are freed at a time, small ones first. Two that share their leaves with each other alone
//! must not both take them for the other's: whatever maps much is looked at once more before its
//! `delete`, while nothing else is deleted.
//!
//! What is to be overwritten comes last ([`super::erase`]): what it shares with another deleted one is
//! its own once that is gone.
//!
//! Crash argument: a tombstone is durable before its device is touched, and nobody gets that device
//! any more. How much of it is discarded when a reaper dies matters to nobody; the next one looks anew.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::{self, Scope};
use std::time::Duration;

use super::error::PoolError;
use super::handle::Pool;
use super::kernel::thin_device;
use super::locks::lock;
use super::reap_device::Emptied;
use super::reap_queue::{Large, Next, Queue};
use crate::catalogue::{Record, TombstoneReason};
use crate::metadata::{Unshared, prove_devices, unshared};
use crate::plan::{Operation, admit, reap};
use crate::units::{Bytes, DataBlocks, ThinId};

/// Up to here a bare delete holds the pool's lock for a few milliseconds.
const BARE_DELETE_BLOCKS_MAX: u64 = 4096;

/// How often a device is emptied before it is deleted as it is. Once more than once only where what
/// it shared was another's that was deleted meanwhile.
const EMPTYINGS_MAX: u32 = 16;

/// How soon a worker sees what was deleted while another one empties a large device.
const NEW_TOMBSTONES: Duration = Duration::from_millis(250);

/// How far the reaper is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReapProgress {
    /// Tombstones dealt with.
    pub done: u64,
    /// Tombstones there were, with those that came meanwhile.
    pub total: u64,
    /// What was discarded of large ones, and overwritten of those that are to be erased.
    pub done_bytes: Bytes,
    /// What is known by now that has to be.
    pub total_bytes: Bytes,
}

/// What the reaper did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReapReport {
    /// Thin ids freed.
    pub reaped: u64,
    /// Tombstones that must wait: something holds or reads them, the pool takes no message, or the
    /// reaper was stopped.
    pub waiting: u64,
}

/// What is left of a tombstone.
enum Left {
    /// It is freed.
    Nothing,
    /// All of it: something holds it.
    Held,
    /// It must be emptied first.
    Large(Large),
}

/// What a look at a tombstone showed.
enum Look {
    /// Something holds it.
    Held,
    /// A delete of it takes no time.
    Small,
    Large(Large),
}

impl Pool {
    /// Frees every tombstone that nothing holds, also those that come while it is at work. Safe to
    /// interrupt at any point; [`Pool::stop_reaping`] ends it in order.
    pub fn reap(&self, progress: &mut dyn FnMut(ReapProgress)) -> Result<ReapReport, PoolError> {
        let _only_one = lock(&self.reaper.only_one);
        self.refuse_if_poisoned()?;
        let mut queue = Queue::new(self.reaper.budget().workers);
        if !queue.add(self.tombstones()) {
            return Ok(ReapReport::default());
        }
        // A tombstone is in memory before it is on disk. Were its id deleted now, a crash could
        // bring back the volume that its record buries, without its data.
        self.journal.wait_for_all().inspect_err(|error| self.poison(&error.to_string()))?;
        if admit(self.health()?.0, Operation::Reap).is_err() {
            return Ok(ReapReport { reaped: 0, waiting: queue.total() });
        }
        let work = Work::new(self, queue);
        thread::scope(|scope| {
            let mut has_help = false;
            work.run(&mut || {
                has_help = has_help || work.get_help(scope);
                progress(work.progress());
            });
        });
        progress(work.progress());
        work.end()
    }

    pub(super) fn tombstones(&self) -> Vec<ThinId> {
        lock(&self.state).catalogue.tombstones().keys().copied().collect()
    }

    fn look_at(&self, id: ThinId) -> Result<Look, PoolError> {
        if self.locks.is_pinned(id) {
            return Ok(Look::Held);
        }
        if let Some(device) = thin_device(&*self.dm, &self.names, id)? {
            // Left by an activation or a reaper that died; in use it stays.
            if device.open_count > 0 || self.dm.remove(&device.name).is_err() {
                return Ok(Look::Held);
            }
        }
        let proof = prove_devices(&self.metadata, &[id])?;
        let mapped_blocks = proof.details.get(&id).map_or(0, |known| known.mapped_blocks.get());
        if mapped_blocks <= BARE_DELETE_BLOCKS_MAX {
            return Ok(Look::Small);
        }
        Ok(Look::Large(Large { id, mapped_blocks, unshared: self.unshared(id) }))
    }

    /// Nothing is lost when the metadata cannot be read: a delete needs no map.
    fn unshared(&self, id: ThinId) -> Unshared {
        unshared(&self.metadata, id).unwrap_or_default()
    }

    /// Empties a large one and deletes it; `false` when the reaper was stopped before.
    fn reap_large(&self, mut large: Large, beat: &mut dyn FnMut(Bytes)) -> Result<bool, PoolError> {
        for _ in 0..EMPTYINGS_MAX {
            if self.reaper.is_stopped() {
                return Ok(false);
            }
            if is_large(&large.unshared) {
                match self.empty(&large, beat)? {
                    Emptied::Wholly => {}
                    Emptied::Refused => break,
                    Emptied::Stopped => return Ok(false),
                }
                self.commit_in_kernel()?;
            }
            if self.delete_if_small(&mut large)? {
                return Ok(true);
            }
        }
        self.execute(&reap(large.id))?;
        Ok(true)
    }

    /// Deletes what maps much if only little of it is still its own, as the disk has it.
    fn delete_if_small(&self, large: &mut Large) -> Result<bool, PoolError> {
        let _alone = self.reaper.deletes_alone();
        large.unshared = self.unshared(large.id);
        let is_small = !is_large(&large.unshared);
        if is_small {
            self.execute(&reap(large.id))?;
        }
        Ok(is_small)
    }

    /// Removes an orphan: by command only, for a person who is sure that nobody needs it.
    pub fn bury_orphan(&self, id: ThinId) -> Result<(), PoolError> {
        if !lock(&self.state).catalogue.orphans().contains(&id) {
            return Err(PoolError::NoOrphan { pool: self.identity.name.clone(), id });
        }
        let reason = TombstoneReason::Unclaimed;
        self.commit(Record::Tombstoned { thin_id: id, reason })
    }
}

const fn is_large(unshared: &Unshared) -> bool {
    unshared.mapped_blocks > BARE_DELETE_BLOCKS_MAX
}

/// What the workers share.
struct Work<'a> {
    pool: &'a Pool,
    queue: Mutex<Queue>,
    changed: Condvar,
    reaped: AtomicU64,
    waiting: AtomicU64,
    expected: AtomicU64,
    passed: AtomicU64,
    error: Mutex<Option<PoolError>>,
}

impl<'a> Work<'a> {
    fn new(pool: &'a Pool, queue: Queue) -> Self {
        Self {
            pool,
            queue: Mutex::new(queue),
            changed: Condvar::new(),
            reaped: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            expected: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            error: Mutex::new(None),
        }
    }

    /// Starts the other workers once there is something for them; tells whether it has.
    fn get_help<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) -> bool {
        let workers = self.pool.reaper.budget().workers;
        let is_wanted = workers > 1 && lock(&self.queue).wants_help();
        if is_wanted {
            for _ in 1..workers {
                scope.spawn(|| self.run(&mut || {}));
            }
        }
        is_wanted
    }

    /// One worker, until nothing is left; `beat` comes with every step.
    fn run(&self, beat: &mut dyn FnMut()) {
        loop {
            beat();
            if self.pool.reaper.is_stopped() || lock(&self.error).is_some() {
                return;
            }
            let next = lock(&self.queue).next();
            let done = match next {
                Next::Done => return,
                Next::Wait => self.wait(),
                Next::Look(id) => self.look(id),
                Next::Empty(large) => self.empty(large, beat),
                Next::Erase(id) => self.erase(id, beat),
            };
            if let Err(error) = done {
                lock(&self.error).get_or_insert(error);
            }
            self.changed.notify_all();
        }
    }

    fn look(&self, id: ThinId) -> Result<(), PoolError> {
        if self.pool.is_to_erase(id) {
            lock(&self.queue).end_last(id);
            return Ok(());
        }
        let done = self.delete_or_leave(id);
        let mut queue = lock(&self.queue);
        match done {
            Ok(Left::Nothing) => {
                queue.end(None);
                self.count(true);
            }
            Ok(Left::Held) => {
                queue.end_held();
                self.count(false);
            }
            Ok(Left::Large(large)) => {
                self.expect(self.bytes(large.unshared.mapped_blocks));
                queue.end(Some(large));
            }
            Err(error) => {
                queue.end(None);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Deals with a tombstone unless it is held or must be emptied first.
    fn delete_or_leave(&self, id: ThinId) -> Result<Left, PoolError> {
        match self.pool.look_at(id)? {
            Look::Held => Ok(Left::Held),
            Look::Small => {
                let _small = self.pool.reaper.deletes_small();
                self.pool.execute(&reap(id))?;
                Ok(Left::Nothing)
            }
            Look::Large(large) if is_large(&large.unshared) => Ok(Left::Large(large)),
            Look::Large(mut large) => {
                let is_deleted = self.pool.delete_if_small(&mut large)?;
                Ok(if is_deleted { Left::Nothing } else { Left::Large(large) })
            }
        }
    }

    fn empty(&self, large: Large, beat: &mut dyn FnMut()) -> Result<(), PoolError> {
        let done = self.pool.reap_large(large, &mut |discarded| {
            self.pass(discarded);
            beat();
        });
        lock(&self.queue).end_large();
        done.map(|is_reaped| self.count(is_reaped))
    }

    fn erase(&self, id: ThinId, beat: &mut dyn FnMut()) -> Result<(), PoolError> {
        let done = self.erase_and_delete(id, beat);
        lock(&self.queue).end_large();
        done.map(|is_reaped| self.count(is_reaped))
    }

    fn erase_and_delete(&self, id: ThinId, beat: &mut dyn FnMut()) -> Result<bool, PoolError> {
        let look = self.pool.look_at(id)?;
        if matches!(look, Look::Held) {
            return Ok(false);
        }
        let is_erased = self.pool.erase(id, &mut |expected, written| {
            self.expect(expected);
            self.pass(written);
            beat();
        })?;
        if !is_erased {
            return Ok(false);
        }
        match look {
            Look::Large(large) => {
                self.expect(self.bytes(large.unshared.mapped_blocks));
                self.pool.reap_large(large, &mut |discarded| {
                    self.pass(discarded);
                    beat();
                })
            }
            Look::Small | Look::Held => {
                let _small = self.pool.reaper.deletes_small();
                self.pool.execute(&reap(id))?;
                Ok(true)
            }
        }
    }

    /// Waits for the others, and looks for what was deleted meanwhile.
    fn wait(&self) -> Result<(), PoolError> {
        let queue = lock(&self.queue);
        let waited = self.changed.wait_timeout(queue, NEW_TOMBSTONES);
        let (queue, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(queue);
        if !timeout.timed_out() {
            return Ok(());
        }
        let found = self.pool.tombstones();
        // Durable before any of them is touched, like those at the start.
        let journal = self.pool.journal.wait_for_all();
        journal.inspect_err(|error| self.pool.poison(&error.to_string()))?;
        lock(&self.queue).add(found);
        Ok(())
    }

    /// So much is to be overwritten or discarded.
    fn expect(&self, bytes: Bytes) {
        self.expected.fetch_add(bytes.get(), Ordering::Relaxed);
    }

    /// So much of it is.
    fn pass(&self, bytes: Bytes) {
        self.passed.fetch_add(bytes.get(), Ordering::Relaxed);
    }

    fn count(&self, is_reaped: bool) {
        let counter = if is_reaped { &self.reaped } else { &self.waiting };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn bytes(&self, blocks: u64) -> Bytes {
        self.pool.identity.block_size.length_of(DataBlocks::new(blocks))
    }

    fn progress(&self) -> ReapProgress {
        ReapProgress {
            done: self.reaped.load(Ordering::Relaxed) + self.waiting.load(Ordering::Relaxed),
            total: lock(&self.queue).total(),
            done_bytes: Bytes::new(self.passed.load(Ordering::Relaxed)),
            total_bytes: Bytes::new(self.expected.load(Ordering::Relaxed)),
        }
    }

    fn end(self) -> Result<ReapReport, PoolError> {
        let left = lock(&self.queue).left();
        match self.error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(ReapReport {
                reaped: self.reaped.into_inner(),
                waiting: self.waiting.into_inner() + left,
            }),
        }
    }
}
