//! Filesystems of a pool's volumes that met an error, as after writes into a full pool, and most often
//! take no writes since: they do not come back when the pool does.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use crate::block_device::DeviceNumber;
use crate::catalogue::{Catalogue, VolumeName};
use crate::dm::DmName;
use crate::layout::{MountEntry, System, mounts};
use crate::plan::DeviceNames;

/// What a filesystem says of itself after an error: `emergency_ro` and `shutdown` are newer kernels'.
const FALLEN: [&str; 3] = ["ro", "emergency_ro", "shutdown"];

/// A filesystem that met an error although it was mounted for writing.
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
    let writable = all.into_iter().filter(|mount| has(&mount.options, "rw"));
    let of_pool = writable.filter_map(|mount| {
        let number = system.node_number(&mount.source).unwrap_or(mount.device);
        let name = std::fs::read_to_string(number.sysfs().join("dm/name")).ok()?;
        if !has_fallen(&mount) && ext4_errors(number) == 0 {
            return None;
        }
        let id = names.thin_id_of(&DmName::new(name.trim()).ok()?)?;
        let volume = catalogue.owner(id)?.name.clone();
        Some(FallenFilesystem { volume, mount_point: mount.mount_point })
    });
    of_pool.collect()
}

/// A person who wants it read-only says so of the mount; an error says it of the filesystem alone.
fn has_fallen(mount: &MountEntry) -> bool {
    has(&mount.options, "rw") && FALLEN.iter().any(|word| has(&mount.super_options, word))
}

fn has(options: &[String], word: &str) -> bool {
    options.iter().any(|option| option == word)
}

/// Errors that ext4 has noted since its last check. From 6.12 to 6.14 nothing else tells that it went
/// read-only: its mount still says `rw` (`ext4_handle_error`, fs/ext4/super.c).
fn ext4_errors(device: DeviceNumber) -> u64 {
    let path = format!("/sys/fs/ext4/dm-{}/errors_count", device.minor);
    std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
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
