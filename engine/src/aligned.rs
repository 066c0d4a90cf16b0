//! A byte buffer whose address suits `O_DIRECT`, built without unsafe code.
//!
//! A plain `Vec<u8>` is allocated one alignment too long and used from its first aligned byte on.
//! The vector is never resized after that, so the aligned offset stays true for its whole life.
#![forbid(unsafe_code)]

use std::fmt;
use std::ops::{Deref, DerefMut};

/// The alignment of every buffer: the largest that a block device asks for in practice.
pub const ALIGNMENT_BYTES: usize = 4096;

/// A zeroed buffer of fixed length, aligned to [`ALIGNMENT_BYTES`].
pub struct AlignedBuffer {
    storage: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    /// Makes a zeroed buffer of `length` bytes.
    ///
    /// # Panics
    ///
    /// Never in practice: the pointer of a byte vector can always be aligned within one page.
    pub fn zeroed(length: usize) -> Self {
        let storage = vec![0_u8; length + ALIGNMENT_BYTES];
        let start = storage.as_ptr().align_offset(ALIGNMENT_BYTES);
        assert!(start <= ALIGNMENT_BYTES, "a byte pointer can always be aligned within one page");
        Self { storage, start, length }
    }

    /// Uses the first `length` bytes only; never more than the buffer was made with. What they hold stays.
    pub fn set_length(&mut self, length: usize) {
        self.length = length.min(self.storage.len() - ALIGNMENT_BYTES);
    }

    /// Makes a buffer that holds `bytes`, padded with zeros to a multiple of `unit_bytes`.
    pub fn padded(bytes: &[u8], unit_bytes: usize) -> Self {
        let mut buffer = Self::zeroed(bytes.len().next_multiple_of(unit_bytes));
        buffer[..bytes.len()].copy_from_slice(bytes);
        buffer
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.storage[self.start..self.start + self.length]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.start + self.length]
    }
}

impl fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuffer").field("length", &self.length).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_starts_on_the_alignment() {
        for length in [0, 1, 511, 4096, 4097, 1 << 20] {
            let buffer = AlignedBuffer::zeroed(length);
            assert_eq!(buffer.len(), length);
            assert_eq!(buffer.as_ptr().align_offset(ALIGNMENT_BYTES), 0);
        }
    }

    #[test]
    fn a_shorter_length_keeps_the_alignment_and_the_room() {
        let mut buffer = AlignedBuffer::zeroed(8192);
        buffer.set_length(512);
        assert_eq!((buffer.len(), buffer.as_ptr().align_offset(ALIGNMENT_BYTES)), (512, 0));
        buffer.set_length(usize::MAX);
        assert_eq!(buffer.len(), 8192);
    }

    #[test]
    fn padding_keeps_the_bytes_and_adds_zeros() {
        let buffer = AlignedBuffer::padded(b"abc", 8);
        assert_eq!(&buffer[..], b"abc\0\0\0\0\0");
    }
}
