//! The writer's handle on an open pool.
//!
//! # Writer epochs
//!
//! Before its first suspend, message or reload a writer makes `Opened{epoch, from, to}` durable and
//! then moves the pool's transaction id from `from` to `to` by compare-and-swap. The kernel stamps
//! `to` into every thin device made from then on, so recovery can tell this writer's unfinished
//! work from everything else. `Released` closes the epoch. Records that touch only the catalogue
//! (a pending volume, a rename, a tombstone) need no epoch: a crash leaves nothing in the kernel.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use uuid::Uuid;

use super::capacity::{Capacity, admit_by_policy};
use super::claim::forget_holder;
use super::error::PoolError;
use super::locks::{Locks, lock};
use super::metadata_margin::MetadataMargin;
use super::mounts::MountTable;
use super::reaper::{ReapCounters, Reaper};
use super::report;
use crate::block_device::{BlockDevice, DeviceNumber};
use crate::catalogue::{Catalogue, Epoch, IdAllocator, PoolIdentity, Record, Volume, VolumeName};
use crate::dm::{Dm, DmCounters, PoolMessage, PoolUsage, ThinPoolStatus};
use crate::durations::{DurationCells, Durations};
use crate::journal::{Counters as JournalCounters, Journal};
use crate::plan::{DeviceNames, Finding, Health, Operation, admit, announcement, farewell};
use crate::units::{Bytes, DataBlocks, ThinId, TransactionId};

/// What changes together under one lock: the order of the journal is the order of the state.
#[derive(Debug)]
pub(super) struct State {
    pub(super) catalogue: Catalogue,
    pub(super) ids: IdAllocator,
    pub(super) capacity: Capacity,
    pub(super) margin: MetadataMargin,
}

/// An open pool and the claim to change it. All operations take `&self` and may run in parallel.
#[derive(Debug)]
pub struct Pool {
    pub(super) dm: Arc<dyn Dm>,
    pub(super) names: DeviceNames,
    pub(super) identity: PoolIdentity,
    pub(super) kernel_number: DeviceNumber,
    pub(super) metadata: BlockDevice,
    pub(super) journal: Journal,
    pub(super) state: Mutex<State>,
    pub(super) locks: Locks,
    pub(super) reaper: Reaper,
    /// Held by the one who changes the lengths of the pool's devices.
    pub(super) growing: Mutex<()>,
    /// Devices that are being emptied: nothing new goes to them.
    pub(super) leaving: Mutex<Vec<Uuid>>,
    /// Held for writing while the pool itself is suspended: nothing can be activated then.
    pub(super) geometry: RwLock<()>,
    pub(super) findings: Vec<Finding>,
    /// The superblock's `time` when it was last read, plus the snapshots tried since.
    pub(super) snapshot_time: AtomicU32,
    /// What the last proof read of new ids, so that showing them costs no second read.
    pub(super) proven: Mutex<HashMap<ThinId, DataBlocks>>,
    /// Whether this handle has announced its epoch.
    pub(super) announced: Mutex<bool>,
    /// How long origins were frozen.
    pub(super) freezes: DurationCells,
    /// Whether process memory is locked for freezes.
    pub(super) memory_locked: AtomicBool,
    /// What is mounted, to flush it before a freeze.
    pub(super) mounts: MountTable,
    pub(super) poison: Mutex<Option<String>>,
}

/// What a handle has done so far, to show that the cost of an operation does not grow.
#[derive(Debug, Clone)]
pub struct Counters {
    /// Ioctls by command.
    pub dm: DmCounters,
    /// Journal writes.
    pub journal: JournalCounters,
    /// How long the journal's writes took until they were durable, checkpoints left out.
    pub journal_flushes: Durations,
    /// How long origins were frozen for a copy: from the first suspend to the last resume.
    pub freezes: Durations,
    /// Reads of the metadata device.
    pub metadata_reads: u64,
    /// What freeing deleted volumes took.
    pub reap: ReapCounters,
}

impl Pool {
    /// The pool's identity.
    pub const fn identity(&self) -> &PoolIdentity {
        &self.identity
    }

    /// What recovery saw and decided when this handle was opened.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What this handle has done so far.
    pub fn counters(&self) -> Counters {
        Counters {
            dm: self.dm.counters(),
            journal: self.journal.counters(),
            journal_flushes: self.journal.flush_durations(),
            freezes: self.freezes.read(),
            metadata_reads: self.metadata.io_counts().0,
            reap: self.reaper.counters(),
        }
    }

