//! Several copies of one journal on several media.
#![forbid(unsafe_code)]

use std::cmp::Reverse;

use uuid::Uuid;

use super::error::{JournalError, MediaError};
use super::format::{Region, UNIT_BYTES_MIN, region_bytes_of};
use super::load::{CopyReport, CopyState, Failure, Position, Survey, survey};
use super::media::Media;
use super::place::{Place, base_of};
use super::window::Window;
use crate::aligned::AlignedBuffer;

/// How much is compared and copied at a time.
const STEP_BYTES: u64 = 65536;

/// A medium made of copies: a write is done when every copy has it.
///
/// The copies are written one after the other, which costs less than a thread where a durable
/// write takes microseconds. A failed write of any copy is a failed write: going on with the
/// others is a decision of whoever knows which devices belong to the pool, who opens the journal
/// again without the failed one.
#[derive(Debug)]
pub struct Mirrored {
    copies: Vec<Box<dyn Media>>,
}

impl Mirrored {
    /// Joins copies: at least one, all with room for the same regions.
    pub fn new(copies: Vec<Box<dyn Media>>) -> Result<Self, JournalError> {
        let Some(first) = copies.first() else { return Err(MediaError::NoCopies.into()) };
        let expected_bytes = region_bytes_of(first.size_bytes());
        for copy in &copies {
            let found_bytes = region_bytes_of(copy.size_bytes());
            if found_bytes != expected_bytes {
                let medium = copy.name();
                return Err(JournalError::Geometry { medium, found_bytes, expected_bytes });
            }
        }
        Ok(Self { copies })
    }

    fn each(&self, act: impl Fn(&dyn Media) -> Result<(), MediaError>) -> Result<(), MediaError> {
        self.copies.iter().try_for_each(|copy| act(copy.as_ref()))
    }
}

impl Media for Mirrored {
    fn name(&self) -> String {
        let names: Vec<String> = self.copies.iter().map(|copy| copy.name()).collect();
        names.join(" and ")
    }

    fn size_bytes(&self) -> u64 {
        self.copies.iter().map(|copy| copy.size_bytes()).min().unwrap_or(0)
    }

    fn unit_bytes(&self) -> u32 {
        self.copies.iter().map(|copy| copy.unit_bytes()).max().unwrap_or(UNIT_BYTES_MIN)
    }

