//! The Controller service: volumes and snapshots as objects. Each call is checked, held against
//! others of the same object, and then done by a function of this module's files.
#![forbid(unsafe_code)]

mod capacity;
mod create;
mod delete;
mod expand;
mod list;
mod modify;
mod snapshot;
mod validate;

use std::sync::Arc;

use thinly_csi_wire as wire;
use thinly_csi_wire::controller_server::Controller;
use thinly_csi_wire::controller_service_capability::rpc::Type as Rpc;
use thinly_csi_wire::controller_service_capability::{self, Type};
use tonic::{Request, Response, Status};

use crate::driver::{Driver, Work, changes, needs};
use crate::observe::about;
use crate::request::{check_map, check_name, check_required};

pub(crate) use expand::grow;
pub(crate) use snapshot::{message as snapshot_message, source_of, timestamp};

/// The Controller service.
#[derive(Debug)]
pub(crate) struct ControllerService(pub(crate) Arc<Driver>);

/// What is offered always.
const CAPABILITIES: [Rpc; 9] = [
    Rpc::CreateDeleteVolume,
    Rpc::ListVolumes,
    Rpc::GetCapacity,
    Rpc::CreateDeleteSnapshot,
    Rpc::ListSnapshots,
    Rpc::CloneVolume,
    Rpc::ExpandVolume,
    Rpc::ModifyVolume,
    // Called alpha, and needed by ReadWriteOncePod, which is not.
    Rpc::SingleNodeMultiWriter,
];
/// What is not offered with `--node-expansion`: one sidecar of a cluster asks its own node for it,
/// wherever the volume is.
const WITHHELD_CAPABILITIES: [Rpc; 2] = [Rpc::ExpandVolume, Rpc::ModifyVolume];
/// What is offered with `--alpha`.
const ALPHA_CAPABILITIES: [Rpc; 2] = [Rpc::GetVolume, Rpc::GetSnapshot];

fn unimplemented<T>(what: &str) -> Result<T, Status> {
    Err(Status::unimplemented(format!("{what} is not offered; see the capabilities")))
}

impl ControllerService {
    /// What is not announced is not done either: nobody may come to rely on it.
    fn offer_alpha(&self, what: &str) -> Result<(), Status> {
        if self.0.identity.alpha { Ok(()) } else { unimplemented(what) }
    }

    fn offer_change(&self, what: &str) -> Result<(), Status> {
        if self.0.identity.node_expansion { unimplemented(what) } else { Ok(()) }
    }
}

#[tonic::async_trait]
impl Controller for ControllerService {
    async fn create_volume(
        &self,
        request: Request<wire::CreateVolumeRequest>,
    ) -> Result<Response<wire::CreateVolumeResponse>, Status> {
        let request = request.into_inner();
        self.0.refuse_unless_ready()?;
        check_name("name", &request.name)?;
        check_map("secrets", &request.secrets)?;
        let mut holds = vec![changes(format!("volume {:?}", request.name))];
        holds.extend(create::source_id(&request)?.map(needs));
        self.0.call("CreateVolume", request, holds, create::create).await
    }

    async fn delete_volume(
        &self,
        request: Request<wire::DeleteVolumeRequest>,
    ) -> Result<Response<wire::DeleteVolumeResponse>, Status> {
        let request = request.into_inner();
        self.0.refuse_unless_ready()?;
        check_required("volume_id", &request.volume_id)?;
        check_map("secrets", &request.secrets)?;
        let holds = vec![changes(&request.volume_id)];
        let work: Work<wire::DeleteVolumeRequest, _> =
            |driver, asked| delete::delete_volume(driver, &asked.volume_id);
        self.0.call("DeleteVolume", request, holds, work).await
    }

    async fn controller_publish_volume(
        &self,
        _: Request<wire::ControllerPublishVolumeRequest>,
    ) -> Result<Response<wire::ControllerPublishVolumeResponse>, Status> {
        unimplemented("ControllerPublishVolume")
    }

    async fn controller_unpublish_volume(
        &self,
        _: Request<wire::ControllerUnpublishVolumeRequest>,
    ) -> Result<Response<wire::ControllerUnpublishVolumeResponse>, Status> {
        unimplemented("ControllerUnpublishVolume")
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<wire::ValidateVolumeCapabilitiesRequest>,
    ) -> Result<Response<wire::ValidateVolumeCapabilitiesResponse>, Status> {
        let request = request.into_inner();
        self.0.refuse_unless_ready()?;
        check_required("volume_id", &request.volume_id)?;
        about(&request.volume_id);
        self.0.call("ValidateVolumeCapabilities", request, Vec::new(), validate::validate).await
    }

    async fn list_volumes(
        &self,
        request: Request<wire::ListVolumesRequest>,
    ) -> Result<Response<wire::ListVolumesResponse>, Status> {
        let request = request.into_inner();
        self.0.refuse_unless_ready()?;
        self.0.call("ListVolumes", request, Vec::new(), list::volumes).await
    }

