//! `ControllerModifyVolume`: limits on I/O, for as long as the volume lives.
#![forbid(unsafe_code)]

use thinly_csi_wire::{ControllerModifyVolumeRequest, ControllerModifyVolumeResponse};
use tonic::Status;

use crate::ObjectKind;
use crate::driver::Driver;
use crate::failure::OrStatus;
use crate::limits::{apply, mutable_key};
use crate::request::check_mutable;

/// The catalogue first: what it holds is applied again at every publish, so a crash between the two
/// is mended by the caller's next try or the pod's next start.
pub(super) fn modify(
    driver: &Driver,
    request: &ControllerModifyVolumeRequest,
) -> Result<ControllerModifyVolumeResponse, Status> {
    check_mutable(&request.mutable_parameters)?;
    let found = driver.need(&request.volume_id, ObjectKind::Volume)?;
    if let Some(mut provision) = found.pool.provision_of(found.volume.uuid) {
        let before = provision.clone();
        for (key, value) in &request.mutable_parameters {
            provision.attributes.insert(mutable_key(key), value.clone());
        }
        if provision != before {
            found.pool.set_provision(found.volume.uuid, provision).or_status()?;
        }
    }
    apply(driver, &found)?;
    Ok(ControllerModifyVolumeResponse {})
}
