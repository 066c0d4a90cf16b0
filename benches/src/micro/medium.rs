//! A journal's medium in memory: what is left of a commit when the disk costs nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};

use thinly_engine::aligned::AlignedBuffer;
use thinly_engine::journal::{Media, MediaError};

/// Bytes in memory, each write "durable" at once.
#[derive(Debug)]
pub struct Memory(Mutex<Vec<u8>>);

impl Memory {
    /// A medium of zeros.
    pub fn zeroed(length: usize) -> Self {
        Self(Mutex::new(vec![0; length]))
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The journal keeps to its medium's length, or the benchmark ends with a panic.
fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl Media for Memory {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn size_bytes(&self) -> u64 {
        self.bytes().len() as u64
    }

    fn unit_bytes(&self) -> u32 {
        4096
    }

    fn read_at(&self, offset: u64, buffer: &mut AlignedBuffer) -> Result<(), MediaError> {
        let from = place(offset);
        let length = buffer.len();
        buffer.copy_from_slice(&self.bytes()[from..from + length]);
        Ok(())
    }

    fn write_at(&self, offset: u64, buffer: &AlignedBuffer) -> Result<(), MediaError> {
        let from = place(offset);
        self.bytes()[from..from + buffer.len()].copy_from_slice(buffer);
        Ok(())
    }

    fn zero_range(&self, offset: u64, length: u64) -> Result<(), MediaError> {
        let from = place(offset);
        self.bytes()[from..from + place(length)].fill(0);
        Ok(())
    }

    fn flush(&self) -> Result<(), MediaError> {
        Ok(())
    }
}
