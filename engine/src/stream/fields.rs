//! Numbers and identities in little-endian bytes, one after the other.
#![forbid(unsafe_code)]

use uuid::Uuid;

/// Takes fields from the front of bytes whose length was checked; what is missing reads as zero.
#[derive(Debug)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        if let Some((front, rest)) = self.0.split_at_checked(N) {
            array.copy_from_slice(front);
            self.0 = rest;
        }
        array
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    pub(super) fn uuid(&mut self) -> Uuid {
        Uuid::from_bytes(self.array())
    }
}

/// The CRC-32 of some bytes, going on from another one.
pub(super) fn crc(begin: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(begin);
    hasher.update(bytes);
    hasher.finalize()
}
