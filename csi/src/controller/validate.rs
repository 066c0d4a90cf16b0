//! `ValidateVolumeCapabilities`.
#![forbid(unsafe_code)]

use thinly_csi_wire::validate_volume_capabilities_response::Confirmed;
use thinly_csi_wire::{ValidateVolumeCapabilitiesRequest, ValidateVolumeCapabilitiesResponse};
use tonic::Status;

use crate::ObjectKind;
use crate::driver::Driver;
use crate::request::{Access, Parameters, check_map, check_mutable, check_required};

pub(super) fn validate(
    driver: &Driver,
    request: &ValidateVolumeCapabilitiesRequest,
) -> Result<ValidateVolumeCapabilitiesResponse, Status> {
    check_required("volume_id", &request.volume_id)?;
    check_map("secrets", &request.secrets)?;
    if request.volume_capabilities.is_empty() {
        return Err(Status::invalid_argument("volume_capabilities is required and empty"));
    }
    driver.need(&request.volume_id, ObjectKind::Volume)?;
    let checked = Access::read_all(&request.volume_capabilities)
        .and_then(|_| Parameters::read(&request.parameters))
        .and_then(|_| check_mutable(&request.mutable_parameters))
        .and_then(|()| match request.volume_context.keys().next() {
            Some(key) => {
                Err(Status::invalid_argument(format!("volume_context {key:?} is not ours")))
            }
            None => Ok(()),
        });
    Ok(match checked {
        Ok(()) => ValidateVolumeCapabilitiesResponse {
            confirmed: Some(Confirmed {
                volume_context: request.volume_context.clone(),
                volume_capabilities: request.volume_capabilities.clone(),
                parameters: request.parameters.clone(),
                mutable_parameters: request.mutable_parameters.clone(),
            }),
            message: String::new(),
        },
        Err(refused) => ValidateVolumeCapabilitiesResponse {
            confirmed: None,
            message: refused.message().to_owned(),
        },
    })
}
