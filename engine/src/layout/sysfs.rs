//! The few files of sysfs and proc that tell what a block device is and who uses it.
#![forbid(unsafe_code)]

use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::error::LayoutError;
use super::facts::{Holder, PartitionFacts};
use crate::block_device::DeviceNumber;

/// Where the kernel's file systems are mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    /// sysfs.
    pub sys: PathBuf,
    /// procfs.
    pub proc: PathBuf,
    /// The device nodes.
    pub dev: PathBuf,
}

impl Default for System {
    fn default() -> Self {
        Self { sys: "/sys".into(), proc: "/proc".into(), dev: "/dev".into() }
    }
}

impl System {
    /// A block device's directory, by its number.
    pub fn block_dir(&self, number: DeviceNumber) -> PathBuf {
        self.sys.join("dev/block").join(number.to_string())
    }

    /// A block device's directory, by the kernel's name.
    pub(super) fn named_dir(&self, name: &str) -> PathBuf {
        self.sys.join("class/block").join(name)
    }

    /// The node of a kernel name; sysfs writes `!` where the name has `/`.
    pub fn node(&self, name: &str) -> PathBuf {
        self.dev.join(name.replace('!', "/"))
    }

    /// The number of a block device's node; `None` when it is not there.
    pub fn node_number(&self, node: &Path) -> Option<DeviceNumber> {
        let metadata = fs::metadata(node).ok()?;
        let is_block = metadata.file_type().is_block_device();
        is_block.then(|| DeviceNumber::from_rdev(metadata.rdev()))
    }

    /// The kernel's names of all block devices, in order.
    pub(super) fn block_names(&self) -> Result<Vec<String>, LayoutError> {
        let mut names = list_dir(&self.sys.join("class/block"))?;
        names.sort();
        Ok(names)
    }

    /// The devices stacked on a device (`holders`), or below it (`slaves`).
    pub(super) fn stacked(
        &self,
        block_dir: &Path,
        direction: &str,
    ) -> Result<Vec<Holder>, LayoutError> {
        let mut stacked = Vec::new();
        for name in list_dir_or_empty(&block_dir.join(direction))? {
            let dir = self.named_dir(&name);
            let Some(number) = read_device_number(&dir.join("dev"))? else { continue };
            stacked.push(Holder { name, number, dm_uuid: read_dm(&dir, "uuid")? });
        }
        stacked.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(stacked)
    }
}

/// A device's partitions, in the order of their numbers.
pub(super) fn partitions_of(block_dir: &Path) -> Result<Vec<PartitionFacts>, LayoutError> {
    let mut partitions = Vec::new();
    // A partition is a directory; the two dozen attributes beside it need not be asked.
    for name in list(block_dir, |entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))? {
        let child = block_dir.join(&name);
        if let Some(index) = read_number(&child.join("partition"))?
            && let Some(number) = read_device_number(&child.join("dev"))?
        {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            partitions.push(PartitionFacts { name, index, number });
        }
    }
    partitions.sort_by_key(|partition| partition.index);
    Ok(partitions)
}

/// A file of `dm/`; `None` for a device of another driver and for an empty one.
pub(super) fn read_dm(block_dir: &Path, file: &str) -> Result<Option<String>, LayoutError> {
    Ok(read_text(&block_dir.join("dm").join(file))?.filter(|text| !text.is_empty()))
}

/// A file's text without its line end; `None` when there is no such file.
///
/// A device can go away between two reads: then its files are gone (`ENOENT`) or dead (`ENODEV`,
/// `ENXIO`), and both mean the same as a file that was never there.
pub(super) fn read_text(path: &Path) -> Result<Option<String>, LayoutError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim_end_matches('\n').to_owned())),
        Err(source) if is_gone(&source) => Ok(None),
        Err(source) => Err(LayoutError::System { path: path.to_owned(), source }),
    }
}

/// A decimal number; `None` when there is no such file.
pub(super) fn read_number(path: &Path) -> Result<Option<u64>, LayoutError> {
    let Some(text) = read_text(path)? else { return Ok(None) };
    match text.trim().parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(unexpected(path, text, "a decimal number")),
    }
}

/// `MAJOR:MINOR`; `None` when there is no such file.
pub(super) fn read_device_number(path: &Path) -> Result<Option<DeviceNumber>, LayoutError> {
    let Some(text) = read_text(path)? else { return Ok(None) };
    match parse_device_number(&text) {
        Some(number) => Ok(Some(number)),
        None => Err(unexpected(path, text, "MAJOR:MINOR")),
    }
}

/// `MAJOR:MINOR`.
pub(super) fn parse_device_number(text: &str) -> Option<DeviceNumber> {
    let (major, minor) = text.trim().split_once(':')?;
    Some(DeviceNumber { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

fn unexpected(path: &Path, found: String, expected: &'static str) -> LayoutError {
    LayoutError::SystemText { path: path.to_owned(), found, expected }
}

fn list_dir(path: &Path) -> Result<Vec<String>, LayoutError> {
    list(path, |_| true)
}

fn list(path: &Path, wanted: impl Fn(&DirEntry) -> bool) -> Result<Vec<String>, LayoutError> {
    let failed = |source| LayoutError::System { path: path.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if wanted(&entry) {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

fn list_dir_or_empty(path: &Path) -> Result<Vec<String>, LayoutError> {
    match list_dir(path) {
        Err(LayoutError::System { source, .. }) if is_gone(&source) => Ok(Vec::new()),
        other => other,
    }
}

fn is_gone(error: &io::Error) -> bool {
    let codes = [
        nix::libc::ENOENT,
        nix::libc::ENOTDIR,
        nix::libc::ENODEV,
        nix::libc::ENXIO,
        nix::libc::EINVAL,
    ];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_parse_strictly() {
        let number = DeviceNumber { major: 259, minor: 7 };
        assert_eq!(parse_device_number("259:7\n"), Some(number));
        for bad in ["", "259", "259:", ":7", "a:b", "1:2:3", "-1:2"] {
            assert_eq!(parse_device_number(bad), None, "{bad}");
        }
    }

    #[test]
    fn this_machine_lists_its_block_devices() {
        let system = System::default();
        let names = system.block_names().unwrap();
        assert!(!names.is_empty());
        for name in names {
            let number = read_device_number(&system.named_dir(&name).join("dev")).unwrap();
            assert!(system.block_dir(number.unwrap()).exists(), "{name}");
        }
    }

    #[test]
    fn a_missing_file_is_none_and_a_wrong_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("size");
        assert_eq!(read_number(&path).unwrap(), None);
        fs::write(&path, "many\n").unwrap();
        let message = read_number(&path).unwrap_err().to_string();
        assert!(message.contains("says \"many\", expected a decimal number"), "{message}");
    }
}
