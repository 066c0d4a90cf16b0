//! What is mounted where.
#![forbid(unsafe_code)]

use thinly_engine::block_device::DeviceNumber;
pub use thinly_engine::layout::MountEntry;
use thinly_engine::layout::{System, mounts};

use super::error::Result;
use super::paths::HostPath;

/// What is mounted exactly on a path, topmost last. The path itself is not touched, so that the
/// answer comes for a filesystem as well that answers nothing any more.
pub fn mounts_at(path: &HostPath) -> Result<Vec<MountEntry>> {
    let mut found = mounts(&System::default())?;
    found.retain(|mount| mount.mount_point == path.real_path());
    Ok(found)
}

/// Every mount of a device's filesystem, of any part of it.
pub fn mounts_of(device: DeviceNumber) -> Result<Vec<MountEntry>> {
    let system = System::default();
    let mut found = mounts(&system)?;
    found.retain(|mount| mount.is_on(&system, device));
    Ok(found)
}