    async fn get_capacity(
        &self,
        request: Request<wire::GetCapacityRequest>,
    ) -> Result<Response<wire::GetCapacityResponse>, Status> {
        let request = request.into_inner();
        self.0.refuse_unless_ready()?;
        self.0.call("GetCapacity", request, Vec::new(), capacity::capacity).await
    }

    async fn controller_get_capabilities(
        &self,
        _: Request<wire::ControllerGetCapabilitiesRequest>,
    ) -> Result<Response<wire::ControllerGetCapabilitiesResponse>, Status> {
        let capability = |rpc: &Rpc| wire::ControllerServiceCapability {
            r#type: Some(Type::Rpc(controller_service_capability::Rpc { r#type: (*rpc).into() })),
        };
        let identity = &self.0.identity;
        let alpha: &[Rpc] = if identity.alpha { &ALPHA_CAPABILITIES } else { &[] };
        let withheld: &[Rpc] = if identity.node_expansion { &WITHHELD_CAPABILITIES } else { &[] };
        let offered = CAPABILITIES.iter().chain(alpha).filter(|rpc| !withheld.contains(rpc));
        let capabilities = offered.map(capability).collect();
        Ok(Response::new(wire::ControllerGetCapabilitiesResponse { capabilities }))
    }

    async fn create_snapshot(
        &self,
        request: Request<wire::CreateSnapshotRequest>,
    ) -> Result<Response<wire::CreateSnapshotResponse>, Status> {
        let request = request.into_inner();
        self.0.refuse_unless_ready()?;
        check_name("name", &request.name)?;
        check_required("source_volume_id", &request.source_volume_id)?;
        check_map("secrets", &request.secrets)?;
        let holds =
            vec![changes(format!("snapshot {:?}", request.name)), needs(&request.source_volume_id)];
        self.0.call("CreateSnapshot", request, holds, snapshot::create).await
    }

    async fn delete_snapshot(
        &self,
        request: Request<wire::DeleteSnapshotRequest>,
    ) -> Result<Response<wire::DeleteSnapshotResponse>, Status> {
        let request = request.into_inner();
        self.0.refuse_unless_ready()?;
        check_required("snapshot_id", &request.snapshot_id)?;
        check_map("secrets", &request.secrets)?;
        let holds = vec![changes(&request.snapshot_id)];
        let work: Work<wire::DeleteSnapshotRequest, _> =
            |driver, asked| delete::delete_snapshot(driver, &asked.snapshot_id);
        self.0.call("DeleteSnapshot", request, holds, work).await
    }

    async fn list_snapshots(
        &self,
        request: Request<wire::ListSnapshotsRequest>,
    ) -> Result<Response<wire::ListSnapshotsResponse>, Status> {
        let request = request.into_inner();
        self.0.refuse_unless_ready()?;
        self.0.call("ListSnapshots", request, Vec::new(), list::snapshots).await
    }

    async fn get_snapshot(
        &self,
        request: Request<wire::GetSnapshotRequest>,
    ) -> Result<Response<wire::GetSnapshotResponse>, Status> {
        self.offer_alpha("GetSnapshot")?;
        self.0.refuse_unless_ready()?;
        check_required("snapshot_id", &request.get_ref().snapshot_id)?;
        about(&request.get_ref().snapshot_id);
        snapshot::get(&self.0, &request.get_ref().snapshot_id).map(Response::new)
    }

    async fn controller_expand_volume(
        &self,
        request: Request<wire::ControllerExpandVolumeRequest>,
    ) -> Result<Response<wire::ControllerExpandVolumeResponse>, Status> {
        let request = request.into_inner();
        self.offer_change("ControllerExpandVolume")?;
        self.0.refuse_unless_ready()?;
        check_required("volume_id", &request.volume_id)?;
        check_map("secrets", &request.secrets)?;
        let holds = vec![changes(&request.volume_id)];
        self.0.call("ControllerExpandVolume", request, holds, expand::expand).await
    }

    async fn controller_get_volume(
        &self,
        request: Request<wire::ControllerGetVolumeRequest>,
    ) -> Result<Response<wire::ControllerGetVolumeResponse>, Status> {
        let request = request.into_inner();
        self.offer_alpha("ControllerGetVolume")?;
        self.0.refuse_unless_ready()?;
        check_required("volume_id", &request.volume_id)?;
        about(&request.volume_id);
        let work: Work<wire::ControllerGetVolumeRequest, _> =
            |driver, asked| list::volume(driver, &asked.volume_id);
        self.0.call("ControllerGetVolume", request, Vec::new(), work).await
    }

    async fn controller_modify_volume(
        &self,
        request: Request<wire::ControllerModifyVolumeRequest>,
    ) -> Result<Response<wire::ControllerModifyVolumeResponse>, Status> {
        let request = request.into_inner();
        self.offer_change("ControllerModifyVolume")?;
        self.0.refuse_unless_ready()?;
        check_required("volume_id", &request.volume_id)?;
        check_map("secrets", &request.secrets)?;
        let holds = vec![changes(&request.volume_id)];
        self.0.call("ControllerModifyVolume", request, holds, modify::modify).await
    }
}