    /// A copy of the catalogue as it stands.
    pub fn catalogue(&self) -> Catalogue {
        lock(&self.state).catalogue.clone()
    }

    /// Ends this writer in order. Volumes stay active; the next open may skip recovery.
    pub fn release(self) -> Result<(), PoolError> {
        forget_holder(self.identity.uuid);
        self.release_epoch()
    }

    /// Closes the epoch; the handle is not used for changes after this.
    pub(super) fn release_epoch(&self) -> Result<(), PoolError> {
        if lock(&self.poison).is_some() {
            return Ok(());
        }
        let epoch = lock(&self.state).catalogue.epoch();
        if matches!(epoch, Epoch::Released { .. }) {
            return Ok(());
        }
        let (health, usage) = self.health()?;
        usage
            .and_then(|usage| farewell(epoch, health, usage.transaction_id))
            .map_or(Ok(()), |record| self.commit(record))
    }

    /// Applies a record and makes it durable. The record is checked first, and what it promises is
    /// held against the capacity rule: a refusal changes nothing. A failed write poisons the handle, because the state is then ahead of the disk.
    pub(super) fn commit(&self, record: Record) -> Result<(), PoolError> {
        self.refuse_if_poisoned()?;
        let payload = record.encode();
        let ticket = {
            let mut state = lock(&self.state);
            state.catalogue.check(&record).map_err(|error| self.name_the_clash(error))?;
            let growth = state.catalogue.growth_of(&record);
            if growth > Bytes::ZERO {
                state.capacity.admit(state.catalogue.volumes_bytes(), growth)?;
            }
            let ticket = self.journal.append(payload)?;
            state.catalogue.apply(record)?;
            ticket
        };
        if let Err(error) = self.journal.wait(ticket) {
            self.poison(&error.to_string());
            return Err(error.into());
        }
        if self.journal.needs_checkpoint() {
            self.checkpoint()?;
        }
        Ok(())
    }

    fn name_the_clash(&self, error: crate::catalogue::ApplyError) -> PoolError {
        match error {
            crate::catalogue::ApplyError::NameTaken { name } => {
                PoolError::VolumeExists { pool: self.identity.name.clone(), name }
            }
            other => other.into(),
        }
    }

