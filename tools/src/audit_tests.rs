//! Pools and lists of handles, and what is the difference.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use thinly_engine::catalogue::{Content, Provision, ProvisionKey, Timestamp, VolumeName};
use thinly_engine::pool::VolumeState;
use thinly_engine::units::Bytes;

use super::*;

const POOL: Uuid = Uuid::from_u128(0xaa << 120);
const OTHER_POOL: Uuid = Uuid::from_u128(0xbb << 120);
const GROUP: u128 = 90;

fn id(kind: ObjectKind, uuid: u128) -> ObjectId {
    ObjectId::new(POOL, kind, Uuid::from_u128(uuid))
}

fn volume(uuid: u128) -> ObjectId {
    id(ObjectKind::Volume, uuid)
}

fn snapshot(uuid: u128) -> ObjectId {
    id(ObjectKind::Snapshot, uuid)
}

fn group(uuid: u128) -> ObjectId {
    id(ObjectKind::Group, uuid)
}

fn asked(kind: ObjectKind, uuid: u128) -> Provision {
    let key = ProvisionKey::of(kind, &format!("o{uuid}")).unwrap();
    Provision::new(key, BTreeMap::new()).unwrap()
}

fn plain(handle: ObjectId) -> VolumeView {
    let name = VolumeName::new(&format!("n{}", handle.uuid().as_u128())).unwrap();
    let kind = match handle.kind() {
        ObjectKind::Snapshot => {
            VolumeKind::Snapshot { origin: Uuid::nil(), origin_name: name.clone(), group: None }
        }
        _ => VolumeKind::Blank,
    };
    VolumeView {
        name,
        uuid: handle.uuid(),
        thin_id: None,
        virtual_bytes: Bytes::new(1 << 20),
        mapped_bytes: None,
        state: VolumeState::Pending,
        kind,
        origin_name: None,
        created_at: Timestamp(0),
        device: None,
        link: None,
        open_count: None,
        read_only: false,
        handle,
        provision: None,
        group_provision: None,
        received: None,
        content: Content::Blank,
    }
}

fn known(handle: ObjectId) -> VolumeView {
    let provision = asked(handle.kind(), handle.uuid().as_u128());
    VolumeView { provision: Some(provision), ..plain(handle) }
}

/// A snapshot of a group that a cluster knows or does not.
fn member(uuid: u128, is_known: bool) -> VolumeView {
    let tag = GroupTag { uuid: Uuid::from_u128(GROUP), name: VolumeName::new("g").unwrap() };
    let of = VolumeName::new("of").unwrap();
    let kind = VolumeKind::Snapshot { origin: Uuid::nil(), origin_name: of, group: Some(tag) };
    let group_provision = is_known.then(|| asked(ObjectKind::Group, GROUP));
    VolumeView { kind, group_provision, ..plain(snapshot(uuid)) }
}

/// A pool, a cluster's handles, and the difference: unnamed, dangling, elsewhere, agreed.
struct Case {
    pool: Vec<VolumeView>,
    handles: Vec<ObjectId>,
    unnamed: Vec<ObjectId>,
    dangling: Vec<(ObjectId, Fault)>,
    elsewhere: Vec<ObjectId>,
    agreed_count: usize,
}

const NOTHING: Case = Case {
    pool: Vec::new(),
    handles: Vec::new(),
    unnamed: Vec::new(),
    dangling: Vec::new(),
    elsewhere: Vec::new(),
    agreed_count: 0,
};

fn cases() -> Vec<Case> {
    let (a, b, s, far) = (
        volume(1),
        volume(2),
        snapshot(3),
        ObjectId::new(OTHER_POOL, ObjectKind::Volume, Uuid::from_u128(1)),
    );
    vec![
        NOTHING,
        // What no cluster asked for is nobody's difference.
        Case { pool: vec![plain(a), plain(s), member(4, false)], ..NOTHING },
        Case { pool: vec![known(a), known(s)], handles: vec![s, a], agreed_count: 2, ..NOTHING },
        Case {
            pool: vec![known(a), known(b)],
            handles: vec![a],
            unnamed: vec![b],
            agreed_count: 1,
            ..NOTHING
        },
        Case { pool: vec![known(b), known(a)], unnamed: vec![a, b], ..NOTHING },
        Case { handles: vec![a], dangling: vec![(a, Fault::Absent)], ..NOTHING },
        Case {
            pool: vec![plain(a)],
            handles: vec![a],
            dangling: vec![(a, Fault::NotAdopted)],
            ..NOTHING
        },
        // The same identity under another kind names nothing, and what is there stays unnamed.
        Case {
            pool: vec![known(a)],
            handles: vec![snapshot(1)],
            unnamed: vec![a],
            dangling: vec![(snapshot(1), Fault::OtherKind)],
            ..NOTHING
        },
        // Another pool has the same identity: that is another object.
        Case {
            pool: vec![known(a)],
            handles: vec![far],
            unnamed: vec![a],
            elsewhere: vec![far],
            ..NOTHING
        },
        Case {
            pool: vec![known(a)],
            handles: vec![a, far],
            elsewhere: vec![far],
            agreed_count: 1,
            ..NOTHING
        },
    ]
}

