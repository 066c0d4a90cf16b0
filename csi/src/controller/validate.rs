//! `ValidateVolumeCapabilities`: confirmed is what the Node service would do with this volume, and
//! what the volume was made with.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use thinly_csi_wire::validate_volume_capabilities_response::Confirmed;
use thinly_csi_wire::{ValidateVolumeCapabilitiesRequest, ValidateVolumeCapabilitiesResponse};
use tonic::Status;

use super::create::parameters_of;
use crate::ObjectKind;
use crate::driver::{Driver, Found};
use crate::limits::mutable_of;
use crate::node::refuse_unservable;
use crate::request::{Access, NO_LIMIT, Parameters, check_map, check_mutable};

pub(super) fn validate(
    driver: &Driver,
    request: &ValidateVolumeCapabilitiesRequest,
) -> Result<ValidateVolumeCapabilitiesResponse, Status> {
    check_map("secrets", &request.secrets)?;
    if request.volume_capabilities.is_empty() {
        return Err(Status::invalid_argument("volume_capabilities is required and empty"));
    }
    let found = driver.need(&request.volume_id, ObjectKind::Volume)?;
    Ok(match refuse(&found, request) {
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

fn refuse(found: &Found, request: &ValidateVolumeCapabilitiesRequest) -> Result<(), Status> {
    for access in Access::read_all(&request.volume_capabilities)? {
        refuse_unservable(found, &access)?;
    }
    Parameters::read(&request.parameters)?;
    check_mutable(&request.mutable_parameters)?;
    let attributes = found.pool.provision_of(found.volume.uuid).map(|it| it.attributes);
    let attributes = attributes.unwrap_or_default();
    let mut made_with = parameters_of(&attributes);
    // One that names no class is in the default one.
    let class = found.class.config.name.clone();
    made_with.entry(Parameters::DEVICE_CLASS.to_owned()).or_insert(class);
    refuse_contradiction("parameter", &request.parameters, |key| {
        made_with.get(key).map(String::as_str)
    })?;
    let mutable = mutable_of(&attributes);
    refuse_contradiction("mutable parameter", &request.mutable_parameters, |key| {
        Some(mutable.get(key).map_or(NO_LIMIT, String::as_str))
    })?;
    match request.volume_context.keys().next() {
        Some(key) => Err(Status::invalid_argument(format!(
            "volume_context holds {key:?}, and volumes are made without any"
        ))),
        None => Ok(()),
    }
}

/// What is given must be so; what is not given is not asked for.
fn refuse_contradiction<'a>(
    what: &str,
    given: &BTreeMap<String, String>,
    known: impl Fn(&str) -> Option<&'a str>,
) -> Result<(), Status> {
    for (key, value) in given {
        if let Some(known) = known(key).filter(|known| known != value) {
            return Err(Status::invalid_argument(format!(
                "{what} {key} is {known:?} of this volume, and not {value:?}"
            )));
        }
    }
    Ok(())
}
