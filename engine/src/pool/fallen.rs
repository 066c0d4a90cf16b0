//! Filesystems of a pool's volumes that went read-only by themselves after an error, as after writes
//! into a full pool: they do not come back when the pool does.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use crate::catalogue::{Catalogue, VolumeName};
use crate::dm::DmName;
use crate::layout::{MountEntry, System, mounts};
use crate::plan::DeviceNames;

/// What a filesystem says of itself after an error: `emergency_ro` and `shutdown` are newer kernels'.
const FALLEN: [&str; 3] = ["ro", "emergency_ro", "shutdown"];

/// A filesystem that takes no writes any more although it was mounted for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FallenFilesystem {
    /// The volume that it is on.
    pub volume: VolumeName,
    /// Where it is mounted.
    pub mount_point: PathBuf,
}

/// Those of a pool, as this process's mounts show them.
pub(super) fn fallen_filesystems(
    names: &DeviceNames,
    catalogue: &Catalogue,
) -> Vec<FallenFilesystem> {
    let system = System::default();
    let all = mounts(&system).unwrap_or_default();
    let fallen = all.into_iter().filter(has_fallen);
    let of_pool = fallen.filter_map(|mount| {
        let name = system.node_number(&mount.source).unwrap_or(mount.device);
        let name = std::fs::read_to_string(name.sysfs().join("dm/name")).ok()?;
        let id = names.thin_id_of(&DmName::new(name.trim()).ok()?)?;
        let volume = catalogue.owner(id)?.name.clone();
        Some(FallenFilesystem { volume, mount_point: mount.mount_point })
    });
    of_pool.collect()
}

/// A person who wants it read-only says so of the mount; an error says it of the filesystem alone.
fn has_fallen(mount: &MountEntry) -> bool {
    let has = |options: &[String], word: &str| options.iter().any(|option| option == word);
    has(&mount.options, "rw") && FALLEN.iter().any(|word| has(&mount.super_options, word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::parse_mountinfo;

    fn fallen(line: &str) -> bool {
        has_fallen(&parse_mountinfo(line)[0])
    }

    #[test]
    fn only_what_fell_by_itself_counts() {
        let line = |mount: &str, filesystem: &str| {
            format!(
                "36 25 253:4 / /srv {mount},relatime shared:1 - ext4 /dev/dm-4 {filesystem},errors=remount-ro"
            )
        };
        assert!(fallen(&line("rw", "ro")));
        assert!(fallen(&line("rw", "rw,emergency_ro")));
        assert!(fallen(&line("rw", "rw,shutdown")));
        assert!(!fallen(&line("rw", "rw")));
        assert!(!fallen(&line("ro", "ro")), "mounted so");
        assert!(!fallen(&line("ro", "rw")), "bound so");
    }
}
