//! The GroupController service: snapshots of several volumes at one instant.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use thinly_csi_wire as wire;
use thinly_csi_wire::group_controller_server::GroupController;
use thinly_csi_wire::group_controller_service_capability::rpc::Type as Rpc;
use thinly_csi_wire::group_controller_service_capability::{self, Type};
use thinly_engine::catalogue::{Provision, Timestamp, Volume, VolumeName};
use tonic::{Request, Response, Status};

use crate::controller::{snapshot_message, source_of, timestamp};
use crate::driver::{Driver, Found, FoundGroup, changes, id_of, needs, not_found};
use crate::failure::OrStatus;
use crate::names::{OrFailure, key, unique_name, with_free_name};
use crate::observe::{about, made};
use crate::pools::Class;
use crate::request::{check_map, check_name, check_required, check_snapshot_parameters};
use crate::{ObjectId, ObjectKind};

/// The GroupController service.
#[derive(Debug)]
pub(crate) struct GroupService(pub(crate) Arc<Driver>);

#[tonic::async_trait]
impl GroupController for GroupService {
    async fn group_controller_get_capabilities(
        &self,
        _: Request<wire::GroupControllerGetCapabilitiesRequest>,
    ) -> Result<Response<wire::GroupControllerGetCapabilitiesResponse>, Status> {
        let rpc = Rpc::CreateDeleteGetVolumeGroupSnapshot;
        let capability = wire::GroupControllerServiceCapability {
            r#type: Some(Type::Rpc(group_controller_service_capability::Rpc {
                r#type: rpc.into(),
            })),
        };
        let capabilities = vec![capability];
        Ok(Response::new(wire::GroupControllerGetCapabilitiesResponse { capabilities }))
    }

    async fn create_volume_group_snapshot(
        &self,
        request: Request<wire::CreateVolumeGroupSnapshotRequest>,
    ) -> Result<Response<wire::CreateVolumeGroupSnapshotResponse>, Status> {
        let request = request.into_inner();
        self.0.refuse_unless_ready()?;
        check_name("name", &request.name)?;
        check_map("secrets", &request.secrets)?;
        check_snapshot_parameters(&request.parameters)?;
        let sources = distinct("source_volume_ids", &request.source_volume_ids)?;
        let mut holds = vec![changes(format!("group snapshot {:?}", request.name))];
        holds.extend(sources.into_iter().map(needs));
        self.0.call("CreateVolumeGroupSnapshot", request, holds, create).await
    }

    async fn delete_volume_group_snapshot(
        &self,
        request: Request<wire::DeleteVolumeGroupSnapshotRequest>,
    ) -> Result<Response<wire::DeleteVolumeGroupSnapshotResponse>, Status> {
        let request = request.into_inner();
        self.0.refuse_unless_ready()?;
        check_required("group_snapshot_id", &request.group_snapshot_id)?;
        check_map("secrets", &request.secrets)?;
        let mut holds = vec![changes(&request.group_snapshot_id)];
        let members: BTreeSet<&String> = request.snapshot_ids.iter().collect();
        holds.extend(members.into_iter().map(changes));
        self.0.call("DeleteVolumeGroupSnapshot", request, holds, delete).await
    }

    async fn get_volume_group_snapshot(
        &self,
        request: Request<wire::GetVolumeGroupSnapshotRequest>,
    ) -> Result<Response<wire::GetVolumeGroupSnapshotResponse>, Status> {
        let request = request.into_inner();
        self.0.refuse_unless_ready()?;
        check_required("group_snapshot_id", &request.group_snapshot_id)?;
        let id = &request.group_snapshot_id;
        about(id);
        let group = self.0.find_group(id)?.ok_or_else(|| not_found(id, ObjectKind::Group))?;
        check_members(&group, &request.snapshot_ids)?;
        let group_snapshot = Some(message(&group.class, group.tag.uuid, &group.members));
        Ok(Response::new(wire::GetVolumeGroupSnapshotResponse { group_snapshot }))
    }
}

/// A set of identifiers; a repeated one is a mistake that would be hidden otherwise.
fn distinct(field: &str, ids: &[String]) -> Result<BTreeSet<String>, Status> {
    if ids.is_empty() {
        return Err(Status::invalid_argument(format!("{field} is required and empty")));
    }
    let set: BTreeSet<String> = ids.iter().cloned().collect();
    if set.len() < ids.len() {
        return Err(Status::invalid_argument(format!("{field} names a volume twice")));
    }
    if set.contains("") {
        return Err(Status::invalid_argument(format!("{field} holds an empty identifier")));
    }
    Ok(set)
}

