//! The bytes of a journal: one description, from which both the code and the document's tables come.
#![forbid(unsafe_code)]

use std::fmt;

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
/// The largest epoch or sequence that is believed: none comes near it, and counting on from it
/// cannot overflow.
pub(super) const COUNTER_MAX: u64 = 1 << 62;
/// Frames start at multiples of this.
pub(super) const FRAME_ALIGNMENT_BYTES: usize = 8;

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

    pub(super) const fn end(self) -> usize {
        self.offset + self.length
    }

    pub(super) fn put(self, bytes: &mut [u8], value: &[u8]) {
        bytes[self.offset..self.end()].copy_from_slice(value);
    }

    pub(super) fn get(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.offset..self.end()]
    }

    /// Reads a little-endian number of up to eight bytes.
    pub(super) fn number(self, bytes: &[u8]) -> u64 {
        self.get(bytes).iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    pub(super) fn number32(self, bytes: &[u8]) -> u32 {
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
    PREVIOUS_EPOCH after RECORDS_OFFSET = "previous_epoch", 8, "the epoch of the region that this one replaced, 0 for the first";
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

const _: () = assert!(header::PREVIOUS_EPOCH.end() <= CONTROL_BYTES);
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
