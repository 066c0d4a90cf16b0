//! The head of a stream: which snapshot it is, and what it is a difference to.
#![forbid(unsafe_code)]

use uuid::Uuid;

use super::error::StreamError;
use super::fields::{Fields, crc};
use crate::catalogue::{Timestamp, VolumeName};
use crate::units::Bytes;

/// What a stream begins with.
pub(super) const MAGIC: [u8; 8] = *b"THINLYST";
/// The version that is written, and the only one that is read.
pub const VERSION: u16 = 1;
/// All fields before the name.
pub(super) const FIXED_BYTES: usize = 112;
pub(super) const CRC_BYTES: usize = 4;

/// Set when the stream is a difference.
const INCREMENTAL: u16 = 1;

/// What a stream says of itself before its first frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamHeader {
    /// The snapshot.
    pub snapshot: Uuid,
    /// The snapshot that this is a difference to; `None` when all that is mapped comes.
    pub base: Option<Uuid>,
    /// The volume that the snapshot was taken of.
    pub volume: Uuid,
    /// The sender's pool.
    pub pool: Uuid,
    /// The snapshot's size.
    pub virtual_bytes: Bytes,
    /// Where the frames begin: all before it came in an earlier stream.
    pub start: Bytes,
    /// When the snapshot was taken.
    pub created_at: Timestamp,
    /// The block size of the sender's pool.
    pub block_bytes: Bytes,
    /// The snapshot's name.
    pub name: VolumeName,
}

impl StreamHeader {
    /// The bytes, and the checksum that the first frame goes on from.
    pub(super) fn encode(&self) -> (Vec<u8>, u32) {
        let flags = if self.base.is_some() { INCREMENTAL } else { 0 };
        let name = self.name.as_str().as_bytes();
        let mut bytes = Vec::with_capacity(FIXED_BYTES + name.len() + CRC_BYTES);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend(u32::try_from(name.len()).unwrap_or(u32::MAX).to_le_bytes());
        for uuid in [self.snapshot, self.base.unwrap_or_default(), self.volume, self.pool] {
            bytes.extend(uuid.as_bytes());
        }
        let sizes = [self.virtual_bytes, self.start, self.block_bytes].map(Bytes::get);
        for number in [sizes[0], sizes[1], self.created_at.0, sizes[2]] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(name);
        let sum = crc(0, &bytes);
        bytes.extend(sum.to_le_bytes());
        (bytes, sum)
    }

    /// How many bytes follow the fixed ones.
    pub(super) fn rest_bytes(fixed: &[u8; FIXED_BYTES]) -> Result<usize, StreamError> {
        let mut fields = Fields::new(fixed);
        if fields.array() != MAGIC {
            return Err(StreamError::NotAStream);
        }
        let found = fields.u16();
        if found != VERSION {
            return Err(StreamError::Version { found });
        }
        fields.u16();
        let length = usize::try_from(fields.u32()).unwrap_or(usize::MAX);
        if length > VolumeName::BYTES_MAX {
            return Err(nonsense("the snapshot's name is too long"));
        }
        Ok(length + CRC_BYTES)
    }

    /// Reads what [`StreamHeader::encode`] wrote.
    pub(super) fn decode(
        fixed: &[u8; FIXED_BYTES],
        rest: &[u8],
    ) -> Result<(Self, u32), StreamError> {
        let (name, sum) = rest.split_at(rest.len().saturating_sub(CRC_BYTES));
        let found = crc(crc(0, fixed), name);
        if found != Fields::new(sum).u32() {
            return Err(StreamError::Checksum { what: "the header", at: 0 });
        }
        let mut fields = Fields::new(&fixed[10..]);
        let flags = fields.u16();
        fields.u32();
        let [snapshot, base, volume, pool] = std::array::from_fn(|_| fields.uuid());
        let [virtual_bytes, start, created_at, block_bytes] = std::array::from_fn(|_| fields.u64());
        let name = std::str::from_utf8(name).ok().and_then(|name| VolumeName::new(name).ok());
        let header = Self {
            snapshot,
            base: (flags & INCREMENTAL != 0).then_some(base),
            volume,
            pool,
            virtual_bytes: Bytes::new(virtual_bytes),
            start: Bytes::new(start),
            created_at: Timestamp(created_at),
            block_bytes: Bytes::new(block_bytes),
            name: name.ok_or(nonsense("the snapshot's name is none"))?,
        };
        if flags & !INCREMENTAL != 0 {
            return Err(nonsense("it has flags that this release does not know"));
        }
        if (flags & INCREMENTAL != 0) == base.is_nil() {
            return Err(nonsense("whether it is a difference and what it is one to disagree"));
        }
        if start > virtual_bytes {
            return Err(nonsense("it begins behind the snapshot's end"));
        }
        Ok((header, found))
    }
}

const fn nonsense(what: &'static str) -> StreamError {
    StreamError::Nonsense { what, at: 0 }
}
