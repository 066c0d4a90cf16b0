//! A stream from arbitrary bytes.
#![forbid(unsafe_code)]
#![allow(clippy::missing_panics_doc, reason = "a broken promise is told by a panic")]

use std::io::{self, Read};

use super::fields::{Fields, crc};
use super::frame::{Encoding, FRAME_BYTES, Kind, PAYLOAD_BYTES_MAX, TOTALS_BYTES, Totals};
use super::header::{CRC_BYTES, FIXED_BYTES, StreamHeader};
use super::reader::{Piece, StreamReader};
use super::writer::StreamWriter;
use crate::fuzzing::asks;
use crate::units::Bytes;

/// Input: a byte of choices (0: right the checksums, 1: right what the end counts), then a stream.
pub fn stream(data: &[u8]) -> bool {
    let Some((&flags, bytes)) = data.split_first() else { return false };
    let mut bytes = bytes.to_vec();
    if asks(flags, 0) {
        right_checksums(&mut bytes, asks(flags, 1));
    }
    let whole = read(&bytes[..]);
    let trickled = read(Trickle { rest: &bytes, turn: 0 });
    assert_eq!(whole, trickled, "how the bytes come makes no difference");
    let Some(Said { header, ranges, end: Ok(totals) }) = whole else { return false };
    assert_eq!(totals, totals_of(&ranges), "the end counts what came");
    let joined = joined(&ranges);
    let written = write(&header, &joined);
    if joined == ranges {
        assert_eq!(written, bytes, "it is written as it was read");
    }
    let end = Ok(totals_of(&joined));
    let again = Said { header, ranges: joined, end };
    assert_eq!(read(&written[..]), Some(again), "what is written anew reads the same");
    check_cuts(&bytes);
    true
}

/// A part of a stream, and a stream with something after it, is never taken for all of one.
fn check_cuts(bytes: &[u8]) {
    let is_whole = |bytes: &[u8]| read(bytes).is_some_and(|said| said.end.is_ok());
    for cut in [bytes.len() - 1, bytes.len() - TOTALS_BYTES - FRAME_BYTES, bytes.len() / 2] {
        assert!(!is_whole(&bytes[..cut]), "{cut} of {} bytes are enough", bytes.len());
    }
    assert!(!is_whole(&[bytes, &[0]].concat()), "a byte follows the end");
}

/// A range, and its payload; without one it is zeros.
type Range = (u64, u64, Option<(Encoding, Vec<u8>)>);

/// What a reader gave until it was at its end, or why it refused more.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    header: StreamHeader,
    ranges: Vec<Range>,
    end: Result<Totals, String>,
}

/// Reads as far as it goes, and checks what it gives: a receiver writes that to a disk before it knows the end.
fn read(source: impl Read) -> Option<Said> {
    let mut reader = StreamReader::new(source).ok()?;
    let header = reader.header().clone();
    let mut ranges = Vec::new();
    let mut reached = header.start.get();
    assert!(reached <= header.virtual_bytes.get(), "it begins behind its end");
    let end = loop {
        let (offset, length, payload) = match reader.next_piece() {
            Ok(Piece::Zero { offset, length }) => (offset, length, None),
            Ok(Piece::Data { offset, length, encoding, payload }) => {
                (offset, length, Some((encoding, payload.to_vec())))
            }
            Ok(Piece::End(totals)) => break Ok(totals),
            Err(error) => break Err(error.to_string()),
        };
        let (offset, length) = (offset.get(), length.get());
        assert!(offset >= reached && length > 0, "ranges ascend, and none is empty");
        reached = offset.saturating_add(length);
        assert!(reached <= header.virtual_bytes.get(), "a range behind the end");
        assert_eq!(reader.reached().get(), reached, "what it notes is what it gave");
        if let Some((encoding, payload)) = &payload {
            let is_short = payload.len() <= PAYLOAD_BYTES_MAX && length <= PAYLOAD_BYTES_MAX as u64;
            let is_all = *encoding == Encoding::Zstd || payload.len() as u64 == length;
            assert!(is_short && is_all, "{} bytes for {length}", payload.len());
        }
        ranges.push((offset, length, payload));
    };
    Some(Said { header, ranges, end })
}

/// Zeros that touch are one range, as the writer has it.
fn joined(ranges: &[Range]) -> Vec<Range> {
    let mut joined: Vec<Range> = Vec::new();
    for range in ranges {
        match (joined.last_mut(), range) {
            (Some((begin, so_far, None)), (offset, length, None))
                if *begin + *so_far == *offset =>
            {
                *so_far += length;
            }
            _ => joined.push(range.clone()),
        }
    }
    joined
}

