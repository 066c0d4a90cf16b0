//! The JSON contract, the tables and the pages, over pools and volumes of every kind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;
use thinly::json::{
    AdoptionJson, AuditJson, CompletionsJson, DanglingJson, DiffJson, ErrorJson, EventJson,
    FileJson, PageJson, PoolJson, Ranges, RepairJson, SalvagedJson, UnnamedJson, VolumeJson,
    WarningJson,
};
use thinly::{exit, render};
use thinly_engine::catalogue::{
    Content, GroupTag, ObjectId, ObjectKind, PoolName, Provision, ProvisionKey, Timestamp,
    VolumeKind, VolumeName,
};
use thinly_engine::metadata::DiffKind;
use thinly_engine::plan::Health;
use thinly_engine::pool::{
    ByteRange, DeviceView, PoolState, PoolView, SalvagedVolume, Usage, VolumeState, VolumeView,
};
use thinly_engine::units::{BlockSize, Bytes, ThinId, TransactionId};
use uuid::Uuid;

const GIB: u64 = 1 << 30;

fn volume_name(name: &str) -> VolumeName {
    VolumeName::new(name).unwrap()
}

fn id(number: u32) -> ThinId {
    ThinId::new(number).unwrap()
}

fn healthy_pool() -> PoolView {
    PoolView {
        name: PoolName::new("p0").unwrap(),
        uuid: Uuid::from_u128(0xa0),
        state: PoolState::Open,
        health: Some(Health::Writable),
        problems: Vec::new(),
        devices: vec![DeviceView {
            path: Some(PathBuf::from("/dev/sdb1")),
            uuid: Uuid::from_u128(0xd1),
            size: Bytes::new(100 * GIB),
        }],
        block_size: BlockSize::DEFAULT,
        created_at: Some(Timestamp(1_709_210_096_007)),
        usage: Some(Usage {
            used_data: Bytes::new(3 * GIB / 2),
            total_data: Bytes::new(99 * GIB),
            used_metadata: Bytes::new(17 << 20),
            total_metadata: Bytes::new(128 << 20),
        }),
        transaction_id: Some(TransactionId::new(12)),
        snapshot_time: Some(3),
        volume_count: 2,
        snapshot_count: 1,
        virtual_bytes: Bytes::new(30 * GIB),
        tombstones: Vec::new(),
        orphans: Vec::new(),
        held_root: None,
        clean: true,
        writer: None,
    }
}

fn troubled_pool() -> PoolView {
    PoolView {
        name: PoolName::new("old").unwrap(),
        health: Some(Health::OutOfDataSpace),
        problems: vec!["label of /dev/sdc was written by a newer version".to_owned()],
        usage: Some(Usage {
            used_data: Bytes::new(99 * GIB),
            total_data: Bytes::new(99 * GIB),
            used_metadata: Bytes::new(110 << 20),
            total_metadata: Bytes::new(128 << 20),
        }),
        snapshot_time: Some(16_000_000),
        tombstones: (0..23).map(id).collect(),
        orphans: vec![id(77)],
        held_root: Some(1234),
        clean: false,
        ..healthy_pool()
    }
}

fn incomplete_pool() -> PoolView {
    let mut devices = healthy_pool().devices;
    devices.push(DeviceView {
        path: None,
        uuid: Uuid::from_u128(0xd2),
        size: Bytes::new(100 * GIB),
    });
    PoolView {
        name: PoolName::new("half").unwrap(),
        state: PoolState::Incomplete,
        health: None,
        devices,
        created_at: None,
        usage: None,
        transaction_id: None,
        snapshot_time: None,
        writer: Some(4711),
        ..healthy_pool()
    }
}

fn volume() -> VolumeView {
    VolumeView {
        name: volume_name("web"),
        uuid: Uuid::from_u128(0x10),
        thin_id: Some(id(5)),
        virtual_bytes: Bytes::new(10 * GIB),
        mapped_bytes: Some(Bytes::new(GIB + GIB / 2)),
        state: VolumeState::Active,
        kind: VolumeKind::Blank,
        origin_name: None,
        created_at: Timestamp(1_709_210_096_007),
        device: Some(PathBuf::from("/dev/dm-7")),
        link: Some(PathBuf::from("/dev/thinly/p0/web")),
        open_count: Some(1),
        read_only: false,
        handle: handle(ObjectKind::Volume, 0x10),
        provision: None,
        group_provision: None,
        content: Content::Touched,
    }
}

