//! `NodeExpandVolume`: online, for every filesystem and for block.
#![forbid(unsafe_code)]

use thinly_csi_wire::{NodeExpandVolumeRequest, NodeExpandVolumeResponse};
use tonic::Status;

use super::place::{active_device, top_of};
use crate::ObjectKind;
use crate::controller;
use crate::driver::Driver;
use crate::failure::OrStatus;
use crate::host::filesystem::{Filesystem, grow};
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
    let top = top_of(&path)?;
    // A cluster without a controller that grows volumes asks here alone.
    let size = controller::grow(&found, capacity)?;
    match top.filter(|top| device.carries(top)) {
        Some(top) => {
            let filesystem: Filesystem = top.filesystem.parse().or_status()?;
            grow(&device.node, filesystem, &path).or_status()?;
        }
        None => super::stats::is_shown_at(&found, &device, &path)?,
    }
    let capacity_bytes = i64::try_from(size.get()).unwrap_or(i64::MAX);
    Ok(NodeExpandVolumeResponse { capacity_bytes })
}
