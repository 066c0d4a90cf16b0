//! A medium in memory that remembers every write and fails on command.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "only tests and fuzz targets use it")]
#![cfg_attr(not(test), allow(dead_code, reason = "a fuzz target uses a part of it"))]

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::error::MediaError;
use super::media::Media;
use crate::aligned::AlignedBuffer;

/// What a failing write leaves on the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailedWrite {
    Nothing,
    FirstUnit,
    All,
}

/// One durable change of the medium.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) offset: usize,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug)]
struct Inner {
    bytes: Vec<u8>,
    changes: Vec<Change>,
    operations: u64,
    /// The operation to fail, counted from zero over reads, writes and flushes; so do all later.
    fail_at: Option<(u64, FailedWrite)>,
}

/// A medium in memory; clones share their bytes.
#[derive(Debug, Clone)]
pub(crate) struct MemoryMedium {
    inner: Arc<Mutex<Inner>>,
    unit_bytes: u32,
}

impl MemoryMedium {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let inner = Inner { bytes, changes: Vec::new(), operations: 0, fail_at: None };
        Self { inner: Arc::new(Mutex::new(inner)), unit_bytes: 4096 }
    }

    pub(crate) fn zeroed(length: usize) -> Self {
        Self::new(vec![0; length])
    }

    pub(crate) fn with_unit(self, unit_bytes: u32) -> Self {
        Self { unit_bytes, ..self }
    }

    pub(crate) fn failing(self, operation: u64, failed_write: FailedWrite) -> Self {
        self.lock().fail_at = Some((operation, failed_write));
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    pub(crate) fn operations(&self) -> u64 {
        self.lock().operations
    }

    pub(crate) fn changes(&self) -> Vec<Change> {
        self.lock().changes.clone()
    }

    pub(crate) fn change_count(&self) -> usize {
        self.lock().changes.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    fn change(&self, offset: u64, bytes: &[u8]) -> Result<(), MediaError> {
        let length = bytes.len() as u64;
        assert!(offset.is_multiple_of(4096) && length.is_multiple_of(4096), "an unaligned write");
        let offset = usize::try_from(offset).unwrap();
        let mut inner = self.lock();
        let failed = inner.step();
        let kept = match failed {
            None | Some(FailedWrite::All) => bytes,
            Some(FailedWrite::Nothing) => &[],
            Some(FailedWrite::FirstUnit) => &bytes[..self.unit_bytes as usize],
        };
        inner.bytes[offset..offset + kept.len()].copy_from_slice(kept);
        inner.changes.push(Change { offset, bytes: kept.to_vec() });
        failed.map_or(Ok(()), |_| Err(error("writing", offset as u64, length)))
    }
}

impl Inner {
    fn step(&mut self) -> Option<FailedWrite> {
        let operation = self.operations;
        self.operations += 1;
        self.fail_at.filter(|(at, _)| operation >= *at).map(|(_, failed)| failed)
    }
}

fn error(action: &'static str, offset: u64, length: u64) -> MediaError {
    let source = io::Error::from_raw_os_error(nix::libc::EIO);
    MediaError::Io { action, medium: "memory".to_owned(), offset, length, source }
}

impl Media for MemoryMedium {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn size_bytes(&self) -> u64 {
        self.lock().bytes.len() as u64
    }

    fn unit_bytes(&self) -> u32 {
        self.unit_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut AlignedBuffer) -> Result<(), MediaError> {
        assert!(offset.is_multiple_of(4096) && buffer.len().is_multiple_of(4096));
        let mut inner = self.lock();
        if inner.step().is_some() {
            return Err(error("reading", offset, buffer.len() as u64));
        }
        let held = usize::try_from(offset).ok().and_then(|offset| inner.bytes.get(offset..));
        let Some(held) = held.and_then(|held| held.get(..buffer.len())) else {
            return Err(error("reading", offset, buffer.len() as u64));
        };
        buffer.copy_from_slice(held);
        Ok(())
    }

    fn write_at(&self, offset: u64, buffer: &AlignedBuffer) -> Result<(), MediaError> {
        self.change(offset, buffer)
    }

    fn zero_range(&self, offset: u64, length: u64) -> Result<(), MediaError> {
        self.change(offset, &vec![0; usize::try_from(length).unwrap()])
    }

    fn flush(&self) -> Result<(), MediaError> {
        self.lock().step().map_or(Ok(()), |_| Err(error("flushing", 0, 0)))
    }
}
