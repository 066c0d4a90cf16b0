//! Copying the metadata of a live pool under a metadata snapshot.
//!
//! The snapshot's superblock has no space maps, and those of the live one change meanwhile. So
//! only the trees are copied, each node to the block it has, references are counted on the way,
//! and new space maps go into blocks that the trees leave free.
#![forbid(unsafe_code)]

use std::fs::File;

use super::census::{self, Counted};
use super::copy::CopyReport;
use super::error::MetadataError;
use super::image_writer::ImageWriter;
use super::proof::settled_superblock;
use super::reference_counts::{ENTRIES_PER_BITMAP, ReferenceCounts};
use super::source::BlockSource;
use super::space_map::MAX_METADATA_BLOCKS;
use super::space_map_writer::{write_data_map, write_metadata_map};
use super::superblock::{SUPERBLOCK_LOCATION, Superblock, make_live, read_held_superblock};
use super::tree_writer::Allocator;
use crate::units::{DataBlocks, MetadataBlocks};

/// How many blocks go by between two reports of progress.
const PROGRESS_STEP_BLOCKS: u64 = 256;

/// Makes an image of the pool as it was when the metadata snapshot was taken.
///
/// `superblock` is the held one, `total_data_blocks` the length of the data device, which a
/// snapshot does not hold. `out` must be a regular file open for writing; what it held is lost,
/// and until the very end it has no superblock. `progress` gets the number of blocks copied and a
/// guess at their total. Time: each node is read once. Memory: two bits for each metadata block
/// and for each data block of a stretch of 16320 with a mapped one (together never more than the
/// metadata device is long), one byte for each block of a stretch with one of three references or more, 16 bytes
/// for each device.
pub fn copy_held(
    source: &dyn BlockSource,
    superblock: &Superblock,
    total_data_blocks: DataBlocks,
    out: &File,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<CopyReport, MetadataError> {
    let guess = require_held(source, superblock)?.metadata_space_map.allocated_blocks;
    let total_blocks = source.block_count().min(MAX_METADATA_BLOCKS);
    if total_data_blocks.get().div_ceil(ENTRIES_PER_BITMAP) >= total_blocks {
        return Err(MetadataError::NoRoom { device: source.name(), total_blocks });
    }
    let mut image = ImageWriter::new(out, total_blocks)?;
    let counted = Counted {
        metadata: ReferenceCounts::new(total_blocks),
        data: ReferenceCounts::new(total_data_blocks.get()),
    };
    let counted = census::count(source, superblock, counted, &mut |node| {
        image.write(node.block(), node.bytes())?;
        let done = image.written_blocks();
        if done.is_multiple_of(PROGRESS_STEP_BLOCKS) {
            progress(done, guess.max(done));
        }
        Ok(())
    })?;
    let mut live = source.read_block(superblock.block)?;
    // Blocks under a snapshot are not recycled; under one released meanwhile they may be.
    require_held(source, superblock)?;

    let mut blocks = Allocator::new(counted.metadata, source.name());
    let data = write_data_map(&mut image, &mut blocks, &counted.data)?;
    let metadata = write_metadata_map(&mut image, blocks)?;
    make_live(&mut live, &data, &metadata);
    image.sync()?;
    image.write(SUPERBLOCK_LOCATION, &live)?;
    image.sync()?;
    let written_blocks = image.written_blocks();
    progress(written_blocks, written_blocks);
    Ok(CopyReport {
        total_blocks: MetadataBlocks::new(total_blocks),
        written_blocks: MetadataBlocks::new(written_blocks),
        damage: None,
    })
}

/// Fails unless `superblock` is the one under the metadata snapshot now; gives the live one.
fn require_held(
    source: &dyn BlockSource,
    superblock: &Superblock,
) -> Result<Superblock, MetadataError> {
    let live = settled_superblock(source)?;
    match read_held_superblock(source, &live) {
        Ok(Some(held)) if held == *superblock => Ok(live),
        Ok(_) | Err(MetadataError::Superblock { .. }) => {
            Err(MetadataError::NotHeld { device: source.name(), block: superblock.block })
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::checksum::BlockKind;
    use super::super::fault::NodeFault;
    use super::super::fixture::{
        Changing, Device, Pool, counts_of, hold, patch, random_pool, share, superblock_of,
        thin_check, thin_dump,
    };
    use super::*;
    use crate::aligned::AlignedBuffer;

    /// Where these tests put the held superblock.
    const HELD: u64 = 2;

    fn copy(
        source: &dyn BlockSource,
        held: &Superblock,
        data_blocks: u64,
    ) -> Result<Vec<u8>, MetadataError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), [0xff; 10_000]).unwrap();
        let mut last = (0, 0);
        let mut progress = |done, total| {
            assert!(done >= last.0 && done <= total);
            last = (done, total);
        };
        let report =
            copy_held(source, held, DataBlocks::new(data_blocks), file.as_file(), &mut progress)?;
        assert_eq!(last.0, report.written_blocks.get());
        assert_eq!(last.0, last.1);
        let copy = fs::read(file.path()).unwrap();
        assert_eq!(copy.len() as u64, report.total_blocks.get() * 4096);
        Ok(copy)
    }

    /// Holds a root at the end of the image, copies it, and has the copy judged.
    fn copy_and_judge(mut image: Vec<u8>, data_blocks: u64) -> Vec<u8> {
        let dump = thin_dump(&image);
        let last = image.block_count() - HELD;
        let held = hold(&mut image, last);
        let copy = copy(&image, &held, data_blocks).unwrap();
        thin_check(&copy);
        assert_eq!(thin_dump(&copy), dump);
        assert_eq!(superblock_of(&copy).held_root, None);
        copy
    }

    /// The space maps of a copy against those that another program made for the same pool.
    fn assert_same_counts(original: &Vec<u8>, copy: &Vec<u8>) {
        let (original_root, copy_root) = (superblock_of(original), superblock_of(copy));
        let theirs = counts_of(original, &original_root.data_space_map, false);
        let ours = counts_of(copy, &copy_root.data_space_map, false);
        assert_eq!(ours, theirs);
        assert_eq!(copy_root.data_space_map.allocated_blocks, ours.len() as u64);
        let counted = counts_of(copy, &copy_root.metadata_space_map, true);
        assert_eq!(copy_root.metadata_space_map.allocated_blocks, counted.len() as u64);
        assert_eq!(copy_root.metadata_space_map.total_blocks, copy.block_count());
    }

    #[test]
    fn an_empty_pool_is_copied() {
        let image = Pool::default().restore(1024);
        let copy = copy_and_judge(image.clone(), 100_000);
        assert_same_counts(&image, &copy);
    }

    #[test]
    fn counts_agree_with_thin_restore() {
        // Data blocks with one to nine references, over several bitmaps.
        for seed in 0..4 {
            let pool = random_pool(seed, 9, 20_000);
            let image = pool.restore(4096);
            let copy = copy_and_judge(image.clone(), pool.data_blocks);
            assert_same_counts(&image, &copy);
        }
    }

    #[test]
    fn a_deep_tree_and_many_devices_are_copied() {
        let deep = Device {
            id: 5,
            runs: (0..300_000).map(|n| (n * 2, n, 1, 0)).collect(),
            ..Device::default()
        };
        let mut devices = vec![deep];
        devices.extend((6..3000).map(|id| Device {
            id,
            transaction: u64::from(id),
            runs: vec![(u64::from(id), u64::from(id % 7), 1, 0)],
            ..Device::default()
        }));
        let pool = Pool { devices, data_blocks: 400_000, time: 0x00ff_ffff, ..Pool::default() };
        let image = pool.restore(8192);
        let copy = copy_and_judge(image.clone(), pool.data_blocks);
        assert_same_counts(&image, &copy);
    }

    #[test]
    fn shared_nodes_are_copied_once_and_counted() {
        let origin = Device {
            id: 1,
            runs: (0..20_000).map(|n| (n * 2, n, 1, 0)).collect(),
            ..Device::default()
        };
        let snapshots = (2..=9).map(|id| Device { id, ..Device::default() });
        let devices = std::iter::once(origin).chain(snapshots).collect();
        let mut image = Pool { devices, ..Pool::default() }.restore(2048);
        for id in 2..=9 {
            share(&mut image, 1, id);
        }
        // A ninth of them diverged: its root and first leaf are its own, the rest is shared.
        super::super::fixture::diverge(&mut image, 9, 2000, 99_999);
        let copy = copy_and_judge(image, 100_000);
        let superblock = superblock_of(&copy);
        let data = counts_of(&copy, &superblock.data_space_map, false);
        assert_eq!(data.len(), 20_000 + 1);
        assert_eq!(data[&0], 1, "only the first leaf of the others maps it");
        assert_eq!(data[&99_999], 1, "only the leaf that diverged maps it");
        let metadata = counts_of(&copy, &superblock.metadata_space_map, true);
        assert!(metadata.values().any(|count| *count == 8), "eight devices share a root");
        assert_eq!(metadata[&0], 1);
    }

    #[test]
    fn needs_check_and_the_rest_are_kept() {
        let pool = random_pool(77, 3, 100);
        let mut image = pool.restore(1024);
        patch(&mut image, 0, BlockKind::Superblock, 4, &[1]);
        patch(&mut image, 0, BlockKind::Superblock, 16, &[7; 16]);
        let held = hold(&mut image, 1000);
        let copy = copy(&image, &held, pool.data_blocks).unwrap();
        let live = superblock_of(&copy);
        assert!(live.needs_check);
        let expected = Superblock {
            block: 0,
            checksum: live.checksum,
            data_space_map: live.data_space_map,
            metadata_space_map: live.metadata_space_map,
            ..held
        };
        assert_eq!(live, expected);
    }

    #[test]
    fn a_snapshot_that_is_not_held_is_refused() {
        let pool = random_pool(5, 3, 100);
        let mut image = pool.restore(1024);
        let live = superblock_of(&image);
        let gone = |result: Result<Vec<u8>, MetadataError>| {
            let error = result.unwrap_err();
            assert!(matches!(error, MetadataError::NotHeld { .. }), "{error}");
        };
        gone(copy(&image, &live, pool.data_blocks));
        let held = hold(&mut image, 1000);
        gone(copy(&image, &Superblock { time: held.time + 1, ..held.clone() }, pool.data_blocks));
        // Released while the copy runs: the check after the last node sees it.
        let reads = std::sync::atomic::AtomicU32::new(0);
        let source = Changing(image, |block, mut bytes: AlignedBuffer| {
            if block == 0 && reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 0 {
                bytes[56..64].fill(0);
                BlockKind::Superblock.seal(&mut bytes);
            }
            bytes
        });
        gone(copy(&source, &held, pool.data_blocks));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let pool = random_pool(6, 3, 100);
        let mut image = pool.restore(1024);
        let held = hold(&mut image, 1000);
        for data_blocks in [u64::MAX, 1024 * ENTRIES_PER_BITMAP, 1010 * ENTRIES_PER_BITMAP] {
            let error = copy(&image, &held, data_blocks).unwrap_err();
            assert!(matches!(error, MetadataError::NoRoom { total_blocks: 1024, .. }), "{error}");
        }
        let error = copy(&image, &held, 1).unwrap_err();
        assert!(
            matches!(
                error,
                MetadataError::Node { fault: NodeFault::DataBlockBeyondEnd { total: 1, .. }, .. }
            ),
            "{error}"
        );
    }

    #[test]
    fn a_device_tree_that_reaches_the_details_is_damage() {
        let mut image = random_pool(8, 2, 100).restore(1024);
        let superblock = superblock_of(&image);
        let root = superblock.data_mapping_root;
        let values = 32 + 252 * 8;
        let details = superblock.device_details_root;
        patch(&mut image, root, BlockKind::Node, values, &details.to_le_bytes());
        let held = hold(&mut image, 1000);
        let error = copy(&image, &held, 1 << 20).unwrap_err();
        assert!(matches!(error, MetadataError::Node { fault: NodeFault::Reused, .. }), "{error}");
    }
}
