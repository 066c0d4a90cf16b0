//! Whether a device may become part of a pool, and if not, the exact reason.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::error::LayoutError;
use super::facts::DeviceFacts;
use super::label_device::read_labels;
use super::label_format::LABEL_BYTES;
use super::signature::{Signature, find_signatures};
use super::sizes::DEVICE_BYTES_MIN;
use super::sysfs::System;
use crate::block_device::{Access, BlockDevice};

/// Checks one device; `force` overrides what is on it, never who uses it.
pub fn check_usable(system: &System, path: &Path, force: bool) -> Result<DeviceFacts, LayoutError> {
    let facts = DeviceFacts::read(system, path)?;
    check_facts(&facts)?;
    // The kernel's claim covers what no list shows: mounts in other namespaces, members of a
    // Btrfs filesystem, other programs. It is given back at once; the caller takes its own.
    let device = BlockDevice::open(path, Access::Exclusive)?;
    if !force {
        check_contents(&device)?;
    }
    Ok(facts)
}

/// Checks every device that was named, and that each was named once.
pub fn check_usable_all(
    system: &System,
    paths: &[PathBuf],
    force: bool,
) -> Result<Vec<DeviceFacts>, LayoutError> {
    let read = |path: &PathBuf| DeviceFacts::read(system, path);
    let all = paths.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    check_distinct(&all)?;
    paths.iter().map(|path| check_usable(system, path, force)).collect()
}

/// What the kernel's own lists say against a device.
fn check_facts(facts: &DeviceFacts) -> Result<(), LayoutError> {
    let path = facts.path.clone();
    if let Some(mount) = facts.mounts.first().cloned() {
        return Err(LayoutError::Mounted { path, mount });
    }
    if facts.swap {
        return Err(LayoutError::Swap { path });
    }
    if let Some(holder) = facts.holders.first() {
        let dm_uuid = holder.dm_uuid.as_ref().map(|uuid| format!(" ({uuid})"));
        let holder = format!("{}{}", holder.name, dm_uuid.unwrap_or_default());
        return Err(LayoutError::Held { path, holder });
    }
    if facts.read_only {
        return Err(LayoutError::ReadOnly { path });
    }
    if facts.logical_block_bytes > LABEL_BYTES as u64 {
        return Err(LayoutError::LogicalBlock { path, has: facts.logical_block_bytes });
    }
    if facts.size < DEVICE_BYTES_MIN {
        return Err(LayoutError::TooSmall { path, needs: DEVICE_BYTES_MIN, has: facts.size });
    }
    Ok(())
}

/// What the device's bytes say against it.
fn check_contents(device: &BlockDevice) -> Result<(), LayoutError> {
    let path = device.path().to_owned();
    if let Some(label) = read_labels(device)?.label() {
        let (pool, name) = (label.pool_uuid, label.pool_name.clone());
        return Err(LayoutError::OtherPool { path, pool, name });
    }
    let signatures: Vec<Signature> = find_signatures(device)?;
    if signatures.is_empty() { Ok(()) } else { Err(LayoutError::Signatures { path, signatures }) }
}

/// The same device under two names, or a disk together with one of its partitions. Two partitions
/// of one disk are two devices.
fn check_distinct(all: &[DeviceFacts]) -> Result<(), LayoutError> {
    for (index, second) in all.iter().enumerate() {
        let clash = all[..index].iter().find(|first| {
            first.number == second.number
                || (first.disk.1 == second.disk.1 && !(first.is_partition && second.is_partition))
        });
        if let Some(first) = clash {
            return Err(LayoutError::SameDevice {
                first: first.path.clone(),
                second: second.path.clone(),
                disk: second.disk.0.clone(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "usable_tests.rs"]
mod tests;
