//! Copying the metadata of a closed pool, block by block.
#![forbid(unsafe_code)]

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
/// back two bits for each block of metadata and of mapped data, and a byte for each block of a
/// stretch of 16320 with one of three references or more.
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
    first_damage(&copy.map_err(read)?)
}

/// Reads every node of a closed pool's metadata once; gives the first damage.
///
/// Memory: as [`copy_closed`] needs for reading back.
pub fn first_damage(source: &dyn BlockSource) -> Result<Option<MetadataError>, MetadataError> {
    match check(source) {
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::checksum::BlockKind;
    use super::super::field::u64_at;
    use super::super::fixture::{
        Changing, block_of, hold, patch, random_pool, superblock_of, thin_check, thin_dump,
    };
    use super::*;
    use crate::aligned::AlignedBuffer;

    fn copy(source: &dyn BlockSource) -> Result<(Vec<u8>, CopyReport, u64), MetadataError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), [0xff; 10_000]).unwrap();
        let mut last = (0, 0);
        let report = copy_closed(source, file.as_file(), &mut |done, total| {
            assert!(done > last.0 && done <= total);
            last = (done, total);
        })?;
        assert_eq!(last, (source.block_count(), source.block_count()));
        let sectors = file.as_file().metadata().unwrap().blocks();
        Ok((fs::read(file.path()).unwrap(), report, sectors))
    }

    #[test]
    fn a_copy_is_the_same_and_sparse() {
        let mut image = random_pool(30, 9, 10_000).restore(4099);
        image.extend_from_slice(&[0; 512]);
        let (copied, report, sectors) = copy(&image).unwrap();
        assert_eq!(copied[..], image[..4099 * BLOCK_BYTES], "whole blocks only");
        assert!(report.damage.is_none());
        assert!(report.written_blocks.get() < 1000);
        assert!(sectors * 512 <= (report.written_blocks.get() + 64) * 4096, "{sectors} sectors");
        thin_check(&copied);
        assert_eq!(thin_dump(&copied), thin_dump(&image));
    }

    #[test]
    fn the_judge_sees_a_wrong_count() {
        let (mut copied, ..) = copy(&random_pool(3, 2, 100).restore(1024)).unwrap();
        let index = superblock_of(&copied).metadata_space_map.bitmap_root;
        let bitmap = u64_at(&block_of(&mut copied, index)[16..], 0);
        patch(&mut copied, bitmap, BlockKind::Bitmap, 16, &[0x55]);
        assert!(std::panic::catch_unwind(|| thin_check(&copied)).is_err());
    }

    #[test]
    fn a_held_root_is_copied_along() {
        let mut image = random_pool(31, 3, 1000).restore(1024);
        hold(&mut image, 1000);
        assert_eq!(copy(&image).unwrap().0, image);
    }

    #[test]
    fn damage_is_copied_and_reported() {
        let image = random_pool(32, 3, 1000).restore(1024);
        let superblock = superblock_of(&image);
        for block in [0, superblock.device_details_root, superblock.data_mapping_root] {
            let mut image = image.clone();
            image[usize::try_from(block).unwrap() * BLOCK_BYTES + 60] ^= 1;
            let (copied, report, _) = copy(&image).unwrap();
            assert_eq!(copied, image);
            let damage = report.damage.unwrap();
            let (MetadataError::Node { block: named, .. }
            | MetadataError::Superblock { block: named, .. }) = damage
            else {
                panic!("{damage}")
            };
            assert_eq!(named, block);
        }
    }

    #[test]
    fn a_pool_that_commits_is_not_closed() {
        let reads = AtomicU32::new(0);
        let source =
            Changing(random_pool(33, 3, 1000).restore(1024), |block, bytes: AlignedBuffer| {
                let mut image = bytes.to_vec();
                if block == 0 && reads.fetch_add(1, Ordering::Relaxed) > 1 {
                    patch(&mut image, 0, BlockKind::Superblock, 48, &[0xee]);
                }
                AlignedBuffer::padded(&image, BLOCK_BYTES)
            });
        let error = copy(&source).unwrap_err();
        assert!(matches!(error, MetadataError::NotClosed { .. }), "{error}");
        let blank = vec![0; 8192];
        assert!(matches!(copy(&blank), Err(MetadataError::Blank { .. })));
    }
}