fn create(
    driver: &Driver,
    request: &wire::CreateVolumeGroupSnapshotRequest,
) -> Result<wire::CreateVolumeGroupSnapshotResponse, Status> {
    let key = key(ObjectKind::Group, &request.name)?;
    let asked: BTreeSet<&str> = request.source_volume_ids.iter().map(String::as_str).collect();
    for class in driver.classes().iter() {
        let pool = class.pool()?;
        let group = pool.by_key(&key).and_then(|uuid| pool.group_records(uuid));
        if let Some((tag, members)) = group {
            let sources: BTreeSet<String> =
                members.iter().map(|member| source_of(class, member)).collect();
            if !sources.iter().map(String::as_str).eq(asked.iter().copied()) {
                return Err(Status::already_exists(format!(
                    "a group snapshot {:?} exists, of other volumes; use another name",
                    request.name
                )));
            }
            let group_snapshot = Some(message(class, tag.uuid, &members));
            return Ok(wire::CreateVolumeGroupSnapshotResponse { group_snapshot });
        }
    }
    let sources: Vec<Found> = request
        .source_volume_ids
        .iter()
        .map(|id| driver.need(id, ObjectKind::Volume))
        .collect::<Result<_, _>>()?;
    let first = sources.first().ok_or_else(|| Status::internal("a group of no volumes"))?;
    if let Some(other) = sources.iter().find(|source| source.class.uuid != first.class.uuid) {
        return Err(Status::failed_precondition(format!(
            "volumes of the pools {} and {} cannot be snapshot at one instant",
            first.class.config.pool, other.class.config.pool
        )));
    }
    let members: Vec<(VolumeName, VolumeName)> = sources
        .iter()
        .map(|source| {
            let wanted = format!("{}-{}", request.name, source.volume.name);
            Ok((source.volume.name.clone(), unique_name(&wanted)?))
        })
        .collect::<Result<_, Status>>()?;
    let (uuid, members) = with_free_name(&request.name, |name| {
        let provision = Provision::new(key.clone(), BTreeMap::new())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        first.pool.provision_group(name, &members, provision).or_failure()
    })?;
    made(&ObjectId::new(first.class.uuid, ObjectKind::Group, uuid));
    let group_snapshot = Some(message(&first.class, uuid, &members));
    Ok(wire::CreateVolumeGroupSnapshotResponse { group_snapshot })
}

fn delete(
    driver: &Driver,
    request: &wire::DeleteVolumeGroupSnapshotRequest,
) -> Result<wire::DeleteVolumeGroupSnapshotResponse, Status> {
    if let Some(group) = driver.find_group(&request.group_snapshot_id)? {
        // A call that ended half way left fewer members than the caller names.
        refuse_strangers(&group, &request.snapshot_ids)?;
        let names: Vec<VolumeName> =
            group.members.iter().map(|member| member.name.clone()).collect();
        group.pool.delete_many(&names).or_status()?;
    }
    Ok(wire::DeleteVolumeGroupSnapshotResponse {})
}

fn ids_of(group: &FoundGroup) -> BTreeSet<String> {
    group.members.iter().map(|member| id_of(group.class.uuid, member).to_string()).collect()
}

/// Nothing is deleted that the caller does not name, and nothing that is not of the group.
fn refuse_strangers(group: &FoundGroup, ids: &[String]) -> Result<(), Status> {
    let asked: BTreeSet<&String> = ids.iter().collect();
    let members = ids_of(group);
    if let Some(unnamed) = members.iter().find(|member| !asked.contains(member)) {
        return Err(Status::invalid_argument(format!(
            "snapshot_ids lacks {unnamed}, which is part of the group"
        )));
    }
    for id in asked {
        let stranger = !members.contains(id)
            && !id.parse::<ObjectId>().is_ok_and(|id| {
                // Gone already, by a call that ended half way.
                id.kind() == ObjectKind::Snapshot && group.pool.volume_record(id.uuid()).is_none()
            });
        if stranger {
            return Err(Status::invalid_argument(format!("the snapshot {id} is not of the group")));
        }
    }
    Ok(())
}

fn check_members(group: &FoundGroup, ids: &[String]) -> Result<(), Status> {
    let asked: BTreeSet<String> = ids.iter().cloned().collect();
    if asked != ids_of(group) {
        return Err(Status::invalid_argument(
            "snapshot_ids and the group's members are not the same",
        ));
    }
    Ok(())
}

fn message(class: &Class, group: uuid::Uuid, members: &[Volume]) -> wire::VolumeGroupSnapshot {
    let time = members.iter().map(|member| member.created_at).min().unwrap_or(Timestamp(0));
    let mut snapshots: Vec<wire::Snapshot> =
        members.iter().map(|member| snapshot_message(class, member)).collect();
    // A repeated call gives the same answer, in whatever order the volumes were named.
    snapshots.sort_by(|one, other| one.snapshot_id.cmp(&other.snapshot_id));
    wire::VolumeGroupSnapshot {
        group_snapshot_id: ObjectId::new(class.uuid, ObjectKind::Group, group).to_string(),
        snapshots,
        creation_time: Some(timestamp(time)),
        ready_to_use: true,
    }
}
