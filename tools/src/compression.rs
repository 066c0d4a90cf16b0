//! The payload of a stream's frames, compressed or not.
#![forbid(unsafe_code)]

use std::io;

use thinly_engine::stream::Encoding;

use crate::args::Compression;
use crate::failure::Failure;

/// What makes a TiB smaller while it is sent: more would hold up a fast network.
const LEVEL: i32 = 3;

/// Compresses where that helps.
pub(crate) struct Packer {
    zstd: Option<zstd::bulk::Compressor<'static>>,
    packed: Vec<u8>,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").field("zstd", &self.zstd.is_some()).finish_non_exhaustive()
    }
}

impl Packer {
    pub(crate) fn new(compression: Option<Compression>) -> io::Result<Self> {
        let zstd = match compression {
            Some(Compression::Zstd) => Some(zstd::bulk::Compressor::new(LEVEL)?),
            None => None,
        };
        Ok(Self { zstd, packed: Vec::new() })
    }

    /// The payload for some data: what does not get shorter stays as it is.
    pub(crate) fn pack<'a>(&'a mut self, data: &'a [u8]) -> io::Result<(Encoding, &'a [u8])> {
        let Some(zstd) = &mut self.zstd else { return Ok((Encoding::Plain, data)) };
        self.packed.clear();
        self.packed.reserve(zstd::zstd_safe::compress_bound(data.len()));
        let length = zstd.compress_to_buffer(data, &mut self.packed)?;
        if length >= data.len() {
            return Ok((Encoding::Plain, data));
        }
        Ok((Encoding::Zstd, &self.packed[..length]))
    }
}

/// Writes the data of a payload into `data`, which is as long as it must be.
pub(crate) fn unpack(
    encoding: Encoding,
    payload: &[u8],
    data: &mut [u8],
    offset: u64,
) -> Result<(), Failure> {
    match encoding {
        Encoding::Plain if payload.len() == data.len() => data.copy_from_slice(payload),
        Encoding::Zstd => match zstd::bulk::decompress_to_buffer(payload, data) {
            Ok(length) if length == data.len() => {}
            _ => return Err(Failure::StreamData { offset }),
        },
        Encoding::Plain => return Err(Failure::StreamData { offset }),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back_and_what_would_grow_stays() {
        let mut packer = Packer::new(Some(Compression::Zstd)).unwrap();
        let even = vec![7; 1 << 20];
        let (encoding, payload) = packer.pack(&even).unwrap();
        assert!(encoding == Encoding::Zstd && payload.len() < 1000);
        let mut back = vec![0; even.len()];
        unpack(encoding, payload, &mut back, 0).unwrap();
        assert_eq!(back, even);
        let mut short = vec![0; even.len() - 1];
        assert!(unpack(encoding, payload, &mut short, 0).is_err());
        let mut long = vec![0; even.len() + 1];
        assert!(unpack(encoding, payload, &mut long, 0).is_err());
        assert_eq!(packer.pack(b"odd").unwrap(), (Encoding::Plain, &b"odd"[..]));
        let mut plain = Packer::new(None).unwrap();
        assert_eq!(plain.pack(&even).unwrap(), (Encoding::Plain, &even[..]));
    }
}
