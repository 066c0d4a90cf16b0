//! The two control units of a region: the header that opens it and the seal that closes it.
#![forbid(unsafe_code)]

use uuid::Uuid;

use super::format::{
    CONTROL_BYTES, CONTROL_UNITS, COUNTER_MAX, FORMAT_VERSION, REGION_ALIGNMENT_BYTES, Region,
    UNIT_BYTES_MAX, UNIT_BYTES_MIN, header, is_zero, seal,
};

const HEADER_MAGIC: [u8; 8] = *b"ThnlyJrn";
const SEAL_MAGIC: [u8; 8] = *b"ThnlySea";

pub(super) fn control_crc(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..header::CRC.offset]);
    hasher.update(&bytes[header::CRC.end()..CONTROL_BYTES]);
    hasher.finalize()
}

/// What a region's first unit says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) pool: Uuid,
    pub(super) region: Region,
    pub(super) unit_bytes: u32,
    pub(super) region_bytes: u64,
    pub(super) epoch: u64,
    pub(super) first_sequence: u64,
    pub(super) checkpoint_frames: u64,
    pub(super) records_offset: u64,
    pub(super) previous_epoch: u64,
}

/// What was found where a header belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderState {
    Blank,
    Valid(Header),
    /// Whole, but another pool's.
    Foreign(Uuid),
    /// Whole, but of another format.
    Version(u32),
    Damaged,
}

impl Header {
    pub(super) fn encode(&self, bytes: &mut [u8]) {
        header::MAGIC.put(bytes, &HEADER_MAGIC);
        header::VERSION.put(bytes, &FORMAT_VERSION.to_le_bytes());
        header::POOL.put(bytes, self.pool.as_bytes());
        header::REGION.put(bytes, &self.region.index().to_le_bytes());
        header::UNIT_BYTES.put(bytes, &self.unit_bytes.to_le_bytes());
        header::REGION_BYTES.put(bytes, &self.region_bytes.to_le_bytes());
        header::EPOCH.put(bytes, &self.epoch.to_le_bytes());
        header::FIRST_SEQUENCE.put(bytes, &self.first_sequence.to_le_bytes());
        header::CHECKPOINT_FRAMES.put(bytes, &self.checkpoint_frames.to_le_bytes());
        header::RECORDS_OFFSET.put(bytes, &self.records_offset.to_le_bytes());
        header::PREVIOUS_EPOCH.put(bytes, &self.previous_epoch.to_le_bytes());
        let crc = control_crc(bytes);
        header::CRC.put(bytes, &crc.to_le_bytes());
    }

    pub(super) fn decode(bytes: &[u8], region: Region, pool: Uuid) -> HeaderState {
        if is_zero(bytes) {
            return HeaderState::Blank;
        }
        if header::MAGIC.get(bytes) != HEADER_MAGIC
            || header::CRC.number32(bytes) != control_crc(bytes)
        {
            return HeaderState::Damaged;
        }
        let version = header::VERSION.number32(bytes);
        if version != FORMAT_VERSION {
            return HeaderState::Version(version);
        }
        let found = Uuid::from_slice(header::POOL.get(bytes)).unwrap_or_default();
        if found != pool {
            return HeaderState::Foreign(found);
        }
        let header = Self {
            pool,
            region,
            unit_bytes: header::UNIT_BYTES.number32(bytes),
            region_bytes: header::REGION_BYTES.number(bytes),
            epoch: header::EPOCH.number(bytes),
            first_sequence: header::FIRST_SEQUENCE.number(bytes),
            checkpoint_frames: header::CHECKPOINT_FRAMES.number(bytes),
            records_offset: header::RECORDS_OFFSET.number(bytes),
            previous_epoch: header::PREVIOUS_EPOCH.number(bytes),
        };
        if header::REGION.number32(bytes) == region.index() && header.is_sound() {
            HeaderState::Valid(header)
        } else {
            HeaderState::Damaged
        }
    }

    fn is_sound(&self) -> bool {
        let unit = u64::from(self.unit_bytes);
        self.unit_bytes.is_power_of_two()
            && (UNIT_BYTES_MIN..=UNIT_BYTES_MAX).contains(&self.unit_bytes)
            && self.region_bytes.is_multiple_of(REGION_ALIGNMENT_BYTES)
            && self.records_offset.is_multiple_of(unit)
            && (CONTROL_UNITS * unit..=self.region_bytes).contains(&self.records_offset)
            && self.epoch.max(self.first_sequence) <= COUNTER_MAX
    }
}

/// The mark that closes a region for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seal {
    pub(super) pool: Uuid,
    pub(super) region: Region,
    pub(super) epoch: u64,
    pub(super) successor_epoch: u64,
    pub(super) next_sequence: u64,
}

/// What was found where a seal belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SealState {
    Open,
    Sealed(Seal),
    Damaged,
}

impl Seal {
    pub(super) fn encode(&self, bytes: &mut [u8]) {
        seal::MAGIC.put(bytes, &SEAL_MAGIC);
        seal::VERSION.put(bytes, &FORMAT_VERSION.to_le_bytes());
        seal::POOL.put(bytes, self.pool.as_bytes());
        seal::REGION.put(bytes, &self.region.index().to_le_bytes());
        seal::EPOCH.put(bytes, &self.epoch.to_le_bytes());
        seal::SUCCESSOR_EPOCH.put(bytes, &self.successor_epoch.to_le_bytes());
        seal::NEXT_SEQUENCE.put(bytes, &self.next_sequence.to_le_bytes());
        let crc = control_crc(bytes);
        seal::CRC.put(bytes, &crc.to_le_bytes());
    }

    /// Reads the seal of the region that `header` opens.
    pub(super) fn decode(bytes: &[u8], header: &Header) -> SealState {
        if is_zero(bytes) {
            return SealState::Open;
        }
        let ours = seal::MAGIC.get(bytes) == SEAL_MAGIC
            && seal::CRC.number32(bytes) == control_crc(bytes)
            && seal::VERSION.number32(bytes) == FORMAT_VERSION
            && seal::POOL.get(bytes) == header.pool.as_bytes()
            && seal::REGION.number32(bytes) == header.region.index()
            && seal::EPOCH.number(bytes) == header.epoch
            && seal::SUCCESSOR_EPOCH.number(bytes) <= COUNTER_MAX;
        if !ours {
            return SealState::Damaged;
        }
        SealState::Sealed(Self {
            pool: header.pool,
            region: header.region,
            epoch: header.epoch,
            successor_epoch: seal::SUCCESSOR_EPOCH.number(bytes),
            next_sequence: seal::NEXT_SEQUENCE.number(bytes),
        })
    }
}
