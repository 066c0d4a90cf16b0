//! Filesystems above thin devices: flushed before a freeze, so that the freeze is short.
#![forbid(unsafe_code)]

use std::fs::File;

use crate::block_device::DeviceNumber;
use crate::layout::{System, mounts};

/// Flushes the filesystems mounted from these devices, one after the other. One that cannot be
/// flushed is flushed by the freeze itself, which takes longer: no reason to fail.
pub(super) fn sync_filesystems(devices: &[DeviceNumber]) {
    if devices.is_empty() {
        return;
    }
    let system = System::default();
    let Ok(mounts) = mounts(&system) else { return };
    for device in devices {
        // The first of its places is enough: they all show one filesystem.
        let mount = mounts.iter().find(|mount| mount.is_on(&system, *device));
        if let Some(directory) = mount.and_then(|mount| File::open(&mount.mount_point).ok()) {
            let _ = nix::unistd::syncfs(directory);
        }
    }
}
