//! What metadata images hold.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use serde::Serialize;
use thinly_engine::metadata::{DeviceDetails, DeviceUsage, SpaceMapRoot, Superblock};
use thinly_engine::units::{BlockSize, METADATA_BLOCK_BYTES, MetadataBlocks, ThinId};
use uuid::Uuid;

/// What the superblock of an image says.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct ImageJson {
    pub file: PathBuf,
    pub uuid: Option<Uuid>,
    pub version: u32,
    pub needs_check: bool,
    pub transaction_id: u64,
    pub snapshot_time: u32,
    pub held_root_block: Option<u64>,
    pub block_size_bytes: u64,
    pub metadata_block_count: u64,
    pub data_mapping_root_block: u64,
    pub device_details_root_block: u64,
    pub data_space_map: SpaceMapJson,
    pub metadata_space_map: SpaceMapJson,
    pub device_count: Option<usize>,
}

/// The root of a space map.
#[derive(Debug, Clone, Copy, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct SpaceMapJson {
    pub total_block_count: u64,
    pub used_block_count: u64,
    pub free_block_count: u64,
    pub bitmap_root_block: u64,
    pub ref_count_root_block: u64,
}

/// A thin device in an image.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct ImageDeviceJson {
    pub thin_id: u32,
    pub mapped_bytes: u64,
    pub mapped_block_count: u64,
    pub exclusive_bytes: Option<u64>,
    pub shared_bytes: Option<u64>,
    pub metadata_bytes: Option<u64>,
    pub exclusive_metadata_bytes: Option<u64>,
    pub transaction_id: u64,
    pub creation_time: u32,
    pub snapshotted_time: u32,
}

/// A dump that was written to a file.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct ImageDumpJson {
    pub file: PathBuf,
    pub file_bytes: u64,
    pub device_count: usize,
    pub mapped_block_count: u64,
}

impl ImageJson {
    /// The superblock of `file`; a damaged list of devices has no number of them.
    #[must_use]
    pub fn new(file: &Path, superblock: &Superblock, device_count: Option<usize>) -> Self {
        Self {
            file: file.to_owned(),
            uuid: Some(Uuid::from_bytes(superblock.uuid)).filter(|uuid| !uuid.is_nil()),
            version: superblock.version,
            needs_check: superblock.needs_check,
            transaction_id: superblock.transaction_id.get(),
            snapshot_time: superblock.time,
            held_root_block: superblock.held_root,
            block_size_bytes: superblock.data_block_size.bytes().get(),
            metadata_block_count: superblock.metadata_block_count,
            data_mapping_root_block: superblock.data_mapping_root,
            device_details_root_block: superblock.device_details_root,
            data_space_map: SpaceMapJson::from(&superblock.data_space_map),
            metadata_space_map: SpaceMapJson::from(&superblock.metadata_space_map),
            device_count,
        }
    }
}

impl From<&SpaceMapRoot> for SpaceMapJson {
    fn from(root: &SpaceMapRoot) -> Self {
        Self {
            total_block_count: root.total_blocks,
            used_block_count: root.allocated_blocks,
            free_block_count: root.total_blocks.saturating_sub(root.allocated_blocks),
            bitmap_root_block: root.bitmap_root,
            ref_count_root_block: root.ref_count_root,
        }
    }
}

impl ImageDeviceJson {
    /// One device of a pool with blocks of `block_size`.
    #[must_use]
    pub fn new(id: ThinId, details: &DeviceDetails, block_size: BlockSize) -> Self {
        Self {
            thin_id: id.get(),
            mapped_bytes: block_size.length_of(details.mapped_blocks).get(),
            mapped_block_count: details.mapped_blocks.get(),
            exclusive_bytes: None,
            shared_bytes: None,
            metadata_bytes: None,
            exclusive_metadata_bytes: None,
            transaction_id: details.transaction_id.get(),
            creation_time: details.creation_time,
            snapshotted_time: details.snapshotted_time,
        }
    }

    /// The same with what it holds alone, for which all mappings were read.
    #[must_use]
    pub fn with_usage(id: ThinId, usage: &DeviceUsage, block_size: BlockSize) -> Self {
        let data = |blocks| Some(block_size.length_of(blocks).get());
        let metadata =
            |blocks: MetadataBlocks| Some(blocks.get().saturating_mul(METADATA_BLOCK_BYTES));
        Self {
            mapped_bytes: block_size.length_of(usage.mapped_blocks).get(),
            mapped_block_count: usage.mapped_blocks.get(),
            exclusive_bytes: data(usage.exclusive_blocks),
            shared_bytes: data(usage.shared_blocks()),
            metadata_bytes: metadata(usage.metadata_blocks),
            exclusive_metadata_bytes: metadata(usage.exclusive_metadata_blocks),
            ..Self::new(id, &usage.details, block_size)
        }
    }
}
