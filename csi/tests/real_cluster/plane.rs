//! The control plane, as an administrator sees it, and controllers of two nodes.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use thinly_cluster::Access;
use thinly_csi::cluster::{ClusterMetrics, Controller, LocalPools, Pace, Settings};
use thinly_csi::{ObjectId, ObjectKind};
use tokio::task::JoinHandle;
use uuid::Uuid;

pub(crate) const DRIVER: &str = "thinly.dev";
pub(crate) const MANAGED_BY: &str = "snapshot.storage.kubernetes.io/managed-by";
pub(crate) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// The nodes, and the pool that each has.
const POOLS: [(&str, Uuid); 2] =
    [("n1", Uuid::from_u128(0xa1 << 120)), ("n2", Uuid::from_u128(0xa2 << 120))];

fn kubeconfig(variable: &str) -> Access {
    let path = env::var_os(variable).map(PathBuf::from);
    assert!(path.is_some(), "{variable} is not set: run `make test-cluster`");
    Access::Person { kubeconfig: path, context: None }
}

/// Who the driver on a node is.
pub(crate) fn node_access() -> Access {
    kubeconfig("THINLY_NODE_KUBECONFIG")
}

/// A handle of an object in the pool of a node.
pub(crate) fn handle(node: &str, kind: ObjectKind) -> String {
    let (_, pool) = POOLS.into_iter().find(|(name, _)| *name == node).unwrap();
    ObjectId::new(pool, kind, Uuid::new_v4()).to_string()
}

/// The controller of a node, until it is dropped.
pub(crate) struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts the controller of a node, with the rights of the manifests.
pub(crate) fn start(node: &str) -> Running {
    let pools = POOLS.into_iter().filter(|(name, _)| *name == node).map(|(_, pool)| pool);
    let pools: Vec<Uuid> = pools.collect();
    let controller = Controller {
        access: node_access(),
        settings: Settings {
            driver_name: DRIVER.to_owned(),
            node: node.to_owned(),
            pace: Pace { first: Duration::from_millis(20), ..Pace::default() },
        },
        pools: LocalPools::new(move || pools.clone()),
        metrics: ClusterMetrics::default(),
    };
    Running(tokio::spawn(controller.run(std::future::pending())))
}

/// A kind of objects: group and version, kind, plural.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind(&'static str, &'static str, &'static str);

pub(crate) const NODES: Kind = Kind("v1", "Node", "nodes");
pub(crate) const NAMESPACES: Kind = Kind("v1", "Namespace", "namespaces");
pub(crate) const PODS: Kind = Kind("v1", "Pod", "pods");
pub(crate) const CLAIMS: Kind = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims");
pub(crate) const VOLUMES: Kind = Kind("v1", "PersistentVolume", "persistentvolumes");
pub(crate) const SNAPSHOTS: Kind =
    Kind("snapshot.storage.k8s.io/v1", "VolumeSnapshot", "volumesnapshots");
pub(crate) const CONTENTS: Kind =
    Kind("snapshot.storage.k8s.io/v1", "VolumeSnapshotContent", "volumesnapshotcontents");
pub(crate) const GROUP_CONTENTS: Kind = Kind(
    "groupsnapshot.storage.k8s.io/v1",
    "VolumeGroupSnapshotContent",
    "volumegroupsnapshotcontents",
);

/// What an administrator may do. Namespaced objects of a test are in a namespace of its own.
pub(crate) struct Admin {
    client: Client,
    pub(crate) namespace: String,
}

impl Admin {
    /// Of a test with this name.
    pub(crate) async fn of(test: &str) -> Self {
        let client = kubeconfig("THINLY_ADMIN_KUBECONFIG").client().await.unwrap();
        let admin = Self { client, namespace: test.to_owned() };
        let namespace = json!({"metadata": {"name": test}});
        admin.create(NAMESPACES, namespace).await;
        admin
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        let Kind(version, kind_name, plural) = kind;
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let gvk = GroupVersionKind::gvk(group, version, kind_name);
        let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
        if matches!(plural, "pods" | "persistentvolumeclaims" | "volumesnapshots") {
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
        } else {
            Api::all_with(self.client.clone(), &resource)
        }
    }

    /// Makes an object; tells its identity.
    pub(crate) async fn create(&self, kind: Kind, mut object: Value) -> String {
        object["apiVersion"] = json!(kind.0);
        object["kind"] = json!(kind.1);
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let made = self.api(kind).create(&PostParams::default(), &object).await.unwrap();
        made.metadata.uid.unwrap()
    }

    /// An object as it is now.
    pub(crate) async fn get(&self, kind: Kind, name: &str) -> Value {
        serde_json::to_value(self.api(kind).get(name).await.unwrap()).unwrap()
    }

    /// Changes an object.
    pub(crate) async fn patch(&self, kind: Kind, name: &str, patch: &Value) {
        let params = PatchParams::default();
        self.api(kind).patch(name, &params, &Patch::Merge(patch)).await.unwrap();
    }

    /// Changes the status of an object.
    pub(crate) async fn patch_status(&self, kind: Kind, name: &str, status: &Value) {
        let params = PatchParams::default();
        let patch = json!({"status": status});
        self.api(kind).patch_status(name, &params, &Patch::Merge(&patch)).await.unwrap();
    }

    /// Waits until something is so of an object, and tells the object.
    pub(crate) async fn until(
        &self,
        kind: Kind,
        name: &str,
        what: &str,
        is_so: impl Fn(&Value) -> bool,
    ) -> Value {
        for _ in 0..600 {
            let object = self.get(kind, name).await;
            if is_so(&object) {
                return object;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{what}: did not happen: {:#}", self.get(kind, name).await)
    }
}
