//! Walks the frames of one region and tells a torn tail from damage.
//!
//! Writes are strictly serial: write `n + 1` starts only after write `n` was durable. So a valid
//! frame of a *later* write than the one that fails to parse proves that the failing one had been
//! acknowledged: damage. A valid frame of the *same* write proves nothing, because a device may
//! persist the units of an unacknowledged write in any order. Each frame names its write's first
//! unit and its length to make the two cases distinguishable.
#![forbid(unsafe_code)]

use super::control::Header;
use super::error::MediaError;
use super::format::{
    FRAME_ALIGNMENT_BYTES, FRAME_HEADER_BYTES, WRITE_BYTES_MAX, frame_bytes, is_zero,
};
use super::frame::{FrameHeader, Kind};
use super::media::Media;
use super::place::Place;
use super::window::Window;

const HEADER_BYTES: u64 = FRAME_HEADER_BYTES as u64;

/// Where a region's records end, all offsets from the region's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// The sequence of the next record.
    pub(super) next_sequence: u64,
    /// The unit after the last whole write.
    pub(super) end_offset: u64,
    /// Where the tail stops making sense, if it does.
    pub(super) damaged_at: Option<u64>,
}

/// Why a region cannot be used.
#[derive(Debug)]
pub(super) enum ScanError {
    Media(MediaError),
    Damaged {
        offset: u64,
        what: &'static str,
        /// The sequence after the last record seen anywhere in the region, 0 if there is none.
        evidence_sequence: u64,
    },
}

impl From<MediaError> for ScanError {
    fn from(source: MediaError) -> Self {
        Self::Media(source)
    }
}

/// What is at one write's place.
enum Write {
    Whole {
        units: u64,
    },
    /// The first unit is zero.
    Empty,
    Broken {
        at: u64,
        what: &'static str,
    },
}

/// Checks every frame of the region that `header` opens, and everything behind the last one.
pub(super) fn scan(media: &dyn Media, header: &Header) -> Result<Extent, ScanError> {
    let mut walk = Walk::new(media, header);
    let mut offset = walk.place.frames_offset();
    while offset < header.region_bytes {
        match walk.write_at(offset, &mut |_| ())? {
            Write::Whole { units } => offset += units * walk.place.unit(),
            Write::Empty => return walk.judge(offset, None, "a write is missing"),
            Write::Broken { at, what } => return walk.judge(offset, Some(at), what),
        }
    }
    if walk.frames != header.checkpoint_frames {
        return walk.judge(offset, None, "the checkpoint ends early");
    }
    Ok(Extent { next_sequence: walk.next_sequence, end_offset: offset, damaged_at: None })
}

/// Hands out the frames that a scan has found; `false` if they are not the same any more.
pub(super) fn replay(
    media: &dyn Media,
    header: &Header,
    extent: &Extent,
    visit: &mut dyn FnMut(&[u8]),
) -> Result<bool, ScanError> {
    let mut walk = Walk::new(media, header);
    let mut offset = walk.place.frames_offset();
    while offset < extent.end_offset {
        match walk.write_at(offset, visit)? {
            Write::Whole { units } => offset += units * walk.place.unit(),
            Write::Empty | Write::Broken { .. } => return Ok(false),
        }
    }
    if extent.damaged_at.is_some() && offset < header.region_bytes {
        // The frames at the start of a torn write are as good as any.
        walk.write_at(offset, visit)?;
    }
    Ok(walk.next_sequence == extent.next_sequence)
}

struct Walk<'a> {
    header: &'a Header,
    place: Place,
    window: Window<'a>,
    /// Checkpoint frames so far.
    frames: u64,
    next_sequence: u64,
}

impl<'a> Walk<'a> {
    fn new(media: &'a dyn Media, header: &'a Header) -> Self {
        let place = Place::of_header(header);
        let window = Window::new(media, place.base(), place.region_bytes);
        Self { header, window, frames: 0, next_sequence: header.first_sequence, place }
    }

