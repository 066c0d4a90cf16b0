//! Writing space maps from counted references.
#![forbid(unsafe_code)]

use super::checksum::BlockKind;
use super::error::MetadataError;
use super::field::{BLOCK_BYTES, put, put_u64};
use super::image_writer::ImageWriter;
use super::reference_counts::{BITMAP_HEADER_BYTES, ReferenceCounts};
use super::space_map::{BLOCK_NUMBER, INDEX_ENTRIES, INDEX_ENTRY_BYTES, IndexEntry, SpaceMapRoot};
use super::tree_writer::{Allocator, write_tree};

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
    let entries = counts.large().map(|(block, count)| (block, count.to_le_bytes()));
    let ref_count_root = write_tree(image, blocks, counts.large().count(), entries)?;
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
        blocks.counts().large().map(|(block, count)| (block, count.to_le_bytes())).collect();
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
    IndexEntry { block, summary: counts.summary(index) }.encode()
}
