//! A journal from arbitrary bytes of its medium.
#![forbid(unsafe_code)]
#![allow(clippy::missing_panics_doc, reason = "a broken promise is told by a panic")]

use std::sync::Arc;

use uuid::Uuid;

use super::control::{Header, HeaderState, control_crc};
use super::format::{
    CONTROL_BYTES, FRAME_ALIGNMENT_BYTES, FRAME_HEADER_BYTES, Region, frame_bytes, header,
    region_bytes_of,
};
use super::frame::FrameHeader;
use super::place::Place;
use super::testing::MemoryMedium;
use super::{Journal, JournalError, Loaded, Media, Mirrored, Options, Tail, load, load_each};
use crate::fuzzing::asks;

/// The smallest journal: two regions of sixteen units.
const MEDIUM_BYTES: usize = 128 << 10;
/// The pool that these journals belong to.
const POOL: Uuid = Uuid::from_u128(0x7468_696e_6c79_0000_0000_0000_0000_0001);

/// Input: a byte of choices (0: right the checksums of headers and seals, 1: of frames, 2: a mirror
/// whose second copy lacks the last piece), then pieces of the medium: where in eights of bytes
/// (2 bytes), how long (2 bytes), what.
pub fn journal(data: &[u8]) -> bool {
    let Some((&flags, data)) = data.split_first() else { return false };
    let mut image = vec![0; MEDIUM_BYTES];
    let mut before_last = image.clone();
    for (at, piece) in pieces(data) {
        before_last.copy_from_slice(&image);
        let length = piece.len().min(MEDIUM_BYTES - at);
        image[at..at + length].copy_from_slice(&piece[..length]);
    }
    let media = [image, before_last].map(|mut image| {
        right_checksums(&mut image, flags);
        MemoryMedium::new(image)
    });
    if asks(flags, 2) { mirrored(&media) } else { plain(&media[0]) }
}

fn pieces(mut data: &[u8]) -> Vec<(usize, &[u8])> {
    let mut pieces = Vec::new();
    while let Some((place, rest)) = data.split_first_chunk::<2>() {
        let Some((length, rest)) = rest.split_first_chunk::<2>() else { break };
        let length = rest.len().min(u16::from_le_bytes(*length).into());
        let (piece, rest) = rest.split_at(length);
        let place = usize::from(u16::from_le_bytes(*place)) * FRAME_ALIGNMENT_BYTES;
        pieces.push((place % MEDIUM_BYTES, piece));
        data = rest;
    }
    pieces
}

fn right_checksums(image: &mut [u8], flags: u8) {
    let region_bytes = MEDIUM_BYTES / 2;
    for (region, image) in Region::BOTH.into_iter().zip(image.chunks_exact_mut(region_bytes)) {
        if asks(flags, 0) {
            for control in image.chunks_exact_mut(CONTROL_BYTES).take(2) {
                if control.iter().any(|byte| *byte != 0) {
                    let crc = control_crc(control);
                    header::CRC.put(control, &crc.to_le_bytes());
                }
            }
        }
        if let HeaderState::Valid(header) = Header::decode(&image[..CONTROL_BYTES], region, POOL)
            && asks(flags, 1)
        {
            right_frames(image, &Place::of_header(&header));
        }
    }
}

fn right_frames(image: &mut [u8], place: &Place) {
    let mut at = 2 * CONTROL_BYTES;
    while at + FRAME_HEADER_BYTES <= image.len() {
        let frame = FrameHeader::decode(&image[at..]);
        let frame = frame.map(|frame| (frame, frame_bytes(frame.length)));
        match frame.filter(|(_, length)| at + length <= image.len()) {
            Some((frame, length)) => {
                frame.encode(&mut image[at..at + length], &place.crc_seed, at as u64);
                at += length;
            }
            None => at += FRAME_ALIGNMENT_BYTES,
        }
    }
}

fn plain(medium: &MemoryMedium) -> bool {
    let Ok(loaded) = load(medium, POOL) else { return false };
    let held: usize = loaded.payloads.iter().map(Vec::len).sum();
    assert!(held <= MEDIUM_BYTES, "{held} bytes of records came from {MEDIUM_BYTES}");
    let mut visited = Vec::new();
    let position = load_each(medium, POOL, &mut |payload| visited.push(payload.to_vec()));
    assert!(position.is_ok() && visited == loaded.payloads, "the second read is another one");
    let end = loaded.position.end_offset;
    assert!(end <= region_bytes_of(MEDIUM_BYTES as u64), "the journal ends at {end}");
    let media: Arc<dyn Media> = Arc::new(medium.clone());
    go_on(&media, loaded);
    true
}

