//! Devices on their way into a pool: looked at first, then cleared and partitioned.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

use super::error::PoolError;
use crate::block_device::{Access, BlockDevice};
use crate::dm::block::reread_partitions;
use crate::layout::{
    DeviceFacts, DeviceOffer, GptImage, LayoutError, System, check_usable_all, needs_partition,
    wait_for_partition, write_gpt,
};

/// How long a new partition's node may take.
const PARTITION_PATIENCE: Duration = Duration::from_secs(10);

/// What is cleared at both ends of a device: every signature that a scanner knows lies there.
const WIPED_BYTES: u64 = 1 << 20;

/// A device that will be part of the pool.
pub(super) struct Member {
    pub(super) facts: DeviceFacts,
    partition: bool,
    pub(super) offer: DeviceOffer,
}

/// How devices are taken in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joining<'a> {
    /// The pool's name, for the partition's.
    pub(super) pool: &'a str,
    /// Whether what is on the devices may be overwritten.
    pub(super) force: bool,
    /// Whether whole disks are used without a partition table.
    pub(super) raw: bool,
}

impl Joining<'_> {
    /// Checks the devices; writes nothing.
    pub(super) fn look_at(&self, paths: &[PathBuf]) -> Result<Vec<Member>, PoolError> {
        let all = check_usable_all(&System::default(), paths, self.force)?;
        let mut members = Vec::with_capacity(all.len());
        for facts in all {
            let partition = !self.raw && needs_partition(&facts);
            let usable_bytes = if partition {
                let image = GptImage::new(self.pool, facts.size, facts.logical_block_bytes);
                let path = facts.path.clone();
                let failed = |source| LayoutError::PartitionTable { path, source };
                image.map_err(failed)?.partition_bytes
            } else {
                facts.size
            };
            let uuid = Uuid::new_v4();
            let offer = DeviceOffer { uuid, usable_bytes, is_metadata_device: false };
            members.push(Member { facts, partition, offer });
        }
        Ok(members)
    }

    /// Clears both ends of every device, partitions whole disks, and returns the nodes to use.
    pub(super) fn prepare(&self, members: &[Member]) -> Result<Vec<PathBuf>, PoolError> {
        let mut nodes = Vec::with_capacity(members.len());
        for member in members {
            let path = &member.facts.path;
            let disk = BlockDevice::open(path, Access::Exclusive)?;
            wipe_ends(&disk)?;
            if !member.partition {
                nodes.push(path.clone());
                continue;
            }
            write_gpt(&disk, self.pool, member.facts.logical_block_bytes)?;
            let reread = reread_partitions(&disk);
            drop(disk);
            reread.map_err(|source| PoolError::Block { path: path.clone(), source })?;
            let system = System::default();
            let node = wait_for_partition(&system, path, member.facts.number, PARTITION_PATIENCE)?;
            let partition = BlockDevice::open(&node, Access::Exclusive)?;
            wipe_ends(&partition)?;
            nodes.push(node);
        }
        Ok(nodes)
    }
}

fn wipe_ends(disk: &BlockDevice) -> Result<(), PoolError> {
    let size = disk.size().get();
    let length = WIPED_BYTES.min(size);
    disk.zero_range(0, length)?;
    let tail = (size - length) / 4096 * 4096;
    // To the very last sector: a backup partition table lies there.
    Ok(disk.zero_range(tail, size - tail)?)
}
