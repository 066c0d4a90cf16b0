//! Making a filesystem on a device that has none.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::Path;

use uuid::Uuid;

use super::{Filesystem, Signature, signature};
use crate::host::error::{HostError, Result};
use crate::host::program::{Outcome, Program};

const EXT4: Program = Program::new("mkfs.ext4", "e2fsprogs");
const XFS: Program = Program::new("mkfs.xfs", "xfsprogs");
const BTRFS: Program = Program::new("mkfs.btrfs", "btrfs-progs");

/// Makes a filesystem with this identity. `options` are further arguments of its program; `progress`
/// is told what is about to be done and what is done.
///
/// The device must read as zeros, as a volume does that was never written, and it must carry no
/// signature. With `force_reformat` it may hold what an interrupted attempt left: anything but a
/// signature of somebody else's, that is, of another identity.
pub fn make(
    device: &Path,
    filesystem: Filesystem,
    uuid: Uuid,
    options: &[String],
    force_reformat: bool,
    progress: &mut dyn FnMut(&str),
) -> Result<()> {
    let foreign = |found| Err(HostError::Foreign { device: device.to_owned(), found });
    match signature(device)? {
        Signature::None => {}
        Signature::Known(_, found) if found == uuid && force_reformat => {}
        Signature::Known(other, found) => {
            return foreign(format!("a filesystem {other} with the identity {found}"));
        }
        Signature::Foreign(found) => return foreign(found),
    }
    progress(&format!("making {filesystem} on {}", device.display()));
    match filesystem {
        Filesystem::Ext4 => make_ext4(device, uuid, options, force_reformat)?,
        Filesystem::Xfs => {
            // -K: a volume that was never written has nothing to discard.
            let fixed = ["-q", "-f", "-K", "-m", &format!("uuid={uuid}")].map(str::to_owned);
            run(XFS, &fixed, options, device)?.success()?;
        }
        Filesystem::Btrfs => {
            let fixed = ["-q", "-f", "-K", "-U", &uuid.to_string()].map(str::to_owned);
            run(BTRFS, &fixed, options, device)?.success()?;
        }
    }
    progress(&format!("{filesystem} is on {}", device.display()));
    Ok(())
}

/// Inode tables are 1.6 percent of an ext4. Nothing zeroes them here: the kernel would do it after
/// the first mount, and a thin volume would give blocks for all of them. A volume that was never
/// written reads as zeros; mke2fs believes that since 1.47.0, and older ones leave the work to the
/// kernel.
fn make_ext4(device: &Path, uuid: Uuid, options: &[String], may_be_written: bool) -> Result<()> {
    const LAZY: &str = "nodiscard,lazy_itable_init=1,lazy_journal_init=1";
    let arguments = |extended: &str| {
        // -m 0: root's share is of no use to a volume that one tenant fills.
        let fixed = ["-q", "-F", "-m", "0", "-U", &uuid.to_string(), "-E", extended];
        fixed.map(str::to_owned)
    };
    if !may_be_written {
        let zeroed = format!("{LAZY},assume_storage_prezeroed=1");
        let outcome = run(EXT4, &arguments(&zeroed), options, device)?;
        let is_unknown =
            outcome.code() == Some(1) && outcome.output().contains("Bad option(s) specified");
        if !is_unknown {
            return outcome.success();
        }
    }
    run(EXT4, &arguments(LAZY), options, device)?.success()
}

fn run(program: Program, fixed: &[String], options: &[String], device: &Path) -> Result<Outcome> {
    let mut arguments: Vec<OsString> = fixed.iter().chain(options).map(OsString::from).collect();
    arguments.push("--".into());
    arguments.push(device.into());
    program.run(device, &arguments)
}

#[cfg(test)]
#[path = "make_tests.rs"]
mod tests;
