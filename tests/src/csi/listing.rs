//! The client's calls whose answers have pages or members.

use thinly_csi_wire as wire;
use thinly_csi_wire::volume_content_source::{SnapshotSource, Type, VolumeSource};
use tonic::Status;

use super::client::{Client, range};

/// A snapshot as the source of a volume.
pub fn from_snapshot(id: &str) -> wire::VolumeContentSource {
    let source = SnapshotSource { snapshot_id: id.to_owned() };
    wire::VolumeContentSource { r#type: Some(Type::Snapshot(source)) }
}

/// A volume as the source of a volume.
pub fn from_volume(id: &str) -> wire::VolumeContentSource {
    let source = VolumeSource { volume_id: id.to_owned() };
    wire::VolumeContentSource { r#type: Some(Type::Volume(source)) }
}

impl Client {
    /// A copy of this name, size and use.
    pub fn copy(
        &self,
        name: &str,
        source: wire::VolumeContentSource,
        bytes: i64,
        capability: &wire::VolumeCapability,
    ) -> Result<wire::Volume, Status> {
        self.create_volume(wire::CreateVolumeRequest {
            name: name.to_owned(),
            capacity_range: range(bytes),
            volume_capabilities: vec![capability.clone()],
            volume_content_source: Some(source),
            ..Default::default()
        })
    }

    /// Calls `ListVolumes`.
    pub fn list_volumes(
        &self,
        starting_token: &str,
        max_entries: i32,
    ) -> Result<wire::ListVolumesResponse, Status> {
        let starting_token = starting_token.to_owned();
        let request = wire::ListVolumesRequest { max_entries, starting_token };
        self.answer(async { self.controller().list_volumes(request).await })
    }

    /// All volumes.
    pub fn volumes(&self) -> Result<Vec<wire::Volume>, Status> {
        let entries = self.list_volumes("", 0)?.entries;
        Ok(entries.into_iter().filter_map(|entry| entry.volume).collect())
    }

    /// Calls `ListSnapshots`.
    pub fn list_snapshots(
        &self,
        request: wire::ListSnapshotsRequest,
    ) -> Result<wire::ListSnapshotsResponse, Status> {
        self.answer(async { self.controller().list_snapshots(request).await })
    }

    /// All snapshots.
    pub fn snapshots(&self) -> Result<Vec<wire::Snapshot>, Status> {
        let entries = self.list_snapshots(wire::ListSnapshotsRequest::default())?.entries;
        Ok(entries.into_iter().filter_map(|entry| entry.snapshot).collect())
    }

    /// Calls `GetCapacity`.
    pub fn capacity(
        &self,
        request: wire::GetCapacityRequest,
    ) -> Result<wire::GetCapacityResponse, Status> {
        self.answer(async { self.controller().get_capacity(request).await })
    }

    /// Calls `CreateVolumeGroupSnapshot`.
    pub fn create_group(
        &self,
        name: &str,
        sources: &[&str],
    ) -> Result<wire::VolumeGroupSnapshot, Status> {
        let request = wire::CreateVolumeGroupSnapshotRequest {
            name: name.to_owned(),
            source_volume_ids: owned(sources),
            ..Default::default()
        };
        let answer =
            self.answer(async { self.groups().create_volume_group_snapshot(request).await });
        answer?.group_snapshot.ok_or_else(|| Status::internal("no group in the answer"))
    }

    /// Calls `DeleteVolumeGroupSnapshot`.
    pub fn delete_group(&self, id: &str, members: &[&str]) -> Result<(), Status> {
        let request = wire::DeleteVolumeGroupSnapshotRequest {
            group_snapshot_id: id.to_owned(),
            snapshot_ids: owned(members),
            ..Default::default()
        };
        self.answer(async { self.groups().delete_volume_group_snapshot(request).await }).map(|_| ())
    }

    /// Calls `GetVolumeGroupSnapshot`.
    pub fn group(&self, id: &str, members: &[&str]) -> Result<wire::VolumeGroupSnapshot, Status> {
        let request = wire::GetVolumeGroupSnapshotRequest {
            group_snapshot_id: id.to_owned(),
            snapshot_ids: owned(members),
            ..Default::default()
        };
        let answer = self.answer(async { self.groups().get_volume_group_snapshot(request).await });
        answer?.group_snapshot.ok_or_else(|| Status::internal("no group in the answer"))
    }
}

fn owned(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}
