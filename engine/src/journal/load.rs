//! Reads a journal: finds the current region, checks all of it, then hands out its records.
#![forbid(unsafe_code)]

use std::thread;
use std::time::Duration;

use uuid::Uuid;

use super::choose::{Choice, Refusal, Slot, Slots, choose};
use super::control::{Header, HeaderState, Seal, SealState};
use super::error::JournalError;
use super::format::{CONTROL_BYTES, FORMAT_VERSION, Region, region_bytes_of};
use super::media::Media;
use super::mirror;
use super::place::base_of;
use super::scan::{Extent, ScanError, replay, scan};
use crate::aligned::AlignedBuffer;

/// How a journal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Nothing but zeros follows the last record.
    Clean,
    /// Something else follows: a write that never finished, or damage to the last write. A record
    /// that was acknowledged may be missing, so nothing may be deleted on the strength of its
    /// absence.
    Damaged {
        /// The first byte that makes no sense, from the start of the medium.
        offset: u64,
    },
}

/// What became of one copy of a mirror.
#[derive(Debug)]
pub enum CopyState {
    /// It holds all records.
    Good,
    /// It is readable and holds fewer records, or the same with a damaged tail.
    Behind,
    /// It cannot be read.
    Damaged(JournalError),
}

/// One copy of a mirror, as a load found it.
#[derive(Debug)]
pub struct CopyReport {
    /// The copy's name.
    pub medium: String,
    /// Its state.
    pub state: CopyState,
}

/// Where a loaded journal ends; [`super::Journal::resume`] goes on from here.
#[derive(Debug)]
pub struct Position {
    /// The current region.
    pub region: Region,
    /// Its epoch.
    pub epoch: u64,
    /// How it ends.
    pub tail: Tail,
    /// The sequence number of the next record.
    pub next_sequence: u64,
    /// Where the next write goes, from the start of the region.
    pub end_offset: u64,
    /// Every copy of a mirror; empty for a plain medium.
    pub copies: Vec<CopyReport>,
    pub(super) survey: Survey,
    /// The copy that was read, in a mirror.
    pub(super) best_copy: usize,
    /// The copies of a mirror that must be brought into step before the next write.
    pub(super) unsettled: Vec<usize>,
}

/// A journal's records, oldest first: the checkpoint's, then those appended after it.
#[derive(Debug)]
pub struct Loaded {
    /// The records.
    pub payloads: Vec<Vec<u8>>,
    /// Where they end.
    pub position: Position,
}

/// One copy, checked from end to end.
#[derive(Debug, Clone)]
pub(super) struct Survey {
    pub(super) header: Header,
    pub(super) extent: Extent,
    /// An older region that must be sealed before this one is written.
    pub(super) unsealed: Option<Header>,
    /// The highest epoch that any header or seal names.
    pub(super) newest_epoch: u64,
}

/// Why a copy cannot be used, and how new it seems to be all the same.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: JournalError,
    pub(super) newest_epoch: u64,
    pub(super) next_sequence: u64,
}

impl Failure {
    fn plain(error: impl Into<JournalError>) -> Self {
        Self { error: error.into(), newest_epoch: 0, next_sequence: 0 }
    }
}

/// Loads the journal of `pool`. The caller holds the pool's claim; without it, see [`load_stable`].
pub fn load(media: &dyn Media, pool: Uuid) -> Result<Loaded, JournalError> {
    let mut payloads = Vec::new();
    let position = load_each(media, pool, &mut |payload| payloads.push(payload.to_vec()))?;
    Ok(Loaded { payloads, position })
}

/// Loads the journal of `pool` without keeping it: `visit` sees each record once, in order.
///
/// The whole region is checked before the first record is handed out. When this fails, what
/// `visit` has seen must be thrown away.
pub fn load_each(
    media: &dyn Media,
    pool: Uuid,
    visit: &mut dyn FnMut(&[u8]),
) -> Result<Position, JournalError> {
    let position = if media.copies().is_empty() {
        let survey = survey(media, pool).map_err(|failure| failure.error)?;
        Position::new(survey, Vec::new(), 0)
    } else {
        mirror::survey_copies(media.copies(), pool)?
    };
    let source = media.copies().get(position.best_copy).map_or(media, |copy| copy.as_ref());
    let Survey { header, extent, .. } = &position.survey;
    let is_same = replay(source, header, extent, visit)
        .map_err(|error| scan_error(source, header, error).error)?;
    if !is_same {
        return Err(JournalError::Unsettled { medium: source.name(), attempts: 1 });
    }
    Ok(position)
}

