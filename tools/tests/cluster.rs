//! What a cluster is told, and how it is compared with a pool: as programs and as people read it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use thinly::audit::{Audit, Dangling, Fault, Known, Malformed};
use thinly::json::{AdoptionJson, AuditJson};
use thinly::manifest::{Manifest, Subject, VolumeFacts};
use thinly::render;
use thinly_engine::catalogue::{ClusterAccess, DRIVER_NAME, ObjectId, ObjectKind, TOPOLOGY_KEY};
use thinly_engine::units::Bytes;
use uuid::Uuid;

fn handle(kind: ObjectKind, uuid: u128) -> ObjectId {
    ObjectId::new(Uuid::from_u128(0xa0 << 120), kind, Uuid::from_u128(uuid))
}

fn subject(kind: ObjectKind, claim: Option<&str>) -> Subject {
    Subject {
        name: "thinly-web".parse().unwrap(),
        handle: handle(kind, 0x10),
        driver: DRIVER_NAME.to_owned(),
        claim: claim.map(|claim| claim.parse().unwrap()),
    }
}

fn facts(access: ClusterAccess) -> VolumeFacts {
    VolumeFacts {
        size: Bytes::new(10 << 30),
        access,
        filesystem: None,
        storage_class: None,
        topology_key: TOPOLOGY_KEY.to_owned(),
        node: "n1".to_owned(),
    }
}

fn yaml(manifest: &Manifest) -> String {
    manifest.to_yaml().unwrap()
}

#[test]
fn volumes_and_snapshots_as_a_cluster_takes_them() {
    let mounted = VolumeFacts {
        filesystem: Some("ext4".to_owned()),
        storage_class: Some("local".parse().unwrap()),
        // Text that a careless hand would not have quoted.
        node: "no".to_owned(),
        ..facts(ClusterAccess::Mount)
    };
    let volume = Manifest::of_volume(subject(ObjectKind::Volume, Some("shop/data")), mounted);
    insta::assert_snapshot!(yaml(&volume));
    let block = facts(ClusterAccess::Block);
    insta::assert_snapshot!(yaml(&Manifest::of_volume(subject(ObjectKind::Volume, None), block)));
    let claim = "shop/web-monday".parse().unwrap();
    let snapshot = Manifest::of_snapshot(subject(ObjectKind::Snapshot, None), &claim);
    insta::assert_snapshot!(yaml(&snapshot));
    let json = AdoptionJson::new(handle(ObjectKind::Volume, 0x10), true, &volume);
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap());
}

fn different() -> Audit {
    let known = |kind, uuid, name: &str, key: &str| {
        let (name, key) = (name.to_owned(), key.to_owned());
        Known { handle: handle(kind, uuid), name, key }
    };
    let dangling = |kind, uuid, fault, name: Option<&str>| {
        let (name, object) = (name.map(str::to_owned), None);
        Dangling { handle: handle(kind, uuid), fault, name, object }
    };
    Audit {
        unnamed: vec![
            known(ObjectKind::Volume, 0x10, "web", "volume/pvc-1"),
            known(ObjectKind::Group, 0x20, "monday", "group/monday"),
        ],
        dangling: vec![
            dangling(ObjectKind::Volume, 0x30, Fault::Absent, None),
            dangling(ObjectKind::Snapshot, 0x10, Fault::OtherKind, Some("web")),
            Dangling {
                object: Some("PersistentVolume/old".to_owned()),
                ..dangling(ObjectKind::Volume, 0x11, Fault::NotAdopted, Some("old"))
            },
        ],
        malformed: vec![
            Malformed {
                object: "PersistentVolume/by-hand".to_owned(),
                handle: "i-1234".to_owned(),
                also: None,
            },
            Malformed {
                object: "PersistentVolume/copied".to_owned(),
                handle: handle(ObjectKind::Volume, 0x40).to_string(),
                also: Some("PersistentVolume/first".to_owned()),
            },
        ],
        elsewhere: vec![ObjectId::new(Uuid::nil(), ObjectKind::Volume, Uuid::from_u128(1))],
        agreed_count: 4,
    }
}

#[test]
fn a_comparison_as_it_is_read() {
    insta::assert_snapshot!(render::audit_page("p0", &different()));
    let equal = Audit { agreed_count: 2, ..Audit::default() };
    insta::assert_snapshot!(render::audit_page("p0", &equal));
    let json = AuditJson::new("p0", &different());
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap());
}
