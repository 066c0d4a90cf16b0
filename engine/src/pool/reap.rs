//! Freeing what deleted volumes held.
//!
//! A `delete` message holds the pool-wide lock while it walks the device's tree, so a large one
//! would stall every neighbour for seconds. A device that never shared a block is emptied first, by
//! discards of at most 64 MiB each: between two of them the others get their turn. Where blocks may
//! be shared a discard would first copy the leaves above them, so such a device is deleted whole.
#![forbid(unsafe_code)]

use crate::block_device::{Access, BlockDevice};
use crate::catalogue::{Record, TombstoneReason};
use crate::dm::block::discard;
use crate::metadata::{
    DeviceDetails, SuperblockState, highest_mapped_block, maps_only_since, prove_devices,
    read_superblock,
};
use crate::plan::{Operation, admit, reap, thin_table};
use crate::units::{Bytes, DataBlocks, ThinId};

use super::error::PoolError;
use super::handle::Pool;
use super::kernel::{node_of, thin_device};
use super::locks::lock;
use super::stack::remove;

/// Up to here a bare delete holds the pool's lock for a few milliseconds.
const BARE_DELETE_BLOCKS_MAX: u64 = 4096;

/// The kernel's own limit of one discard is 1024 blocks (`BIO_PRISON_MAX_RANGE`).
const DISCARD_STEP: Bytes = Bytes::new(64 << 20);

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
            Some(details) if self.needs_emptying(id, details) => self.empty(id)?,
            _ => {}
        }
        self.execute(&reap(id))?;
        Ok(true)
    }

    /// Discards everything that a device maps, in bounded steps. The device is made under the name
    /// that an activation would use, so the kernel lets nobody else have it meanwhile.
    fn empty(&self, id: ThinId) -> Result<(), PoolError> {
        let SuperblockState::Valid(superblock) = read_superblock(&self.metadata)? else {
            return Ok(());
        };
        let Ok(Some(highest)) = highest_mapped_block(&self.metadata, &superblock, id) else {
            // The tree moved while we looked: the delete that follows needs no map.
            return Ok(());
        };
        let blocks = DataBlocks::new(highest.saturating_add(1));
        let length = self.identity.block_size.length_of(blocks);
        let name = self.names.thin(id)?;
        self.announce(Operation::Reap)?;
        let info = self.dm.create(&name, &self.names.reaper_uuid(id)?)?;
        let emptied = self.discard_all(&name, info.number, id, length);
        let removed = remove(&*self.dm, &name);
        emptied?;
        removed
    }

    fn discard_all(
        &self,
        name: &crate::dm::DmName,
        number: crate::block_device::DeviceNumber,
        id: ThinId,
        length: Bytes,
    ) -> Result<(), PoolError> {
        let table = thin_table(self.kernel_number, id, length.to_sectors_exact()?);
        self.dm.load(name, &table, false)?;
        self.dm.resume(name)?;
        let device = BlockDevice::open(&node_of(number), Access::Exclusive)?;
        let step = self.identity.block_size.bytes().max(DISCARD_STEP);
        let mut offset = Bytes::ZERO;
        while offset < length {
            let rest = length.saturating_sub(offset);
            let step = step.min(rest);
            if discard(&device, offset, step).is_err() {
                // A device that takes no discard is deleted whole.
                return Ok(());
            }
            offset = offset.checked_add(step).unwrap_or(length);
        }
        Ok(())
    }

    /// Whether a device is worth emptying first, and safe to: it maps much and shares no block.
    ///
    /// The details alone cannot tell a device made blank from a snapshot: both begin with the time
    /// of their creation in both fields. What a snapshot shares is older than itself.
    fn needs_emptying(&self, id: ThinId, details: &DeviceDetails) -> bool {
        let is_large = details.mapped_blocks.get() > BARE_DELETE_BLOCKS_MAX;
        if !is_large || details.snapshotted_time != details.creation_time {
            return false;
        }
        let Ok(SuperblockState::Valid(superblock)) = read_superblock(&self.metadata) else {
            return false;
        };
        let oldest = details.creation_time;
        maps_only_since(&self.metadata, &superblock, id, oldest).unwrap_or(false)
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
