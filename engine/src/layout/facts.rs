//! What the kernel says about a block device.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::error::LayoutError;
use super::mounts::{is_swap, mounts_of};
use super::sysfs::{System, partitions_of, read_device_number, read_dm, read_number, read_text};
use crate::block_device::{DeviceError, DeviceNumber};
use crate::units::{Bytes, Sectors};

/// A device that is stacked on another one, or that another one is stacked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The kernel's name, such as `dm-3`.
    pub name: String,
    /// Its number.
    pub number: DeviceNumber,
    /// Its dm uuid, when it is a dm device with one.
    pub dm_uuid: Option<String>,
}

/// A partition of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionFacts {
    /// The kernel's name, such as `sda1`.
    pub name: String,
    /// Its place in the table, from 1 on.
    pub index: u32,
    /// Its number.
    pub number: DeviceNumber,
}

/// What the kernel says about a block device.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not states of a machine")]
pub struct DeviceFacts {
    /// The path that was asked for.
    pub path: PathBuf,
    /// The device's number.
    pub number: DeviceNumber,
    /// The kernel's name.
    pub name: String,
    /// The length.
    pub size: Bytes,
    /// The shortest unit of I/O.
    pub logical_block_bytes: u64,
    /// The unit that the device writes at once.
    pub physical_block_bytes: u64,
    /// Whether it takes discards.
    pub discards: bool,
    /// Whether it refuses writes.
    pub read_only: bool,
    /// Whether it is a partition.
    pub is_partition: bool,
    /// Whether the kernel would read a partition table from it.
    pub takes_partitions: bool,
    /// The kernel's name and number of the whole disk: the device itself unless it is a partition.
    pub disk: (String, DeviceNumber),
    /// Its dm uuid, when it is a dm device with one.
    pub dm_uuid: Option<String>,
    /// Its partitions.
    pub partitions: Vec<PartitionFacts>,
    /// What is stacked on it, on its partitions, or on the disk that it is a partition of.
    pub holders: Vec<Holder>,
    /// Where it, or one of its partitions, is mounted.
    pub mounts: Vec<PathBuf>,
    /// Whether it, or one of its partitions, is swap.
    pub swap: bool,
}

impl DeviceFacts {
    /// Reads what the kernel says about the device at `path`.
    pub fn read(system: &System, path: &Path) -> Result<Self, LayoutError> {
        std::fs::metadata(path)
            .map_err(|source| DeviceError::Open { path: path.to_owned(), source })?;
        let number = system.node_number(path);
        let number =
            number.ok_or_else(|| DeviceError::NotABlockDevice { path: path.to_owned() })?;
        let dir = system.block_dir(number);
        let dir = dir.canonicalize().map_err(|source| LayoutError::System { path: dir, source })?;
        let is_partition = read_text(&dir.join("partition"))?.is_some();
        // A partition has no queue of its own: its disk is the directory above.
        let disk_dir = if is_partition { dir.parent().unwrap_or(&dir) } else { &dir };
        let partitions = partitions_of(&dir)?;
        let disk_number = read_device_number(&disk_dir.join("dev"))?.unwrap_or(number);

        let mut numbers = vec![number];
        let mut holders = system.stacked(&dir, "holders")?;
        if is_partition {
            holders.extend(system.stacked(disk_dir, "holders")?);
            numbers.push(disk_number);
        }
        for partition in &partitions {
            holders.extend(system.stacked(&dir.join(&partition.name), "holders")?);
            numbers.push(partition.number);
        }
        let mut mounts = Vec::new();
        let mut swap = false;
        for number in numbers {
            mounts.extend(mounts_of(system, number)?);
            swap |= is_swap(system, number)?;
        }
        let queue = |file: &str| read_number(&disk_dir.join("queue").join(file));
        Ok(Self {
            path: path.to_owned(),
            number,
            name: base_name(&dir),
            size: Sectors::new(read_number(&dir.join("size"))?.unwrap_or(0)).to_bytes(),
            logical_block_bytes: queue("logical_block_size")?.unwrap_or(512),
            physical_block_bytes: queue("physical_block_size")?.unwrap_or(512),
            discards: queue("discard_max_bytes")?.unwrap_or(0) > 0,
            read_only: read_number(&dir.join("ro"))?.unwrap_or(0) != 0,
            is_partition,
            takes_partitions: takes_partitions(&dir)?,
            disk: (base_name(disk_dir), disk_number),
            dm_uuid: read_dm(&dir, "uuid")?,
            partitions,
            holders,
            mounts,
            swap,
        })
    }
}

/// Whether the kernel scans a device for partitions: `ext_range` counts the minors that it may
/// have, and a loop device says in `loop/partscan` that it was asked not to look.
fn takes_partitions(dir: &Path) -> Result<bool, LayoutError> {
    let minors = read_number(&dir.join("ext_range"))?.unwrap_or(0);
    let is_loop = dir.join("loop").exists() || base_name(dir).starts_with("loop");
    let scans = read_text(&dir.join("loop/partscan"))?.is_some_and(|text| text == "1");
    Ok(minors > 1 && (!is_loop || scans))
}

fn base_name(dir: &Path) -> String {
    dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
