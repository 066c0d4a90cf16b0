//! `DeleteVolume` and `DeleteSnapshot`.
#![forbid(unsafe_code)]

use thinly_csi_wire::{DeleteSnapshotResponse, DeleteVolumeResponse};
use thinly_engine::pool::PoolError;
use tonic::Status;

use crate::driver::{Driver, Found, group_of};
use crate::failure::status_of;
use crate::{ObjectId, ObjectKind};

pub(super) fn delete_volume(driver: &Driver, id: &str) -> Result<DeleteVolumeResponse, Status> {
    if let Some(found) = driver.find(id, ObjectKind::Volume)? {
        delete(&found)?;
    }
    Ok(DeleteVolumeResponse {})
}

pub(super) fn delete_snapshot(driver: &Driver, id: &str) -> Result<DeleteSnapshotResponse, Status> {
    if let Some(found) = driver.find(id, ObjectKind::Snapshot)? {
        if let Some(group) = group_of(&found.volume)
            && found.pool.provision_of(group.uuid).is_some()
        {
            let group = ObjectId::new(found.class.uuid, ObjectKind::Group, group.uuid);
            return Err(Status::invalid_argument(format!(
                "the snapshot {id} is part of the group snapshot {group} and is deleted with it"
            )));
        }
        delete(&found)?;
    }
    Ok(DeleteSnapshotResponse {})
}

/// Absent is done: somebody else may have deleted it meanwhile.
fn delete(found: &Found) -> Result<(), Status> {
    match found.pool.delete(&found.volume.name) {
        Ok(()) | Err(PoolError::NoVolume { .. }) => Ok(()),
        Err(error) => Err(status_of(&error)),
    }
}
