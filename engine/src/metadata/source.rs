//! Where metadata blocks come from: a device, a copy of one in a file, or bytes in memory.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::error::MetadataError;
use super::field::BLOCK_BYTES;
use crate::aligned::AlignedBuffer;
use crate::block_device::BlockDevice;
use crate::units::METADATA_BLOCK_BYTES;

/// Random access to the blocks of one metadata device.
pub trait BlockSource: Send + Sync {
    /// Reads one block of 4096 bytes.
    fn read_block(&self, block: u64) -> Result<AlignedBuffer, MetadataError>;

    /// How many whole blocks there are.
    fn block_count(&self) -> u64;

    /// What to call this source in a message: a path where there is one.
    fn name(&self) -> String;

    /// Reads `count` consecutive blocks; a device does it in one request.
    fn read_blocks(&self, first: u64, count: usize) -> Result<AlignedBuffer, MetadataError> {
        let mut buffer = AlignedBuffer::zeroed(count.saturating_mul(BLOCK_BYTES));
        self.read_into(first, &mut buffer)?;
        Ok(buffer)
    }

    /// Fills a buffer with the blocks from `first` on.
    fn read_into(&self, first: u64, buffer: &mut AlignedBuffer) -> Result<(), MetadataError> {
        for (block, place) in (first..).zip(buffer.chunks_exact_mut(BLOCK_BYTES)) {
            place.copy_from_slice(&self.read_block(block)?);
        }
        Ok(())
    }

    /// How many reads at a time it takes to keep this source busy.
    fn reads_in_flight(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }
}

/// Reads in flight on a device: what a disk with queues needs to be busy with single blocks.
pub(crate) const DEVICE_READS_IN_FLIGHT: usize = 16;

/// How many blocks a buffer holds.
fn blocks_of(buffer: &AlignedBuffer) -> u64 {
    buffer.len().div_ceil(BLOCK_BYTES) as u64
}

/// Fails for a run of blocks that is not wholly inside the source; gives its place in bytes.
fn offset_of(source: &dyn BlockSource, first: u64, count: u64) -> Result<u64, MetadataError> {
    let block_count = source.block_count();
    let inside = first.checked_add(count).is_some_and(|end| end <= block_count);
    match first.checked_mul(METADATA_BLOCK_BYTES) {
        Some(offset) if inside => Ok(offset),
        _ => Err(MetadataError::BeyondEnd { device: source.name(), block: first, block_count }),
    }
}

impl BlockSource for BlockDevice {
    fn read_block(&self, block: u64) -> Result<AlignedBuffer, MetadataError> {
        self.read_blocks(block, 1)
    }

    fn block_count(&self) -> u64 {
        self.size().get() / METADATA_BLOCK_BYTES
    }

    fn name(&self) -> String {
        self.path().display().to_string()
    }

    fn read_into(&self, first: u64, buffer: &mut AlignedBuffer) -> Result<(), MetadataError> {
        let offset = offset_of(self, first, blocks_of(buffer))?;
        self.read_at(offset, buffer)
            .map_err(|source| MetadataError::Device { block: first, source })
    }

    fn reads_in_flight(&self) -> usize {
        DEVICE_READS_IN_FLIGHT
    }
}

/// A copy of a metadata device in a file, read through the page cache.
///
/// Never point this at a live device: the kernel writes metadata past the page cache.
#[derive(Debug)]
pub struct ImageFile {
    file: File,
    path: PathBuf,
    block_count: u64,
}

impl ImageFile {
    /// Opens an image for reading.
    pub fn open(path: &Path) -> Result<Self, MetadataError> {
        let fail = |source| MetadataError::OpenImage { path: path.to_owned(), source };
        let file = File::open(path).map_err(fail)?;
        Self::from_file(file, path).map_err(fail)
    }

    /// Reads from a file that is open already; `path` is for messages.
    pub(super) fn from_file(file: File, path: &Path) -> Result<Self, io::Error> {
        let block_count = file.metadata()?.len() / METADATA_BLOCK_BYTES;
        Ok(Self { file, path: path.to_owned(), block_count })
    }
}

impl BlockSource for ImageFile {
    fn read_block(&self, block: u64) -> Result<AlignedBuffer, MetadataError> {
        self.read_blocks(block, 1)
    }

    fn block_count(&self) -> u64 {
        self.block_count
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn read_into(&self, first: u64, buffer: &mut AlignedBuffer) -> Result<(), MetadataError> {
        let offset = offset_of(self, first, blocks_of(buffer))?;
        self.file.read_exact_at(buffer, offset).map_err(|source| MetadataError::ReadImage {
            path: self.path.clone(),
            block: first,
            source,
        })
    }
}

impl BlockSource for &[u8] {
    fn read_block(&self, block: u64) -> Result<AlignedBuffer, MetadataError> {
        let offset = offset_of(self, block, 1)?;
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..)?.get(..BLOCK_BYTES))
            .ok_or_else(|| MetadataError::BeyondEnd {
                device: self.name(),
                block,
                block_count: self.block_count(),
            })?;
        Ok(AlignedBuffer::padded(bytes, BLOCK_BYTES))
    }

    fn block_count(&self) -> u64 {
        self.len() as u64 / METADATA_BLOCK_BYTES
    }

    fn name(&self) -> String {
        "the metadata image in memory".to_owned()
    }
}

impl BlockSource for Vec<u8> {
    fn read_block(&self, block: u64) -> Result<AlignedBuffer, MetadataError> {
        self.as_slice().read_block(block)
    }

    fn block_count(&self) -> u64 {
        self.as_slice().block_count()
    }

    fn name(&self) -> String {
        self.as_slice().name()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::block_device::Access;

    fn check(source: &dyn BlockSource) {
        assert_eq!(source.block_count(), 3, "a partial block at the end does not count");
        assert_eq!(source.read_block(2).unwrap()[..], [3_u8; BLOCK_BYTES]);
        let two = source.read_blocks(1, 2).unwrap();
        assert_eq!(two[..BLOCK_BYTES], [2_u8; BLOCK_BYTES]);
        assert_eq!(two[BLOCK_BYTES..], [3_u8; BLOCK_BYTES]);
        for beyond in [3, u64::MAX / 4096, u64::MAX] {
            let error = source.read_block(beyond).unwrap_err();
            assert!(matches!(error, MetadataError::BeyondEnd { block_count: 3, .. }), "{error}");
        }
        assert!(source.read_blocks(2, 2).is_err());
    }

    #[test]
    fn every_source_gives_the_same_blocks() {
        let mut bytes = Vec::new();
        for fill in 1..=3_u8 {
            bytes.extend_from_slice(&[fill; BLOCK_BYTES]);
        }
        bytes.extend_from_slice(&[9; 512]);
        check(&bytes);
        check(&bytes.as_slice());
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes).unwrap();
        check(&ImageFile::open(file.path()).unwrap());
        check(&BlockDevice::open_any(file.path(), Access::ReadOnly).unwrap());
    }
}
