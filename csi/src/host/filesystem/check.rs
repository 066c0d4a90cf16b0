//! Checking a filesystem before it is mounted.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::path::Path;

use super::Filesystem;
use crate::host::error::Result;
use crate::host::program::Program;

const EXT4: Program = Program::new("fsck.ext4", "e2fsprogs");

/// How a check ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckOutcome {
    /// Nothing was wrong; a journal may have been replayed.
    Clean,
    /// Something was wrong and is put right.
    Repaired,
}

/// Checks the filesystem of a device that is not mounted, and repairs what needs no decision.
///
/// ext4 only: its check is quick while its superblock says that nothing is wrong, and it is the one
/// that can trust a mark left by the kernel. XFS and Btrfs are made to be checked by their mount;
/// their repair programs are for a person with a copy.
pub fn check(device: &Path, filesystem: Filesystem) -> Result<CheckOutcome> {
    const REPAIRED: i32 = 1;
    if filesystem != Filesystem::Ext4 {
        return Ok(CheckOutcome::Clean);
    }
    let outcome = EXT4.run(device, &[OsStr::new("-p"), device.as_os_str()])?;
    match outcome.code() {
        Some(0) => Ok(CheckOutcome::Clean),
        Some(REPAIRED) => Ok(CheckOutcome::Repaired),
        _ => Err(outcome.failure()),
    }
}