fn snapshot() -> VolumeView {
    VolumeView {
        name: volume_name("web-monday"),
        uuid: Uuid::from_u128(0x11),
        thin_id: Some(id(6)),
        state: VolumeState::Inactive,
        kind: VolumeKind::Snapshot {
            origin: Uuid::from_u128(0x10),
            origin_name: volume_name("web"),
            group: Some(GroupTag { uuid: Uuid::from_u128(0x99), name: volume_name("monday") }),
        },
        origin_name: Some(volume_name("web")),
        device: None,
        link: None,
        open_count: None,
        read_only: true,
        handle: handle(ObjectKind::Snapshot, 0x11),
        ..volume()
    }
}

fn pending_clone() -> VolumeView {
    VolumeView {
        name: volume_name("test copy"),
        uuid: Uuid::from_u128(0x12),
        thin_id: None,
        mapped_bytes: None,
        state: VolumeState::Pending,
        kind: VolumeKind::Clone { source: Uuid::from_u128(0x13) },
        device: None,
        link: None,
        open_count: None,
        handle: handle(ObjectKind::Volume, 0x12),
        provision: Some(provision()),
        ..volume()
    }
}

fn handle(kind: ObjectKind, uuid: u128) -> ObjectId {
    ObjectId::new(Uuid::from_u128(0xa0 << 120), kind, Uuid::from_u128(uuid))
}

fn provision() -> Provision {
    let attributes = [("fsType", "xfs"), ("note", "two\nlines")];
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Provision::new(ProvisionKey::new("volume pvc-1").unwrap(), attributes.into()).unwrap()
}

fn salvaged() -> Vec<SalvagedVolume> {
    vec![SalvagedVolume {
        name: volume_name("salvaged-5"),
        thin_id: id(5),
        virtual_bytes: Bytes::new(10 * GIB),
        filesystem: Some("ext4".to_owned()),
    }]
}

fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

#[test]
fn the_json_of_pools() {
    insta::assert_snapshot!(text(&PoolJson::from(&healthy_pool())));
    insta::assert_snapshot!(text(&PoolJson::from(&incomplete_pool())));
    insta::assert_snapshot!(text(&PoolJson::from(&healthy_pool()).destroyed()));
}

#[test]
fn the_json_of_volumes() {
    insta::assert_snapshot!(text(&VolumeJson::from(&volume())));
    insta::assert_snapshot!(text(&VolumeJson::from(&snapshot())));
    insta::assert_snapshot!(text(&VolumeJson::from(&pending_clone())));
    insta::assert_snapshot!(text(&VolumeJson::from(&volume()).deleted()));
}

#[test]
fn the_tables() {
    let pools = [healthy_pool(), troubled_pool(), incomplete_pool()];
    insta::assert_snapshot!(render::pool_table(&pools));
    insta::assert_snapshot!(render::volume_table(&[&volume(), &snapshot(), &pending_clone()]));
    insta::assert_snapshot!(render::salvage_table(&salvaged()));
    insta::assert_snapshot!(render::volume_table(&[]));
}

#[test]
fn the_pages() {
    insta::assert_snapshot!(render::pool_page(&healthy_pool()));
    insta::assert_snapshot!(render::pool_page(&troubled_pool()));
    insta::assert_snapshot!(render::pool_page(&incomplete_pool()));
    insta::assert_snapshot!(render::volume_page(&volume()));
    insta::assert_snapshot!(render::volume_page(&snapshot()));
    insta::assert_snapshot!(render::volume_page(&pending_clone()));
}

fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                found.insert(key.clone());
                keys(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

fn all_keys() -> BTreeSet<String> {
    let file = PathBuf::from("f");
    let values = [
        serde_json::to_value(PoolJson::from(&healthy_pool())),
        serde_json::to_value(VolumeJson::from(&snapshot())),
        serde_json::to_value(SalvagedJson::from(&salvaged()[0])),
        serde_json::to_value(FileJson { pool: "p0".to_owned(), file, file_bytes: 1 }),
        serde_json::to_value(repair()),
        serde_json::to_value(adoption()),
        serde_json::to_value(audit()),
        Ok(difference()),
        serde_json::to_value(PageJson { page: "p".to_owned(), file: None, text: None }),
        serde_json::to_value(CompletionsJson { shell: String::new(), script: String::new() }),
        serde_json::to_value(EventJson { event: "e", pool: None, message: "m" }),
        serde_json::to_value(ErrorJson::new("m", exit::Exit::Usage)),
        serde_json::to_value(WarningJson::new("m")),
    ];
    let mut found = BTreeSet::new();
    for value in values {
        keys(&value.unwrap(), &mut found);
    }
    found
}

/// The fields inside of the manifest are those of Kubernetes.
fn adoption() -> AdoptionJson<'static> {
    AdoptionJson { handle: String::new(), adopted: true, manifest: None }
}

fn differing() -> [ByteRange; 3] {
    let range = |offset, length, kind| ByteRange {
        offset: Bytes::new(offset),
        length: Bytes::new(length),
        kind,
    };
    [
        range(0, 65_536, DiffKind::Changed),
        range(GIB, 3 << 20, DiffKind::Added),
        range(9 * GIB, GIB + 512, DiffKind::Removed),
    ]
}

fn difference() -> Value {
    let mut ranges = differing().into_iter().map(Ok);
    let difference = DiffJson {
        pool: "p0",
        from: Some("web-monday"),
        to: "web-tuesday",
        from_bytes: Some(12 * GIB),
        to_bytes: 10 * GIB,
        block_bytes: 65_536,
        ranges: Ranges::new(&mut ranges, false),
    };
    serde_json::to_value(difference).unwrap()
}

#[test]
fn differences() {
    insta::assert_snapshot!(text(&difference()));
    for is_single in [false, true] {
        let mut page = render::DiffPage::new(is_single);
        let lines: String = differing().into_iter().map(|range| page.line(range)).collect();
        let end = page.end(Bytes::new(65_536));
        insta::assert_snapshot!(format!("{}{lines}{end}", render::DiffPage::HEAD));
    }
}

fn audit() -> AuditJson {
    let (handle, name) = (String::new, String::new);
    AuditJson {
        pool: "p0".to_owned(),
        agrees: false,
        agreed_count: 1,
        unnamed: vec![UnnamedJson { handle: handle(), name: name(), provision_key: String::new() }],
        dangling: vec![DanglingJson { handle: handle(), fault: "absent", name: None }],
        elsewhere: Vec::new(),
    }
}

/// A repair that was done and lost a volume.
fn repair() -> RepairJson {
    RepairJson {
        pool: "p0".to_owned(),
        damage: Some("the superblock is blank".to_owned()),
        needs_check: true,
        tool: Some("1.1.0".to_owned()),
        repaired: true,
        device_count: Some(2),
        lost: vec!["web".to_owned()],
    }
}

/// The names in the first column of the tables.
fn documented_keys(document: &str) -> BTreeSet<String> {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split('`').next()).map(str::to_owned).collect()
}

#[test]
fn every_field_is_documented_and_nothing_else_is() {
    let document = include_str!("../../docs/json.md");
    assert_eq!(documented_keys(document), all_keys());
}

#[test]
fn numbers_carry_their_unit() {
    let plain = ["thin_id", "transaction_id", "snapshot_time", "snapshot_time_max"];
    for value in [text(&PoolJson::from(&healthy_pool())), text(&VolumeJson::from(&volume()))] {
        let Value::Object(fields) = serde_json::from_str(&value).unwrap() else { panic!() };
        for (key, value) in fields {
            let unit =
                ["_bytes", "_count", "_block", "_pid"].iter().any(|unit| key.ends_with(unit));
            assert!(!value.is_number() || unit || plain.contains(&key.as_str()), "{key}");
        }
    }
}

#[test]
fn the_document_of_exit_codes_holds_the_table() {
    let document = include_str!("../../docs/exit-codes.md");
    let table = exit::markdown_table();
    assert!(document.contains(&table), "docs/exit-codes.md should hold:\n{table}");
}
