//! Growing a filesystem to the length of its device.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::path::Path;

use thinly_engine::block_device::{Access, BlockDevice, DeviceError};
use thinly_engine::layout::System;
use thinly_engine::units::Bytes;

use super::Filesystem;
use super::signature::facts;
use crate::host::error::{HostError, Result};
use crate::host::mount_table::mounts_at;
use crate::host::paths::{Entry, HostPath};
use crate::host::program::Program;

const EXT4: Program = Program::new("resize2fs", "e2fsprogs");
const XFS: Program = Program::new("xfs_growfs", "xfsprogs");
const BTRFS: Program = Program::new("btrfs", "btrfs-progs");

/// A remainder that no filesystem can use for sure, and that is not worth a program's start.
const REMAINDER_BYTES: u64 = 1 << 20;

/// How long the filesystem on a device says that it is, in the superblock at its head.
pub fn size_on(device: &Path, filesystem: Filesystem) -> Result<Bytes> {
    let wrong = |found: String| HostError::NotThisFilesystem {
        device: device.to_owned(),
        found,
        expected: filesystem.name(),
    };
    match facts(device)? {
        Some((found, facts)) if found == filesystem => Ok(facts.length),
        Some((found, _)) => Err(wrong(found.to_string())),
        None => Err(wrong("no known filesystem".to_owned())),
    }
}

/// Whether a device is longer than its filesystem.
///
/// The superblock on the device is asked, mounted or not. Right after growth it can still say the
/// old length, and ext4 leaves a remainder that is too short for a group of blocks: the answer is
/// then yes once more, and growing again does nothing.
pub fn needs_growth(device: &Path, filesystem: Filesystem) -> Result<bool> {
    let length = BlockDevice::open_any(device, Access::ReadOnly)?.size().get();
    let used = size_on(device, filesystem)?.get();
    Ok(length.saturating_sub(used) >= REMAINDER_BYTES)
}

/// Grows a mounted filesystem to the length of its device. One that is long enough stays as it is.
pub fn grow(device: &Path, filesystem: Filesystem, mounted_at: &HostPath) -> Result<()> {
    // Nothing but a mount of this very device is named to a program that follows links.
    mounted_at.open(Entry::Directory)?;
    let number = BlockDevice::open(device, Access::ReadOnly)?.number();
    let number = number.ok_or_else(|| DeviceError::NotABlockDevice { path: device.to_owned() })?;
    let top = mounts_at(mounted_at)?.pop();
    if !top.is_some_and(|mount| mount.is_on(&System::default(), number)) {
        return Err(HostError::Missing { path: mounted_at.path().to_owned() });
    }
    let place = mounted_at.real_path().as_os_str();
    let text = OsStr::new;
    let outcome = match filesystem {
        Filesystem::Ext4 => EXT4.run(device, &[device.as_os_str()])?,
        Filesystem::Xfs => XFS.run(device, &[text("-d"), place])?,
        Filesystem::Btrfs => {
            BTRFS.run(device, &[text("filesystem"), text("resize"), text("max"), place])?
        }
    };
    outcome.success()
}
