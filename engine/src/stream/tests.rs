//! Streams that are whole, and every way in which one is not.
#![forbid(unsafe_code)]

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::catalogue::{Timestamp, VolumeName};
use crate::units::Bytes;

const SIZE: u64 = 8 << 20;

fn header(start: u64) -> StreamHeader {
    StreamHeader {
        snapshot: Uuid::from_u128(1),
        base: Some(Uuid::from_u128(2)),
        volume: Uuid::from_u128(3),
        pool: Uuid::from_u128(4),
        virtual_bytes: Bytes::new(SIZE),
        start: Bytes::new(start),
        created_at: Timestamp(1_700_000_000_123),
        block_bytes: Bytes::new(1 << 16),
        name: VolumeName::new("web@m\u{f6}nday").unwrap(),
    }
}

/// A range as a test writes it; `None` is zeros.
type Range = (u64, u64, Option<(Encoding, Vec<u8>)>);

fn written(header: &StreamHeader, ranges: &[Range]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::new(&mut bytes, header).unwrap();
    for (offset, length, payload) in ranges {
        let (offset, length) = (Bytes::new(*offset), Bytes::new(*length));
        match payload {
            None => writer.zero(offset, length).unwrap(),
            Some((encoding, payload)) => writer.data(offset, length, *encoding, payload).unwrap(),
        }
    }
    let (_, length) = writer.finish().unwrap();
    assert_eq!(length.get(), bytes.len() as u64);
    bytes
}

fn read(bytes: &[u8]) -> Result<(StreamHeader, Vec<Range>, Totals), StreamError> {
    let mut reader = StreamReader::new(bytes)?;
    let header = reader.header().clone();
    let mut ranges = Vec::new();
    loop {
        ranges.push(match reader.next_piece()? {
            Piece::Zero { offset, length } => (offset.get(), length.get(), None),
            Piece::Data { offset, length, encoding, payload } => {
                (offset.get(), length.get(), Some((encoding, payload.to_vec())))
            }
            Piece::End(totals) => return Ok((header, ranges, totals)),
        });
    }
}

fn plain(offset: u64, bytes: &[u8]) -> Range {
    (offset, bytes.len() as u64, Some((Encoding::Plain, bytes.to_vec())))
}

fn small() -> Vec<Range> {
    vec![
        plain(0, b"first"),
        (512, 4096, None),
        (8192, 4096, Some((Encoding::Zstd, b"short".to_vec()))),
        plain(12_288, b"last"),
    ]
}

#[test]
fn what_is_written_is_read() {
    let bytes = written(&header(0), &small());
    let (found, ranges, totals) = read(&bytes).unwrap();
    assert_eq!((found, ranges), (header(0), small()));
    assert_eq!((totals.data_frames, totals.zero_frames), (3, 1));
    assert_eq!((totals.data_bytes.get(), totals.zero_bytes.get()), (4105, 4096));
    let (_, ranges, _) = read(&written(&header(SIZE), &[])).unwrap();
    assert_eq!(ranges, []);
    // Zeros that touch are one frame.
    let (_, ranges, _) = read(&written(&header(0), &[(0, 9, None), (9, 1, None)])).unwrap();
    assert_eq!(ranges, [(0, 10, None)]);
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let bytes = written(&header(0), &small());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            assert!(read(&damaged).is_err(), "bit {bit} of byte {at}");
        }
        let cut = read(&bytes[..at]);
        let told = matches!(cut, Err(StreamError::Truncated { .. } | StreamError::NotAStream));
        assert!(told, "{at} bytes: {cut:?}");
    }
    let longer = [&bytes[..], b"x"].concat();
    assert!(matches!(read(&longer), Err(StreamError::Nonsense { .. })));
}

/// Where the frames of [`small`] begin and end.
fn frames() -> Vec<(usize, usize)> {
    let header_bytes = header(0).encode().0.len();
    let mut begin = header_bytes;
    let payloads = [5, 0, 5, 4];
    let frame = |payload: usize| {
        let end = begin + frame::FRAME_BYTES + payload;
        (std::mem::replace(&mut begin, end), end)
    };
    payloads.into_iter().map(frame).collect()
}

#[test]
fn a_frame_that_is_missing_twice_there_or_elsewhere_is_noticed() {
    let bytes = written(&header(0), &small());
    let frames = frames();
    for (begin, end) in frames.clone() {
        let without = [&bytes[..begin], &bytes[end..]].concat();
        assert!(matches!(read(&without), Err(StreamError::Checksum { .. })));
        let twice = [&bytes[..end], &bytes[begin..]].concat();
        assert!(matches!(read(&twice), Err(StreamError::Checksum { .. })));
    }
    for pair in frames.windows(2) {
        let [(a, b), (_, c)] = [pair[0], pair[1]];
        let swapped = [&bytes[..a], &bytes[b..c], &bytes[a..b], &bytes[c..]].concat();
        assert!(matches!(read(&swapped), Err(StreamError::Checksum { .. })));
    }
    // One of another stream, which agrees but for the header.
    let other = StreamHeader { snapshot: Uuid::from_u128(9), ..header(0) };
    let other = written(&other, &small());
    let (begin, end) = frames[1];
    let mixed = [&bytes[..begin], &other[begin..end], &bytes[end..]].concat();
    assert!(matches!(read(&mixed), Err(StreamError::Checksum { .. })));
}

