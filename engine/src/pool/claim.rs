//! The writer's claim: the exclusive open of the journal's linear. It ignores namespaces, so a
//! container and its host meet on it, and it dies with the process.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::error::PoolError;
use super::located::Located;
use crate::block_device::{Access, BlockDevice, DeviceError};

/// Takes the claim, or says who has it.
pub(super) fn claim(located: &Located, node: &Path) -> Result<BlockDevice, PoolError> {
    match BlockDevice::open(node, Access::Exclusive) {
        Ok(device) => {
            note_holder(located.uuid());
            Ok(device)
        }
        Err(DeviceError::Busy { .. }) => Err(PoolError::Claimed {
            pool: located.found.name.clone(),
            holder: holder(located.uuid())
                .map_or_else(String::new, |process| format!(" (process {process})")),
        }),
        Err(error) => Err(error.into()),
    }
}

/// The process that holds the claim, as far as its note can be believed: the claim itself is the
/// kernel's, the note only helps a person.
pub(super) fn holder(pool: Uuid) -> Option<u32> {
    let process = fs::read_to_string(note(pool)).ok()?.trim().parse().ok()?;
    Path::new(&format!("/proc/{process}")).exists().then_some(process)
}

fn note_holder(pool: Uuid) {
    let path = note(pool);
    if let Some(directory) = path.parent() {
        let _ = fs::create_dir_all(directory);
    }
    let _ = fs::write(path, format!("{}\n", std::process::id()));
}

/// Takes the note back, before the claim goes: after it the note may be the next writer's.
pub(super) fn forget_holder(pool: Uuid) {
    let _ = fs::remove_file(note(pool));
}

fn note(pool: Uuid) -> PathBuf {
    PathBuf::from(format!("/run/thinly/{pool}.writer"))
}
