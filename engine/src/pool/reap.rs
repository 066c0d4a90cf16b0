//! Freeing what deleted volumes held.
//!
//! A `delete` message holds the pool-wide lock while it takes the device's tree apart, so a large one
//! would stall every neighbour for seconds. What only this device reaches is discarded first, by at
//! most 16 MiB each: between two discards the others get their turn. What another tree reaches as well
//! is left to the message, which does not go below it: a discard there would first copy the leaves.
//!
//! Crash argument: a tombstone is durable before its device is touched, and nobody gets that device
//! any more. How much of it is discarded when a reaper dies matters to nobody; the next one looks anew.
#![forbid(unsafe_code)]

use std::ops::Range;

use crate::block_device::{Access, BlockDevice, DeviceNumber};
use crate::catalogue::{Record, TombstoneReason};
use crate::dm::block::discard;
use crate::dm::{DmName, TableLine};
use crate::metadata::{Unshared, prove_devices, unshared};
use crate::plan::{Operation, admit, reap, thin_table};
use crate::units::{Bytes, DataBlocks, ThinId};

use super::error::PoolError;
use super::handle::Pool;
use super::kernel::{node_of, thin_device};
use super::locks::lock;
use super::stack::remove;

/// Up to here a bare delete holds the pool's lock for a few milliseconds.
const BARE_DELETE_BLOCKS_MAX: u64 = 4096;

/// The kernel holds the lock for one discard of up to 1024 blocks (`BIO_PRISON_MAX_RANGE`) where the
/// disk takes none itself: a quarter of that keeps the others waiting a quarter of the time.
const DISCARD_STEP: Bytes = Bytes::new(16 << 20);

/// How far the reaper is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReapProgress {
    /// Tombstones dealt with.
    pub done: u64,
    /// Tombstones there were.
    pub total: u64,
}

/// What the reaper did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReapReport {
    /// Thin ids freed.
    pub reaped: u64,
    /// Tombstones that must wait: something holds or reads them, or the pool takes no message.
    pub waiting: u64,
}

impl Pool {
    /// Frees every tombstone that nothing holds. Safe to interrupt at any point.
    pub fn reap(&self, progress: &mut dyn FnMut(ReapProgress)) -> Result<ReapReport, PoolError> {
        let _only_one = lock(&self.reaping);
        self.refuse_if_poisoned()?;
        let waiting: Vec<ThinId> =
            lock(&self.state).catalogue.tombstones().keys().copied().collect();
        let total = waiting.len() as u64;
        let mut report = ReapReport::default();
        if total == 0 {
            return Ok(report);
        }
        // A tombstone is in memory before it is on disk. Were its id deleted now, a crash could
        // bring back the volume that its record buries, without its data.
        self.journal.wait_for_all().inspect_err(|error| self.poison(&error.to_string()))?;
        if admit(self.health()?.0, Operation::Reap).is_err() {
            report.waiting = total;
            return Ok(report);
        }
        for (done, id) in waiting.into_iter().enumerate() {
            progress(ReapProgress { done: done as u64, total });
            if self.reap_one(id)? {
                report.reaped += 1;
            } else {
                report.waiting += 1;
            }
        }
        progress(ReapProgress { done: total, total });
        Ok(report)
    }

    /// Frees one tombstone; `false` when something holds it.
    fn reap_one(&self, id: ThinId) -> Result<bool, PoolError> {
        if self.locks.is_pinned(id) {
            return Ok(false);
        }
        if let Some(device) = thin_device(&*self.dm, &self.names, id)? {
            // Left by an activation or a reaper that died; in use it stays.
            if device.open_count > 0 || self.dm.remove(&device.name).is_err() {
                return Ok(false);
            }
        }
        let proof = prove_devices(&self.metadata, &[id])?;
        match proof.details.get(&id) {
            Some(details) if details.mapped_blocks.get() > BARE_DELETE_BLOCKS_MAX => {
                self.empty(id)?;
            }
            _ => {}
        }
        self.execute(&reap(id))?;
        Ok(true)
    }

    /// Discards what only this device reaches, in bounded steps. The device is made under the name
    /// that an activation would use, so the kernel lets nobody else have it meanwhile.
    fn empty(&self, id: ThinId) -> Result<(), PoolError> {
        // Nothing is lost when the metadata cannot be read: a delete needs no map.
        let Unshared { ranges, mapped_blocks } = unshared(&self.metadata, id).unwrap_or_default();
        let Some(end) = ranges.last().map(|range| range.end) else { return Ok(()) };
        if mapped_blocks <= BARE_DELETE_BLOCKS_MAX {
            return Ok(());
        }
        let name = self.names.thin(id)?;
        let _length_stays = self.geometry.read();
        self.announce(Operation::Reap)?;
        let info = self.dm.create(&name, &self.names.reaper_uuid(id)?)?;
        let length = self.identity.block_size.length_of(DataBlocks::new(end));
        let table = thin_table(self.kernel_number, id, length.to_sectors_exact()?);
        let emptied = self.discard_all(&name, info.number, &table, &ranges);
        let removed = remove(&*self.dm, &name);
        emptied?;
        removed
    }

    fn discard_all(
        &self,
        name: &DmName,
        number: DeviceNumber,
        table: &[TableLine],
        ranges: &[Range<u64>],
    ) -> Result<(), PoolError> {
        self.dm.load(name, table, false)?;
        self.dm.resume(name)?;
        let device = BlockDevice::open(&node_of(number), Access::Exclusive)?;
        let block_size = self.identity.block_size;
        let step = block_size.blocks_floor(DISCARD_STEP).get().max(1);
        for range in ranges {
            let mut block = range.start;
            while block < range.end {
                let count = step.min(range.end - block);
                let offset = block_size.length_of(DataBlocks::new(block));
                let length = block_size.length_of(DataBlocks::new(count));
                if discard(&device, offset, length).is_err() {
                    // A device that takes no discard is deleted whole.
                    return Ok(());
                }
                block += count;
            }
        }
        Ok(())
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
