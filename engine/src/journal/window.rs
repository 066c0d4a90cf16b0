//! Reads a region piece by piece through a buffer of bounded size.
#![forbid(unsafe_code)]

use super::error::MediaError;
use super::media::Media;
use crate::aligned::{ALIGNMENT_BYTES, AlignedBuffer};

/// How much one read of the medium fetches.
const STEP_BYTES: u64 = 1 << 20;

/// A moving view of one region; offsets count from the region's start.
#[derive(Debug)]
pub(super) struct Window<'a> {
    media: &'a dyn Media,
    base: u64,
    region_bytes: u64,
    start: u64,
    buffer: AlignedBuffer,
}

impl<'a> Window<'a> {
    pub(super) fn new(media: &'a dyn Media, base: u64, region_bytes: u64) -> Self {
        Self { media, base, region_bytes, start: 0, buffer: AlignedBuffer::zeroed(0) }
    }

    /// The bytes of a range; fewer where the region ends.
    pub(super) fn bytes(&mut self, offset: u64, length: u64) -> Result<&[u8], MediaError> {
        let end = (offset + length).min(self.region_bytes);
        let offset = offset.min(end);
        let held_end = self.start + self.buffer.len() as u64;
        if offset < self.start || end > held_end {
            let align = ALIGNMENT_BYTES as u64;
            let start = offset - offset % align;
            let wanted = (end - start).next_multiple_of(align).max(STEP_BYTES);
            let wanted = wanted.min(self.region_bytes - start);
            let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
            // A failed read leaves nothing that could be taken for the range.
            let mut buffer = std::mem::replace(&mut self.buffer, AlignedBuffer::zeroed(0));
            if buffer.len() != wanted {
                buffer = AlignedBuffer::zeroed(wanted);
            }
            self.media.read_at(self.base + start, &mut buffer)?;
            self.buffer = buffer;
            self.start = start;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        let to = usize::try_from(end - self.start).unwrap_or(usize::MAX);
        Ok(&self.buffer[from..to])
    }
}
