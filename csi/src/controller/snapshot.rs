//! `CreateSnapshot` and `GetSnapshot`.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use prost_types::Timestamp;
use thinly_csi_wire::{
    CreateSnapshotRequest, CreateSnapshotResponse, GetSnapshotResponse, Snapshot,
};
use thinly_engine::catalogue::{self, Provision, Volume, VolumeKind};
use thinly_engine::pool::Pool;
use tonic::Status;
use uuid::Uuid;

use crate::driver::{Driver, group_of, id_of};
use crate::names::{OrFailure, key, with_free_name};
use crate::observe::made;
use crate::pools::Class;
use crate::request::check_snapshot_parameters;
use crate::{ObjectId, ObjectKind};

pub(super) fn create(
    driver: &Driver,
    request: &CreateSnapshotRequest,
) -> Result<CreateSnapshotResponse, Status> {
    check_snapshot_parameters(&request.parameters)?;
    let key = key(ObjectKind::Snapshot, &request.name)?;
    if let Some((class, snapshot)) = by_key(driver, &key)? {
        let source = source_of(&class, &snapshot);
        if source != request.source_volume_id {
            return Err(Status::already_exists(format!(
                "a snapshot {:?} exists, of the volume {source}; use another name",
                request.name
            )));
        }
        return Ok(CreateSnapshotResponse { snapshot: Some(message(&class, &snapshot)) });
    }
    let source = driver.need(&request.source_volume_id, ObjectKind::Volume)?;
    let snapshot = with_free_name(&request.name, |name| {
        let provision = Provision::new(key.clone(), BTreeMap::new())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        source.pool.provision_snapshot(&source.volume.name, name, provision).or_failure()
    })?;
    made(&id_of(source.class.uuid, &snapshot));
    Ok(CreateSnapshotResponse { snapshot: Some(message(&source.class, &snapshot)) })
}

fn by_key(
    driver: &Driver,
    key: &catalogue::ProvisionKey,
) -> Result<Option<(Arc<Class>, Volume)>, Status> {
    for class in driver.classes().iter() {
        let pool: Arc<Pool> = class.pool()?;
        if let Some(volume) = pool.by_key(key).and_then(|uuid| pool.volume_record(uuid)) {
            return Ok(Some((Arc::clone(class), volume)));
        }
    }
    Ok(None)
}

pub(super) fn get(driver: &Driver, id: &str) -> Result<GetSnapshotResponse, Status> {
    let found = driver.need(id, ObjectKind::Snapshot)?;
    Ok(GetSnapshotResponse { snapshot: Some(message(&found.class, &found.volume)) })
}

/// The identifier of a snapshot's origin; it stays the same when the origin is gone.
pub(crate) fn source_of(class: &Class, snapshot: &Volume) -> String {
    let origin = match &snapshot.kind {
        VolumeKind::Snapshot { origin, .. } => *origin,
        VolumeKind::Blank | VolumeKind::Clone { .. } => Uuid::nil(),
    };
    ObjectId::new(class.uuid, ObjectKind::Volume, origin).to_string()
}

/// A snapshot as the cluster sees it. The time comes from its record: a repeated call tells the
/// same one.
pub(crate) fn message(class: &Class, snapshot: &Volume) -> Snapshot {
    let group =
        group_of(snapshot).map(|group| ObjectId::new(class.uuid, ObjectKind::Group, group.uuid));
    Snapshot {
        size_bytes: i64::try_from(snapshot.size.get()).unwrap_or(i64::MAX),
        snapshot_id: id_of(class.uuid, snapshot).to_string(),
        source_volume_id: source_of(class, snapshot),
        creation_time: Some(timestamp(snapshot.created_at)),
        ready_to_use: true,
        group_snapshot_id: group.map(|group| group.to_string()).unwrap_or_default(),
    }
}

/// A time of the catalogue on the wire.
pub(crate) fn timestamp(time: catalogue::Timestamp) -> Timestamp {
    let milliseconds = i64::try_from(time.0).unwrap_or(i64::MAX);
    let nanos = i32::try_from(milliseconds % 1000 * 1_000_000).unwrap_or(0);
    Timestamp { seconds: milliseconds / 1000, nanos }
}
