//! The parts of a cluster's objects that are read, and no others: what is not named here is not
//! kept, and a cluster that adds fields changes nothing.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "the fields are those of Kubernetes")]

use std::borrow::Cow;

use kube::Resource;
use kube::core::{ClusterResourceScope, NamespaceResourceScope, ObjectMeta};
use serde::Deserialize;

/// The group of snapshots.
pub const SNAPSHOTS: &str = "snapshot.storage.k8s.io";
/// The group of group snapshots.
pub const GROUP_SNAPSHOTS: &str = "groupsnapshot.storage.k8s.io";
/// The versions in which clusters may serve group snapshots, newest first.
pub const GROUP_SNAPSHOT_VERSIONS: [&str; 3] = ["v1", "v1beta2", "v1beta1"];

/// Makes a structure with `metadata` known to the client.
macro_rules! resource {
    ($name:ident, $plural:literal, $group:expr, $version:literal, $scope:ty) => {
        impl Resource for $name {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> Cow<'_, str> {
                stringify!($name).into()
            }

            fn group((): &()) -> Cow<'_, str> {
                $group.into()
            }

            fn version((): &()) -> Cow<'_, str> {
                $version.into()
            }

            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

/// A volume of the cluster.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PersistentVolume {
    pub metadata: ObjectMeta,
    pub spec: VolumeSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VolumeSpec {
    pub csi: Option<CsiSource>,
    pub claim_ref: Option<Reference>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CsiSource {
    pub driver: String,
    pub volume_handle: String,
}

/// Names an object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Reference {
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub uid: Option<String>,
}

/// A claim for a volume.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PersistentVolumeClaim {
    pub metadata: ObjectMeta,
    pub spec: ClaimSpec,
    pub status: Option<ClaimStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClaimSpec {
    pub storage_class_name: Option<String>,
    pub volume_name: Option<String>,
    pub data_source: Option<DataSource>,
    pub data_source_ref: Option<DataSource>,
}

/// What a new volume is filled from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DataSource {
    pub api_group: Option<String>,
    pub kind: String,
    pub name: String,
    pub namespace: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ClaimStatus {
    pub phase: Option<String>,
}

/// How volumes of a class are made.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StorageClass {
    pub metadata: ObjectMeta,
    pub provisioner: String,
    pub volume_binding_mode: Option<String>,
}

/// A snapshot, as its namespace sees it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct VolumeSnapshot {
    pub metadata: ObjectMeta,
    pub status: Option<SnapshotStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SnapshotStatus {
    pub bound_volume_snapshot_content_name: Option<String>,
}

/// A snapshot, as the driver sees it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct VolumeSnapshotContent {
    pub metadata: ObjectMeta,
    pub spec: ContentSpec,
    pub status: Option<ContentStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContentSpec {
    pub driver: String,
    pub source: ContentSource,
    pub volume_snapshot_ref: Reference,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContentSource {
    pub volume_handle: Option<String>,
    pub snapshot_handle: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContentStatus {
    pub snapshot_handle: Option<String>,
}

/// A group snapshot, as the driver sees it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct VolumeGroupSnapshotContent {
    pub metadata: ObjectMeta,
    pub spec: GroupContentSpec,
    pub status: Option<GroupContentStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct GroupContentSpec {
    pub driver: String,
    pub source: GroupContentSource,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GroupContentSource {
    pub group_snapshot_handles: Option<GroupHandles>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GroupHandles {
    pub volume_group_snapshot_handle: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GroupContentStatus {
    pub volume_group_snapshot_handle: Option<String>,
}

resource!(PersistentVolume, "persistentvolumes", "", "v1", ClusterResourceScope);
resource!(PersistentVolumeClaim, "persistentvolumeclaims", "", "v1", NamespaceResourceScope);
resource!(StorageClass, "storageclasses", "storage.k8s.io", "v1", ClusterResourceScope);
resource!(VolumeSnapshot, "volumesnapshots", SNAPSHOTS, "v1", NamespaceResourceScope);
resource!(VolumeSnapshotContent, "volumesnapshotcontents", SNAPSHOTS, "v1", ClusterResourceScope);

/// Its type is the version that the cluster serves.
impl Resource for VolumeGroupSnapshotContent {
    type DynamicType = &'static str;
    type Scope = ClusterResourceScope;

    fn kind(_: &&'static str) -> Cow<'static, str> {
        "VolumeGroupSnapshotContent".into()
    }

    fn group(_: &&'static str) -> Cow<'static, str> {
        GROUP_SNAPSHOTS.into()
    }

    fn version<'a>(version: &'a &'static str) -> Cow<'a, str> {
        (*version).into()
    }

    fn plural(_: &&'static str) -> Cow<'static, str> {
        "volumegroupsnapshotcontents".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl PersistentVolume {
    /// The volume's handle, when a driver has made it.
    pub fn handle_of(&self, driver: &str) -> Option<&str> {
        let csi = self.spec.csi.as_ref().filter(|csi| csi.driver == driver)?;
        Some(&csi.volume_handle)
    }
}

impl VolumeSnapshotContent {
    /// The snapshot's handle, once a driver has made it or somebody has told it.
    pub fn handle_of(&self, driver: &str) -> Option<&str> {
        let made = self.status.as_ref().and_then(|status| status.snapshot_handle.as_deref());
        let told = self.spec.source.snapshot_handle.as_deref();
        made.or(told).filter(|_| self.spec.driver == driver)
    }
}

impl VolumeGroupSnapshotContent {
    /// The group's handle, once a driver has made it or somebody has told it.
    pub fn handle_of(&self, driver: &str) -> Option<&str> {
        let status = self.status.as_ref();
        let made = status.and_then(|status| status.volume_group_snapshot_handle.as_deref());
        let told = self.spec.source.group_snapshot_handles.as_ref();
        let told = told.and_then(|told| told.volume_group_snapshot_handle.as_deref());
        made.or(told).filter(|_| self.spec.driver == driver)
    }
}
