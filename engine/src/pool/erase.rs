//! Overwriting what a deleted volume alone held, before its space is given to others.
//!
//! The zeros go to the data device itself, at the places that the metadata names, and not through the
//! thin device. A write through it may well land elsewhere: the kernel takes a block that was mapped
//! before the device's last snapshot for shared, also when that snapshot is long gone, puts the write
//! into a new block and frees the old one as it is.
//!
//! # Why no other volume's data is overwritten
//!
//! Nobody has the deleted device any more: nothing is written to it and no copy of it is made. So a
//! block that it alone maps stays allocated to it, and to nobody else, until it is discarded or the
//! device is deleted, and both come after the zeros are durable. Who maps what is read under a
//! metadata snapshot that was taken after the deletion; an older one, which other readers may hold,
//! could show a block as this volume's that is somebody else's by now.
//!
//! # Crash argument
//!
//! The tombstone says that it is to be erased, and it is durable before anything is touched. It goes
//! only with the `Reaped` after the delete. Whoever finds it reads the metadata anew and overwrites
//! what is still mapped: what is not mapped any more was overwritten and flushed before its discard.
#![forbid(unsafe_code)]

use std::ops::Range;
use std::time::Instant;

use super::error::PoolError;
use super::handle::Pool;
use super::kernel::node_of;
use super::located::Located;
use super::locks::lock;
use super::map::{Holder, holder};
use super::metadata_view::read_afresh;
use super::reap_budget::Load;
use crate::aligned::AlignedBuffer;
use crate::block_device::{Access, BlockDevice};
use crate::catalogue::{Record, ThinState, TombstoneReason, VolumeName};
use crate::metadata::{exclusive_data, exclusive_data_and_sharers};
use crate::plan::Operation;
use crate::units::{Bytes, DataBlocks, ThinId};

/// How much is written at a time.
const STEP: Bytes = Bytes::new(1 << 20);

/// What the erasing of a volume will overwrite, and what it cannot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Erasure {
    /// What the volume alone holds: it is overwritten before it is freed.
    pub to_erase_bytes: Bytes,
    /// What others hold too: it stays as it is until they are gone, and is then freed as they are.
    pub kept_bytes: Bytes,
    /// These others.
    pub kept_by: Vec<Holder>,
    /// Whether there are more of them.
    pub kept_by_more: bool,
}

impl Pool {
    /// Deletes a volume or snapshot; what it alone holds is overwritten with zeros by
    /// [`Pool::reap`] before it is freed. What others hold too cannot be: the answer says how much
    /// that is and who they are.
    pub fn delete_and_erase(&self, name: &VolumeName) -> Result<Erasure, PoolError> {
        let (_lock, volume) = self.lock_one(name)?;
        // Overwriting takes metadata that can be read and a pool that takes messages.
        self.admit(Operation::Reap)?;
        if let ThinState::Lost(id) = volume.thin {
            return Err(PoolError::VolumeLost { name: volume.name.clone(), id });
        }
        self.remove_device(&volume)?;
        let erasure = match volume.thin.id() {
            Some(id) => self.erasure_of(id)?,
            None => Erasure::default(),
        };
        self.commit(Record::DeletedToErase { uuid: volume.uuid })?;
        Ok(erasure)
    }

    fn erasure_of(&self, id: ThinId) -> Result<Erasure, PoolError> {
        let located = Located::find(&self.identity.uuid.to_string())?;
        let (found, sharers) = read_afresh(&*self.dm, &located, |view| {
            let total = view.total_data_blocks;
            Ok(exclusive_data_and_sharers(view.source, view.superblock, total, id)?)
        })?;
        let bytes = |blocks| self.identity.block_size.length_of(DataBlocks::new(blocks));
        let state = lock(&self.state);
        let holders = sharers.devices.into_iter().map(|id| holder(&state.catalogue, id));
        Ok(Erasure {
            to_erase_bytes: bytes(found.exclusive_blocks),
            kept_bytes: bytes(found.shared_blocks),
            kept_by: holders.collect(),
            kept_by_more: sharers.has_more,
        })
    }

    /// Whether a tombstone's data is to be overwritten.
    pub(super) fn is_to_erase(&self, id: ThinId) -> bool {
        let state = lock(&self.state);
        state.catalogue.tombstones().get(&id) == Some(&TombstoneReason::ToErase)
    }

    /// Overwrites what a tombstone alone holds, durably; `false` when the reaper was stopped before.
    /// `beat` gets how much there is in all, and how much of it is written with each step.
    pub(super) fn erase(
        &self,
        id: ThinId,
        beat: &mut dyn FnMut(Bytes, Bytes),
    ) -> Result<bool, PoolError> {
        let located = Located::find(&self.identity.uuid.to_string())?;
        let found = read_afresh(&*self.dm, &located, |view| {
            Ok(exclusive_data(view.source, view.superblock, view.total_data_blocks, id)?)
        })?;
        beat(
            self.identity.block_size.length_of(DataBlocks::new(found.exclusive_blocks)),
            Bytes::ZERO,
        );
        let data = self.dm.info(&self.names.data)?.number;
        let data = BlockDevice::open(&node_of(data), Access::ReadWrite)?;
        let mut zeros = AlignedBuffer::zeroed(usize::try_from(STEP.get()).unwrap_or(0));
        for bytes in found.runs.iter().map(|run| self.bytes_of(run)) {
            let mut offset = bytes.start;
            while offset < bytes.end {
                let begun = Instant::now();
                let length = STEP.get().min(bytes.end - offset);
                zeros.set_length(usize::try_from(length).unwrap_or(0));
                data.write_unflushed(offset, &zeros)?;
                offset += length;
                beat(Bytes::ZERO, Bytes::new(length));
                self.reaper.count_erased(Bytes::new(length));
                self.refuse_if_poisoned()?;
                let budget = self.reaper.budget();
                // Who reads or writes cannot be told from this.
                let step = (begun.elapsed(), Bytes::new(length));
                let wait = self.reaper.pace(&budget, step, Load::Idle);
                if self.reaper.sleep(wait) {
                    return Ok(false);
                }
            }
        }
        data.flush()?;
        Ok(true)
    }

    fn bytes_of(&self, run: &Range<u64>) -> Range<u64> {
        let at = |block| self.identity.block_size.length_of(DataBlocks::new(block)).get();
        at(run.start)..at(run.end)
    }
}
