//! What is at a path, and where a volume is.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use thinly_engine::block_device::DeviceNumber;
use thinly_engine::layout::{MountEntry, System, mounts};
use thinly_engine::pool::VolumeView;
use tonic::Status;

use crate::driver::{Driver, Found};
use crate::failure::{OrStatus as _, chain, status_of};
use crate::host::HostErrorKind;
use crate::host::mount_table::mounts_at;
use crate::host::paths::{Entry, HostPath};

impl Driver {
    /// A path that kubelet names. One that leads through a symbolic link is refused here, so that
    /// every call gives the same answer to it.
    pub(super) fn path(&self, path: &str) -> Result<HostPath, Status> {
        let path = self.kubelet.resolve(Path::new(path)).or_status()?;
        match path.entry() {
            Ok(Entry::Other) => Err(Status::invalid_argument(format!(
                "{} is no directory, file or device; symbolic links are not followed",
                path.path().display()
            ))),
            Err(error) if error.kind() == HostErrorKind::Refused => Err(status_of(&error)),
            // What is not there, or not readable, is the call's own matter.
            _ => Ok(path),
        }
    }
}

/// The device of a volume, when it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) node: PathBuf,
    pub(super) number: DeviceNumber,
    pub(super) read_only: bool,
}

impl Device {
    pub(super) fn of(view: &VolumeView) -> Option<Self> {
        let node = view.device.clone()?;
        let number = System::default().node_number(&node)?;
        Some(Self { node, number, read_only: view.read_only })
    }

    /// Whether a mount shows the filesystem on this device.
    pub(super) fn carries(&self, mount: &MountEntry) -> bool {
        mount.is_on(&System::default(), self.number)
    }

    /// Whether a mount shows this device's node itself.
    pub(super) fn is_shown_by(&self, mount: &MountEntry) -> bool {
        shows_node(mount, &self.node)
    }
}

/// Whether a mount shows a node of `/dev`. A node whose device is gone shows as deleted, so a
/// number that was given again is not mistaken.
pub(crate) fn shows_node(mount: &MountEntry, node: &Path) -> bool {
    mount.filesystem == "devtmpfs"
        && mount.root.file_name() == node.file_name()
        && mount.root.parent() == Some(Path::new("/"))
}

/// The device of an active volume.
pub(super) fn active_device(found: &Found) -> Result<Option<Device>, Status> {
    let view = found.pool.volume(&found.volume.name).or_status()?;
    Ok(Device::of(&view))
}

/// What is mounted topmost on a path.
pub(super) fn top_of(path: &HostPath) -> Result<Option<MountEntry>, Status> {
    mounts_at(path).or_status().map(|mut mounts| mounts.pop())
}

/// Every mount of this node.
pub(crate) fn all_mounts() -> Result<Vec<MountEntry>, Status> {
    mounts(&System::default()).map_err(|error| Status::internal(chain(&error)))
}

/// A name for people of what is mounted.
pub(super) fn describe(mount: &MountEntry) -> String {
    let name = mount.root.file_name().unwrap_or(OsStr::new("/"));
    format!("{} of {} ({})", name.display(), mount.source.display(), mount.filesystem)
}
