//! The bytes of a journal: one description, from which both the code and the document's tables come.
#![forbid(unsafe_code)]

use std::fmt;

use uuid::Uuid;

/// The format that this program reads and writes.
pub const FORMAT_VERSION: u32 = 1;
/// The smallest write unit.
pub const UNIT_BYTES_MIN: u32 = 4096;
/// The largest write unit; a device with larger physical blocks is written in these.
pub const UNIT_BYTES_MAX: u32 = 65536;
/// Region sizes are multiples of this, so that region B is found without knowing the write unit.
pub const REGION_ALIGNMENT_BYTES: u64 = 65536;
/// The longest record.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// The longest single write: no fewer than one frame of the largest size in the largest units.
pub const WRITE_BYTES_MAX: usize = 2 << 20;
/// Where a write that groups many frames stops growing.
pub(super) const WRITE_BYTES_TARGET: usize = 1 << 20;
/// Bytes of a header or seal that its checksum covers; the rest of its unit is zero.
pub(super) const CONTROL_BYTES: usize = 4096;
/// Units before the first frame: the header and the seal.
pub(super) const CONTROL_UNITS: u64 = 2;
/// Frames start at multiples of this.
pub(super) const FRAME_ALIGNMENT_BYTES: usize = 8;

const HEADER_MAGIC: [u8; 8] = *b"ThnlyJrn";
const SEAL_MAGIC: [u8; 8] = *b"ThnlySea";

/// One of the two halves of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Region {
    /// The first half.
    A,
    /// The second half.
    B,
}

impl Region {
    pub(super) const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other half.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// The number that is written to disk.
    pub const fn index(self) -> u32 {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}

/// A field of an on-disk structure; all numbers are little-endian.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(test), expect(dead_code, reason = "the words are for the document"))]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) offset: usize,
    pub(super) length: usize,
    pub(super) meaning: &'static str,
}

impl Field {
    const fn first(name: &'static str, length: usize, meaning: &'static str) -> Self {
        Self { name, offset: 0, length, meaning }
    }

    const fn then(self, name: &'static str, length: usize, meaning: &'static str) -> Self {
        Self { name, offset: self.end(), length, meaning }
    }

    const fn end(self) -> usize {
        self.offset + self.length
    }

    fn put(self, bytes: &mut [u8], value: &[u8]) {
        bytes[self.offset..self.end()].copy_from_slice(value);
    }

    fn get(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.offset..self.end()]
    }

    /// Reads a little-endian number of up to eight bytes.
    fn number(self, bytes: &[u8]) -> u64 {
        self.get(bytes).iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    fn number32(self, bytes: &[u8]) -> u32 {
        u32::try_from(self.number(bytes)).unwrap_or(u32::MAX)
    }
}

macro_rules! structure {
    ($module:ident: $first:ident = $name0:literal, $length0:expr, $meaning0:literal;
     $($field:ident after $previous:ident = $name:literal, $length:expr, $meaning:literal;)*) => {
        pub(super) mod $module {
            use super::Field;
            pub(in super::super) const $first: Field = Field::first($name0, $length0, $meaning0);
            $(pub(in super::super) const $field: Field = $previous.then($name, $length, $meaning);)*
            #[cfg(test)]
            pub(in super::super) const FIELDS: &[Field] = &[$first, $($field),*];
        }
    };
}

structure! { header:
    MAGIC = "magic", 8, "`ThnlyJrn`";
    VERSION after MAGIC = "version", 4, "1; the fields up to here and `crc` keep their place in every version";
    CRC after VERSION = "crc", 4, "CRC-32 of the 4096 bytes without this field";
    POOL after CRC = "pool", 16, "the pool's uuid";
    REGION after POOL = "region", 4, "0 for A, 1 for B";
    UNIT_BYTES after REGION = "unit_bytes", 4, "the write unit: a power of two from 4096 to 65536";
    REGION_BYTES after UNIT_BYTES = "region_bytes", 8, "length of each region";
    EPOCH after REGION_BYTES = "epoch", 8, "the region's epoch; every switch takes a higher one";
    FIRST_SEQUENCE after EPOCH = "first_sequence", 8, "sequence of the first record after the checkpoint";
    CHECKPOINT_FRAMES after FIRST_SEQUENCE = "checkpoint_frames", 8, "number of checkpoint frames";
    RECORDS_OFFSET after CHECKPOINT_FRAMES = "records_offset", 8, "where the checkpoint ends and records begin, from the region's start";
}

structure! { seal:
    MAGIC = "magic", 8, "`ThnlySea`";
    VERSION after MAGIC = "version", 4, "1";
    CRC after VERSION = "crc", 4, "CRC-32 of the 4096 bytes without this field";
    POOL after CRC = "pool", 16, "the pool's uuid";
    REGION after POOL = "region", 4, "the region that is closed: 0 for A, 1 for B";
    RESERVED after REGION = "reserved", 4, "zero";
    EPOCH after RESERVED = "epoch", 8, "the closed region's epoch";
    SUCCESSOR_EPOCH after EPOCH = "successor_epoch", 8, "the epoch of the region that replaces it";
    NEXT_SEQUENCE after SUCCESSOR_EPOCH = "next_sequence", 8, "the successor's `first_sequence`";
}

structure! { frame:
    KIND = "kind", 1, "1 checkpoint record, 2 record";
    RESERVED after KIND = "reserved", 1, "zero";
    WRITE_UNITS after RESERVED = "write_units", 2, "length in units of the write that holds the frame";
    LENGTH after WRITE_UNITS = "length", 4, "payload bytes, at most 1048576";
    SEQUENCE after LENGTH = "sequence", 8, "checkpoint records count from 0, records go on for the journal's life";
    WRITE_UNIT after SEQUENCE = "write_unit", 4, "first unit of the write, counted from the region's start";
    CRC after WRITE_UNIT = "crc", 4, "CRC-32 of pool, region (4), epoch (8), the frame's offset in the region (8), the 20 bytes before, the payload with its zero padding";
}

/// Bytes before a frame's payload.
pub(super) const FRAME_HEADER_BYTES: usize = frame::CRC.end();

const _: () = assert!(header::RECORDS_OFFSET.end() <= CONTROL_BYTES);
const _: () = assert!(FRAME_HEADER_BYTES == 24);
const _: () =
    assert!(FRAME_HEADER_BYTES + PAYLOAD_BYTES_MAX + (UNIT_BYTES_MAX as usize) <= WRITE_BYTES_MAX);

/// How many bytes a frame takes with its payload and padding.
pub(super) const fn frame_bytes(payload_bytes: usize) -> usize {
    (FRAME_HEADER_BYTES + payload_bytes).next_multiple_of(FRAME_ALIGNMENT_BYTES)
}

/// How long each region of a medium of `size_bytes` is.
pub(super) const fn region_bytes_of(size_bytes: u64) -> u64 {
    let half = size_bytes / 2;
    half - half % REGION_ALIGNMENT_BYTES
}

/// Whether `bytes` holds nothing.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<32>();
    chunks.iter().all(|chunk| *chunk == [0; 32]) && rest.iter().all(|byte| *byte == 0)
}

fn control_crc(bytes: &[u8]) -> u32 {
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
            && seal::EPOCH.number(bytes) == header.epoch;
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
        (length <= PAYLOAD_BYTES_MAX && write_units > 0).then_some(Self {
            kind,
            write_units,
            length,
            sequence: frame::SEQUENCE.number(bytes),
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
