//! Which devices are mounted or swapped to, from `/proc/self/mountinfo` and `/proc/swaps`.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::error::LayoutError;
use super::sysfs::{System, parse_device_number, read_text};
use crate::block_device::DeviceNumber;

/// One line of mountinfo, as far as a device is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The filesystem's device; an invented one for Btrfs.
    number: DeviceNumber,
    /// Where it is mounted.
    pub(crate) place: PathBuf,
    /// What was mounted: a node's path, or a word.
    source: PathBuf,
}

impl Mount {
    /// Whether a device carries it. Btrfs shows a device number of its own, so the number of the
    /// source's node counts as well.
    pub(crate) fn is_on(&self, system: &System, number: DeviceNumber) -> bool {
        self.number == number
            || (self.source.is_absolute() && system.node_number(&self.source) == Some(number))
    }
}

/// All mounts of this process's namespace. Those of others do not show here: an exclusive open
/// finds them.
pub(crate) fn mounts(system: &System) -> Result<Vec<Mount>, LayoutError> {
    let text = read_text(&system.proc.join("self/mountinfo"))?.unwrap_or_default();
    Ok(parse_mountinfo(&text))
}

/// Where a device is mounted.
pub(super) fn mounts_of(
    system: &System,
    number: DeviceNumber,
) -> Result<Vec<PathBuf>, LayoutError> {
    let mounts = mounts(system)?.into_iter().filter(|mount| mount.is_on(system, number));
    Ok(mounts.map(|mount| mount.place).collect())
}

/// Whether a device is in use as swap.
pub(super) fn is_swap(system: &System, number: DeviceNumber) -> Result<bool, LayoutError> {
    let text = read_text(&system.proc.join("swaps"))?.unwrap_or_default();
    Ok(parse_swaps(&text).iter().any(|path| system.node_number(path) == Some(number)))
}

/// Lines of `/proc/self/mountinfo`; a line that cannot be read is left out.
fn parse_mountinfo(text: &str) -> Vec<Mount> {
    let line = |line: &str| {
        // Fields up to " - " vary in number; after it come type, source and options.
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ');
        let number = parse_device_number(before.nth(2)?)?;
        let place = PathBuf::from(unescape(before.nth(1)?));
        let source = PathBuf::from(unescape(after.split(' ').nth(1)?));
        Some(Mount { number, place, source })
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
fn unescape(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..3).filter(|_| *first == b'\\');
        let code = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let code = code.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
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
        assert_eq!(mounts[1].number, DeviceNumber { major: 254, minor: 0 });
        assert_eq!(mounts[1].place, PathBuf::from("/"));
        assert_eq!(mounts[2].place, PathBuf::from("/home of\\all"));
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
        let root = mounts.iter().find(|mount| mount.place == *"/").unwrap();
        let places = mounts_of(&System::default(), root.number).unwrap();
        assert!(places.contains(&PathBuf::from("/")));
    }
}