#[test]
fn ranges_that_make_no_sense_are_refused() {
    for ranges in [
        vec![plain(512, b"a"), plain(0, b"b")],
        vec![plain(0, b"ab"), plain(1, b"b")],
        vec![plain(SIZE, b"a")],
        vec![(0, SIZE + 1, None)],
        vec![(u64::MAX - 1, 9, None)],
        vec![(0, 0, None)],
        vec![(0, 3, Some((Encoding::Plain, b"ab".to_vec())))],
        vec![(0, 2, Some((Encoding::Zstd, b"ab".to_vec())))],
        vec![(0, 2 << 20, Some((Encoding::Zstd, b"ab".to_vec())))],
        vec![plain(0, &vec![1; PAYLOAD_BYTES_MAX + 1])],
    ] {
        let found = read(&written(&header(0), &ranges));
        assert!(matches!(found, Err(StreamError::Nonsense { .. })), "{found:?}");
    }
    let early = read(&written(&header(512), &[plain(0, b"a")]));
    assert!(matches!(early, Err(StreamError::Nonsense { .. })), "{early:?}");
    let late = read(&written(&header(SIZE + 1), &[]));
    assert!(matches!(late, Err(StreamError::Nonsense { .. })), "{late:?}");
}

#[test]
fn another_version_and_other_files_are_told_apart() {
    let mut bytes = written(&header(0), &[]);
    bytes[8] = 2;
    assert!(matches!(read(&bytes), Err(StreamError::Version { found: 2 })));
    for other in [&b""[..], b"PK\x03\x04", &[0; 4096]] {
        assert!(matches!(read(other), Err(StreamError::NotAStream)), "{other:?}");
    }
}

/// Once written, a stream is somebody's backup: no release may read it in another way.
#[test]
fn the_bytes_of_a_stream_stay_as_they_are() {
    let bytes = written(&header(0), &small());
    // Of another kind than those inside, which would cancel out.
    assert_eq!((bytes.len(), crc32c::crc32c(&bytes)), (337, 120_482_709));
}

#[test]
fn a_token_comes_back_and_a_mistyped_one_does_not() {
    let base = Some(Uuid::from_u128(7));
    let token = ResumeToken { snapshot: Uuid::from_u128(5), base, offset: Bytes::new(1 << 40) };
    for token in [token, ResumeToken { base: None, ..token }] {
        let text = token.to_string();
        assert_eq!(text.parse(), Ok(token));
        for at in 0..text.len() {
            let digit = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
            let wrong = format!("{}{digit}{}", &text[..at], &text[at + 1..]);
            assert_eq!(wrong.parse::<ResumeToken>(), Err(TokenError), "{wrong}");
        }
        for wrong in ["", "thinly1-", &text[..text.len() - 2], &format!("{text}00")] {
            assert_eq!(wrong.parse::<ResumeToken>(), Err(TokenError));
        }
    }
}

proptest! {
    #[test]
    fn any_ranges_come_back(
        steps in prop::collection::vec((0_u64..9, 1_usize..2000, 0_u8..3), 0..40),
        cut in 0_usize..1000,
    ) {
        let mut at = 0;
        let mut ranges = Vec::new();
        for (gap, length, kind) in steps {
            // Zeros never touch the range before them: two of them would become one.
            at += gap + 1;
            ranges.push(match kind {
                0 => (at, length as u64, None),
                1 => (at, length as u64 + 9, Some((Encoding::Zstd, vec![kind; length]))),
                _ => plain(at, &vec![kind; length]),
            });
            at += length as u64 + 9;
        }
        let bytes = written(&header(0), &ranges);
        let (_, found, totals) = read(&bytes).unwrap();
        prop_assert_eq!(totals.data_frames + totals.zero_frames, ranges.len() as u64);
        prop_assert_eq!(found, ranges);
        prop_assert!(read(&bytes[..bytes.len() - 1 - cut.min(bytes.len() - 1)]).is_err());
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        at in 0_usize..400,
    ) {
        let good = written(&header(0), &small());
        let (front, _) = good.split_at(at.min(good.len() - 1));
        let mixed = [front, &bytes[..]].concat();
        prop_assert!(mixed == good || read(&mixed).is_err());
    }
}
