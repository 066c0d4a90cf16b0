//! The Node service: volumes become mounts and devices at the paths that kubelet names.
//!
//! Nothing is remembered between calls: what is staged and published is what the kernel's mount
//! table and the pool's devices say, so a driver that was killed finds everything again.
#![forbid(unsafe_code)]

mod expand;
mod filesystem;
mod place;
mod publish;
mod stage;
mod stats;

use std::sync::Arc;

use thinly_csi_wire as wire;
use thinly_csi_wire::node_server::Node;
use thinly_csi_wire::node_service_capability::rpc::Type as Rpc;
use thinly_csi_wire::node_service_capability::{self, Type};
use tonic::{Request, Response, Status};

use crate::driver::{Driver, changes};
use crate::observe::about;
use crate::request::{check_map, check_required};

pub(crate) use place::{all_mounts, shows_node};
pub(crate) use stage::refuse_unservable;

/// The Node service.
#[derive(Debug)]
pub(crate) struct NodeService(pub(crate) Arc<Driver>);

const CAPABILITIES: [Rpc; 4] = [
    Rpc::StageUnstageVolume,
    Rpc::GetVolumeStats,
    Rpc::ExpandVolume,
    // Called alpha, and needed by ReadWriteOncePod, which is not.
    Rpc::SingleNodeMultiWriter,
];

/// How many volumes a node takes. A choice, not a limit of the kernel (which has 2^20 minor
/// numbers): a scheduler should not put more than this on one node's disks.
const MAX_VOLUMES_PER_NODE: i64 = 1024;

#[tonic::async_trait]
impl Node for NodeService {
    async fn node_stage_volume(
        &self,
        request: Request<wire::NodeStageVolumeRequest>,
    ) -> Result<Response<wire::NodeStageVolumeResponse>, Status> {
        let request = request.into_inner();
        self.0.refuse_unless_ready()?;
        check_required("volume_id", &request.volume_id)?;
        check_required("staging_target_path", &request.staging_target_path)?;
        check_map("secrets", &request.secrets)?;
        let holds = vec![changes(&request.volume_id), changes(&request.staging_target_path)];
        self.0.call("NodeStageVolume", request, holds, stage::stage).await
    }

    async fn node_unstage_volume(
        &self,
        request: Request<wire::NodeUnstageVolumeRequest>,
    ) -> Result<Response<wire::NodeUnstageVolumeResponse>, Status> {
        let request = request.into_inner();
        self.0.refuse_unless_ready()?;
        check_required("volume_id", &request.volume_id)?;
        check_required("staging_target_path", &request.staging_target_path)?;
        let holds = vec![changes(&request.volume_id), changes(&request.staging_target_path)];
        self.0.call("NodeUnstageVolume", request, holds, stage::unstage).await
    }

    async fn node_publish_volume(
        &self,
        request: Request<wire::NodePublishVolumeRequest>,
    ) -> Result<Response<wire::NodePublishVolumeResponse>, Status> {
        let request = request.into_inner();
        self.0.refuse_unless_ready()?;
        check_required("volume_id", &request.volume_id)?;
        check_required("target_path", &request.target_path)?;
        check_map("secrets", &request.secrets)?;
        let holds = vec![changes(&request.volume_id), changes(&request.target_path)];
        self.0.call("NodePublishVolume", request, holds, publish::publish).await
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<wire::NodeUnpublishVolumeRequest>,
    ) -> Result<Response<wire::NodeUnpublishVolumeResponse>, Status> {
        let request = request.into_inner();
        self.0.refuse_unless_ready()?;
        check_required("volume_id", &request.volume_id)?;
        check_required("target_path", &request.target_path)?;
        let holds = vec![changes(&request.volume_id), changes(&request.target_path)];
        self.0.call("NodeUnpublishVolume", request, holds, publish::unpublish).await
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<wire::NodeGetVolumeStatsRequest>,
    ) -> Result<Response<wire::NodeGetVolumeStatsResponse>, Status> {
        let request = request.into_inner();
        self.0.refuse_unless_ready()?;
        check_required("volume_id", &request.volume_id)?;
        check_required("volume_path", &request.volume_path)?;
        about(&request.volume_id);
        self.0.call("NodeGetVolumeStats", request, Vec::new(), stats::stats).await
    }

    async fn node_expand_volume(
        &self,
        request: Request<wire::NodeExpandVolumeRequest>,
    ) -> Result<Response<wire::NodeExpandVolumeResponse>, Status> {
        let request = request.into_inner();
        self.0.refuse_unless_ready()?;
        check_required("volume_id", &request.volume_id)?;
        check_required("volume_path", &request.volume_path)?;
        check_map("secrets", &request.secrets)?;
        let holds = vec![changes(&request.volume_id)];
        self.0.call("NodeExpandVolume", request, holds, expand::expand).await
    }

    async fn node_get_capabilities(
        &self,
        _: Request<wire::NodeGetCapabilitiesRequest>,
    ) -> Result<Response<wire::NodeGetCapabilitiesResponse>, Status> {
        let capability = |rpc: &Rpc| wire::NodeServiceCapability {
            r#type: Some(Type::Rpc(node_service_capability::Rpc { r#type: (*rpc).into() })),
        };
        let capabilities = CAPABILITIES.iter().map(capability).collect();
        Ok(Response::new(wire::NodeGetCapabilitiesResponse { capabilities }))
    }

    async fn node_get_info(
        &self,
        _: Request<wire::NodeGetInfoRequest>,
    ) -> Result<Response<wire::NodeGetInfoResponse>, Status> {
        Ok(Response::new(wire::NodeGetInfoResponse {
            node_id: self.0.identity.node_id.clone(),
            max_volumes_per_node: MAX_VOLUMES_PER_NODE,
            accessible_topology: Some(self.0.topology()),
        }))
    }
}
