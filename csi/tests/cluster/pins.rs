//! Claims that are sent to the node of their source.

use serde_json::{Value, json};
use thinly_cluster::fake::Fault;
use thinly_csi::ObjectKind;

use crate::bench::{Bench, CLAIMS, CONTENTS, DRIVER, MANAGED_BY, SELECTED_NODE, elsewhere, here};

const SNAPSHOTS: &str = "snapshot.storage.k8s.io";

fn of_snapshot(name: &str) -> Value {
    json!({"apiGroup": SNAPSHOTS, "kind": "VolumeSnapshot", "name": name})
}

fn of_claim(name: &str) -> Value {
    json!({"kind": "PersistentVolumeClaim", "name": name})
}

fn claim(name: &str, class: &str, source: &Value) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"storageClassName": class, "dataSource": source, "dataSourceRef": source},
        "status": {"phase": "Pending"},
    })
}

fn class(bench: &Bench, name: &str, provisioner: &str, mode: &str) {
    let class = json!({
        "metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode,
    });
    bench.fake.put("storageclasses", class);
}

/// A snapshot with this handle, and a claim that is bound to a volume with that one.
fn sources(bench: &Bench, name: &str, snapshot: &str, volume: &str) {
    let own = json!({"namespace": "shop", "name": name});
    let status = json!({"boundVolumeSnapshotContentName": format!("content-{name}")});
    bench.fake.put("volumesnapshots", json!({"metadata": own, "status": status}));
    let spec = json!({"driver": DRIVER, "source": {}, "volumeSnapshotRef": own});
    let labels = json!({MANAGED_BY: "somebody"});
    let metadata = json!({"name": format!("content-{name}"), "labels": labels});
    let status = json!({"snapshotHandle": snapshot});
    bench.fake.put(CONTENTS, json!({"metadata": metadata, "spec": spec, "status": status}));
    let spec = json!({"storageClassName": "local", "volumeName": format!("pv-{name}")});
    let status = json!({"phase": "Bound"});
    bench.fake.put(CLAIMS, json!({"metadata": own, "spec": spec, "status": status}));
    let csi = json!({"driver": DRIVER, "volumeHandle": volume});
    let spec = json!({"csi": csi, "claimRef": own});
    bench.fake.put(
        "persistentvolumes",
        json!({"metadata": {"name": format!("pv-{name}")}, "spec": spec}),
    );
}

/// A cluster with a class, a source here and a source elsewhere.
async fn furnished() -> Bench {
    let bench = Bench::new().await;
    class(&bench, "local", DRIVER, "WaitForFirstConsumer");
    let (volume, snapshot) = (ObjectKind::Volume, ObjectKind::Snapshot);
    sources(&bench, "near", &here(snapshot), &here(volume));
    sources(&bench, "far", &elsewhere(snapshot), &elsewhere(volume));
    bench
}

/// As with labels: once this one has its node, everything before was looked at.
async fn last(bench: &Bench) {
    bench.fake.put(CLAIMS, claim("z-last", "local", &of_claim("near")));
    bench.until_pinned("z-last").await;
}

#[tokio::test]
async fn a_claim_whose_source_is_here_is_sent_here_and_no_other_is() {
    let mut bench = furnished().await;
    class(&bench, "at-once", DRIVER, "Immediate");
    class(&bench, "theirs", "other.example", "WaitForFirstConsumer");
    let near = of_snapshot("near");
    for (name, class, source) in [
        ("restored", "local", &near),
        ("cloned", "local", &of_claim("near")),
        ("a-far-restored", "local", &of_snapshot("far")),
        ("a-far-cloned", "local", &of_claim("far")),
        ("a-at-once", "at-once", &near),
        ("a-theirs", "theirs", &near),
        ("a-classless", "", &near),
        ("a-blank", "local", &Value::Null),
    ] {
        bench.fake.put(CLAIMS, claim(name, class, source));
    }
    let mut chosen = claim("a-chosen", "local", &near);
    chosen["metadata"]["annotations"] = json!({SELECTED_NODE: "n2"});
    bench.fake.put(CLAIMS, chosen);
    let mut bound = claim("a-bound", "local", &near);
    bound["status"]["phase"] = json!("Bound");
    bench.fake.put(CLAIMS, bound);
    bench.start("n1");
    bench.until_pinned("restored").await;
    bench.until_pinned("cloned").await;
    last(&bench).await;
    let mut patched = bench.patched();
    patched.sort_unstable();
    assert_eq!(patched, ["cloned", "restored", "z-last"]);
    bench.until_metric("changes_total{duty=\"pin\",outcome=\"done\"} 3").await;
    assert_eq!(bench.log.lines("WARN"), 0);
}

