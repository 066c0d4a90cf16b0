//! Metadata images of large pools, as the kernel would leave them, in the time it takes to write
//! them: `thin_restore` shares nothing between devices, and a kernel takes hours.
//!
//! Snapshots share nodes with their origin, both space maps hold the true counts, and every device
//! has its details. Compiled for tests, and for others with the feature `generator`.
#![forbid(unsafe_code)]

mod random;
mod shape;
#[cfg(test)]
mod tests;
mod volume;

use std::fs::File;

use self::random::Random;
pub use self::shape::{InPool, Shape, Spread};
use self::volume::{Target, Volume};
use super::details::DeviceDetails;
use super::error::MetadataError;
use super::image_writer::ImageWriter;
use super::reference_counts::ReferenceCounts;
use super::space_map_writer::{write_data_map, write_metadata_map};
use super::superblock::{SUPERBLOCK_LOCATION, Superblock};
use super::tree_writer::{Allocator, write_tree};
use crate::units::{DataBlocks, MetadataBlocks, ThinId, TransactionId};

/// What errors call the image.
const NAME: &str = "the generated image";

/// What was generated.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Generated {
    /// All devices in the order of their ids: each volume, then its snapshots from the oldest on.
    pub devices: Vec<ThinId>,
    /// How long the image is.
    pub total_metadata_blocks: MetadataBlocks,
    /// How many of its blocks are in use.
    pub used_metadata_blocks: MetadataBlocks,
    /// How many data blocks are in use.
    pub used_data_blocks: DataBlocks,
}

/// What gets the packed mappings of each device once they stand.
type Observer<'a> = dyn FnMut(ThinId, &[u64]) + 'a;

/// Writes an image into `out`, a regular file whose content is lost.
///
/// Memory: 16 bytes for each mapping of the largest volume, and what the counts take.
pub fn generate(shape: &Shape, out: &File) -> Result<Generated, MetadataError> {
    generate_observed(shape, out, &mut |_, _| {})
}

fn generate_observed(
    shape: &Shape,
    out: &File,
    observer: &mut Observer<'_>,
) -> Result<Generated, MetadataError> {
    let total_blocks = shape.metadata_blocks_bound();
    let mut counts = ReferenceCounts::new(total_blocks);
    counts.increment(SUPERBLOCK_LOCATION);
    let target = Target {
        image: ImageWriter::new(out, total_blocks)?,
        blocks: Allocator::new(counts, NAME.to_owned()),
        data: ReferenceCounts::new(shape.data_blocks_bound()),
    };
    let random = Random::new(shape.seed);
    let mut pool =
        Pool { shape, target, random, devices: Vec::new(), next_data: 0, time: 0, observer };
    for _ in 0..shape.volume_count {
        pool.add_volume()?;
    }
    pool.finish()
}

/// A device whose tree is written.
#[derive(Debug)]
struct Device {
    id: ThinId,
    root: u64,
    details: DeviceDetails,
}

/// A pool that grows.
struct Pool<'a, 'observer> {
    shape: &'a Shape,
    target: Target<'a>,
    random: Random,
    devices: Vec<Device>,
    /// No data block is ever free again, so the kernel would take the next.
    next_data: u64,
    time: u32,
    observer: &'a mut Observer<'observer>,
}

impl Pool<'_, '_> {
    /// A volume, its snapshots, and after each what changed in the volume.
    fn add_volume(&mut self) -> Result<(), MetadataError> {
        let shape = self.shape;
        let spread = shape.mappings_max.saturating_sub(shape.mappings_min) + 1;
        let mapped = shape.mappings_min + self.random.below(spread);
        let data = self.random.runs(self.next_data, mapped, shape.run_blocks_max);
        self.next_data += mapped;
        let mut volume = Volume::write(&mut self.target, data, self.time, shape.node_entries)?;
        let place = self.devices.len();
        self.add_device(&volume, mapped, 0);
        for _ in 0..shape.snapshots_each {
            self.time += 1;
            self.add_device(&volume, mapped, self.time);
            if let Some((id, mappings)) = self.devices.last().map(|d| (d.id, volume.mappings())) {
                (self.observer)(id, mappings);
            }
            let keys = shape.changed_keys(&mut self.random, mapped);
            volume.remap(&mut self.target, &keys, self.next_data, self.time)?;
            self.next_data += keys.len() as u64;
        }
        if let Some(device) = self.devices.get_mut(place) {
            device.root = volume.root();
            if shape.snapshots_each > 0 {
                device.details.snapshotted_time = self.time;
            }
            (self.observer)(device.id, volume.mappings());
        }
        Ok(())
    }

    fn add_device(&mut self, volume: &Volume, mapped: u64, snapshotted_time: u32) {
        let number = u32::try_from(self.devices.len()).unwrap_or(u32::MAX);
        let id = self.shape.id(number);
        let made_at = TransactionId::new(u64::from(number));
        let details = DeviceDetails {
            mapped_blocks: DataBlocks::new(mapped),
            // No device is younger than its pool.
            transaction_id: made_at.min(self.shape.transaction_id(u64::MAX)),
            creation_time: self.time,
            snapshotted_time,
        };
        self.devices.push(Device { id, root: volume.root(), details });
    }

    /// Writes the trees of all devices, the space maps and the superblock.
    fn finish(self) -> Result<Generated, MetadataError> {
        let Target { mut image, mut blocks, data } = self.target;
        let count = self.devices.len();
        let key = |device: &Device| u64::from(device.id.get());
        let roots = self.devices.iter().map(|device| (key(device), device.root.to_le_bytes()));
        let data_mapping_root = write_tree(&mut image, &mut blocks, count, roots)?;
        let details = self.devices.iter().map(|device| (key(device), device.details.encode()));
        let device_details_root = write_tree(&mut image, &mut blocks, count, details)?;
        let data_space_map = write_data_map(&mut image, &mut blocks, &data)?;
        let metadata_space_map = write_metadata_map(&mut image, blocks)?;
        let superblock = Superblock {
            block: SUPERBLOCK_LOCATION,
            checksum: 0,
            needs_check: false,
            uuid: [0; 16],
            version: 0,
            time: self.time,
            transaction_id: self.shape.transaction_id(count as u64),
            held_root: None,
            data_space_map,
            metadata_space_map,
            data_mapping_root,
            device_details_root,
            data_block_size: self.shape.block_size(),
            metadata_block_count: metadata_space_map.total_blocks,
            compat_ro_flags: 0,
        };
        image.write(SUPERBLOCK_LOCATION, &superblock.encode())?;
        Ok(Generated {
            devices: self.devices.iter().map(|device| device.id).collect(),
            total_metadata_blocks: MetadataBlocks::new(metadata_space_map.total_blocks),
            used_metadata_blocks: MetadataBlocks::new(metadata_space_map.allocated_blocks),
            used_data_blocks: DataBlocks::new(data_space_map.allocated_blocks),
        })
    }
}