fn totals_of(ranges: &[Range]) -> Totals {
    let mut totals = Totals::default();
    for (_, length, payload) in ranges {
        totals.count(if payload.is_some() { Kind::Data } else { Kind::Zero }, *length);
    }
    totals
}

fn write(header: &StreamHeader, ranges: &[Range]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut write = || -> io::Result<()> {
        let mut writer = StreamWriter::new(&mut bytes, header)?;
        for (offset, length, payload) in ranges {
            let (offset, length) = (Bytes::new(*offset), Bytes::new(*length));
            match payload {
                Some((encoding, payload)) => writer.data(offset, length, *encoding, payload)?,
                None => writer.zero(offset, length)?,
            }
        }
        writer.finish().map(drop)
    };
    let written = write();
    assert!(written.is_ok(), "memory takes all");
    bytes
}

/// Gives a few bytes at a time, and sometimes none yet, as a pipe does.
struct Trickle<'a> {
    rest: &'a [u8],
    turn: usize,
}

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.turn += 1;
        if self.turn.is_multiple_of(3) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let length = buffer.len().min(self.turn * 37 % 101 + 1);
        self.rest.read(&mut buffer[..length])
    }
}

/// Right checksums from the header on, as far as whole frames go; perhaps right totals.
fn right_checksums(bytes: &mut [u8], with_totals: bool) {
    let name_bytes = bytes.get(12..16).map_or(0, |field| Fields::new(field).u32());
    let end = usize::try_from(name_bytes).unwrap_or(usize::MAX).saturating_add(FIXED_BYTES);
    let Some((header, rest)) = bytes.split_at_mut_checked(end) else { return };
    let Some((sum, mut rest)) = rest.split_first_chunk_mut::<CRC_BYTES>() else { return };
    let mut chain = crc(0, header);
    *sum = chain.to_le_bytes();
    let mut totals = Totals::default();
    while let Some((head, more)) = rest.split_first_chunk_mut::<FRAME_BYTES>() {
        let mut fields = Fields::new(&head[12..]);
        let (length, payload_bytes) = (fields.u64(), fields.u32());
        let payload_bytes = usize::try_from(payload_bytes).unwrap_or(usize::MAX);
        let Some((payload, more)) = more.split_at_mut_checked(payload_bytes) else { return };
        match head[0] {
            1 => totals.count(Kind::Data, length),
            2 => totals.count(Kind::Zero, length),
            _ if with_totals && payload.len() == TOTALS_BYTES => {
                payload.copy_from_slice(&totals.encode(chain));
            }
            _ => {}
        }
        head[24..28].copy_from_slice(&crc(0, payload).to_le_bytes());
        chain = crc(chain, &head[..28]);
        head[28..].copy_from_slice(&chain.to_le_bytes());
        rest = more;
    }
}

/// A whole snapshot, the rest of a difference, and one of nothing.
#[cfg(test)]
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    use uuid::Uuid;

    use crate::catalogue::{Timestamp, VolumeName};

    let header = |base: Option<u128>, start: u64| StreamHeader {
        snapshot: Uuid::from_u128(1),
        base: base.map(Uuid::from_u128),
        volume: Uuid::from_u128(3),
        pool: Uuid::from_u128(4),
        virtual_bytes: Bytes::new(8 << 20),
        start: Bytes::new(start),
        created_at: Timestamp(1_700_000_000_123),
        block_bytes: Bytes::new(1 << 16),
        name: VolumeName::new("web@monday").unwrap(),
    };
    let data = |offset: u64, length: u64, encoding, payload: &[u8]| {
        (offset, length, Some((encoding, payload.to_vec())))
    };
    let ranges = [
        data(1 << 20, 512, Encoding::Plain, &[0x5a; 512]),
        (2 << 20, 3 << 20, None),
        data(6 << 20, 1 << 16, Encoding::Zstd, b"short"),
        data((6 << 20) + (1 << 16), 9, Encoding::Plain, b"the last."),
    ];
    let seed =
        |header: &StreamHeader, ranges: &[Range]| [&[0b11][..], &write(header, ranges)].concat();
    vec![
        ("whole", seed(&header(None, 0), &ranges)),
        ("rest-of-a-difference", seed(&header(Some(2), 2 << 20), &ranges[1..])),
        ("nothing", seed(&header(Some(2), 0), &[])),
    ]
}
