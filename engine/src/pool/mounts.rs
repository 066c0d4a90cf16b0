//! Filesystems above thin devices: flushed before a freeze, so that the freeze is short.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::block_device::DeviceNumber;

/// Flushes the filesystems mounted from these devices, one after the other. One that cannot be
/// flushed is flushed by the freeze itself, which takes longer: no reason to fail.
pub(super) fn sync_filesystems(devices: &[DeviceNumber]) {
    if devices.is_empty() {
        return;
    }
    let Ok(table) = fs::read_to_string("/proc/self/mountinfo") else { return };
    for directory in mount_points(&table, devices) {
        if let Ok(directory) = File::open(&directory) {
            let _ = nix::unistd::syncfs(directory);
        }
    }
}

/// The first mount point of each filesystem from one of these devices.
fn mount_points(table: &str, devices: &[DeviceNumber]) -> Vec<PathBuf> {
    let mut seen: Vec<DeviceNumber> = Vec::new();
    let mut points = Vec::new();
    for line in table.lines() {
        let Some((number, point)) = parse(line) else { continue };
        if devices.contains(&number) && !seen.contains(&number) {
            seen.push(number);
            points.push(point);
        }
    }
    points
}

/// Device and mount point of a line (Documentation/filesystems/proc.rst, 3.5). A filesystem with
/// numbers of its own (btrfs) is known by its source's node.
fn parse(line: &str) -> Option<(DeviceNumber, PathBuf)> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(2);
    let (major, minor) = fields.next()?.split_once(':')?;
    let point = PathBuf::from(unescape(fields.nth(1)?));
    let major = major.parse().ok()?;
    let minor = minor.parse().ok()?;
    if major != 0 {
        return Some((DeviceNumber { major, minor }, point));
    }
    let source = unescape(filesystem.split(' ').nth(1)?);
    let metadata = fs::metadata(Path::new(&source)).ok()?;
    (source.starts_with('/')).then(|| (DeviceNumber::from_rdev(metadata.rdev()), point))
}

/// Undoes the kernel's octal escapes.
fn unescape(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_mount_of_each_device_is_found() {
        let table = "36 35 254:3 / /mnt/a rw shared:1 - ext4 /dev/dm-3 rw\n\
                     37 35 254:3 / /mnt/again rw - ext4 /dev/dm-3 rw\n\
                     38 35 254:4 / /mnt/with\\040space rw - xfs /dev/dm-4 rw\n\
                     39 35 0:23 / /proc rw - proc proc rw\n\
                     garbage\n";
        let device = |minor| DeviceNumber { major: 254, minor };
        assert_eq!(mount_points(table, &[device(3)]), [PathBuf::from("/mnt/a")]);
        assert_eq!(mount_points(table, &[device(4)]), [PathBuf::from("/mnt/with space")]);
        assert!(mount_points(table, &[device(5)]).is_empty());
    }
}