/// Loads the journal of `pool` beside a writer that may be busy: reads again while what was found
/// may be a write in progress or a region that was replaced meanwhile.
///
/// A region is erased header first, so an unchanged header after the read proves that all of it
/// was read before it was erased. A tail or damage is believed once two reads agree on it.
pub fn load_stable(media: &dyn Media, pool: Uuid, attempts: u32) -> Result<Loaded, JournalError> {
    let mut before = None;
    for attempt in 0..attempts {
        thread::sleep(Duration::from_millis(u64::from(attempt)));
        let headers = read_headers(media, pool)?;
        let loaded = load(media, pool);
        if read_headers(media, pool)? != headers {
            before = None;
            continue;
        }
        match loaded {
            Ok(loaded) if loaded.position.tail == Tail::Clean => return Ok(loaded),
            Ok(loaded) => {
                let doubt = format!("{:?} {}", loaded.position.tail, loaded.payloads.len());
                if before.replace(doubt.clone()) == Some(doubt) {
                    return Ok(loaded);
                }
            }
            Err(error @ JournalError::Media(_)) => return Err(error),
            Err(error) => {
                let doubt = error.to_string();
                if before.replace(doubt.clone()) == Some(doubt) {
                    return Err(error);
                }
            }
        }
    }
    Err(JournalError::Unsettled { medium: media.name(), attempts })
}

impl Position {
    pub(super) fn new(survey: Survey, copies: Vec<CopyReport>, best_copy: usize) -> Self {
        let Survey { header, extent, .. } = &survey;
        let base = base_of(header.region, header.region_bytes);
        Self {
            region: header.region,
            epoch: header.epoch,
            tail: extent
                .damaged_at
                .map_or(Tail::Clean, |offset| Tail::Damaged { offset: base + offset }),
            next_sequence: extent.next_sequence,
            end_offset: extent.end_offset,
            copies,
            survey,
            best_copy,
            unsettled: Vec::new(),
        }
    }
}

/// Checks one copy from end to end.
pub(super) fn survey(media: &dyn Media, pool: Uuid) -> Result<Survey, Failure> {
    let region_bytes = region_bytes_of(media.size_bytes());
    if region_bytes == 0 {
        let error = super::place::region_bytes_for(media).map(|_| ());
        return Err(error.err().map_or_else(|| blank(media), Failure::plain));
    }
    let slots = read_slots(media, pool, region_bytes).map_err(Failure::plain)?;
    check_owner(media, pool, &slots).map_err(Failure::plain)?;
    check_geometry(media, region_bytes, &slots).map_err(Failure::plain)?;
    let newest_epoch = newest_epoch(&slots);
    let choice = match choose(&slots) {
        Ok(choice) => choice,
        Err(refusal) => {
            let error = refused(media, region_bytes, refusal).map_err(Failure::plain)?;
            return Err(Failure { error, newest_epoch, next_sequence: 0 });
        }
    };
    scan_choice(media, &choice, newest_epoch)
}

fn scan_choice(media: &dyn Media, choice: &Choice, newest_epoch: u64) -> Result<Survey, Failure> {
    let Choice { current, unsealed, may_fall_back } = choice;
    let error = match scan(media, current) {
        Ok(extent) => {
            return Ok(Survey { header: *current, extent, unsealed: *unsealed, newest_epoch });
        }
        Err(error) => error,
    };
    if let (ScanError::Damaged { evidence_sequence, .. }, Some(older), true) =
        (&error, unsealed, may_fall_back)
        && *evidence_sequence <= current.first_sequence
        && let Ok(extent) = scan(media, older)
    {
        return Ok(Survey { header: *older, extent, unsealed: None, newest_epoch });
    }
    let mut failure = scan_error(media, current, error);
    failure.newest_epoch = newest_epoch;
    Err(failure)
}

fn scan_error(media: &dyn Media, header: &Header, error: ScanError) -> Failure {
    match error {
        ScanError::Media(source) => Failure::plain(source),
        ScanError::Damaged { offset, what, evidence_sequence } => Failure {
            error: JournalError::Damaged {
                medium: media.name(),
                region: header.region,
                offset: base_of(header.region, header.region_bytes) + offset,
                what,
            },
            newest_epoch: header.epoch,
            next_sequence: evidence_sequence,
        },
    }
}

fn blank(media: &dyn Media) -> Failure {
    Failure::plain(JournalError::Blank { medium: media.name() })
}

