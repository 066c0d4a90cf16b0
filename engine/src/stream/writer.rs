//! Ranges in, bytes out.
#![forbid(unsafe_code)]

use std::io::{self, Write};

use super::fields::crc;
use super::frame::{Encoding, FrameHead, Kind, Totals};
use super::header::StreamHeader;
use crate::units::Bytes;

/// Writes a stream. Ranges come in the order of their offsets.
#[derive(Debug)]
pub struct StreamWriter<W> {
    out: W,
    chain: u32,
    totals: Totals,
    /// Zeros that may still grow.
    zeros: Option<(u64, u64)>,
    written: u64,
}

impl<W: Write> StreamWriter<W> {
    /// Writes the header.
    pub fn new(mut out: W, header: &StreamHeader) -> io::Result<Self> {
        let (bytes, chain) = header.encode();
        out.write_all(&bytes)?;
        let written = bytes.len() as u64;
        Ok(Self { out, chain, totals: Totals::default(), zeros: None, written })
    }

    /// Says what a range of `length` bytes holds: at most [`super::PAYLOAD_BYTES_MAX`] of them.
    pub fn data(
        &mut self,
        offset: Bytes,
        length: Bytes,
        encoding: Encoding,
        payload: &[u8],
    ) -> io::Result<()> {
        self.flush_zeros()?;
        self.frame(Kind::Data, (offset.get(), length.get()), encoding, payload)
    }

    /// Says that a range is zeros. Ranges that touch become one frame.
    pub fn zero(&mut self, offset: Bytes, length: Bytes) -> io::Result<()> {
        let (offset, length) = (offset.get(), length.get());
        match &mut self.zeros {
            Some((begin, so_far)) if *begin + *so_far == offset => *so_far += length,
            _ => {
                self.flush_zeros()?;
                self.zeros = Some((offset, length));
            }
        }
        Ok(())
    }

    /// Writes the end, without which nothing that came before counts.
    pub fn finish(mut self) -> io::Result<(Totals, Bytes)> {
        self.flush_zeros()?;
        let totals = self.totals;
        let payload = totals.encode(self.chain);
        self.frame(Kind::End, (0, 0), Encoding::Plain, &payload)?;
        self.out.flush()?;
        Ok((totals, Bytes::new(self.written)))
    }

    fn flush_zeros(&mut self) -> io::Result<()> {
        match self.zeros.take() {
            Some(range) => self.frame(Kind::Zero, range, Encoding::Plain, &[]),
            None => Ok(()),
        }
    }

    fn frame(
        &mut self,
        kind: Kind,
        (offset, length): (u64, u64),
        encoding: Encoding,
        payload: &[u8],
    ) -> io::Result<()> {
        let payload_bytes = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let payload_crc = crc(0, payload);
        let head = FrameHead { kind, encoding, offset, length, payload_bytes, payload_crc };
        let (bytes, chain) = head.encode(self.chain);
        self.out.write_all(&bytes)?;
        self.out.write_all(payload)?;
        self.chain = chain;
        self.totals.count(kind, length);
        self.written += (bytes.len() + payload.len()) as u64;
        Ok(())
    }
}
