//! A gRPC client of the driver: tonic's, over the socket, with the calls that tests repeat.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use hyper_util::rt::TokioIo;
use thinly_csi_wire as wire;
use thinly_csi_wire::controller_client::ControllerClient;
use thinly_csi_wire::group_controller_client::GroupControllerClient;
use thinly_csi_wire::identity_client::IdentityClient;
use thinly_csi_wire::node_client::NodeClient;
use thinly_csi_wire::snapshot_metadata_client::SnapshotMetadataClient;
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_csi_wire::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use thinly_csi_wire::{CapacityRange, VolumeCapability};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

/// A client; clones share its connection.
#[derive(Debug, Clone)]
pub struct Client {
    runtime: Arc<Runtime>,
    channel: Channel,
}

/// Access to a filesystem.
pub fn mount(filesystem: &str, mode: Mode) -> VolumeCapability {
    let mount = MountVolume { fs_type: filesystem.to_owned(), ..Default::default() };
    VolumeCapability {
        access_type: Some(AccessType::Mount(mount)),
        access_mode: Some(AccessMode { mode: mode.into() }),
    }
}

/// Access to the device.
pub fn block(mode: Mode) -> VolumeCapability {
    VolumeCapability {
        access_type: Some(AccessType::Block(BlockVolume {})),
        access_mode: Some(AccessMode { mode: mode.into() }),
    }
}

/// A size that is required.
pub fn range(required_bytes: i64) -> Option<CapacityRange> {
    Some(CapacityRange { required_bytes, limit_bytes: 0 })
}

/// The code of a result, `Ok` for success.
pub fn code<T>(result: &Result<T, Status>) -> Code {
    result.as_ref().err().map_or(Code::Ok, Status::code)
}

impl Client {
    /// Connects when the first call is made, and again after the driver was replaced.
    pub fn new(socket: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let socket: PathBuf = socket.to_owned();
        let connector = tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::try_from("http://localhost")?;
        let channel = runtime.block_on(async { endpoint.connect_with_connector_lazy(connector) });
        Ok(Self { runtime: Arc::new(runtime), channel })
    }

    /// Runs a future of the client's.
    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// The process that listens on a socket.
    pub fn server(&self, socket: &Path) -> std::io::Result<Option<i32>> {
        self.wait(async { Ok(UnixStream::connect(socket).await?.peer_cred()?.pid()) })
    }

    /// The message of an answer.
    pub fn answer<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Status> {
        self.wait(call).map(Response::into_inner)
    }

    /// The Identity service.
    pub fn identity(&self) -> IdentityClient<Channel> {
        IdentityClient::new(self.channel.clone())
    }

    /// The Controller service.
    pub fn controller(&self) -> ControllerClient<Channel> {
        ControllerClient::new(self.channel.clone())
    }

    /// The `GroupController` service.
    pub fn groups(&self) -> GroupControllerClient<Channel> {
        GroupControllerClient::new(self.channel.clone())
    }

    /// The Node service.
    pub fn node(&self) -> NodeClient<Channel> {
        NodeClient::new(self.channel.clone())
    }

    /// The `SnapshotMetadata` service.
    pub fn metadata(&self) -> SnapshotMetadataClient<Channel> {
        SnapshotMetadataClient::new(self.channel.clone())
    }

    /// All messages of an answer that is a stream.
    pub fn answers<T>(
        &self,
        call: impl Future<Output = Result<Response<Streaming<T>>, Status>>,
    ) -> Result<Vec<T>, Status> {
        self.wait(async {
            let mut stream = call.await?.into_inner();
            let mut messages = Vec::new();
            while let Some(message) = stream.message().await? {
                messages.push(message);
            }
            Ok(messages)
        })
    }

    /// What `Probe` says of readiness.
    pub fn readiness(&self) -> Result<Option<bool>, Status> {
        let probe = self.answer(async { self.identity().probe(wire::ProbeRequest {}).await });
        probe.map(|probe| probe.ready)
    }

    /// Whether the driver says that it is ready.
    pub fn is_ready(&self) -> bool {
        self.readiness().is_ok_and(|ready| ready != Some(false))
    }

    /// Calls what has this path on the wire with a request that holds nothing.
    pub fn call_with_nothing(&self, path: &str) -> Result<(), Status> {
        let mut grpc = Grpc::new(self.channel.clone());
        let call = async {
            grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
            let path = PathAndQuery::try_from(path);
            let path = path.map_err(|error| Status::unknown(error.to_string()))?;
            grpc.unary(Request::new(()), path, ProstCodec::<(), ()>::default()).await
        };
        self.answer(call)
    }

    /// Calls `CreateVolume`.
    pub fn create_volume(
        &self,
        request: wire::CreateVolumeRequest,
    ) -> Result<wire::Volume, Status> {
        let answer = self.answer(async { self.controller().create_volume(request).await })?;
        answer.volume.ok_or_else(|| Status::internal("no volume in the answer"))
    }

