//! The memory that a command and its reply travel in, and the one ioctl call.
//!
//! Stored as 64-bit words, so that the kernel's structures are aligned in it by construction. It
//! is read and written through checked accessors alone; no structure is ever laid over it.

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use thiserror::Error;

use super::command::Command;
use super::name::NameError;
use super::sys::{DM_IOCTL, DmIoctl, HEADER_BYTES, RECORD_ALIGNMENT_BYTES};

const WORD_BYTES: usize = 8;

/// A reply (or a request) that does not hold together.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BufferError {
    /// A record reaches past the end.
    #[error("{length} bytes at offset {offset} lie outside a buffer of {size} bytes")]
    OutOfBounds {
        /// Where the access starts.
        offset: usize,
        /// How long it is.
        length: usize,
        /// How long the buffer is.
        size: usize,
    },
    /// A text without its terminating zero.
    #[error("the text at offset {offset} does not end inside its field")]
    Unterminated {
        /// Where the text starts.
        offset: usize,
    },
    /// A text that is not UTF-8.
    #[error("the text {text:?} at offset {offset} is not UTF-8")]
    NotUtf8 {
        /// Where the text starts.
        offset: usize,
        /// The text, with replacement characters.
        text: String,
    },
    /// A name that breaks the kernel's own rules.
    #[error("the reply holds an unusable name: {0}")]
    Name(#[from] NameError),
    /// More than the ioctl's 32-bit fields can say.
    #[error("{0} does not fit into 32 bits")]
    TooLarge(usize),
    /// A chain of records that does not move forward.
    #[error("the record at offset {offset} names {next} as the way to the next one")]
    Chain {
        /// Where the record starts.
        offset: usize,
        /// Its link.
        next: u32,
    },
}

/// A command with room for its reply.
#[derive(Debug)]
pub(super) struct IoctlBuffer {
    words: Vec<u64>,
}

impl IoctlBuffer {
    /// A zeroed buffer of at least `size` bytes, and never less than the header.
    pub(super) fn new(size: usize) -> Self {
        Self { words: vec![0; size.max(HEADER_BYTES).div_ceil(WORD_BYTES)] }
    }

    pub(super) fn size(&self) -> usize {
        self.words.len() * WORD_BYTES
    }

    /// Submits the command; the reply replaces it.
    pub(super) fn submit(&mut self, control: BorrowedFd<'_>, command: Command) -> io::Result<()> {
        let request = nix::request_code_readwrite!(DM_IOCTL, command.number(), HEADER_BYTES);
        // Written here and nowhere else, so that the call below is sound whatever was put before.
        to_u32(self.size())
            .and_then(|size| self.put_u32(offset_of!(DmIoctl, data_size), size))
            .map_err(io::Error::other)?;
        #[allow(clippy::disallowed_methods, reason = "this is the place that the lint points to")]
        // SAFETY: every command of this type takes one pointer to a `struct dm_ioctl`, and the
        // kernel reads and writes no more than the `data_size` bytes that its header announces
        // (or the header alone). The vector owns at least a header and is aligned to 8 bytes, and
        // `data_size` was set to its length just above. The exclusive borrow keeps it alive and
        // unaliased during the call, and any bytes are valid `u64`s.
        let answer =
            unsafe { nix::libc::ioctl(control.as_raw_fd(), request, self.words.as_mut_ptr()) };
        Errno::result(answer)?;
        Ok(())
    }

    fn check(&self, offset: usize, length: usize) -> Result<(), BufferError> {
        match offset.checked_add(length) {
            Some(end) if end <= self.size() => Ok(()),
            _ => Err(BufferError::OutOfBounds { offset, length, size: self.size() }),
        }
    }

    #[allow(clippy::host_endian_bytes, reason = "the kernel's structures are in host order")]
    fn byte(&self, offset: usize) -> u8 {
        self.words[offset / WORD_BYTES].to_ne_bytes()[offset % WORD_BYTES]
    }

    fn read<const N: usize>(&self, offset: usize) -> Result<[u8; N], BufferError> {
        self.check(offset, N)?;
        Ok(std::array::from_fn(|position| self.byte(offset + position)))
    }

    #[allow(clippy::host_endian_bytes, reason = "the kernel's structures are in host order")]
    pub(super) fn u32(&self, offset: usize) -> Result<u32, BufferError> {
        self.read(offset).map(u32::from_ne_bytes)
    }

