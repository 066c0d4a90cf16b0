//! `NodeExpandVolume`: online, for every filesystem and for block.
#![forbid(unsafe_code)]

use thinly_csi_wire::{NodeExpandVolumeRequest, NodeExpandVolumeResponse};
use thinly_engine::layout::MountEntry;
use tonic::Status;

use super::place::{Device, active_device, all_mounts, top_of};
use crate::ObjectKind;
use crate::controller;
use crate::driver::Driver;
use crate::failure::OrStatus;
use crate::host::filesystem::{Filesystem, grow, needs_growth};
use crate::request::{Access, Capacity};

pub(super) fn expand(
    driver: &Driver,
    request: &NodeExpandVolumeRequest,
) -> Result<NodeExpandVolumeResponse, Status> {
    let capacity = Capacity::read(request.capacity_range.as_ref())?;
    if let Some(capability) = &request.volume_capability {
        Access::read(Some(capability))?;
    }
    let path = driver.path(&request.volume_path)?;
    let found = driver.need(&request.volume_id, ObjectKind::Volume)?;
    let device = active_device(&found)?.ok_or_else(|| {
        Status::not_found(format!("the volume {} is not staged here", found.id()))
    })?;
    let top = top_of(&path)?.filter(|top| device.carries(top));
    if top.is_none() {
        super::stats::is_shown_at(&found, &device, &path)?;
    }
    // A cluster without a controller that grows volumes asks here alone.
    let size = controller::grow(&found, capacity)?;
    if let Some(top) = top {
        grow_mounted(driver, &device, &top)?;
    }
    let capacity_bytes = i64::try_from(size.get()).unwrap_or(i64::MAX);
    Ok(NodeExpandVolumeResponse { capacity_bytes })
}

/// Grows a filesystem by a mount of it that can be written, which the one at the path need not be:
/// a pod may have for reading what is staged for writing.
fn grow_mounted(driver: &Driver, device: &Device, top: &MountEntry) -> Result<(), Status> {
    let filesystem: Filesystem = top.filesystem.parse().or_status()?;
    let is_writable = |mount: &MountEntry| {
        !mount.options.iter().chain(&mount.super_options).any(|option| option == "ro")
    };
    let writable = all_mounts()?
        .into_iter()
        .filter(|mount| device.carries(mount) && mount.root == top.root && is_writable(mount))
        .find_map(|mount| driver.kubelet.resolve_mounted(&mount.mount_point).ok());
    match writable {
        Some(path) => grow(&device.node, filesystem, &path).or_status(),
        None if needs_growth(&device.node, filesystem).or_status()? => {
            Err(Status::failed_precondition(format!(
                "the volume is mounted for reading only; its {filesystem} grows to the volume's \
                 size when it is staged anew"
            )))
        }
        None => Ok(()),
    }
}
