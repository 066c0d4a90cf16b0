//! `ControllerExpandVolume`: the device grows here, under its users; the filesystem on the node.
#![forbid(unsafe_code)]

use thinly_csi_wire::{ControllerExpandVolumeRequest, ControllerExpandVolumeResponse};
use thinly_engine::catalogue::{ClusterAccess, Content};
use thinly_engine::units::Bytes;
use tonic::Status;

use crate::ObjectKind;
use crate::driver::{Driver, Found};
use crate::failure::{OrStatus, status_of_growth};
use crate::request::{Access, Capacity};

pub(super) fn expand(
    driver: &Driver,
    request: &ControllerExpandVolumeRequest,
) -> Result<ControllerExpandVolumeResponse, Status> {
    let range = request
        .capacity_range
        .as_ref()
        .ok_or_else(|| Status::invalid_argument("capacity_range is required and missing"))?;
    let capacity = Capacity::read(Some(range))?;
    let capability = request.volume_capability.as_ref();
    let access = capability.map(|capability| Access::read(Some(capability))).transpose()?;
    let found = driver.need(&request.volume_id, ObjectKind::Volume)?;
    let size = grow(&found, capacity)?;
    let is_block = match access {
        Some(access) => access.is_block(),
        None => is_used_as_block(&found),
    };
    Ok(ControllerExpandVolumeResponse {
        capacity_bytes: i64::try_from(size.get()).unwrap_or(i64::MAX),
        node_expansion_required: !is_block,
    })
}

/// What the cluster said when it asked for the volume or was told of it. The content alone does not
/// tell: what somebody else formatted is mounted, and counts as written by anybody.
fn is_used_as_block(found: &Found) -> bool {
    let provision = found.pool.provision_of(found.volume.uuid);
    match provision.and_then(|provision| provision.access()) {
        Some(access) => access == ClusterAccess::Block,
        None => found.volume.content == Content::Touched,
    }
}

/// Grows a volume to what is asked for at least, and what is published of it for reading; one that
/// is large enough stays as it is.
pub(crate) fn grow(found: &Found, capacity: Capacity) -> Result<Bytes, Status> {
    let size = grow_volume(found, capacity)?;
    let name = &found.volume.name;
    // A device of its own. Of a block volume nobody need call the node after this.
    if found.pool.find_read_only_view(name).or_status()?.is_some() {
        found.pool.read_only_view(name).or_status()?;
    }
    Ok(size)
}

fn grow_volume(found: &Found, capacity: Capacity) -> Result<Bytes, Status> {
    let current = found.volume.size;
    if capacity.admits(current) {
        return Ok(current);
    }
    if capacity.required().is_none_or(|required| required <= current) {
        return Err(Status::out_of_range(format!(
            "the volume has {current} bytes and cannot shrink below limit_bytes"
        )));
    }
    let size = capacity.pick(current)?;
    let view = found.pool.resize(&found.volume.name, size);
    view.map(|view| view.virtual_bytes).map_err(|error| status_of_growth(&error))
}