    /// A blank volume of this name, size and use.
    pub fn volume(
        &self,
        name: &str,
        bytes: i64,
        capability: &VolumeCapability,
    ) -> Result<wire::Volume, Status> {
        self.create_volume(wire::CreateVolumeRequest {
            name: name.to_owned(),
            capacity_range: range(bytes),
            volume_capabilities: vec![capability.clone()],
            ..Default::default()
        })
    }

    /// Calls `DeleteVolume`.
    pub fn delete_volume(&self, id: &str) -> Result<(), Status> {
        let request = wire::DeleteVolumeRequest { volume_id: id.to_owned(), ..Default::default() };
        self.answer(async { self.controller().delete_volume(request).await }).map(|_| ())
    }

    /// Calls `CreateSnapshot`.
    pub fn create_snapshot(&self, source: &str, name: &str) -> Result<wire::Snapshot, Status> {
        let request = wire::CreateSnapshotRequest {
            source_volume_id: source.to_owned(),
            name: name.to_owned(),
            ..Default::default()
        };
        let answer = self.answer(async { self.controller().create_snapshot(request).await })?;
        answer.snapshot.ok_or_else(|| Status::internal("no snapshot in the answer"))
    }

    /// Calls `DeleteSnapshot`.
    pub fn delete_snapshot(&self, id: &str) -> Result<(), Status> {
        let request =
            wire::DeleteSnapshotRequest { snapshot_id: id.to_owned(), ..Default::default() };
        self.answer(async { self.controller().delete_snapshot(request).await }).map(|_| ())
    }

    /// Calls `ControllerExpandVolume`.
    pub fn expand(
        &self,
        id: &str,
        bytes: i64,
    ) -> Result<wire::ControllerExpandVolumeResponse, Status> {
        let request = wire::ControllerExpandVolumeRequest {
            volume_id: id.to_owned(),
            capacity_range: range(bytes),
            ..Default::default()
        };
        self.answer(async { self.controller().controller_expand_volume(request).await })
    }

    /// Calls `NodeStageVolume`.
    pub fn stage(
        &self,
        id: &str,
        staging: &str,
        capability: &VolumeCapability,
    ) -> Result<(), Status> {
        let request = wire::NodeStageVolumeRequest {
            volume_id: id.to_owned(),
            staging_target_path: staging.to_owned(),
            volume_capability: Some(capability.clone()),
            ..Default::default()
        };
        self.answer(async { self.node().node_stage_volume(request).await }).map(|_| ())
    }

    /// Calls `NodeUnstageVolume`.
    pub fn unstage(&self, id: &str, staging: &str) -> Result<(), Status> {
        let request = wire::NodeUnstageVolumeRequest {
            volume_id: id.to_owned(),
            staging_target_path: staging.to_owned(),
        };
        self.answer(async { self.node().node_unstage_volume(request).await }).map(|_| ())
    }

    /// Calls `NodePublishVolume`.
    pub fn publish(
        &self,
        id: &str,
        (staging, target): (&str, &str),
        capability: &VolumeCapability,
        readonly: bool,
    ) -> Result<(), Status> {
        let request = wire::NodePublishVolumeRequest {
            volume_id: id.to_owned(),
            staging_target_path: staging.to_owned(),
            target_path: target.to_owned(),
            volume_capability: Some(capability.clone()),
            readonly,
            ..Default::default()
        };
        self.answer(async { self.node().node_publish_volume(request).await }).map(|_| ())
    }

    /// Calls `NodeUnpublishVolume`.
    pub fn unpublish(&self, id: &str, target: &str) -> Result<(), Status> {
        let request = wire::NodeUnpublishVolumeRequest {
            volume_id: id.to_owned(),
            target_path: target.to_owned(),
        };
        self.answer(async { self.node().node_unpublish_volume(request).await }).map(|_| ())
    }

    /// Calls `NodeExpandVolume`.
    pub fn expand_on_node(
        &self,
        id: &str,
        path: &str,
        capability: &VolumeCapability,
    ) -> Result<wire::NodeExpandVolumeResponse, Status> {
        let request = wire::NodeExpandVolumeRequest {
            volume_id: id.to_owned(),
            volume_path: path.to_owned(),
            volume_capability: Some(capability.clone()),
            ..Default::default()
        };
        self.answer(async { self.node().node_expand_volume(request).await })
    }

    /// Calls `NodeGetVolumeStats`.
    pub fn stats(&self, id: &str, path: &str) -> Result<Vec<wire::VolumeUsage>, Status> {
        let request = wire::NodeGetVolumeStatsRequest {
            volume_id: id.to_owned(),
            volume_path: path.to_owned(),
            ..Default::default()
        };
        let answer = self.answer(async { self.node().node_get_volume_stats(request).await });
        answer.map(|answer| answer.usage)
    }
}
