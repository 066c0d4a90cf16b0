//! A new identity for a clone, so that it can be mounted beside its source.
#![forbid(unsafe_code)]

use std::path::Path;

use thinly_engine::block_device::{Access, BlockDevice};
use uuid::Uuid;

use super::Filesystem;
use super::btrfs_superblock::set_identity;
use crate::host::error::Result;

/// Makes the filesystem of an unmounted clone mountable beside its source, under a new identity
/// where the kernel needs one.
///
/// * ext4: nothing is done. The kernel never compares identities of ext4.
/// * XFS: nothing is done. The kernel compares them unless told not to, and
///   [`super::super::mounting::mount_filesystem`] always tells it. A new one could only be given
///   with an empty log, and so not to a snapshot of a mounted filesystem.
/// * Btrfs: the kernel keeps one filesystem per identity, and hands out the first device's contents
///   for a second one, or refuses it. The identity is changed in the superblocks; the
///   module for them says why no program is used.
///
/// It may be called again after an interruption, and is quick at any size.
pub fn new_identity(device: &Path, filesystem: Filesystem, uuid: Uuid) -> Result<()> {
    match filesystem {
        Filesystem::Ext4 | Filesystem::Xfs => Ok(()),
        Filesystem::Btrfs => set_identity(&BlockDevice::open_any(device, Access::Exclusive)?, uuid),
    }
}
