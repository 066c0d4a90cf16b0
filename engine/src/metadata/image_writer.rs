//! Writing an image of a metadata device into a file, sparsely.
#![forbid(unsafe_code)]

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::error::MetadataError;
use super::field::BLOCK_BYTES;
use crate::units::METADATA_BLOCK_BYTES;

/// An image that is being written; blocks that are never written read as zeros.
#[derive(Debug)]
pub(super) struct ImageWriter<'a> {
    out: &'a File,
    written_blocks: u64,
}

impl<'a> ImageWriter<'a> {
    /// Empties `out` and makes it `blocks` blocks long.
    pub(super) fn new(out: &'a File, blocks: u64) -> Result<Self, MetadataError> {
        let length = blocks.saturating_mul(METADATA_BLOCK_BYTES);
        out.set_len(0)
            .and_then(|()| out.set_len(length))
            .map_err(|source| MetadataError::WriteImage { block: 0, source })?;
        Ok(Self { out, written_blocks: 0 })
    }

    /// Writes one block, or consecutive blocks from `block` on.
    pub(super) fn write(&mut self, block: u64, bytes: &[u8]) -> Result<(), MetadataError> {
        self.out
            .write_all_at(bytes, block.saturating_mul(METADATA_BLOCK_BYTES))
            .map_err(|source| MetadataError::WriteImage { block, source })?;
        self.written_blocks += bytes.len().div_ceil(BLOCK_BYTES) as u64;
        Ok(())
    }

    /// How many blocks were written.
    pub(super) fn written_blocks(&self) -> u64 {
        self.written_blocks
    }

    /// Returns once everything written is durable.
    pub(super) fn sync(&self) -> Result<(), MetadataError> {
        self.out.sync_all().map_err(|source| MetadataError::WriteImage { block: 0, source })
    }
}