/// A group is an object, and so is each of its snapshots.
fn cases_of_groups() -> Vec<Case> {
    let group_of_two = || vec![member(4, true), member(5, true)];
    vec![
        Case {
            pool: group_of_two(),
            handles: vec![snapshot(4), snapshot(5), group(GROUP)],
            agreed_count: 3,
            ..NOTHING
        },
        Case {
            pool: group_of_two(),
            handles: vec![snapshot(4)],
            unnamed: vec![snapshot(5), group(GROUP)],
            agreed_count: 1,
            ..NOTHING
        },
        Case {
            pool: vec![member(4, false)],
            handles: vec![snapshot(4), group(GROUP), group(91)],
            dangling: vec![
                (snapshot(4), Fault::NotAdopted),
                (group(GROUP), Fault::NotAdopted),
                (group(91), Fault::Absent),
            ],
            ..NOTHING
        },
    ]
}

#[test]
fn the_difference_is_told_whole() {
    for (number, case) in cases().into_iter().chain(cases_of_groups()).enumerate() {
        let audit = Audit::of(
            POOL,
            &case.pool,
            &case.handles.iter().map(|&handle| (handle, None)).collect(),
        );
        let unnamed: Vec<ObjectId> = audit.unnamed.iter().map(|known| known.handle).collect();
        let dangling: Vec<_> = audit.dangling.iter().map(|one| (one.handle, one.fault)).collect();
        assert_eq!((unnamed, dangling), (case.unnamed.clone(), case.dangling.clone()), "{number}");
        assert_eq!(audit.elsewhere, case.elsewhere, "{number}");
        assert_eq!(audit.agreed_count, case.agreed_count, "{number}");
        assert_eq!(audit.agrees(), case.unnamed.is_empty() && case.dangling.is_empty(), "{number}");
    }
}

#[test]
fn an_object_is_told_with_its_name_and_by_what_it_is_known() {
    let pool = [known(volume(1)), member(4, true)];
    let keeper = Some("VolumeSnapshotContent/s".to_owned());
    let audit = Audit::of(POOL, &pool, &Handles::from([(snapshot(1), keeper.clone())]));
    let told: Vec<(&str, &str)> =
        audit.unnamed.iter().map(|known| (known.name.as_str(), known.key.as_str())).collect();
    assert_eq!(told, [("n1", "volume/o1"), ("n4", "group/o90"), ("g", "group/o90")]);
    assert_eq!(
        (audit.dangling[0].name.as_deref(), &audit.dangling[0].object),
        (Some("n1"), &keeper)
    );
}

#[test]
fn what_one_of_two_looks_did_not_find_is_no_difference() {
    let handles = |handles: &[ObjectId]| handles.iter().map(|&handle| (handle, None)).collect();
    let pool = [known(volume(1)), known(volume(2)), known(volume(3))];
    // Volume 1 gets its handle between the looks, and loses it in the other order; 9 is long gone, 8 is going.
    let mut audit = Audit::of(POOL, &pool, &handles(&[volume(2), volume(8), volume(9)]));
    let later = Audit::of(POOL, &pool, &handles(&[volume(1), volume(9)]));
    audit.keep_common(&later);
    let unnamed: Vec<ObjectId> = audit.unnamed.iter().map(|known| known.handle).collect();
    let dangling: Vec<ObjectId> = audit.dangling.iter().map(|one| one.handle).collect();
    assert_eq!((unnamed, dangling), (vec![volume(3)], vec![volume(9)]));
}

#[test]
fn a_handle_that_is_none_is_a_difference() {
    let (object, handle) = ("PersistentVolume/x".to_owned(), "i-1".to_owned());
    let mut audit =
        Audit { malformed: vec![Malformed { object, handle, also: None }], ..Audit::default() };
    assert!(!audit.agrees());
    audit.keep_common(&Audit::default());
    assert!(audit.agrees());
}