    /// Writes the whole state to the other region. Appends go on meanwhile.
    pub(super) fn checkpoint(&self) -> Result<(), PoolError> {
        let (checkpoint, frozen) = {
            let state = lock(&self.state);
            match self.journal.begin_checkpoint() {
                Ok(checkpoint) => (checkpoint, state.catalogue.freeze()),
                Err(crate::journal::JournalError::CheckpointRunning) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        };
        let written = checkpoint.write(frozen.records().map(|record| record.encode()));
        if let Err(error) = written {
            self.poison(&error.to_string());
            return Err(error.into());
        }
        Ok(())
    }

    /// Refuses further changes until the pool is opened and reconciled anew.
    pub(super) fn poison(&self, reason: &str) {
        lock(&self.poison).get_or_insert_with(|| reason.to_owned());
    }

    /// Why this handle refuses changes, if it does: a failure left the truth in doubt, and opening
    /// the pool anew reconciles it.
    pub fn poisoned(&self) -> Option<String> {
        lock(&self.poison).clone()
    }

    pub(super) fn refuse_if_poisoned(&self) -> Result<(), PoolError> {
        match &*lock(&self.poison) {
            Some(reason) => Err(PoolError::Poisoned { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// The pool's status, without a flush: a flush would commit.
    pub(super) fn status(&self) -> Result<ThinPoolStatus, PoolError> {
        let lines = self.dm.status(&self.names.pool_device, false)?;
        let text = lines.first().map_or("", |line| line.text.as_str());
        Ok(text.parse()?)
    }

    /// The pool's condition, and its numbers when it serves them.
    pub(super) fn health(&self) -> Result<(Health, Option<PoolUsage>), PoolError> {
        let status = self.status()?;
        let health = Health::of(&status);
        match status {
            ThinPoolStatus::Working(usage) => Ok((health, Some(usage))),
            _ => Ok((health, None)),
        }
    }

    /// Refuses an operation that the pool's condition does not allow, and a poisoned handle.
    pub(super) fn admit(&self, operation: Operation) -> Result<Option<PoolUsage>, PoolError> {
        self.refuse_if_poisoned()?;
        let (health, usage) = self.health()?;
        admit(health, operation)?;
        if let Some(status) = &usage {
            let mut state = lock(&self.state);
            state.capacity.note(status, self.identity.block_size);
            if operation.makes_something() {
                admit_by_policy(
                    state.catalogue.policy(),
                    &report::usage(status, self.identity.block_size),
                )?;
            }
        }
        Ok(usage)
    }

    /// Announces this writer, once: the record first, then the compare-and-swap, then the status.
    /// A crash between them leaves the pool at `from` or at `to`, and recovery takes both.
    pub(super) fn announce(&self, operation: Operation) -> Result<(), PoolError> {
        let mut announced = lock(&self.announced);
        if *announced {
            return Ok(());
        }
        self.refuse_if_poisoned()?;
        let (health, usage) = self.health()?;
        let from = usage.map_or(TransactionId::ZERO, |usage| usage.transaction_id);
        let epoch = lock(&self.state).catalogue.epoch();
        let record = announcement(epoch, health, from, operation)?;
        self.commit(record)?;
        let to = from.next();
        self.swap_transaction_id(from, to).inspect_err(|error| self.poison(&error.to_string()))?;
        *announced = true;
        Ok(())
    }

    fn swap_transaction_id(&self, from: TransactionId, to: TransactionId) -> Result<(), PoolError> {
        let message = PoolMessage::SetTransactionId { from, to };
        self.dm.message(&self.names.pool_device, &message.to_string())?;
        match self.health()? {
            (_, Some(usage)) if usage.transaction_id != to => {
                Err(PoolError::Fence { found: usage.transaction_id, expected: to })
            }
            (health, Some(_)) if health.serves_messages() => Ok(()),
            (health, _) => Err(PoolError::WentDegraded {
                health,
                operation: "announcing a writer",
                advice: health.advice(),
            }),
        }
    }

    /// Reserves `count` thin ids that nobody speaks for.
    pub(super) fn reserve_ids(&self, count: usize) -> Result<Vec<ThinId>, PoolError> {
        let mut state = lock(&self.state);
        let State { catalogue, ids, .. } = &mut *state;
        let mut reserved = Vec::with_capacity(count);
        for _ in 0..count {
            let Some(id) = ids.reserve(catalogue) else {
                for id in reserved {
                    ids.settle(id);
                }
                let limit = u64::from(ids.limit().get()) + 1;
                return Err(PoolError::ThinIdsExhausted { limit });
            };
            reserved.push(id);
        }
        Ok(reserved)
    }

    /// Ends reservations: by now the catalogue speaks for the ids, or they were never sent.
    pub(super) fn settle_ids(&self, ids: &[ThinId]) {
        let mut state = lock(&self.state);
        for id in ids {
            state.ids.settle(*id);
        }
    }

    /// A volume by name, as it stands.
    pub(super) fn find(&self, name: &VolumeName) -> Result<Volume, PoolError> {
        lock(&self.state).catalogue.find(name).cloned().ok_or_else(|| PoolError::NoVolume {
            pool: self.identity.name.clone(),
            name: name.clone(),
        })
    }

    /// Limits the thin ids that this handle hands out: a test shows what happens at the end.
    #[doc(hidden)]
    pub fn limit_thin_ids(&self, limit: ThinId) {
        let mut state = lock(&self.state);
        state.ids = IdAllocator::new(&state.catalogue, limit);
    }

    /// Counts one snapshot towards the pool's lifetime, or refuses it.
    pub(super) fn count_snapshots(&self, count: usize) -> Result<(), PoolError> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let time = self.snapshot_time.load(Ordering::Relaxed);
        if time.saturating_add(count) > SNAPSHOT_TIME_MAX {
            return Err(PoolError::SnapshotLifetime { time });
        }
        self.snapshot_time.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }
}

/// The kernel packs a snapshot's time into 24 bits without a check (`pack_block_time`,
/// dm-thin-metadata.c): one more, and two virtual blocks share one data block.
pub const SNAPSHOT_TIME_MAX: u32 = (1 << 24) - 1;
