//! How full a filesystem is.
#![forbid(unsafe_code)]

use rustix::fs::fstatvfs;

use super::error::Result;
use super::paths::{Entry, HostPath};

/// How full a filesystem is. One without a fixed number of inodes says 0 for all three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilesystemStats {
    /// Its length, without what it needs for itself.
    pub total_bytes: u64,
    /// What a user without privileges can still write.
    pub available_bytes: u64,
    /// What is written.
    pub used_bytes: u64,
    /// How many inodes it has.
    pub total_inodes: u64,
    /// How many of them are free.
    pub free_inodes: u64,
    /// How many of them are used.
    pub used_inodes: u64,
}

/// How full the filesystem is that a directory is on. Whether anything is mounted there at all is
/// for [`super::mount_table::mounts_at`] to say.
pub fn filesystem_stats(path: &HostPath) -> Result<FilesystemStats> {
    let directory = path.open(Entry::Directory)?;
    let stats =
        fstatvfs(&directory).map_err(|errno| path.fail("asking the filesystem of", errno))?;
    let bytes = |blocks: u64| blocks.saturating_mul(stats.f_frsize);
    Ok(FilesystemStats {
        total_bytes: bytes(stats.f_blocks),
        available_bytes: bytes(stats.f_bavail),
        used_bytes: bytes(stats.f_blocks.saturating_sub(stats.f_bfree)),
        total_inodes: stats.f_files,
        free_inodes: stats.f_ffree,
        used_inodes: stats.f_files.saturating_sub(stats.f_ffree),
    })
}
