//! The device that a stream is written to.
#![forbid(unsafe_code)]

use std::io;
use std::path::Path;

use thinly_engine::aligned::AlignedBuffer;
use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::dm::block::discard;
use thinly_engine::pool::PoolError;
use thinly_engine::stream::{Encoding, PAYLOAD_BYTES_MAX};
use thinly_engine::units::Bytes;

use crate::compression::unpack;
use crate::failure::Failure;

/// One discard: between two of them others of the pool get their turn.
const DISCARD_BYTES: u64 = 64 << 20;
/// How finely zeros are looked for: the smallest block that a pool can have.
const GRAIN_BYTES: usize = 64 << 10;

/// A volume that is being received, held alone.
#[derive(Debug)]
pub(crate) struct StreamTarget {
    device: BlockDevice,
    block_bytes: u64,
    buffer: AlignedBuffer,
    zeros: AlignedBuffer,
    /// The kernel tells of a flush that failed only once.
    is_lost: bool,
}

impl StreamTarget {
    /// Refused while anybody else has the device open: another receiver, say.
    pub(crate) fn open(device: &Path, block_bytes: u64) -> Result<Self, Failure> {
        let device = BlockDevice::open(device, Access::Exclusive).map_err(PoolError::from)?;
        Ok(Self {
            device,
            block_bytes: block_bytes.max(1),
            buffer: AlignedBuffer::zeroed(PAYLOAD_BYTES_MAX),
            zeros: AlignedBuffer::zeroed(GRAIN_BYTES),
            is_lost: false,
        })
    }

    pub(crate) fn write(
        &mut self,
        offset: u64,
        length: u64,
        (encoding, payload): (Encoding, &[u8]),
    ) -> Result<(), Failure> {
        self.buffer.set_length(usize::try_from(length).unwrap_or(usize::MAX));
        unpack(encoding, payload, &mut self.buffer, offset)?;
        Ok(self.device.write_unflushed(offset, &self.buffer).map_err(PoolError::from)?)
    }

    /// Makes a range read as zeros. Whole blocks of this pool are given back; a part of one is
    /// written, unless it is zeros already: writing would give it a block that it does not need.
    pub(crate) fn zero(&mut self, offset: u64, length: u64) -> Result<(), Failure> {
        let end = offset.saturating_add(length);
        let mut at = offset.next_multiple_of(self.block_bytes);
        let whole_end = end / self.block_bytes * self.block_bytes;
        while at < whole_end {
            let step = (DISCARD_BYTES / self.block_bytes).max(1) * self.block_bytes;
            let step = step.min(whole_end - at);
            // What is not discarded is found below, and written.
            let _ = discard(&self.device, Bytes::new(at), Bytes::new(step));
            at += step;
        }
        self.clear(offset, end)
    }

    /// Reads a range and writes zeros where there are none. What is not mapped costs no I/O.
    fn clear(&mut self, begin: u64, end: u64) -> Result<(), Failure> {
        let mut at = begin;
        while at < end {
            let length = (end - at).min(PAYLOAD_BYTES_MAX as u64);
            self.buffer.set_length(usize::try_from(length).unwrap_or(usize::MAX));
            self.device.read_at(at, &mut self.buffer).map_err(PoolError::from)?;
            let mut grain_at = at;
            for grain in self.buffer.chunks(GRAIN_BYTES) {
                self.zeros.set_length(grain.len());
                if *grain != *self.zeros {
                    let written = self.device.write_unflushed(grain_at, &self.zeros);
                    written.map_err(PoolError::from)?;
                }
                grain_at += grain.len() as u64;
            }
            at += length;
        }
        Ok(())
    }

    /// All that was written is on disk when this returns; never again after a failure.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        if self.is_lost {
            let source = io::Error::other("an earlier flush failed");
            return Err(Failure::System { action: "write the volume", source });
        }
        let flushed = self.device.flush().map_err(PoolError::from);
        self.is_lost = flushed.is_err();
        Ok(flushed?)
    }
}
