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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::host::filesystem::make;

    #[test]
    fn what_needs_no_decision_is_repaired_and_anything_else_is_an_error() {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(64 << 20).unwrap();
        let path = image.path();
        make(path, Filesystem::Ext4, Uuid::from_u128(1), &[], false, &mut |_| {}).unwrap();
        let debugfs = |request| {
            let arguments = ["-w", "-R", request].map(OsStr::new);
            let arguments = [&arguments[..], &[path.as_os_str()]].concat();
            Program::new("debugfs", "e2fsprogs").run(path, &arguments).unwrap().success().unwrap();
        };
        assert_eq!(check(path, Filesystem::Ext4).unwrap(), CheckOutcome::Clean);
        // A block in use that is marked free, and the kernel's mark that something is wrong.
        debugfs("freeb 5");
        debugfs("set_super_value state 2");
        assert_eq!(check(path, Filesystem::Ext4).unwrap(), CheckOutcome::Repaired);
        assert_eq!(check(path, Filesystem::Ext4).unwrap(), CheckOutcome::Clean);
        debugfs("clri <2>");
        debugfs("set_super_value state 2");
        let error = check(path, Filesystem::Ext4).unwrap_err().to_string();
        assert!(error.contains("exit code 4") && error.contains("RUN fsck MANUALLY"), "{error}");
    }
}
