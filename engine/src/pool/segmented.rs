//! The metadata of a closed pool, read from its extents on the disks.
#![forbid(unsafe_code)]

use crate::aligned::AlignedBuffer;
use crate::block_device::{Access, BlockDevice};
use crate::layout::LinearSegment;
use crate::metadata::{BlockSource, DEVICE_READS_IN_FLIGHT, MetadataError};
use crate::units::METADATA_BLOCK_BYTES;

use super::error::PoolError;
use super::located::{Located, length_of};

/// One metadata block as a length of memory.
const BLOCK_BYTES: usize = 4096;

/// Extents of several disks as one run of bytes.
#[derive(Debug)]
pub(super) struct Segmented {
    parts: Vec<(u64, u64, u64, BlockDevice)>,
    length: u64,
}

impl Segmented {
    /// Opens the disks that the segments name, read-only.
    pub(super) fn open(located: &Located, segments: &[LinearSegment]) -> Result<Self, PoolError> {
        let mut parts = Vec::with_capacity(segments.len());
        for segment in segments {
            let Some(disk) = located.disk(segment.device) else {
                return Err(PoolError::Incomplete {
                    pool: located.found.name.clone(),
                    missing: 1,
                    total: located.found.devices.len() + 1,
                    uuids: segment.device.to_string(),
                });
            };
            parts.push((
                segment.logical_start.to_bytes().get(),
                segment.length.to_bytes().get(),
                segment.device_offset.to_bytes().get(),
                BlockDevice::open(&disk.path, Access::ReadOnly)?,
            ));
        }
        Ok(Self { parts, length: length_of(segments).to_bytes().get() })
    }

    /// Fills a buffer that lies inside one segment.
    pub(super) fn read_at(&self, offset: u64, buffer: &mut AlignedBuffer) -> Result<(), PoolError> {
        let inside = |(start, length, _, _): &&(u64, u64, u64, BlockDevice)| {
            offset >= *start && offset - start < *length
        };
        match self.parts.iter().find(inside) {
            Some((start, _, device_offset, disk)) => {
                Ok(disk.read_at(device_offset + (offset - start), buffer)?)
            }
            None => Ok(()),
        }
    }
}

impl BlockSource for Segmented {
    fn read_block(&self, block: u64) -> Result<AlignedBuffer, MetadataError> {
        let mut buffer = AlignedBuffer::zeroed(BLOCK_BYTES);
        match self.read_at(block * METADATA_BLOCK_BYTES, &mut buffer) {
            Err(PoolError::Device(source)) => Err(MetadataError::Device { block, source }),
            _ => Ok(buffer),
        }
    }

    fn read_into(&self, first: u64, buffer: &mut AlignedBuffer) -> Result<(), MetadataError> {
        let offset = first.saturating_mul(METADATA_BLOCK_BYTES);
        let end = offset.saturating_add(buffer.len() as u64);
        let inside = self
            .parts
            .iter()
            .find(|(start, length, _, _)| offset >= *start && end <= start.saturating_add(*length));
        if let Some((start, _, device_offset, disk)) = inside {
            return disk
                .read_at(device_offset + (offset - start), buffer)
                .map_err(|source| MetadataError::Device { block: first, source });
        }
        for (block, place) in (first..).zip(buffer.chunks_exact_mut(BLOCK_BYTES)) {
            place.copy_from_slice(&self.read_block(block)?);
        }
        Ok(())
    }

    fn reads_in_flight(&self) -> usize {
        DEVICE_READS_IN_FLIGHT
    }

    fn name(&self) -> String {
        let disks: Vec<String> =
            self.parts.iter().map(|(_, _, _, disk)| disk.path().display().to_string()).collect();
        format!("the metadata on {}", disks.join(", "))
    }

    fn block_count(&self) -> u64 {
        self.length / METADATA_BLOCK_BYTES
    }
}
