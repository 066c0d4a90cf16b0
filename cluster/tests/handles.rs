//! What a cluster keeps, over HTTP.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use thinly_cluster::fake::{FakeCluster, Fault};
use thinly_cluster::handles::{Kept, all};
use thinly_cluster::{Access, ClusterError};

const DRIVER: &str = "thinly.dev";

fn volume(name: &str, driver: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"csi": {"driver": driver, "volumeHandle": format!("h-{name}")}},
    })
}

/// A cluster with objects of ours, of another driver, and of none.
async fn filled() -> FakeCluster {
    let fake = FakeCluster::start().await;
    for name in ["a", "b", "c"] {
        fake.put("persistentvolumes", volume(name, DRIVER));
    }
    fake.put("persistentvolumes", volume("other", "other.example"));
    fake.put("persistentvolumes", json!({"metadata": {"name": "nfs"}, "spec": {"nfs": {}}}));
    for (name, spec, status) in [
        (
            "made",
            json!({"driver": DRIVER, "source": {"volumeHandle": "h-a"}}),
            json!({"snapshotHandle": "h-made"}),
        ),
        ("told", json!({"driver": DRIVER, "source": {"snapshotHandle": "h-told"}}), Value::Null),
        ("unmade", json!({"driver": DRIVER, "source": {"volumeHandle": "h-a"}}), Value::Null),
        (
            "other",
            json!({"driver": "other.example", "source": {}}),
            json!({"snapshotHandle": "h-x"}),
        ),
    ] {
        let object = json!({"metadata": {"name": name}, "spec": spec, "status": status});
        fake.put("volumesnapshotcontents", object);
    }
    let spec = json!({"driver": DRIVER, "source": {"volumeHandles": ["h-a"]}});
    let status = json!({"volumeGroupSnapshotHandle": "h-group"});
    let group = json!({"metadata": {"name": "g"}, "spec": spec, "status": status});
    fake.put("volumegroupsnapshotcontents", group);
    fake
}

fn access(fake: &FakeCluster, directory: &tempfile::TempDir, context: Option<&str>) -> Access {
    let kubeconfig = Some(fake.kubeconfig(directory.path(), "secret"));
    Access::Person { kubeconfig, context: context.map(str::to_owned) }
}

async fn kept(fake: &FakeCluster) -> Result<Vec<Kept>, ClusterError> {
    let directory = tempfile::tempdir().unwrap();
    all(&access(fake, &directory, None).client().await?, DRIVER).await
}

fn handles(kept: &[Kept]) -> Vec<&str> {
    kept.iter().map(|kept| kept.handle.as_str()).collect()
}

#[tokio::test]
async fn every_handle_of_the_driver_is_found_and_no_other() {
    let fake = filled().await;
    fake.require_token("secret");
    // Pages of two: the third volume is on the second one.
    fake.page(2);
    let found = kept(&fake).await.unwrap();
    let wanted = ["h-a", "h-b", "h-c", "h-made", "h-told", "h-group"];
    assert_eq!(handles(&found), wanted);
    assert_eq!(found[2].object, "PersistentVolume/c");
    assert_eq!(found[5].object, "VolumeGroupSnapshotContent/g");
}

#[tokio::test]
async fn a_cluster_without_snapshots_has_none() {
    let fake = filled().await;
    fake.forget_kinds("groupsnapshot.storage.k8s.io");
    assert_eq!(handles(&kept(&fake).await.unwrap()), ["h-a", "h-b", "h-c", "h-made", "h-told"]);
    fake.forget_kinds("snapshot.storage.k8s.io");
    assert_eq!(handles(&kept(&fake).await.unwrap()), ["h-a", "h-b", "h-c"]);
    // What knows no volumes is no cluster.
    fake.forget_kinds("");
    let told = kept(&fake).await.unwrap_err().to_string();
    assert!(told.contains("address of a cluster"), "{told}");
}

#[tokio::test]
async fn a_list_that_the_cluster_has_forgotten_is_begun_anew() {
    let fake = filled().await;
    fake.page(2);
    // The second page: what the first one told is told again.
    fake.fail(Fault::once("GET", "continue=", 410));
    assert_eq!(kept(&fake).await.unwrap().len(), 6);
    assert_eq!(fake.seen().iter().filter(|seen| seen.status == 410).count(), 1);
    fake.fail(Fault::lasting("GET", "/persistentvolumes", 410));
    assert!(kept(&fake).await.unwrap_err().to_string().contains("410"));
}

#[tokio::test]
async fn what_is_in_the_way_is_told() {
    let fake = filled().await;
    fake.fail(Fault::lasting("GET", "contents", 403));
    let told = kept(&fake).await.unwrap_err().to_string();
    assert!(told.contains("listing volumesnapshotcontents") && told.contains("rights"), "{told}");
    fake.heal();
    fake.fail(Fault::lasting("GET", "volumes", 500));
    let told = kept(&fake).await.unwrap_err().to_string();
    assert!(told.contains("persistentvolumes") && told.contains("500"), "{told}");
    fake.heal();
    fake.require_token("another one");
    assert!(matches!(kept(&fake).await, Err(ClusterError::Forbidden { .. })));
}

#[tokio::test]
async fn a_context_is_chosen_by_name() {
    let fake = filled().await;
    let directory = tempfile::tempdir().unwrap();
    let here = access(&fake, &directory, Some("here")).client().await.unwrap();
    assert_eq!(all(&here, DRIVER).await.unwrap().len(), 6);
    let elsewhere = access(&fake, &directory, Some("elsewhere")).client().await.unwrap();
    let told = all(&elsewhere, DRIVER).await.unwrap_err().to_string();
    assert!(told.contains("refused"), "{told}");
    let nowhere = access(&fake, &directory, Some("nowhere")).client().await;
    let told = nowhere.err().unwrap().to_string();
    assert!(told.contains("kubeconfig") && told.contains("nowhere"), "{told}");
}
