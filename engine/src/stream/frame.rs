//! Frames: what stands in front of each range, and what the stream adds up to.
#![forbid(unsafe_code)]

use super::fields::{Fields, crc};
use crate::units::Bytes;

/// The longest payload, and the longest range of data.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
pub(super) const FRAME_BYTES: usize = 32;
pub(super) const TOTALS_BYTES: usize = 36;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Zero,
    End,
}

/// How the payload of a frame with data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Plain,
    /// As one zstd frame, shorter than the range.
    Zstd,
}

/// What stands in front of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) kind: Kind,
    pub(super) encoding: Encoding,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) payload_bytes: u32,
    pub(super) payload_crc: u32,
}

impl FrameHead {
    /// The bytes, whose checksum goes on from the head before this one, and that checksum.
    pub(super) fn encode(&self, chain: u32) -> ([u8; FRAME_BYTES], u32) {
        let mut bytes = [0; FRAME_BYTES];
        bytes[0] = match self.kind {
            Kind::Data => 1,
            Kind::Zero => 2,
            Kind::End => 3,
        };
        bytes[1] = match self.encoding {
            Encoding::Plain => 0,
            Encoding::Zstd => 1,
        };
        bytes[4..12].copy_from_slice(&self.offset.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.length.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.payload_crc.to_le_bytes());
        let sum = crc(chain, &bytes[..28]);
        bytes[28..].copy_from_slice(&sum.to_le_bytes());
        (bytes, sum)
    }

    /// Reads what [`FrameHead::encode`] wrote after the same frames; the error is whether the
    /// checksum fits.
    pub(super) fn decode(bytes: &[u8; FRAME_BYTES], chain: u32) -> Result<(Self, u32), BadFrame> {
        let mut fields = Fields::new(bytes);
        let [kind, encoding, spare @ ..] = fields.array::<4>();
        let (offset, length) = (fields.u64(), fields.u64());
        let [payload_bytes, payload_crc, sum] = std::array::from_fn(|_| fields.u32());
        if crc(chain, &bytes[..28]) != sum {
            return Err(BadFrame::Checksum);
        }
        let kind = match kind {
            1 => Kind::Data,
            2 => Kind::Zero,
            3 => Kind::End,
            _ => return Err(BadFrame::Unknown),
        };
        let encoding = match encoding {
            0 => Encoding::Plain,
            1 => Encoding::Zstd,
            _ => return Err(BadFrame::Unknown),
        };
        if spare != [0; 2] {
            return Err(BadFrame::Unknown);
        }
        Ok((Self { kind, encoding, offset, length, payload_bytes, payload_crc }, sum))
    }
}

/// A head that is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadFrame {
    Checksum,
    Unknown,
}

/// What the frames of a stream add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Frames with data.
    pub data_frames: u64,
    /// Frames that say that a range is zeros.
    pub zero_frames: u64,
    /// The length of the ranges with data.
    pub data_bytes: Bytes,
    /// The length of the ranges of zeros.
    pub zero_bytes: Bytes,
}

impl Totals {
    pub(super) fn count(&mut self, kind: Kind, length: u64) {
        let (frames, bytes) = match kind {
            Kind::Data => (&mut self.data_frames, &mut self.data_bytes),
            Kind::Zero => (&mut self.zero_frames, &mut self.zero_bytes),
            Kind::End => return,
        };
        *frames += 1;
        *bytes = Bytes::new(bytes.get().saturating_add(length));
    }

    /// The payload of the last frame: the counts, and the checksum over all heads before it.
    pub(super) fn encode(&self, chain: u32) -> [u8; TOTALS_BYTES] {
        let mut bytes = [0; TOTALS_BYTES];
        let numbers =
            [self.data_frames, self.zero_frames, self.data_bytes.get(), self.zero_bytes.get()];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes[32..].copy_from_slice(&chain.to_le_bytes());
        bytes
    }
}
