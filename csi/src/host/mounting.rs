//! Mounting, binding and unmounting.
//!
//! A mount is made complete, with all its attributes, before it is attached to its target by
//! descriptor: it is never seen half made, and never lands where a symbolic link leads.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, fstat};
use rustix::io::{Errno, read};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
    open_tree,
};

use super::error::{HostError, Result};
use super::filesystem::Filesystem;
use super::mount_attributes::set_attributes;
pub use super::mount_options::MountOptions;
use super::mount_table::mounts_at;
use super::paths::{Entry, HostPath};

/// Mounts the filesystem of a device on an existing directory that nothing is mounted on.
///
/// XFS is always mounted with `nouuid`: a clone has its source's identity, and the kernel refuses
/// the second one otherwise.
pub fn mount_filesystem(
    device: &Path,
    filesystem: Filesystem,
    target: &HostPath,
    options: &MountOptions,
    read_only: bool,
) -> Result<()> {
    let directory = free_target(target, Entry::Directory)?;
    let read_only = read_only || options.read_only();
    let context = fsopen(filesystem.name(), FsOpenFlags::FSOPEN_CLOEXEC).map_err(|errno| {
        HostError::kernel("asking the kernel for the filesystem of", device, errno)
    })?;
    configure(&context, device, filesystem, options, read_only).map_err(|errno| {
        HostError::Kernel {
            action: "mounting",
            path: device.to_owned(),
            source: errno.into(),
            said: said_by(&context),
        }
    })?;
    let attributes = options.attributes(read_only);
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(|errno| HostError::kernel("mounting", device, errno))?;
    attach(&mount, &directory, target)
}

fn configure(
    context: &OwnedFd,
    device: &Path,
    filesystem: Filesystem,
    options: &MountOptions,
    read_only: bool,
) -> std::result::Result<(), Errno> {
    fsconfig_set_string(context, "source", device)?;
    if read_only {
        fsconfig_set_flag(context, "ro")?;
    }
    if filesystem == Filesystem::Xfs {
        fsconfig_set_flag(context, "nouuid")?;
    }
    for (name, value) in options.parameters() {
        match value {
            Some(value) => fsconfig_set_string(context, *name, value.as_str())?,
            None => fsconfig_set_flag(context, *name)?,
        }
    }
    fsconfig_create(context)
}

/// What the filesystem wrote into its context while it was configured. Each read gives one line.
fn said_by(context: &OwnedFd) -> String {
    const LINES_MAX: usize = 16;
    let mut said = String::new();
    let mut line = [0; 1024];
    for _ in 0..LINES_MAX {
        let Ok(length) = read(context, &mut line) else { break };
        let text = String::from_utf8_lossy(line.get(..length).unwrap_or_default());
        // Two bytes say whether it is an error, a warning or a remark.
        let text = text.get(2..).unwrap_or(&text).trim_end();
        let separator = if said.is_empty() { ": " } else { "; " };
        let _ = write!(said, "{separator}{text}");
    }
    if said.is_empty() {
        said.push_str("; the kernel log may say more");
    }
    said
}

/// Shows a directory at another place, with attributes of its own. Attributes of the source's mount
/// are not inherited; whether its filesystem can be written is not changed by this.
pub fn bind_directory(
    source: &HostPath,
    target: &HostPath,
    read_only: bool,
    options: &MountOptions,
) -> Result<()> {
    let directory = free_target(target, Entry::Directory)?;
    let tree = source.open(Entry::Directory)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let mount = open_tree(&tree, "", flags).map_err(|errno| source.fail("binding", errno))?;
    set_attributes(&mount, options.attributes(read_only))
        .map_err(|errno| source.fail("setting the attributes of a mount of", errno))?;
    attach(&mount, &directory, target)
}

/// Shows a block device at an existing empty file. Whether it can be written is the device's own
/// matter: a mount's attributes do not hold for what is behind a device node.
pub fn bind_device(device: &Path, target: &HostPath) -> Result<()> {
    let file = free_target(target, Entry::File)?;
    let fail = |errno| HostError::kernel("binding", device, errno);
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, device, flags).map_err(fail)?;
    let stat = fstat(&mount).map_err(fail)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::BlockDevice {
        return Err(thinly_engine::block_device::DeviceError::NotABlockDevice {
            path: device.to_owned(),
        }
        .into());
    }
    set_attributes(&mount, MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC)
        .map_err(fail)?;
    attach(&mount, &file, target)
}

/// Unmounts everything that is stacked on exactly this path; `false` when nothing was.
pub fn unmount(target: &HostPath) -> Result<bool> {
    let mut any = false;
    while !mounts_at(target)?.is_empty() {
        // By its parent: a descriptor of the mount itself would keep it in use.
        let (parent, name) = target.parent()?;
        let path = HostPath::by_descriptor(&parent, name);
        match rustix::mount::unmount(path.as_os_str(), UnmountFlags::NOFOLLOW) {
            Ok(()) => any = true,
            Err(Errno::BUSY) => {
                let user = "a program has a file open there, or something is mounted below it";
                return Err(HostError::InUse { path: target.path().to_owned(), user });
            }
            Err(errno) => return Err(target.fail("unmounting", errno)),
        }
    }
    Ok(any)
}

/// Opens a target that nothing is mounted on yet.
fn free_target(target: &HostPath, expected: Entry) -> Result<OwnedFd> {
    if !mounts_at(target)?.is_empty() {
        return Err(target.occupied("a mount point", "nothing mounted"));
    }
    target.open(expected)
}

fn attach(mount: &OwnedFd, place: &OwnedFd, target: &HostPath) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", place, "", flags).map_err(|errno| target.fail("mounting on", errno))
}