#[tokio::test]
async fn a_claim_that_was_sent_to_the_wrong_node_is_sent_here_once_it_is_free() {
    let mut bench = furnished().await;
    let mut wrong = claim("new", "local", &of_snapshot("near"));
    wrong["metadata"]["annotations"] = json!({SELECTED_NODE: "n2"});
    bench.fake.put(CLAIMS, wrong);
    bench.start("n1");
    last(&bench).await;
    assert_eq!(bench.node("new").as_deref(), Some("n2"));
    // The provisioner of n2 has no room for it and says so.
    bench.fake.put(CLAIMS, claim("new", "local", &of_snapshot("near")));
    bench.until_pinned("new").await;
    // That of n1 has none either, for now: it is tried again.
    bench.fake.put(CLAIMS, claim("new", "local", &of_snapshot("near")));
    bench.until_pinned("new").await;
    assert_eq!(bench.patched(), ["z-last", "new", "new"]);
}

#[tokio::test]
async fn a_source_that_is_not_there_yet_is_waited_for() {
    let mut bench = Bench::new().await;
    bench.fake.put(CLAIMS, claim("new", "local", &of_snapshot("near")));
    bench.start("n1");
    let asked = |plural: &'static str, times: usize| {
        bench.fake.until(plural, move |fake| fake.count("GET", plural) >= times)
    };
    asked("/storageclasses/local", 2).await;
    class(&bench, "local", DRIVER, "WaitForFirstConsumer");
    asked("/volumesnapshots/near", 2).await;
    let status = json!({"boundVolumeSnapshotContentName": "content-near"});
    let own = json!({"namespace": "shop", "name": "near"});
    bench.fake.put("volumesnapshots", json!({"metadata": own, "status": status}));
    asked("/volumesnapshotcontents/content-near", 2).await;
    sources(&bench, "near", &here(ObjectKind::Snapshot), &here(ObjectKind::Volume));
    bench.until_pinned("new").await;
}

#[tokio::test]
async fn a_claim_that_is_gone_is_asked_for_no_more() {
    let mut bench = furnished().await;
    bench.fake.put(CLAIMS, claim("gone", "local", &of_snapshot("never")));
    bench.start("n1");
    let asked =
        |fake: &thinly_cluster::fake::FakeCluster| fake.count("GET", "/volumesnapshots/never");
    bench.fake.until("two tries", |fake| asked(fake) >= 2).await;
    bench.fake.remove(CLAIMS, "shop", "gone");
    last(&bench).await;
    let by_then = asked(&bench.fake);
    for _ in 0..20 {
        bench.fake.remove(CLAIMS, "shop", "z-last");
        last(&bench).await;
    }
    assert_eq!(asked(&bench.fake), by_then);
}

#[tokio::test]
async fn a_snapshot_does_not_wait_for_claims_without_end() {
    const CLAIMS_COUNT: usize = 800;
    let mut bench = furnished().await;
    for number in 0..CLAIMS_COUNT {
        bench.fake.put(CLAIMS, claim(&format!("c{number}"), "local", &of_snapshot("never")));
    }
    bench.start("n1");
    let asked =
        |fake: &thinly_cluster::fake::FakeCluster| fake.count("GET", "/volumesnapshots/never");
    bench.fake.until("a round", |fake| asked(fake) >= CLAIMS_COUNT).await;
    let before = asked(&bench.fake);
    for number in 0..10 {
        let source = json!({"volumeHandle": here(ObjectKind::Volume)});
        bench.fake.put(CONTENTS, crate::bench::content(&format!("s{number}"), &source));
    }
    for number in 0..10 {
        bench.until_labelled(&format!("s{number}")).await;
    }
    // All ten are heard of at once: a round or two, not one for each.
    let rounds = (asked(&bench.fake) - before) / CLAIMS_COUNT;
    assert!(rounds < 5, "{rounds}");
}

#[tokio::test]
async fn the_scheduler_that_was_faster_has_its_way() {
    let mut bench = furnished().await;
    bench.start("n1");
    let source = of_snapshot("near");
    let mut chosen = claim("new", "local", &source);
    chosen["metadata"]["annotations"] = json!({SELECTED_NODE: "n2"});
    bench.fake.fail(Fault { rival: Some((CLAIMS, chosen)), ..Fault::once("PATCH", "/new", 409) });
    bench.fake.put(CLAIMS, claim("new", "local", &source));
    bench.fake.until("a conflict", |fake| fake.count("PATCH", "/new") == 1).await;
    last(&bench).await;
    assert_eq!(bench.node("new").as_deref(), Some("n2"));
    assert_eq!(bench.patched(), ["new", "z-last"]);
}

#[tokio::test]
async fn a_cluster_without_snapshots_has_its_clones_sent_here() {
    let mut bench = furnished().await;
    bench.fake.forget_kinds(SNAPSHOTS);
    bench.fake.put(CLAIMS, claim("cloned", "local", &of_claim("near")));
    bench.start("n1");
    bench.until_pinned("cloned").await;
    bench.until_metric("up{objects=\"volumesnapshotcontents\"} 1").await;
    assert_eq!((bench.log.lines("no such objects"), bench.log.lines("WARN")), (1, 0));
}
