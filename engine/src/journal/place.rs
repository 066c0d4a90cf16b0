//! One epoch of one region: where its parts are, and how frames become whole units.
#![forbid(unsafe_code)]

use uuid::Uuid;

use super::control::{Header, Seal};
use super::error::{JournalError, MediaError};
use super::format::{
    CONTROL_BYTES, CONTROL_UNITS, FRAME_HEADER_BYTES, REGION_ALIGNMENT_BYTES, Region, frame_bytes,
    region_bytes_of,
};
use super::frame::{CrcSeed, FrameHeader, Kind};
use super::media::Media;
use crate::aligned::AlignedBuffer;

/// A region during one epoch.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) pool: Uuid,
    pub(super) region: Region,
    pub(super) epoch: u64,
    pub(super) unit_bytes: u32,
    pub(super) region_bytes: u64,
    pub(super) crc_seed: CrcSeed,
}

impl Place {
    pub(super) fn new(
        pool: Uuid,
        region: Region,
        epoch: u64,
        unit_bytes: u32,
        region_bytes: u64,
    ) -> Self {
        let crc_seed = CrcSeed::new(pool, region, epoch);
        Self { pool, region, epoch, unit_bytes, region_bytes, crc_seed }
    }

    pub(super) fn of_header(header: &Header) -> Self {
        Self::new(header.pool, header.region, header.epoch, header.unit_bytes, header.region_bytes)
    }

    /// The region's first byte on the medium.
    pub(super) fn base(&self) -> u64 {
        base_of(self.region, self.region_bytes)
    }

    /// The write unit.
    pub(super) fn unit(&self) -> u64 {
        u64::from(self.unit_bytes)
    }

    fn unit_usize(&self) -> usize {
        usize::try_from(self.unit_bytes).unwrap_or(CONTROL_BYTES)
    }

    /// Where the first frame goes, from the region's start.
    pub(super) fn frames_offset(&self) -> u64 {
        CONTROL_UNITS * self.unit()
    }

    /// What a frame takes at most: a write of its own.
    pub(super) fn worst_bytes(&self, payload_bytes: usize) -> u64 {
        (frame_bytes(payload_bytes) as u64).next_multiple_of(self.unit())
    }

    /// Lays out one write at `offset`: every payload a frame, numbered from `first_sequence`.
    pub(super) fn pack(
        &self,
        offset: u64,
        kind: Kind,
        first_sequence: u64,
        payloads: &[Vec<u8>],
    ) -> AlignedBuffer {
        let used: usize = payloads.iter().map(|payload| frame_bytes(payload.len())).sum();
        let mut buffer = AlignedBuffer::zeroed(used.next_multiple_of(self.unit_usize()));
        let write_units = u16::try_from(buffer.len() / self.unit_usize()).unwrap_or(u16::MAX);
        let write_unit = u32::try_from(offset / self.unit()).unwrap_or(u32::MAX);
        let mut at = 0;
        for (sequence, payload) in (first_sequence..).zip(payloads) {
            let frame = &mut buffer[at..at + frame_bytes(payload.len())];
            frame[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + payload.len()].copy_from_slice(payload);
            let header =
                FrameHeader { kind, write_units, length: payload.len(), sequence, write_unit };
            header.encode(frame, &self.crc_seed, offset + at as u64);
            at += frame_bytes(payload.len());
        }
        buffer
    }

    /// The header unit, written last of all.
    pub(super) fn header_unit(
        &self,
        first_sequence: u64,
        checkpoint_frames: u64,
        records_offset: u64,
        previous_epoch: u64,
    ) -> AlignedBuffer {
        let mut buffer = AlignedBuffer::zeroed(self.unit_usize());
        let header = Header {
            pool: self.pool,
            region: self.region,
            unit_bytes: self.unit_bytes,
            region_bytes: self.region_bytes,
            epoch: self.epoch,
            first_sequence,
            checkpoint_frames,
            records_offset,
            previous_epoch,
        };
        header.encode(&mut buffer);
        buffer
    }

    /// Closes this region in favour of a successor; durable on return.
    pub(super) fn write_seal(
        &self,
        media: &dyn Media,
        successor_epoch: u64,
        next_sequence: u64,
    ) -> Result<u64, MediaError> {
        let mut buffer = AlignedBuffer::zeroed(self.unit_usize());
        let seal = Seal {
            pool: self.pool,
            region: self.region,
            epoch: self.epoch,
            successor_epoch,
            next_sequence,
        };
        seal.encode(&mut buffer);
        media.write_at(self.base() + self.unit(), &buffer)?;
        Ok(buffer.len() as u64)
    }
}

/// Where a region starts on a medium.
pub(super) fn base_of(region: Region, region_bytes: u64) -> u64 {
    match region {
        Region::A => 0,
        Region::B => region_bytes,
    }
}

/// The region size of a medium, refused when it cannot hold a header, a seal and two writes.
pub(super) fn region_bytes_for(media: &dyn Media) -> Result<u64, JournalError> {
    let unit = u64::from(media.unit_bytes());
    let region_bytes = region_bytes_of(media.size_bytes());
    let needed_region = ((CONTROL_UNITS + 2) * unit).next_multiple_of(REGION_ALIGNMENT_BYTES);
    if region_bytes < needed_region {
        return Err(JournalError::TooSmall {
            medium: media.name(),
            bytes: media.size_bytes(),
            needed_bytes: 2 * needed_region,
        });
    }
    Ok(region_bytes)
}
