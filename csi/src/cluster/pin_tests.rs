use serde_json::from_value;
use thinly_engine::catalogue::ObjectId;

use super::*;

const POOL: Uuid = Uuid::from_u128(0xa0 << 120);
const DRIVER: &str = "thinly.dev";

fn claim(changes: &[(&str, Value)]) -> PersistentVolumeClaim {
    let mut object = json!({
        "metadata": {"namespace": "shop", "name": "new", "uid": "u1", "resourceVersion": "7"},
        "spec": {
            "storageClassName": "local",
            "dataSource": {"apiGroup": SNAPSHOTS, "kind": "VolumeSnapshot", "name": "monday"},
        },
        "status": {"phase": "Pending"},
    });
    for (pointer, value) in changes {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[name] = value.clone();
    }
    from_value(object).unwrap()
}

fn wanted(changes: &[(&str, Value)]) -> Option<Source> {
    match standing(&claim(changes)) {
        Standing::Wants(claim) => Some(claim.source),
        Standing::Chosen | Standing::Out => None,
    }
}

#[test]
fn a_waiting_claim_with_a_source_wants_a_node() {
    let monday = Some(Source::Snapshot("monday".to_owned()));
    assert_eq!(wanted(&[]), monday);
    assert_eq!(wanted(&[("/status", Value::Null)]), monday);
    let annotations = json!({"a": "b"});
    assert_eq!(wanted(&[("/metadata/annotations", annotations)]), monday);
    let web = Some(Source::Claim("web".to_owned()));
    for group in [Value::Null, json!("")] {
        let source = json!({"apiGroup": group, "kind": "PersistentVolumeClaim", "name": "web"});
        assert_eq!(wanted(&[("/spec/dataSource", source.clone())]), web);
        // The reference counts more than what it replaces.
        assert_eq!(wanted(&[("/spec/dataSourceRef", source)]), web);
    }
    let own = json!({"kind": "PersistentVolumeClaim", "name": "web", "namespace": "shop"});
    assert_eq!(wanted(&[("/spec/dataSourceRef", own)]), web);
}

#[test]
fn every_other_claim_is_left_alone() {
    let chosen = json!({SELECTED_NODE: "n2"});
    assert_eq!(standing(&claim(&[("/metadata/annotations", chosen.clone())])), Standing::Chosen);
    let far = json!({"kind": "PersistentVolumeClaim", "name": "web", "namespace": "bank"});
    let book = json!({"apiGroup": "books.example", "kind": "VolumeSnapshot", "name": "monday"});
    for (pointer, value) in [
        ("/status/phase", json!("Bound")),
        ("/status/phase", json!("Lost")),
        ("/spec/volumeName", json!("pv-1")),
        ("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z")),
        ("/spec/dataSource", Value::Null),
        ("/spec/dataSource", book),
        ("/spec/dataSourceRef", far),
        ("/spec/storageClassName", Value::Null),
        ("/spec/storageClassName", json!("")),
    ] {
        let told = format!("{pointer} {value}");
        let changes = [("/metadata/annotations", chosen.clone()), (pointer, value)];
        assert_eq!(standing(&claim(&changes[1..])), Standing::Out, "{told}");
        assert_eq!(standing(&claim(&changes)), Standing::Out, "{told}");
    }
}

#[test]
fn a_class_is_ours_when_this_driver_waits_for_the_first_pod() {
    for (provisioner, mode, is) in [
        (DRIVER, json!("WaitForFirstConsumer"), true),
        (DRIVER, json!("Immediate"), false),
        (DRIVER, Value::Null, false),
        ("other.example", json!("WaitForFirstConsumer"), false),
    ] {
        let class = json!({"provisioner": provisioner, "volumeBindingMode": mode});
        assert_eq!(is_ours(&from_value(class).unwrap(), DRIVER), is, "{provisioner}");
    }
}

fn handle(pool: u128, kind: ObjectKind) -> Value {
    json!(ObjectId::new(Uuid::from_u128(pool << 120), kind, Uuid::from_u128(1)).to_string())
}

#[test]
fn a_snapshot_is_found_by_the_handle_of_what_it_is_bound_to() {
    let metadata = json!({"namespace": "shop", "name": "monday", "uid": "s1"});
    let snapshot: VolumeSnapshot = from_value(json!({"metadata": metadata})).unwrap();
    let find = |driver: &str, bound_to: Value, handle: Value| {
        let spec = json!({"driver": driver, "source": {}, "volumeSnapshotRef": bound_to});
        let content = json!({"spec": spec, "status": {"snapshotHandle": handle}});
        find_snapshot(&snapshot, &from_value(content).unwrap(), DRIVER, &[POOL])
    };
    let here = handle(0xa0, ObjectKind::Snapshot);
    assert_eq!(find(DRIVER, metadata.clone(), here.clone()), Finding::Here);
    let by_hand = json!({"namespace": "shop", "name": "monday"});
    assert_eq!(find(DRIVER, by_hand, here.clone()), Finding::Here);
    assert_eq!(find(DRIVER, metadata.clone(), Value::Null), Finding::NotYet);
    for not_here in [handle(0xb0, ObjectKind::Snapshot), handle(0xa0, ObjectKind::Volume)] {
        assert_eq!(find(DRIVER, metadata.clone(), not_here), Finding::NotHere);
    }
    assert_eq!(find("other.example", metadata, here.clone()), Finding::NotHere);
    for foreign in [
        json!({"namespace": "bank", "name": "monday", "uid": "s1"}),
        json!({"namespace": "shop", "name": "tuesday", "uid": "s1"}),
        json!({"namespace": "shop", "name": "monday", "uid": "s2"}),
    ] {
        assert_eq!(find(DRIVER, foreign.clone(), here.clone()), Finding::NotYet, "{foreign}");
    }
}

#[test]
fn a_claim_is_found_by_the_handle_of_its_volume() {
    let bound_to = json!({"namespace": "shop", "name": "new", "uid": "u1"});
    let find = |driver: &str, bound_to: &Value, handle: Value| {
        let csi = json!({"driver": driver, "volumeHandle": handle});
        let volume = json!({"spec": {"csi": csi, "claimRef": bound_to}});
        find_volume(&claim(&[]), &from_value(volume).unwrap(), DRIVER, &[POOL])
    };
    let here = handle(0xa0, ObjectKind::Volume);
    assert_eq!(find(DRIVER, &bound_to, here.clone()), Finding::Here);
    assert_eq!(find(DRIVER, &bound_to, handle(0xb0, ObjectKind::Volume)), Finding::NotHere);
    assert_eq!(find(DRIVER, &bound_to, handle(0xa0, ObjectKind::Snapshot)), Finding::NotHere);
    assert_eq!(find("other.example", &bound_to, here.clone()), Finding::NotHere);
    assert_eq!(find(DRIVER, &Value::Null, here.clone()), Finding::NotYet);
    let former = json!({"namespace": "shop", "name": "new", "uid": "u0"});
    assert_eq!(find(DRIVER, &former, here), Finding::NotYet);
}

#[test]
fn the_patch_holds_the_version_that_was_looked_at() {
    let Standing::Wants(claim) = standing(&claim(&[])) else { panic!("it wants no node") };
    let annotations = json!({SELECTED_NODE: "n1"});
    let wanted = json!({"metadata": {"resourceVersion": "7", "annotations": annotations}});
    assert_eq!(claim.patch("n1"), wanted);
}