    fn read_at(&self, offset: u64, buffer: &mut AlignedBuffer) -> Result<(), MediaError> {
        let mut result = Err(MediaError::NoCopies);
        for copy in &self.copies {
            result = copy.read_at(offset, buffer);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    fn write_at(&self, offset: u64, buffer: &AlignedBuffer) -> Result<(), MediaError> {
        self.each(|copy| copy.write_at(offset, buffer))
    }

    fn zero_range(&self, offset: u64, length: u64) -> Result<(), MediaError> {
        self.each(|copy| copy.zero_range(offset, length))
    }

    fn flush(&self) -> Result<(), MediaError> {
        self.each(|copy| copy.flush())
    }

    fn copies(&self) -> &[Box<dyn Media>] {
        &self.copies
    }
}

/// Checks every copy and picks the one to read.
///
/// Copies differ after a crash between two of their writes; then the longer one wins, for what
/// was acknowledged is in both. A damaged copy that shows itself newer than every readable one
/// means that the readable ones are stale: that is refused.
pub(super) fn survey_copies(
    copies: &[Box<dyn Media>],
    pool: Uuid,
) -> Result<Position, JournalError> {
    let surveys: Vec<Result<Survey, Failure>> =
        copies.iter().map(|copy| survey(copy.as_ref(), pool)).collect();
    let best = surveys
        .iter()
        .enumerate()
        .filter_map(|(index, survey)| Some((index, survey.as_ref().ok()?.clone())))
        .max_by_key(|(index, survey)| (rank(survey), Reverse(*index)));
    let Some((best_copy, mut best)) = best else {
        let first = surveys.into_iter().find_map(Result::err);
        return Err(first.map_or(MediaError::NoCopies.into(), |failure| failure.error));
    };
    let mut reports = Vec::new();
    let mut unsettled = Vec::new();
    for (index, (copy, survey)) in copies.iter().zip(surveys).enumerate() {
        let medium = copy.name();
        if !survey.as_ref().is_ok_and(|survey| is_settled(survey, &best)) {
            unsettled.push(index);
        }
        let state = match survey {
            Ok(survey) => {
                compare(copies[best_copy].as_ref(), &best, copy.as_ref(), &survey)?;
                best.newest_epoch = best.newest_epoch.max(survey.newest_epoch);
                if rank(&survey) == rank(&best) { CopyState::Good } else { CopyState::Behind }
            }
            Err(failure) => {
                let is_newer = (failure.newest_epoch, failure.next_sequence)
                    > (best.header.epoch, best.extent.next_sequence);
                if is_newer {
                    let source = Box::new(failure.error);
                    return Err(JournalError::NewerCopyDamaged { medium, source });
                }
                CopyState::Damaged(failure.error)
            }
        };
        reports.push(CopyReport { medium, state });
    }
    Ok(Position { unsettled, ..Position::new(best, reports, best_copy) })
}

/// Whether a copy that passed [`compare`] needs nothing before the next write: the same records up
/// to the same place, zeros after them, and no older region that a crash left open. What else the
/// older region holds is never read.
fn is_settled(survey: &Survey, best: &Survey) -> bool {
    rank(survey) == rank(best)
        && survey.header == best.header
        && survey.extent.end_offset == best.extent.end_offset
        && [survey, best]
            .iter()
            .all(|survey| survey.extent.damaged_at.is_none() && survey.unsealed.is_none())
}

fn rank(survey: &Survey) -> (u64, u64, bool) {
    (survey.header.epoch, survey.extent.next_sequence, survey.extent.damaged_at.is_none())
}

/// Refuses two copies of the same epoch that differ in what both hold.
fn compare(
    best: &dyn Media,
    best_survey: &Survey,
    other: &dyn Media,
    survey: &Survey,
) -> Result<(), JournalError> {
    let header = &best_survey.header;
    if header.epoch != survey.header.epoch || std::ptr::addr_eq(best, other) {
        return Ok(());
    }
    let place = Place::of_header(header);
    let end = best_survey.extent.end_offset.min(survey.extent.end_offset);
    // The seal between the header and the frames may have reached one copy only.
    for (from, to) in [(0, place.unit()), (place.frames_offset(), end)] {
        if let Some(offset) = first_difference(best, other, place.base() + from, to - from)? {
            return Err(JournalError::Diverged {
                first: best.name(),
                second: other.name(),
                region: place.region,
                offset,
            });
        }
    }
    Ok(())
}

fn first_difference(
    first: &dyn Media,
    second: &dyn Media,
    base: u64,
    length: u64,
) -> Result<Option<u64>, MediaError> {
    let mut windows = [first, second].map(|media| Window::new(media, base, length));
    let mut offset = 0;
    while offset < length {
        let [left, right] = &mut windows;
        if left.bytes(offset, STEP_BYTES)? != right.bytes(offset, STEP_BYTES)? {
            return Ok(Some(base + offset));
        }
        offset += STEP_BYTES;
    }
    Ok(None)
}

/// Makes every copy equal to the best one, so that the next write finds them at the same place.
///
/// A copy that differs, or cannot be read, loses its headers first and gets them back last: until
/// it is whole again it cannot be taken for a journal.
pub(super) fn settle(
    copies: &[Box<dyn Media>],
    best_copy: usize,
    unsettled: &[usize],
    region_bytes: u64,
) -> Result<(), MediaError> {
    let Some(best) = copies.get(best_copy) else { return Ok(()) };
    let best = best.as_ref();
    for (index, copy) in copies.iter().enumerate() {
        let copy = copy.as_ref();
        if index == best_copy
            || !unsettled.contains(&index)
            || matches!(first_difference(best, copy, 0, 2 * region_bytes), Ok(None))
        {
            continue;
        }
        let unit = u64::from(copy.unit_bytes());
        let heads = Region::BOTH.map(|region| base_of(region, region_bytes));
        for head in heads {
            copy.zero_range(head, unit)?;
        }
        for head in heads {
            copy_range(best, copy, head + unit, head + region_bytes)?;
        }
        for head in heads {
            copy_range(best, copy, head, head + unit)?;
        }
    }
    Ok(())
}

fn copy_range(
    from: &dyn Media,
    to: &dyn Media,
    mut offset: u64,
    end: u64,
) -> Result<(), MediaError> {
    while offset < end {
        let step = STEP_BYTES.min(end - offset);
        let length = usize::try_from(step).unwrap_or(usize::MAX);
        let [mut wanted, mut held] = [(); 2].map(|()| AlignedBuffer::zeroed(length));
        from.read_at(offset, &mut wanted)?;
        // What cannot be read is written anew; only the write decides.
        if to.read_at(offset, &mut held).is_err() || held[..] != wanted[..] {
            to.write_at(offset, &wanted)?;
        }
        offset += step;
    }
    Ok(())
}
