//! Claims that copy something go where that is, and the scheduler sends their pods there.

use serde_json::{Value, json};
use thinly_csi::ObjectKind;

use crate::plane::{
    Admin, CLAIMS, CONTENTS, DRIVER, NODES, PODS, SELECTED_NODE, SNAPSHOTS, VOLUMES, handle, start,
};

/// A node that takes pods.
async fn node(admin: &Admin, name: &str) {
    admin.create(NODES, json!({"metadata": {"name": name, "labels": {"name": name}}})).await;
    let room = json!({"cpu": "4", "memory": "8Gi", "pods": "100"});
    let ready = json!([{"type": "Ready", "status": "True", "reason": "KubeletReady"}]);
    let status = json!({"capacity": room, "allocatable": room, "conditions": ready});
    admin.patch_status(NODES, name, &status).await;
    // Nobody here watches nodes and takes the taint off that new ones get.
    admin.patch(NODES, name, &json!({"spec": {"taints": null}})).await;
}

fn claim(name: &str, source: &Value) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "storageClassName": "thinly", "accessModes": ["ReadWriteOnce"], "dataSource": source,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    })
}

/// A pod that uses a claim, and would rather be on n2.
fn pod(name: &str, claim: &str) -> Value {
    let on_n2 = json!({"matchExpressions": [{"key": "name", "operator": "In", "values": ["n2"]}]});
    let rather = json!({"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": on_n2}]});
    json!({
        "metadata": {"name": name},
        "spec": {
            "affinity": {"nodeAffinity": rather},
            "containers": [{"name": "c", "image": "none"}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}],
        },
    })
}

/// What the snapshotter leaves behind: a snapshot on n1.
async fn snapshot(admin: &Admin, name: &str) -> Value {
    let bound = json!({"boundVolumeSnapshotContentName": name, "readyToUse": true});
    let own = json!({"metadata": {"name": name}, "spec": {}, "status": bound});
    let uid = admin.create(SNAPSHOTS, own).await;
    let reference = json!({"namespace": admin.namespace, "name": name, "uid": uid});
    let handle = handle("n1", ObjectKind::Snapshot);
    let spec = json!({
        "driver": DRIVER, "source": {"volumeHandle": "somewhere"}, "volumeSnapshotRef": reference,
    });
    let status = json!({"snapshotHandle": handle});
    let content = json!({"metadata": {"name": name}, "spec": spec, "status": status});
    admin.create(CONTENTS, content).await;
    json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": name})
}

fn selected(claim: &Value) -> Option<&str> {
    claim["metadata"]["annotations"][SELECTED_NODE].as_str()
}

/// What the provisioner of a node does with a claim that was sent there.
async fn provision(admin: &Admin, node: &str, name: &str) {
    let claim = admin.get(CLAIMS, name).await;
    let here = json!({"matchExpressions": [{"key": "name", "operator": "In", "values": [node]}]});
    let reference = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": admin.namespace,
        "name": name, "uid": claim["metadata"]["uid"],
    });
    let spec = json!({
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "claimRef": reference,
        "csi": {"driver": DRIVER, "volumeHandle": handle(node, ObjectKind::Volume)},
        "storageClassName": "thinly", "persistentVolumeReclaimPolicy": "Retain",
        "nodeAffinity": {"required": {"nodeSelectorTerms": [here]}},
    });
    let name = format!("{}-{name}", admin.namespace);
    let annotations = json!({"pv.kubernetes.io/provisioned-by": DRIVER});
    let metadata = json!({"name": name, "annotations": annotations});
    admin.create(VOLUMES, json!({"metadata": metadata, "spec": spec})).await;
}

async fn until_on(admin: &Admin, pod: &str, node: &str) {
    admin.until(PODS, pod, node, |pod| pod["spec"]["nodeName"] == node).await;
}

#[tokio::test]
#[ignore = "it wants a control plane: `make test-cluster`"]
async fn a_copy_and_its_pod_go_where_the_original_is() {
    let admin = Admin::of("scheduling").await;
    for name in ["n1", "n2"] {
        node(&admin, name).await;
    }
    // By itself the scheduler sends everything to n2, a copy too: so it does matter.
    admin.create(CLAIMS, claim("blank", &Value::Null)).await;
    admin.create(PODS, pod("with-blank", "blank")).await;
    admin.until(CLAIMS, "blank", "n2", |claim| selected(claim) == Some("n2")).await;
    provision(&admin, "n2", "blank").await;
    until_on(&admin, "with-blank", "n2").await;
    let source = snapshot(&admin, "monday").await;
    admin.create(CLAIMS, claim("late", &source)).await;
    admin.create(PODS, pod("with-late", "late")).await;
    admin.until(CLAIMS, "late", "n2", |claim| selected(claim) == Some("n2")).await;

    // With the controllers a copy has its node before any pod asks.
    let controllers = (start("n1"), start("n2"));
    admin.create(CLAIMS, claim("restored", &source)).await;
    admin.until(CLAIMS, "restored", "n1", |claim| selected(claim) == Some("n1")).await;
    admin.create(PODS, pod("with-restored", "restored")).await;
    provision(&admin, "n1", "restored").await;
    until_on(&admin, "with-restored", "n1").await;
    // So has a copy of a volume.
    let of_claim = json!({"kind": "PersistentVolumeClaim", "name": "restored"});
    admin.create(CLAIMS, claim("cloned", &of_claim)).await;
    admin.until(CLAIMS, "cloned", "n1", |claim| selected(claim) == Some("n1")).await;

    // The one that the scheduler sent away is left alone, until the provisioner there gives it up.
    assert_eq!(selected(&admin.get(CLAIMS, "late").await), Some("n2"));
    let none = json!({"metadata": {"annotations": {SELECTED_NODE: null}}});
    admin.patch(CLAIMS, "late", &none).await;
    admin.until(CLAIMS, "late", "n1", |claim| selected(claim) == Some("n1")).await;
    provision(&admin, "n1", "late").await;
    until_on(&admin, "with-late", "n1").await;
    drop(controllers);
}
