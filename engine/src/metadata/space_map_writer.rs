//! Writing space maps from counted references.
#![forbid(unsafe_code)]

use super::checksum::BlockKind;
use super::error::MetadataError;
use super::field::{BLOCK_BYTES, U32_BYTES, U64_BYTES, put, put_u32, put_u64};
use super::image_writer::ImageWriter;
use super::reference_counts::{BITMAP_HEADER_BYTES, ENTRIES_PER_BITMAP, ReferenceCounts};
use super::space_map::SpaceMapRoot;
use super::tree_writer::{Allocator, write_tree};

// struct disk_index_entry, dm-space-map-common.h.
const BITMAP_BLOCK: usize = 0;
const FREE: usize = BITMAP_BLOCK + U64_BYTES;
const FIRST_FREE: usize = FREE + U32_BYTES;
const INDEX_ENTRY_BYTES: usize = FIRST_FREE + U32_BYTES;

// struct disk_bitmap_header and struct disk_metadata_index start alike.
const CHECKSUM: usize = 0;
const UNUSED: usize = CHECKSUM + U32_BYTES;
const BLOCK_NUMBER: usize = UNUSED + U32_BYTES;
const INDEX_ENTRIES: usize = BLOCK_NUMBER + U64_BYTES;

/// `MAX_METADATA_BITMAPS`.
const MAX_METADATA_BITMAPS: u64 = 255;
/// What a metadata space map can keep count of: the kernel uses no block beyond it.
pub(super) const MAX_METADATA_BLOCKS: u64 = MAX_METADATA_BITMAPS * ENTRIES_PER_BITMAP;

/// Writes the data space map, whose index is a tree.
pub(super) fn write_data_map(
    image: &mut ImageWriter<'_>,
    blocks: &mut Allocator,
    counts: &ReferenceCounts,
) -> Result<SpaceMapRoot, MetadataError> {
    let mut entries = Vec::new();
    for index in 0..counts.bitmap_count() {
        let block = blocks.allocate()?;
        write_bitmap(image, block, counts, index)?;
        entries.push((index, index_entry(block, counts, index)));
    }
    let bitmap_root = write_tree(image, blocks, entries.len(), entries.into_iter())?;
    let large = counts.large();
    let entries = large.iter().map(|(block, count)| (*block, count.to_le_bytes()));
    let ref_count_root = write_tree(image, blocks, large.len(), entries)?;
    Ok(root(counts, bitmap_root, ref_count_root))
}

/// Writes the metadata space map, whose index is one block.
///
/// It counts its own blocks too, so all of them are taken before any bitmap is written.
pub(super) fn write_metadata_map(
    image: &mut ImageWriter<'_>,
    mut blocks: Allocator,
) -> Result<SpaceMapRoot, MetadataError> {
    let entries: Vec<_> =
        blocks.counts().large().iter().map(|(b, count)| (*b, count.to_le_bytes())).collect();
    let ref_count_root = write_tree(image, &mut blocks, entries.len(), entries.into_iter())?;
    let bitmap_root = blocks.allocate()?;
    let mut bitmaps = Vec::new();
    for index in 0..blocks.counts().bitmap_count() {
        bitmaps.push((index, blocks.allocate()?));
    }
    let counts = blocks.counts();
    let mut index_block = [0; BLOCK_BYTES];
    put_u64(&mut index_block, BLOCK_NUMBER, bitmap_root);
    for ((index, block), offset) in
        bitmaps.into_iter().zip((INDEX_ENTRIES..BLOCK_BYTES).step_by(INDEX_ENTRY_BYTES))
    {
        write_bitmap(image, block, counts, index)?;
        put(&mut index_block, offset, &index_entry(block, counts, index));
    }
    BlockKind::Index.seal(&mut index_block);
    image.write(bitmap_root, &index_block)?;
    Ok(root(counts, bitmap_root, ref_count_root))
}

fn root(counts: &ReferenceCounts, bitmap_root: u64, ref_count_root: u64) -> SpaceMapRoot {
    SpaceMapRoot {
        total_blocks: counts.total_blocks(),
        allocated_blocks: counts.allocated_blocks(),
        bitmap_root,
        ref_count_root,
    }
}

fn write_bitmap(
    image: &mut ImageWriter<'_>,
    block: u64,
    counts: &ReferenceCounts,
    index: u64,
) -> Result<(), MetadataError> {
    let mut bytes = [0; BLOCK_BYTES];
    put_u64(&mut bytes, BLOCK_NUMBER, block);
    put(&mut bytes, BITMAP_HEADER_BYTES, counts.bitmap(index).unwrap_or_default());
    BlockKind::Bitmap.seal(&mut bytes);
    image.write(block, &bytes)
}

fn index_entry(block: u64, counts: &ReferenceCounts, index: u64) -> [u8; INDEX_ENTRY_BYTES] {
    let summary = counts.summary(index);
    let mut entry = [0; INDEX_ENTRY_BYTES];
    put_u64(&mut entry, BITMAP_BLOCK, block);
    put_u32(&mut entry, FREE, summary.free);
    put_u32(&mut entry, FIRST_FREE, summary.first_free);
    entry
}
