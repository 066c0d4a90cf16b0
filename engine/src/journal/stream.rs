//! Fills an erased region with a checkpoint, in large writes; the header comes last.
#![forbid(unsafe_code)]

use super::error::JournalError;
use super::format::{PAYLOAD_BYTES_MAX, WRITE_BYTES_TARGET, frame_bytes};
use super::frame::Kind;
use super::media::Media;
use super::place::Place;
use super::writer::Counters;

/// A checkpoint on its way into a region.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    media: &'a dyn Media,
    pub(super) place: Place,
    pub(super) end_offset: u64,
    pub(super) counters: Counters,
    pending: Vec<Vec<u8>>,
    pending_bytes: usize,
}

impl<'a> Stream<'a> {
    /// Zeroes a whole region, its header in a write of its own before everything else: a reader
    /// whose region is erased under it finds the header changed.
    pub(super) fn erase(media: &dyn Media, place: &Place) -> Result<(), JournalError> {
        media.zero_range(place.base(), place.unit())?;
        media.zero_range(place.base() + place.unit(), place.region_bytes - place.unit())?;
        Ok(())
    }

    pub(super) fn new(media: &'a dyn Media, place: Place) -> Self {
        Self {
            media,
            end_offset: place.frames_offset(),
            place,
            counters: Counters::default(),
            pending: Vec::new(),
            pending_bytes: 0,
        }
    }

    /// Adds a record; writes when enough has come together.
    pub(super) fn push(&mut self, payload: Vec<u8>) -> Result<(), JournalError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(JournalError::PayloadTooLarge {
                bytes: payload.len() as u64,
                max_bytes: PAYLOAD_BYTES_MAX as u64,
            });
        }
        let bytes = frame_bytes(payload.len());
        if self.pending_bytes + bytes > WRITE_BYTES_TARGET {
            self.flush()?;
        }
        self.pending_bytes += bytes;
        self.pending.push(payload);
        Ok(())
    }

    /// What [`Stream::push`] and a last [`Stream::flush`] will take for these records, when
    /// nothing waits to be written: they share writes, so this is far less than one write each.
    pub(super) fn packed_bytes(&self, payloads: &[Vec<u8>]) -> u64 {
        let write_bytes = |used: usize| (used as u64).next_multiple_of(self.place.unit());
        let (mut whole_writes, mut pending) = (0, 0);
        for payload in payloads {
            let bytes = frame_bytes(payload.len());
            if pending + bytes > WRITE_BYTES_TARGET {
                whole_writes += write_bytes(pending);
                pending = 0;
            }
            pending += bytes;
        }
        whole_writes + write_bytes(pending)
    }

    /// Writes what has been added.
    pub(super) fn flush(&mut self) -> Result<(), JournalError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let needed_bytes = (self.pending_bytes as u64).next_multiple_of(self.place.unit());
        let free_bytes = self.place.region_bytes - self.end_offset;
        if needed_bytes > free_bytes {
            return Err(JournalError::Full { needed_bytes, free_bytes });
        }
        let offset = self.end_offset;
        let frames = self.counters.frames;
        let buffer = self.place.pack(offset, Kind::Checkpoint, frames, &self.pending);
        self.media.write_at(self.place.base() + offset, &buffer)?;
        self.end_offset += buffer.len() as u64;
        self.counters.writes += 1;
        self.counters.bytes_written += buffer.len() as u64;
        self.counters.frames += self.pending.len() as u64;
        self.pending.clear();
        self.pending_bytes = 0;
        Ok(())
    }

    /// Makes the region valid: what was flushed is the checkpoint, records follow.
    pub(super) fn finish(
        &mut self,
        first_sequence: u64,
        previous_epoch: u64,
    ) -> Result<(), JournalError> {
        let frames = self.counters.frames;
        let buffer =
            self.place.header_unit(first_sequence, frames, self.end_offset, previous_epoch);
        self.media.write_at(self.place.base(), &buffer)?;
        self.counters.writes += 1;
        self.counters.bytes_written += buffer.len() as u64;
        Ok(())
    }
}