    #[allow(clippy::host_endian_bytes, reason = "the kernel's structures are in host order")]
    pub(super) fn u64(&self, offset: usize) -> Result<u64, BufferError> {
        self.read(offset).map(u64::from_ne_bytes)
    }

    /// The text at `offset`, up to its zero, which must come within `max_bytes`.
    pub(super) fn text(&self, offset: usize, max_bytes: usize) -> Result<String, BufferError> {
        self.check(offset, 0)?;
        let end = offset.saturating_add(max_bytes).min(self.size());
        let mut bytes = Vec::new();
        for position in offset..end {
            match self.byte(position) {
                0 => {
                    return String::from_utf8(bytes).map_err(|error| BufferError::NotUtf8 {
                        offset,
                        text: String::from_utf8_lossy(error.as_bytes()).into_owned(),
                    });
                }
                byte => bytes.push(byte),
            }
        }
        Err(BufferError::Unterminated { offset })
    }

    #[allow(clippy::host_endian_bytes, reason = "the kernel's structures are in host order")]
    pub(super) fn put(&mut self, offset: usize, bytes: &[u8]) -> Result<(), BufferError> {
        self.check(offset, bytes.len())?;
        for (position, byte) in (offset..).zip(bytes) {
            let word = &mut self.words[position / WORD_BYTES];
            let mut parts = word.to_ne_bytes();
            parts[position % WORD_BYTES] = *byte;
            *word = u64::from_ne_bytes(parts);
        }
        Ok(())
    }

    #[allow(clippy::host_endian_bytes, reason = "the kernel's structures are in host order")]
    pub(super) fn put_u32(&mut self, offset: usize, value: u32) -> Result<(), BufferError> {
        self.put(offset, &value.to_ne_bytes())
    }

    #[allow(clippy::host_endian_bytes, reason = "the kernel's structures are in host order")]
    pub(super) fn put_u64(&mut self, offset: usize, value: u64) -> Result<(), BufferError> {
        self.put(offset, &value.to_ne_bytes())
    }
}

/// The next offset at which a record may start.
pub(super) const fn align(offset: usize) -> usize {
    offset.next_multiple_of(RECORD_ALIGNMENT_BYTES)
}

/// A length as the ioctl's fields hold it.
pub(super) fn to_u32(length: usize) -> Result<u32, BufferError> {
    u32::try_from(length).map_err(|_| BufferError::TooLarge(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_reaches_past_the_end() {
        let mut buffer = IoctlBuffer::new(0);
        assert_eq!(buffer.size(), HEADER_BYTES);
        assert!(buffer.u32(HEADER_BYTES - 4).is_ok());
        for offset in [HEADER_BYTES - 3, HEADER_BYTES, usize::MAX] {
            assert!(matches!(buffer.u32(offset), Err(BufferError::OutOfBounds { .. })));
            assert!(matches!(buffer.put_u64(offset, 1), Err(BufferError::OutOfBounds { .. })));
        }
        assert!(matches!(buffer.text(usize::MAX, 1), Err(BufferError::OutOfBounds { .. })));
    }

    #[test]
    fn a_text_must_end_in_its_field() {
        let mut buffer = IoctlBuffer::new(0);
        buffer.put(3, b"abcd").unwrap();
        assert_eq!(buffer.text(3, 5).unwrap(), "abcd");
        assert!(matches!(buffer.text(3, 4), Err(BufferError::Unterminated { .. })));
        buffer.put(4, &[0xff]).unwrap();
        assert!(matches!(buffer.text(3, 5), Err(BufferError::NotUtf8 { .. })));
    }

    proptest! {
        #[test]
        fn what_is_put_is_read(offset in 0_usize..300, value: u64, text in "[ -~]{0,40}") {
            let mut buffer = IoctlBuffer::new(400);
            buffer.put_u64(offset, value).unwrap();
            prop_assert_eq!(buffer.u64(offset).unwrap(), value);
            buffer.put(offset + 8, text.as_bytes()).unwrap();
            prop_assert_eq!(buffer.text(offset + 8, 64).unwrap(), text);
            prop_assert_eq!(buffer.u64(offset).unwrap(), value);
        }
    }
}