/// A mirror gives what one of its copies gives, and brings the other one into step.
fn mirrored(media: &[MemoryMedium; 2]) -> bool {
    let copies = media.iter().map(|copy| Box::new(copy.clone()) as Box<dyn Media>);
    let Ok(mirror) = Mirrored::new(copies.collect()) else { return false };
    let alone = media.each_ref().map(|copy| load(copy, POOL));
    let Ok(loaded) = load(&mirror, POOL) else { return false };
    let same = |copy: &Result<Loaded, JournalError>| {
        copy.as_ref().is_ok_and(|copy| copy.payloads == loaded.payloads)
    };
    assert!(alone.iter().any(same), "a mirror made records of its own");
    let newest = alone.iter().flatten().map(|copy| copy.position.epoch).max();
    assert_eq!(Some(loaded.position.epoch), newest, "an older copy was preferred");
    let mirror: Arc<dyn Media> = Arc::new(mirror);
    if let Some(payloads) = go_on(&mirror, loaded) {
        for copy in media {
            let copy = load(copy, POOL);
            assert!(copy.is_ok_and(|copy| copy.payloads == payloads), "the copies disagree");
        }
    }
    true
}

/// Opens a journal as the next process would, adds a record, and reads it again; gives what it
/// holds now, unless it had no room.
fn go_on(media: &Arc<dyn Media>, loaded: Loaded) -> Option<Vec<Vec<u8>>> {
    let Loaded { mut payloads, position } = loaded;
    let journal = Journal::resume(Arc::clone(media), &position, Options::default());
    let journal = accept(journal)?;
    let must = position.tail != Tail::Clean;
    assert!(journal.needs_checkpoint() || !must, "a damaged tail is written after");
    if journal.needs_checkpoint() {
        accept(journal.checkpoint(payloads.clone()))?;
    }
    let added = b"one more".to_vec();
    accept(journal.commit(added.clone()))?;
    payloads.push(added);
    let again = load(media.as_ref(), POOL);
    let same = again
        .as_ref()
        .is_ok_and(|again| again.payloads == payloads && again.position.tail == Tail::Clean);
    assert!(same, "what was acknowledged is not there: {again:?}");
    Some(payloads)
}

/// The only reason not to go on is a lack of room.
fn accept<T>(result: Result<T, JournalError>) -> Option<T> {
    let full = matches!(result, Err(JournalError::Full { .. }));
    assert!(result.is_ok() || full, "{:?}", result.err());
    result.ok()
}

/// The pieces that make a medium, the last of them `last`.
#[cfg(test)]
fn input_of(flags: u8, image: &[u8], last: Option<usize>) -> Vec<u8> {
    let unit_of = |(unit, bytes): (usize, &[u8])| {
        let used = bytes.iter().rposition(|byte| *byte != 0)? + 1;
        let place = u16::try_from(unit * CONTROL_BYTES / FRAME_ALIGNMENT_BYTES).unwrap();
        let length = u16::try_from(used).unwrap().to_le_bytes();
        Some((unit, [&place.to_le_bytes()[..], &length, &bytes[..used]].concat()))
    };
    let mut units: Vec<_> =
        image.chunks_exact(CONTROL_BYTES).enumerate().filter_map(unit_of).collect();
    units.sort_by_key(|(unit, _)| (Some(*unit) == last, *unit));
    let pieces = units.into_iter().flat_map(|(_, piece)| piece);
    std::iter::once(flags).chain(pieces).collect()
}

/// A new journal, one that goes on after a checkpoint, and a mirror whose second copy is behind.
#[cfg(test)]
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let medium = MemoryMedium::zeroed(MEDIUM_BYTES);
    Journal::format(&medium, POOL, [b"checkpoint".to_vec()]).unwrap();
    let fresh = medium.bytes();
    let position = load(&medium, POOL).unwrap().position;
    let media = Arc::new(medium.clone());
    let journal = Journal::resume(media, &position, Options::default()).unwrap();
    journal.commit(b"first".to_vec()).unwrap();
    let tickets = [b"second".to_vec(), vec![7; 5000]].map(|record| journal.append(record).unwrap());
    for ticket in tickets {
        journal.wait(ticket).unwrap();
    }
    let appended = medium.bytes();
    journal.checkpoint([b"a state".to_vec(), b"another line".to_vec()]).unwrap();
    let sealed = medium.bytes();
    journal.commit(b"after".to_vec()).unwrap();
    let after = medium.bytes();
    // Region B: header, unused seal, checkpoint, record.
    let last_record = MEDIUM_BYTES / 2 / CONTROL_BYTES + 3;
    vec![
        ("fresh", input_of(0, &fresh, None)),
        ("appended", input_of(0b11, &appended, None)),
        ("sealed", input_of(0b11, &sealed, None)),
        ("after", input_of(0b11, &after, None)),
        ("mirror", input_of(0b111, &after, Some(last_record))),
    ]
}