    /// Reads the write that starts at `offset`, and shows each of its frames.
    fn write_at(&mut self, offset: u64, visit: &mut dyn FnMut(&[u8])) -> Result<Write, MediaError> {
        let unit = self.place.unit();
        let first = self.window.bytes(offset, unit)?;
        let Some(head) = FrameHeader::decode(first) else {
            if is_zero(first) {
                return Ok(Write::Empty);
            }
            return Ok(Write::Broken { at: offset, what: "no frame starts here" });
        };
        let units = u64::from(head.write_units);
        let length = units * unit;
        if length > WRITE_BYTES_MAX as u64 || offset + length > self.place.region_bytes {
            return Ok(Write::Broken { at: offset, what: "a frame names an impossible write" });
        }
        // The kind and order are settled by place: the checkpoint ends where the header says.
        let kind =
            if offset < self.header.records_offset { Kind::Checkpoint } else { Kind::Record };
        let write_unit = offset / unit;
        let bytes = self.window.bytes(offset, length)?;
        let last_unit = bytes.len() - usize::try_from(unit).unwrap_or(bytes.len());
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            if at > last_unit && rest[0] == 0 {
                if is_zero(rest) {
                    break;
                }
                let what = "the padding of a write is not zero";
                return Ok(Write::Broken { at: offset + at as u64, what });
            }
            let expected = match kind {
                Kind::Checkpoint => self.frames,
                Kind::Record => self.next_sequence,
            };
            let frame = intact(rest, &self.place, offset + at as u64).filter(|frame| {
                frame.kind == kind
                    && frame.sequence == expected
                    && frame.write_units == head.write_units
                    && u64::from(frame.write_unit) == write_unit
            });
            let Some(frame) = frame else {
                let what = "a frame fails its checksum or is not the next one";
                return Ok(Write::Broken { at: offset + at as u64, what });
            };
            visit(&rest[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + frame.length]);
            match kind {
                Kind::Checkpoint => self.frames += 1,
                Kind::Record => self.next_sequence += 1,
            }
            at += frame_bytes(frame.length);
        }
        Ok(Write::Whole { units })
    }

    /// Decides what it means that the write at `write_offset` is not there, or breaks off.
    fn judge(
        &mut self,
        write_offset: u64,
        broken_at: Option<u64>,
        what: &'static str,
    ) -> Result<Extent, ScanError> {
        let at = broken_at.unwrap_or(write_offset);
        let rest = self.survey_rest(write_offset, at)?;
        let evidence_sequence = rest.next_sequence.max(self.next_sequence);
        let damaged = |what| Err(ScanError::Damaged { offset: at, what, evidence_sequence });
        let records = self.header.records_offset;
        let checkpoint_done =
            write_offset >= records && self.frames == self.header.checkpoint_frames;
        if !checkpoint_done {
            return damaged("the checkpoint is not whole");
        }
        if rest.later_write {
            return damaged(what);
        }
        Ok(Extent {
            next_sequence: self.next_sequence,
            end_offset: write_offset,
            damaged_at: broken_at.or(rest.first_nonzero),
        })
    }

    /// Looks at everything from `at` on, for bytes that are not zero and for frames of this epoch.
    fn survey_rest(&mut self, write_offset: u64, at: u64) -> Result<Rest, MediaError> {
        const STEP_BYTES: u64 = 4096;
        let unit = self.place.unit();
        let mut rest = Rest { first_nonzero: None, later_write: false, next_sequence: 0 };
        let mut offset = at;
        while offset < self.place.region_bytes {
            let length = STEP_BYTES - offset % STEP_BYTES;
            let bytes = self.window.bytes(offset, length)?;
            if is_zero(bytes) {
                offset += length;
                continue;
            }
            rest.first_nonzero.get_or_insert(offset);
            let starts: Vec<u64> = (offset..)
                .step_by(FRAME_ALIGNMENT_BYTES)
                .zip(bytes.chunks(FRAME_ALIGNMENT_BYTES))
                .filter(|(_, chunk)| matches!(chunk, [1 | 2, 0, ..]))
                .map(|(start, _)| start)
                .collect();
            for start in starts {
                if let Some(frame) = self.frame_at(start)? {
                    rest.later_write |= u64::from(frame.write_unit) > write_offset / unit;
                    if frame.kind == Kind::Record {
                        rest.next_sequence = rest.next_sequence.max(frame.sequence + 1);
                    }
                }
            }
            offset += length;
        }
        Ok(rest)
    }

    /// A valid frame of this epoch at any place.
    fn frame_at(&mut self, offset: u64) -> Result<Option<FrameHeader>, MediaError> {
        let unit = self.place.unit();
        let Some(head) = decode(self.window.bytes(offset, HEADER_BYTES)?) else {
            return Ok(None);
        };
        let start = u64::from(head.write_unit) * unit;
        let end = start + u64::from(head.write_units) * unit;
        if !(start..end).contains(&offset) {
            return Ok(None);
        }
        let bytes = self.window.bytes(offset, frame_bytes(head.length) as u64)?;
        Ok(intact(bytes, &self.place, offset))
    }
}

/// What follows the place where the walk stopped.
struct Rest {
    first_nonzero: Option<u64>,
    later_write: bool,
    next_sequence: u64,
}

fn decode(bytes: &[u8]) -> Option<FrameHeader> {
    (bytes.len() >= FRAME_HEADER_BYTES).then(|| FrameHeader::decode(bytes)).flatten()
}

/// The frame at the start of `bytes`, if it is whole and belongs at `offset` of `place`.
fn intact(bytes: &[u8], place: &Place, offset: u64) -> Option<FrameHeader> {
    let frame = decode(bytes)?;
    let bytes = bytes.get(..frame_bytes(frame.length))?;
    FrameHeader::is_intact(bytes, &place.crc_seed, offset).then_some(frame)
}
