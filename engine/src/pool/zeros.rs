//! Giving back blocks of an inactive volume or snapshot that hold nothing but zeros.
//!
//! An unmapped block reads as zeros, so what is read stays the same, byte for byte. A block that
//! others map too is theirs from then on; only this device's mapping goes.
//!
//! # Why nothing but zeros is discarded
//!
//! The volume is locked, so no other operation of this process gets it; its device is made here and
//! opened exclusively, so nobody else in the system has it. Between the read of a block and its
//! discard nobody can have written to it. Where the mappings are is read before, and may be out of
//! date: what is not mapped reads as zeros and its discard does nothing, what was mapped since stays.
//!
//! # Crash argument
//!
//! Each discard by itself leaves the bytes as they are. A process that dies leaves an active volume
//! that nobody asked for: deactivating it, or closing the pool, removes it.
#![forbid(unsafe_code)]

use std::ops::Range;

use super::diff::{Asked, ByteRanges, diff};
use super::error::PoolError;
use super::handle::Pool;
use super::kernel::node_of;
use super::located::Located;
use super::reap_device::DISCARD_STEP;
use super::zero_runs::ZeroRuns;
use crate::aligned::AlignedBuffer;
use crate::block_device::{Access, BlockDevice};
use crate::catalogue::{ThinState, Volume, VolumeName};
use crate::dm::block::discard;
use crate::plan::{self, Operation, activate};
use crate::units::{Bytes, ThinId};

/// How much is read at a time.
const READ: u64 = 1 << 20;

/// What was found and given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ZeroReport {
    /// What was mapped and read.
    pub read_bytes: Bytes,
    /// Of that, blocks of zeros: they are not mapped any more.
    pub zero_bytes: Bytes,
    /// What the volume mapped before; `None` when it could not be read.
    pub mapped_before: Option<Bytes>,
    /// What it maps now; likewise.
    pub mapped_after: Option<Bytes>,
}

impl Pool {
    /// Unmaps every block of an inactive volume or snapshot that holds only zeros. `progress` gets
    /// how much is read and about how much there is.
    pub fn discard_zeros(
        &self,
        name: &VolumeName,
        progress: &mut dyn FnMut(Bytes, Bytes),
    ) -> Result<ZeroReport, PoolError> {
        let (_lock, volume) = self.lock_one(name)?;
        self.admit(Operation::Trim)?;
        let id = match volume.thin {
            ThinState::Pending => return Ok(ZeroReport::default()),
            ThinState::Lost(id) => return Err(PoolError::VolumeLost { name: name.clone(), id }),
            ThinState::Ready(id) => id,
        };
        if self.thin_device(&volume)?.is_some() {
            return Err(PoolError::VolumeActive { name: name.clone() });
        }
        self.commit_in_kernel()?;
        let mapped_before = self.mapped_of(&volume);
        let located = Located::find(&self.identity.uuid.to_string())?;
        let ranges = diff(&*self.dm, &located, None, Asked::Uuid(volume.uuid))?.ranges;
        let total = mapped_before.unwrap_or(volume.size);
        let scanned = self.scan(&volume, id, ranges, &mut |read| progress(read, total));
        let removed = self.remove_device(&volume);
        let report = scanned?;
        removed?;
        self.commit_in_kernel()?;
        Ok(ZeroReport { mapped_before, mapped_after: self.mapped_of(&volume), ..report })
    }

    /// A status with a flush commits, so that the disk shows what the kernel has.
    pub(super) fn commit_in_kernel(&self) -> Result<(), PoolError> {
        Ok(self.dm.status(&self.names.pool_device, true).map(drop)?)
    }

    fn scan(
        &self,
        volume: &Volume,
        id: ThinId,
        ranges: ByteRanges,
        progress: &mut dyn FnMut(Bytes),
    ) -> Result<ZeroReport, PoolError> {
        let length = volume.size.to_sectors_exact()?;
        // Not a hand-out for writing: the content stays what it is.
        self.start(&activate(volume.uuid, id, length, plan::Access::ReadWrite))?;
        let number = self.dm.info(&self.names.thin(id)?)?.number;
        let device = BlockDevice::open(&node_of(number), Access::Exclusive)?;
        let mut scan = Scan { device, report: ZeroReport::default() };
        let block = self.identity.block_size.bytes().get();
        let mut runs = ZeroRuns::new(block, DISCARD_STEP.get());
        let mut buffer = AlignedBuffer::zeroed(usize::try_from(READ).unwrap_or(0));
        for range in ranges {
            let range = range?;
            let (mut offset, end) = (range.offset.get(), range.offset.get() + range.length.get());
            while offset < end {
                let length = READ.min(end - offset);
                buffer.set_length(usize::try_from(length).unwrap_or(0));
                scan.device.read_at(offset, &mut buffer)?;
                runs.read(offset, &buffer, &mut |run| scan.give_back(run))?;
                offset += length;
                scan.report.read_bytes = Bytes::new(scan.report.read_bytes.get() + length);
                progress(scan.report.read_bytes);
            }
        }
        runs.end(&mut |run| scan.give_back(run))?;
        Ok(scan.report)
    }
}

/// A device that is being looked through.
struct Scan {
    device: BlockDevice,
    report: ZeroReport,
}

impl Scan {
    fn give_back(&mut self, run: Range<u64>) -> Result<(), PoolError> {
        let length = Bytes::new(run.end - run.start);
        discard(&self.device, Bytes::new(run.start), length)?;
        self.report.zero_bytes = Bytes::new(self.report.zero_bytes.get() + length.get());
        Ok(())
    }
}
