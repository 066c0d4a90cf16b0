//! `GetCapacity`: what may still be promised, by the same rule that `CreateVolume` applies.
#![forbid(unsafe_code)]

use thinly_csi_wire::{GetCapacityRequest, GetCapacityResponse, TopologyRequirement};
use thinly_engine::units::Bytes;
use tonic::Status;

use crate::driver::Driver;
use crate::failure::OrStatus;
use crate::request::{Access, Parameters, is_satisfied_by};

pub(super) fn capacity(
    driver: &Driver,
    request: &GetCapacityRequest,
) -> Result<GetCapacityResponse, Status> {
    let parameters = Parameters::read(&request.parameters)?;
    if !request.volume_capabilities.is_empty()
        && Access::read_all(&request.volume_capabilities).is_err()
    {
        // What cannot be made here has no room here.
        return Ok(answer(Bytes::ZERO));
    }
    let requirement = request
        .accessible_topology
        .clone()
        .map(|place| TopologyRequirement { requisite: vec![place], preferred: Vec::new() });
    if !is_satisfied_by(requirement.as_ref(), &driver.segments()) {
        return Ok(answer(Bytes::ZERO));
    }
    let class = driver.classes().choose(parameters.device_class.as_deref())?;
    let headroom = class.pool()?.headroom().or_status()?;
    Ok(answer(headroom.virtual_bytes))
}

/// Whole steps: a volume of just this size can be made, as long as nobody else is quicker.
fn answer(largest: Bytes) -> GetCapacityResponse {
    let bytes = i64::try_from(largest.align_down(Bytes::new(4096)).get()).unwrap_or(i64::MAX);
    GetCapacityResponse {
        available_capacity: bytes,
        maximum_volume_size: Some(bytes),
        minimum_volume_size: None,
    }
}
