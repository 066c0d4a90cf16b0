//! The frame around one record.
#![forbid(unsafe_code)]

use uuid::Uuid;

use super::format::{COUNTER_MAX, PAYLOAD_BYTES_MAX, Region, frame};

/// Whether a frame is part of the checkpoint or a record after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Checkpoint,
    Record,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Checkpoint => 1,
            Self::Record => 2,
        }
    }
}

/// The fixed part of a frame, not yet checked against its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) kind: Kind,
    pub(super) write_units: u16,
    pub(super) length: usize,
    pub(super) sequence: u64,
    pub(super) write_unit: u32,
}

impl FrameHeader {
    /// Reads the fixed part; `None` if no frame can look like this.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let kind = match (frame::KIND.number(bytes), frame::RESERVED.number(bytes)) {
            (1, 0) => Kind::Checkpoint,
            (2, 0) => Kind::Record,
            _ => return None,
        };
        let length = usize::try_from(frame::LENGTH.number(bytes)).ok()?;
        let write_units = u16::try_from(frame::WRITE_UNITS.number(bytes)).ok()?;
        let sequence = frame::SEQUENCE.number(bytes);
        let may_be = length <= PAYLOAD_BYTES_MAX && write_units > 0 && sequence <= COUNTER_MAX;
        may_be.then_some(Self {
            kind,
            write_units,
            length,
            sequence,
            write_unit: frame::WRITE_UNIT.number32(bytes),
        })
    }

    /// Writes the fixed part and the checksum over a buffer that holds the payload already.
    pub(super) fn encode(&self, bytes: &mut [u8], crc_seed: &CrcSeed, offset: u64) {
        let length = u32::try_from(self.length).unwrap_or(u32::MAX);
        frame::KIND.put(bytes, &[self.kind.code()]);
        frame::WRITE_UNITS.put(bytes, &self.write_units.to_le_bytes());
        frame::LENGTH.put(bytes, &length.to_le_bytes());
        frame::SEQUENCE.put(bytes, &self.sequence.to_le_bytes());
        frame::WRITE_UNIT.put(bytes, &self.write_unit.to_le_bytes());
        let crc = crc_seed.frame_crc(offset, bytes);
        frame::CRC.put(bytes, &crc.to_le_bytes());
    }

    /// Whether `bytes`, a whole frame with its padding, carry the checksum of this place.
    pub(super) fn is_intact(bytes: &[u8], crc_seed: &CrcSeed, offset: u64) -> bool {
        frame::CRC.number32(bytes) == crc_seed.frame_crc(offset, bytes)
    }
}

/// A checksum that already contains whose, which region's and which epoch's frames these are.
#[derive(Debug, Clone)]
pub(super) struct CrcSeed(crc32fast::Hasher);

impl CrcSeed {
    pub(super) fn new(pool: Uuid, region: Region, epoch: u64) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(pool.as_bytes());
        hasher.update(&region.index().to_le_bytes());
        hasher.update(&epoch.to_le_bytes());
        Self(hasher)
    }

    fn frame_crc(&self, offset: u64, bytes: &[u8]) -> u32 {
        let mut hasher = self.0.clone();
        hasher.update(&offset.to_le_bytes());
        hasher.update(&bytes[..frame::CRC.offset]);
        hasher.update(&bytes[frame::CRC.end()..]);
        hasher.finalize()
    }
}
