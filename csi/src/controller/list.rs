//! `ListVolumes`, `ListSnapshots` and `ControllerGetVolume`.
#![forbid(unsafe_code)]

use std::sync::Arc;

use thinly_csi_wire::{
    ControllerGetVolumeResponse, ListSnapshotsRequest, ListSnapshotsResponse, ListVolumesRequest,
    ListVolumesResponse, controller_get_volume_response, list_snapshots_response,
    list_volumes_response,
};
use thinly_engine::catalogue::Volume;
use thinly_engine::pool::Pool;
use tonic::Status;
use uuid::Uuid;

use super::create;
use super::snapshot::{message, source_of};
use crate::ObjectKind;
use crate::driver::{Driver, Found, is_known};
use crate::pools::Class;
use crate::request::{next_token, start_after};

/// A listed object with where it is.
struct Listed {
    class: Arc<Class>,
    pool: Arc<Pool>,
    volume: Volume,
}

/// Everything that the cluster knows, in the order of identities.
fn all(driver: &Driver, chosen: impl Fn(&Class, &Volume) -> bool) -> Result<Vec<Listed>, Status> {
    let mut listed = Vec::new();
    for class in driver.classes().iter() {
        let pool = class.pool()?;
        for volume in pool.volume_records() {
            if chosen(class, &volume) && is_known(&pool, &volume) {
                let (class, pool) = (Arc::clone(class), Arc::clone(&pool));
                listed.push(Listed { class, pool, volume });
            }
        }
    }
    listed.sort_by_key(|listed| listed.volume.uuid);
    Ok(listed)
}

/// One page behind `after`, and the token of the next one.
fn page(
    listing: &str,
    listed: Vec<Listed>,
    after: Option<Uuid>,
    max_entries: i32,
) -> Result<(Vec<Listed>, String), Status> {
    let max = usize::try_from(max_entries).map_err(|_| {
        Status::invalid_argument(format!("max_entries is {max_entries}: below zero"))
    })?;
    let mut rest: Vec<Listed> = listed
        .into_iter()
        .filter(|one| after.is_none_or(|after| one.volume.uuid > after))
        .collect();
    if max == 0 || rest.len() <= max {
        return Ok((rest, String::new()));
    }
    rest.truncate(max);
    let token = rest.last().map(|last| next_token(listing, last.volume.uuid)).unwrap_or_default();
    Ok((rest, token))
}

pub(super) fn volumes(
    driver: &Driver,
    request: &ListVolumesRequest,
) -> Result<ListVolumesResponse, Status> {
    const LISTING: &str = "volumes";
    let after = start_after(LISTING, &request.starting_token)?;
    let listed = all(driver, |_, volume| !volume.is_snapshot())?;
    let (listed, next_token) = page(LISTING, listed, after, request.max_entries)?;
    let entry = |listed: Listed| list_volumes_response::Entry {
        volume: Some(volume_message(driver, &listed.class, &listed.pool, &listed.volume)),
        status: None,
    };
    Ok(ListVolumesResponse { entries: listed.into_iter().map(entry).collect(), next_token })
}

fn volume_message(
    driver: &Driver,
    class: &Class,
    pool: &Pool,
    volume: &Volume,
) -> thinly_csi_wire::Volume {
    let attributes = pool.provision_of(volume.uuid).map(|it| it.attributes).unwrap_or_default();
    create::message(driver, class, volume, &attributes)
}

pub(super) fn volume(driver: &Driver, id: &str) -> Result<ControllerGetVolumeResponse, Status> {
    let Found { class, pool, volume } = driver.need(id, ObjectKind::Volume)?;
    Ok(ControllerGetVolumeResponse {
        volume: Some(volume_message(driver, &class, &pool, &volume)),
        status: Some(controller_get_volume_response::VolumeStatus::default()),
    })
}

pub(super) fn snapshots(
    driver: &Driver,
    request: &ListSnapshotsRequest,
) -> Result<ListSnapshotsResponse, Status> {
    const LISTING: &str = "snapshots";
    let after = start_after(LISTING, &request.starting_token)?;
    let listed = if request.snapshot_id.is_empty() {
        let source = request.source_volume_id.as_str();
        all(driver, |class, volume| {
            volume.is_snapshot() && (source.is_empty() || source_of(class, volume) == source)
        })?
    } else {
        let found = driver.find(&request.snapshot_id, ObjectKind::Snapshot)?;
        let found = found.filter(|found| {
            let source = request.source_volume_id.as_str();
            source.is_empty() || source_of(&found.class, &found.volume) == source
        });
        let listed = |found: Found| {
            let Found { class, pool, volume } = found;
            Listed { class, pool, volume }
        };
        found.map(listed).into_iter().collect()
    };
    let (listed, next_token) = page(LISTING, listed, after, request.max_entries)?;
    let entry = |listed: Listed| list_snapshots_response::Entry {
        snapshot: Some(message(&listed.class, &listed.volume)),
    };
    Ok(ListSnapshotsResponse { entries: listed.into_iter().map(entry).collect(), next_token })
}
