//! Which devices are mounted or swapped to, from `/proc/self/mountinfo` and `/proc/swaps`.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::error::LayoutError;
use super::sysfs::{System, parse_device_number, read_text};
use crate::block_device::DeviceNumber;

/// One line of mountinfo: a filesystem, or a part of it, at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// The filesystem's device; an invented one for Btrfs.
    pub device: DeviceNumber,
    /// What of the filesystem shows there, `/` for all of it.
    pub root: PathBuf,
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// What is said of this mount alone, such as `ro` and `nosuid`.
    pub options: Vec<String>,
    /// The filesystem's name.
    pub filesystem: String,
    /// What was mounted: a node's path, or a word.
    pub source: PathBuf,
    /// What is said of the filesystem, wherever it is mounted.
    pub super_options: Vec<String>,
}

impl MountEntry {
    /// Whether a device carries it. Btrfs shows a device number of its own, an anonymous one
    /// (`get_anon_bdev`, fs/super.c), so there the number of the source's node counts.
    pub fn is_on(&self, system: &System, number: DeviceNumber) -> bool {
        self.device == number
            || (self.device.major == 0
                && self.source.is_absolute()
                && system.node_number(&self.source) == Some(number))
    }
}

/// All mounts of this process's namespace, in the kernel's order: what is mounted over something
/// else comes after it. Those of others do not show here: an exclusive open finds them.
pub fn mounts(system: &System) -> Result<Vec<MountEntry>, LayoutError> {
    let text = read_text(&system.proc.join("self/mountinfo"))?.unwrap_or_default();
    Ok(parse_mountinfo(&text))
}

/// Where a device is mounted.
pub(super) fn mounts_of(
    system: &System,
    number: DeviceNumber,
) -> Result<Vec<PathBuf>, LayoutError> {
    let mounts = mounts(system)?.into_iter().filter(|mount| mount.is_on(system, number));
    Ok(mounts.map(|mount| mount.mount_point).collect())
}

/// Whether a device is in use as swap.
pub(super) fn is_swap(system: &System, number: DeviceNumber) -> Result<bool, LayoutError> {
    let text = read_text(&system.proc.join("swaps"))?.unwrap_or_default();
    Ok(parse_swaps(&text).iter().any(|path| system.node_number(path) == Some(number)))
}

/// Lines of `/proc/self/mountinfo`; a line that cannot be read is left out.
pub(crate) fn parse_mountinfo(text: &str) -> Vec<MountEntry> {
    let words = |field: &str| field.split(',').map(str::to_owned).collect();
    let line = |line: &str| {
        // Fields up to " - " vary in number; after it come type, source and options.
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(2);
        let mut after = after.split(' ');
        Some(MountEntry {
            device: parse_device_number(before.next()?)?,
            root: unescape(before.next()?).into(),
            mount_point: unescape(before.next()?).into(),
            options: words(before.next()?),
            filesystem: after.next()?.to_owned(),
            source: unescape(after.next()?).into(),
            super_options: after.next().map(words).unwrap_or_default(),
        })
    };
    text.lines().filter_map(line).collect()
}

/// The devices in `/proc/swaps`; swap files are left out.
fn parse_swaps(text: &str) -> Vec<PathBuf> {
    let line = |line: &str| {
        let mut fields = line.split_whitespace();
        let path = fields.next()?;
        (fields.next()? == "partition").then(|| PathBuf::from(unescape(path)))
    };
    text.lines().skip(1).filter_map(line).collect()
}

/// Undoes the kernel's octal escapes for blanks and backslashes.
fn unescape(field: &str) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..3).filter(|_| *first == b'\\');
        let code = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let code = code.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
98 27 0:44 /@home /home\\040of\\134all rw shared:5 master:1 - btrfs /dev/sdb2 rw,ssd
";

    #[test]
    fn mountinfo_gives_numbers_sources_and_unescaped_places() {
        let mounts = parse_mountinfo(MOUNTINFO);
        assert_eq!(mounts.len(), 3);
        assert_eq!(mounts[1].device, DeviceNumber { major: 254, minor: 0 });
        assert_eq!(mounts[1].mount_point, PathBuf::from("/"));
        assert_eq!(mounts[1].super_options, ["rw", "discard"]);
        assert_eq!(mounts[2].root, PathBuf::from("/@home"));
        assert_eq!(mounts[2].mount_point, PathBuf::from("/home of\\all"));
        assert_eq!(mounts[2].options, ["rw"]);
        assert_eq!(mounts[2].filesystem, "btrfs");
        assert_eq!(mounts[2].source, PathBuf::from("/dev/sdb2"));
    }

    #[test]
    fn broken_lines_are_left_out() {
        assert_eq!(parse_mountinfo("1 2 x:y / / rw - ext4 /dev/sda rw\nnonsense\n\n"), []);
    }

    #[test]
    fn swaps_are_devices_only() {
        let text = "Filename\tType\tSize\tUsed\tPriority\n\
                    /dev/sda3                               partition\t999\t0\t-2\n\
                    /swap\\040file                          file\t\t999\t0\t-3\n";
        assert_eq!(parse_swaps(text), [PathBuf::from("/dev/sda3")]);
    }

    #[test]
    fn the_root_filesystem_of_this_machine_is_mounted_on_its_device() {
        let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let lines = text.lines().count();
        let mounts = parse_mountinfo(&text);
        assert_eq!(mounts.len(), lines, "every line of this kernel is understood");
        let root = mounts.iter().find(|mount| mount.mount_point == *"/").unwrap();
        let places = mounts_of(&System::default(), root.device).unwrap();
        assert!(places.contains(&PathBuf::from("/")));
    }
}