fn read_control(media: &dyn Media, offset: u64) -> Result<AlignedBuffer, JournalError> {
    let mut buffer = AlignedBuffer::zeroed(CONTROL_BYTES);
    media.read_at(offset, &mut buffer)?;
    Ok(buffer)
}

fn read_slots(media: &dyn Media, pool: Uuid, region_bytes: u64) -> Result<Slots, JournalError> {
    let read = |region| -> Result<Slot, JournalError> {
        let base = base_of(region, region_bytes);
        let header = Header::decode(&read_control(media, base)?, region, pool);
        let seal = match &header {
            HeaderState::Valid(header) => {
                let bytes = read_control(media, base + u64::from(header.unit_bytes))?;
                Seal::decode(&bytes, header)
            }
            _ => SealState::Open,
        };
        Ok(Slot { header, seal })
    };
    Ok([read(Region::A)?, read(Region::B)?])
}

/// The control units of every copy, to notice that a region was replaced.
fn read_headers(media: &dyn Media, pool: Uuid) -> Result<Vec<Option<Slots>>, JournalError> {
    let region_bytes = region_bytes_of(media.size_bytes());
    if region_bytes == 0 {
        return Ok(Vec::new());
    }
    if media.copies().is_empty() {
        return Ok(vec![Some(read_slots(media, pool, region_bytes)?)]);
    }
    let copies = media.copies().iter();
    Ok(copies.map(|copy| read_slots(copy.as_ref(), pool, region_bytes).ok()).collect())
}

/// Refuses a journal that is another pool's or another format's.
fn check_owner(media: &dyn Media, pool: Uuid, slots: &Slots) -> Result<(), JournalError> {
    let medium = media.name();
    for slot in slots {
        if let HeaderState::Version(found) = slot.header {
            return Err(JournalError::Version { medium, found, known: FORMAT_VERSION });
        }
    }
    let ours = slots.iter().any(|slot| matches!(slot.header, HeaderState::Valid(_)));
    for slot in slots {
        if let (HeaderState::Foreign(found), false) = (slot.header, ours) {
            return Err(JournalError::ForeignPool { medium, found, expected: pool });
        }
    }
    Ok(())
}

/// Refuses a medium that has another length than when its headers were written, before what is not
/// at its place is taken for lost.
fn check_geometry(media: &dyn Media, region_bytes: u64, slots: &Slots) -> Result<(), JournalError> {
    for slot in slots {
        if let HeaderState::Valid(header) = slot.header
            && header.region_bytes != region_bytes
        {
            return Err(JournalError::Geometry {
                medium: media.name(),
                found_bytes: header.region_bytes,
                expected_bytes: region_bytes,
            });
        }
    }
    Ok(())
}

fn newest_epoch(slots: &Slots) -> u64 {
    let epochs = slots.iter().map(|slot| match (slot.header, slot.seal) {
        (HeaderState::Valid(header), SealState::Sealed(seal)) => {
            header.epoch.max(seal.successor_epoch)
        }
        (HeaderState::Valid(header), _) => header.epoch,
        _ => 0,
    });
    epochs.max().unwrap_or(0)
}

/// Puts a refusal into words; blank headers alone do not make a blank journal.
fn refused(
    media: &dyn Media,
    region_bytes: u64,
    refusal: Refusal,
) -> Result<JournalError, JournalError> {
    let medium = media.name();
    let (region, offset, what) = match refusal {
        Refusal::Damaged { region, offset, what } => (region, offset, what),
        Refusal::Blank => match first_nonzero(media, 2 * region_bytes)? {
            None => return Ok(JournalError::Blank { medium }),
            Some(offset) if offset < region_bytes => {
                (Region::A, 0, "both headers are zero, frames are not")
            }
            Some(_) => (Region::B, 0, "both headers are zero, frames are not"),
        },
    };
    let offset = base_of(region, region_bytes) + offset;
    Ok(JournalError::Damaged { medium, region, offset, what })
}

fn first_nonzero(media: &dyn Media, length: u64) -> Result<Option<u64>, JournalError> {
    const STEP_BYTES: u64 = 65536;
    let mut window = super::window::Window::new(media, 0, length);
    let mut offset = 0;
    while offset < length {
        if !super::format::is_zero(window.bytes(offset, STEP_BYTES)?) {
            return Ok(Some(offset));
        }
        offset += STEP_BYTES;
    }
    Ok(None)
}
