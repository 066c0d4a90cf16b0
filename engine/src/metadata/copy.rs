//! Copying the metadata of a closed pool, block by block.

use std::fs::File;
use std::path::Path;

use super::census::{self, Counted};
use super::error::MetadataError;
use super::field::BLOCK_BYTES;
use super::image_writer::ImageWriter;
use super::reference_counts::{ENTRIES_PER_BITMAP, ReferenceCounts};
use super::source::{BlockSource, ImageFile};
use super::superblock::{SUPERBLOCK_LOCATION, require_superblock};
use crate::units::MetadataBlocks;

/// How many blocks one read asks for: 1 MiB.
const BLOCKS_PER_READ: u64 = 256;

/// What a copy holds.
#[derive(Debug)]
#[non_exhaustive]
pub struct CopyReport {
    /// How long the image is.
    pub total_blocks: MetadataBlocks,
    /// How many blocks were written into it; the others are holes that read as zeros.
    pub written_blocks: MetadataBlocks,
    /// The first damage met when the copy was read back. A copy of damaged metadata is still
    /// worth having: it is what a repair starts from.
    pub damage: Option<MetadataError>,
}

/// Copies the metadata of a closed pool into a sparse file, and reads the copy back.
///
/// `out` must be a regular file open for reading and writing; what it held is lost. `progress`
/// gets the number of blocks read and their total. Memory: 1 MiB for copying, and for reading
/// back two bits for each block of metadata and of mapped data, and some 30 bytes for each block
/// with three references or more.
pub fn copy_closed(
    source: &dyn BlockSource,
    out: &File,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<CopyReport, MetadataError> {
    let before = source.read_block(SUPERBLOCK_LOCATION)?;
    match require_superblock(source) {
        Ok(_) | Err(MetadataError::Superblock { .. }) => {}
        Err(error) => return Err(error),
    }
    let total_blocks = source.block_count();
    let mut image = ImageWriter::new(out, total_blocks)?;
    let mut done = 0;
    while done < total_blocks {
        let step = BLOCKS_PER_READ.min(total_blocks - done);
        let bytes = source.read_blocks(done, usize::try_from(step).unwrap_or(1))?;
        for (block, bytes) in (done..).zip(bytes.chunks_exact(BLOCK_BYTES)) {
            if bytes.iter().any(|byte| *byte != 0) {
                image.write(block, bytes)?;
            }
        }
        done += step;
        progress(done, total_blocks);
    }
    if source.read_block(SUPERBLOCK_LOCATION)?[..] != before[..] {
        return Err(MetadataError::NotClosed { device: source.name() });
    }
    image.sync()?;
    let written_blocks = MetadataBlocks::new(image.written_blocks());
    let damage = verify(out, &source.name())?;
    Ok(CopyReport { total_blocks: MetadataBlocks::new(total_blocks), written_blocks, damage })
}

/// Reads every node of a copy; gives the first damage.
fn verify(out: &File, origin: &str) -> Result<Option<MetadataError>, MetadataError> {
    let name = format!("the copy of {origin}");
    let read = |source| MetadataError::ReadImage { path: name.clone().into(), block: 0, source };
    let copy = out.try_clone().and_then(|file| ImageFile::from_file(file, Path::new(&name)));
    match check(&copy.map_err(read)?) {
        Ok(()) => Ok(None),
        Err(damage @ (MetadataError::Node { .. } | MetadataError::Superblock { .. })) => {
            Ok(Some(damage))
        }
        Err(error) => Err(error),
    }
}

/// Reads every node below the live superblock once.
fn check(source: &dyn BlockSource) -> Result<(), MetadataError> {
    let superblock = require_superblock(source)?;
    let metadata_blocks = source.block_count();
    // Every 16320 data blocks have a bitmap: more than fit are a damaged count, and memory must
    // not follow it.
    let data_blocks = metadata_blocks.saturating_mul(ENTRIES_PER_BITMAP);
    let counted = Counted {
        metadata: ReferenceCounts::new(metadata_blocks),
        data: ReferenceCounts::new(superblock.data_space_map.total_blocks.min(data_blocks)),
    };
    census::count(source, &superblock, counted, &mut |_| Ok(())).map(|_| ())
}
