//! The mappings of thin devices: a tree of device trees.

use super::btree;
use super::error::{MetadataError, Tree};
use super::field::u64_at;
use super::source::BlockSource;
use super::superblock::Superblock;
use crate::units::ThinId;

/// Bits of a mapping that hold its time; the rest is the data block (`pack_block_time`).
pub(super) const TIME_BITS: u32 = 24;

/// The highest mapped virtual block of a device; `None` when it maps nothing or does not exist.
///
/// The kernel does not store how long a device is: this is the least that it can have been.
pub fn highest_mapped_block(
    source: &dyn BlockSource,
    superblock: &Superblock,
    id: ThinId,
) -> Result<Option<u64>, MetadataError> {
    let key = u64::from(id.get());
    let top = btree::lookup(source, Tree::Devices, superblock.data_mapping_root, key)?;
    let Some(root) = top.map(|value| u64_at(&value, 0)) else {
        return Ok(None);
    };
    let last = btree::last_entry(source, Tree::Mappings(id), root)?;
    Ok(last.map(|(virtual_block, _)| virtual_block))
}
