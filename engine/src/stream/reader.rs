//! Bytes in, ranges out: each one checked before it is given.
#![forbid(unsafe_code)]

use std::io::{self, Read};

use super::error::StreamError;
use super::fields::crc;
use super::frame::{
    BadFrame, Encoding, FRAME_BYTES, FrameHead, Kind, PAYLOAD_BYTES_MAX, TOTALS_BYTES, Totals,
};
use super::header::{FIXED_BYTES, StreamHeader};
use crate::units::Bytes;

/// What a stream says next.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// What a range holds.
    Data {
        /// Where it begins.
        offset: Bytes,
        /// How long it is.
        length: Bytes,
        /// How the payload is written.
        encoding: Encoding,
        /// The payload.
        payload: &'a [u8],
    },
    /// A range is zeros.
    Zero {
        /// Where it begins.
        offset: Bytes,
        /// How long it is.
        length: Bytes,
    },
    /// All came, and nothing comes after it.
    End(Totals),
}

/// Reads a stream.
#[derive(Debug)]
pub struct StreamReader<R> {
    source: R,
    header: StreamHeader,
    chain: u32,
    totals: Totals,
    payload: Vec<u8>,
    /// The end of the last range.
    reached: u64,
    /// How many bytes were read.
    at: u64,
}

impl<R: Read> StreamReader<R> {
    /// Reads the header.
    pub fn new(mut source: R) -> Result<Self, StreamError> {
        let mut at = 0;
        let mut fixed = [0; FIXED_BYTES];
        fill(&mut source, &mut at, &mut fixed).map_err(|error| match error {
            // What is shorter than a header is told from one that was cut by its first bytes.
            StreamError::Truncated { at }
                if !fixed.starts_with(&super::header::MAGIC) || at == 0 =>
            {
                StreamError::NotAStream
            }
            other => other,
        })?;
        let mut rest = vec![0; StreamHeader::rest_bytes(&fixed)?];
        fill(&mut source, &mut at, &mut rest)?;
        let (header, chain) = StreamHeader::decode(&fixed, &rest)?;
        let reached = header.start.get();
        let totals = Totals::default();
        Ok(Self { source, header, chain, totals, payload: Vec::new(), reached, at })
    }

    /// What the stream says of itself.
    pub const fn header(&self) -> &StreamHeader {
        &self.header
    }

    /// All that the stream says of the volume's bytes before this one was given.
    pub const fn reached(&self) -> Bytes {
        Bytes::new(self.reached)
    }

    /// How many bytes of the stream were read.
    pub const fn read_bytes(&self) -> Bytes {
        Bytes::new(self.at)
    }

    /// The next range. After [`Piece::End`] it is not called again.
    pub fn next_piece(&mut self) -> Result<Piece<'_>, StreamError> {
        let begin = self.at;
        let mut bytes = [0; FRAME_BYTES];
        fill(&mut self.source, &mut self.at, &mut bytes)?;
        let before = self.chain;
        let (head, chain) = FrameHead::decode(&bytes, before).map_err(|bad| match bad {
            BadFrame::Checksum => StreamError::Checksum { what: "the frame", at: begin },
            BadFrame::Unknown => nonsense("a frame of an unknown kind", begin),
        })?;
        self.chain = chain;
        self.read_payload(&head, begin)?;
        match head.kind {
            Kind::End => return self.end(&head, before, begin),
            Kind::Data | Kind::Zero => self.check_range(&head, begin)?,
        }
        self.totals.count(head.kind, head.length);
        let (offset, length) = (Bytes::new(head.offset), Bytes::new(head.length));
        if head.kind == Kind::Zero {
            return Ok(Piece::Zero { offset, length });
        }
        Ok(Piece::Data { offset, length, encoding: head.encoding, payload: &self.payload })
    }

    fn read_payload(&mut self, head: &FrameHead, begin: u64) -> Result<(), StreamError> {
        let length = usize::try_from(head.payload_bytes).unwrap_or(usize::MAX);
        if length > PAYLOAD_BYTES_MAX {
            return Err(nonsense("a frame is longer than 1 MiB", begin));
        }
        self.payload.resize(length, 0);
        fill(&mut self.source, &mut self.at, &mut self.payload)?;
        if crc(0, &self.payload) != head.payload_crc {
            return Err(StreamError::Checksum { what: "the data", at: begin });
        }
        Ok(())
    }

    /// Ranges ascend, do not overlap and lie in the snapshot; a payload is as long as it must be.
    fn check_range(&mut self, head: &FrameHead, begin: u64) -> Result<(), StreamError> {
        let end = head.offset.checked_add(head.length);
        let end = end.filter(|end| *end <= self.header.virtual_bytes.get());
        let end = end.ok_or(nonsense("a range lies behind the snapshot's end", begin))?;
        if head.length == 0 || head.offset < self.reached {
            return Err(nonsense("a range is empty or begins before the last one ended", begin));
        }
        let payload = u64::from(head.payload_bytes);
        let fits = match (head.kind, head.encoding) {
            (Kind::Data, Encoding::Plain) => payload == head.length,
            (Kind::Data, Encoding::Zstd) => {
                payload > 0 && payload < head.length && head.length <= PAYLOAD_BYTES_MAX as u64
            }
            (_, encoding) => payload == 0 && encoding == Encoding::Plain,
        };
        if !fits {
            return Err(nonsense("a payload is not as long as its range", begin));
        }
        self.reached = end;
        Ok(())
    }

    fn end(&mut self, head: &FrameHead, before: u32, begin: u64) -> Result<Piece<'_>, StreamError> {
        let plain = (head.offset, head.length, head.encoding) == (0, 0, Encoding::Plain);
        let wanted: [u8; TOTALS_BYTES] = self.totals.encode(before);
        if !plain || self.payload != wanted {
            return Err(nonsense("the frames are not those that its end counts", begin));
        }
        let mut more = [0];
        match fill(&mut self.source, &mut self.at, &mut more) {
            Err(StreamError::Truncated { .. }) => {
                self.reached = self.header.virtual_bytes.get();
                Ok(Piece::End(self.totals))
            }
            Err(error) => Err(error),
            Ok(()) => Err(nonsense("something follows its end", self.at - 1)),
        }
    }
}

const fn nonsense(what: &'static str, at: u64) -> StreamError {
    StreamError::Nonsense { what, at }
}

/// Fills `buffer`, or says how far the stream came.
fn fill(source: &mut impl Read, at: &mut u64, buffer: &mut [u8]) -> Result<(), StreamError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => return Err(StreamError::Truncated { at: *at }),
            Ok(count) => {
                filled += count;
                *at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(StreamError::Read(error)),
        }
    }
    Ok(())
}
