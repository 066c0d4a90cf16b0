//! Snapshots get their node, and an audit finds every handle, with no more rights than the manifests give.

use serde_json::{Value, json};
use thinly_cluster::handles;
use thinly_csi::ObjectKind;

use crate::plane::{
    Admin, CONTENTS, DRIVER, GROUP_CONTENTS, MANAGED_BY, VOLUMES, handle, node_access, start,
};

fn content(name: &str, driver: &str, source: &Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"driver": driver, "source": source}})
}

fn label(object: &Value) -> Option<&str> {
    object["metadata"]["labels"][MANAGED_BY].as_str()
}

#[tokio::test]
#[ignore = "it wants a control plane: `make test-cluster`"]
async fn each_node_labels_its_own() {
    let admin = Admin::of("labels").await;
    let of = |node| json!({"volumeHandle": handle(node, ObjectKind::Volume)});
    for node in ["n1", "n2"] {
        admin.create(CONTENTS, content(&format!("early-{node}"), DRIVER, &of(node))).await;
    }
    admin.create(CONTENTS, content("other", "other.example", &of("n1"))).await;
    let (first, second) = (start("n1"), start("n2"));
    for node in ["n1", "n2"] {
        let is_so = |object: &Value| label(object) == Some(node);
        admin.until(CONTENTS, &format!("early-{node}"), "a label", is_so).await;
        // The list is over: what comes now is told by the watch.
        admin.create(CONTENTS, content(&format!("late-{node}"), DRIVER, &of(node))).await;
        admin.until(CONTENTS, &format!("late-{node}"), "a label", is_so).await;
    }
    // A label that somebody takes away is set anew.
    let none = json!({"metadata": {"labels": {MANAGED_BY: null}}});
    admin.patch(CONTENTS, "late-n1", &none).await;
    admin.until(CONTENTS, "late-n1", "a label", |object| label(object) == Some("n1")).await;
    assert_eq!(label(&admin.get(CONTENTS, "other").await), None);
    drop((first, second));
}

#[tokio::test]
#[ignore = "it wants a control plane: `make test-cluster`"]
async fn an_audit_finds_every_handle() {
    let admin = Admin::of("audit").await;
    let volume = handle("n1", ObjectKind::Volume);
    let spec = json!({
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
        "csi": {"driver": DRIVER, "volumeHandle": volume},
    });
    admin.create(VOLUMES, json!({"metadata": {"name": "audited"}, "spec": spec})).await;
    let snapshot = handle("n1", ObjectKind::Snapshot);
    let mut made = content("audited", DRIVER, &json!({"volumeHandle": volume}));
    made["status"] = json!({"snapshotHandle": snapshot});
    admin.create(CONTENTS, made).await;
    let group = handle("n1", ObjectKind::Group);
    let mut made = content("audited", DRIVER, &json!({"volumeHandles": [volume]}));
    made["status"] = json!({"volumeGroupSnapshotHandle": group});
    admin.create(GROUP_CONTENTS, made).await;
    let client = node_access().client().await.unwrap();
    let kept = handles::all(&client, DRIVER).await.unwrap();
    for (kind, handle) in [
        ("PersistentVolume", volume),
        ("VolumeSnapshotContent", snapshot),
        ("VolumeGroupSnapshotContent", group),
    ] {
        let object = format!("{kind}/audited");
        let is_there = kept.iter().any(|kept| kept.object == object && kept.handle == handle);
        assert!(is_there, "no {object} {handle} in {kept:?}");
    }
}
