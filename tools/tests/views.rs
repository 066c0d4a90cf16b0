//! The JSON contract, the tables and the pages, over pools and volumes of every kind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use thinly::json::{
    AccountingJson, AdoptionJson, AuditJson, CheckJson, CompletionsJson, DanglingJson, DiffJson,
    ErasureJson, ErrorJson, EvacuatedJson, EventJson, FileJson, FindingJson, ImageDeviceJson,
    ImageDiffJson, ImageDumpJson, ImageJson, MalformedJson, MapJson, OperationJson, OperationsJson,
    PageJson, PoolJson, Ranges, ReadingJson, ReceiveJson, ReceivingJson, RepairJson, ResidentJson,
    SalvagedJson, SendJson, SpaceMapJson, TokenJson, TopEventJson, TopJson, TopPoolJson,
    TopVolumeJson, TrimJson, UnnamedJson, VolumeJson, WarningJson,
};
use thinly::{exit, render};
use thinly_engine::catalogue::{
    AutoExtend, Content, GroupTag, GrowthStep, ObjectId, ObjectKind, OnFull, PoolName, PoolPolicy,
    Provision, ProvisionKey, Timestamp, VolumeKind, VolumeName,
};
use thinly_engine::metadata::{CellGrid, DiffKind, Severity};
use thinly_engine::plan::Health;
use thinly_engine::pool::{
    Accounting, ByteRange, Cost, DeviceView, Erasure, Evacuated, FallenFilesystem, Holder,
    MetadataOutlook, OtherUsage, PoolMap, PoolState, PoolView, SalvagedVolume, SetCost, Usage,
    VolumeState, VolumeUsage, VolumeView, ZeroReport,
};
use thinly_engine::units::{BlockSize, Bytes, DataBlocks, ThinId, TransactionId};
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
        unused: Some(Bytes::new(20 * GIB)),
        fallen_filesystems: Vec::new(),
        metadata_outlook: Some(MetadataOutlook {
            potential: Bytes::new(90 << 20),
            free: Bytes::new(100 << 20),
        }),
        policy: Some(PoolPolicy {
            auto_extend: Some(AutoExtend {
                at_percent: 80,
                by: GrowthStep::Percent(20),
                data_max: Some(Bytes::new(500 * GIB)),
            }),
            reserve: Bytes::new(5 * GIB),
            on_full: OnFull::Queue,
            admit_data_percent: Some(95),
            admit_metadata_percent: None,
            overcommit_metadata: false,
        }),
        transaction_id: Some(TransactionId::new(12)),
        snapshot_time: Some(3),
        volume_count: 2,
        snapshot_count: 1,
        virtual_bytes: Bytes::new(30 * GIB),
        tombstones: Vec::new(),
        reaping_bytes: Some(Bytes::ZERO),
        orphans: Vec::new(),
        held_root: None,
        clean: true,
        writer: None,
        is_written_elsewhere: false,
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
        unused: Some(Bytes::ZERO),
        fallen_filesystems: vec![FallenFilesystem {
            volume: volume_name("web"),
            mount_point: "/srv/web".into(),
        }],
        metadata_outlook: Some(MetadataOutlook {
            potential: Bytes::new(90 << 20),
            free: Bytes::new(18 << 20),
        }),
        policy: Some(PoolPolicy::default()),
        snapshot_time: Some(16_000_000),
        tombstones: (0..23).map(id).collect(),
        reaping_bytes: Some(Bytes::new(7 * GIB)),
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
        reaping_bytes: None,
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
        received: None,
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

fn accounting() -> Accounting {
    let cost = |mapped: u64, exclusive: u64| Cost {
        mapped_bytes: Bytes::new(mapped),
        exclusive_bytes: Bytes::new(exclusive),
        shared_bytes: Bytes::new(mapped - exclusive),
        metadata_bytes: Bytes::new(12 << 12),
        exclusive_metadata_bytes: Bytes::new(2 << 12),
    };
    let usage = |of: VolumeView, cost| VolumeUsage {
        name: of.name,
        uuid: of.uuid,
        kind: of.kind,
        origin_name: of.origin_name,
        thin_id: of.thin_id,
        virtual_bytes: of.virtual_bytes,
        cost,
    };
    Accounting {
        pool: PoolName::new("p0").unwrap(),
        block_size: BlockSize::DEFAULT,
        volumes: vec![
            usage(volume(), Some(cost(GIB, GIB / 4))),
            usage(snapshot(), Some(cost(3 * GIB / 4, 0))),
            usage(pending_clone(), None),
        ],
        others: vec![OtherUsage { thin_id: id(9), is_deleted: true, cost: cost(1 << 20, 1 << 20) }],
        set: Some(SetCost {
            names: vec![volume_name("web"), volume_name("web-1")],
            exclusive_bytes: Bytes::new(GIB),
            exclusive_metadata_bytes: Bytes::new(13 << 12),
        }),
        mapped_bytes: Bytes::new(GIB + (1 << 20)),
        shared_bytes: Bytes::new(3 * GIB / 4),
        total_bytes: Bytes::new(99 * GIB),
        metadata_bytes: Bytes::new(14 << 12),
    }
}

#[test]
fn the_accounting() {
    insta::assert_snapshot!("accounting_json", text(&AccountingJson::from(&accounting())));
    insta::assert_snapshot!("accounting_page", render::accounting_page(&accounting()));
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
        serde_json::to_value(PoolJson::from(&incomplete_pool()).conditions),
        serde_json::to_value(VolumeJson::from(&snapshot())),
        serde_json::to_value(SalvagedJson::from(&salvaged()[0])),
        serde_json::to_value(TrimJson::of_zeros("web", &ZeroReport::default())),
        serde_json::to_value(ErasureJson::new(VolumeJson::from(&volume()), &erasure())),
        serde_json::to_value(evacuated()),
        serde_json::to_value(FileJson { pool: "p0".to_owned(), file, file_bytes: 1 }),
        serde_json::to_value(repair()),
        serde_json::to_value(AccountingJson::from(&accounting())),
        Ok(image_difference()),
        serde_json::to_value(image()),
        serde_json::to_value(image_device()),
        serde_json::to_value(image_dump()),
        serde_json::to_value(check()),
        serde_json::to_value(drawn()),
        serde_json::to_value(watched()),
        serde_json::to_value(operations()),
        serde_json::to_value(adoption()),
        serde_json::to_value(audit()),
        serde_json::to_value(sent()),
        serde_json::to_value(received()),
        serde_json::to_value(token()),
        serde_json::to_value(receiving()),
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

fn erasure() -> Erasure {
    Erasure {
        to_erase_bytes: Bytes::new(GIB),
        kept_bytes: Bytes::new(3 * GIB / 2),
        kept_by: vec![
            Holder::Volume(VolumeName::new("web-monday").unwrap()),
            Holder::Orphan(id(9)),
        ],
        kept_by_more: true,
    }
}

#[test]
fn what_is_overwritten_and_what_stays_is_told() {
    let path = "p0/web".parse().unwrap();
    insta::assert_snapshot!(render::erasure(&path, &erasure()));
    insta::assert_snapshot!(render::erasure(&path, &Erasure::default()));
}

fn evacuated() -> EvacuatedJson {
    EvacuatedJson::from(&Evacuated {
        device: Uuid::from_u128(5),
        path: PathBuf::from("/dev/sdb1"),
        moved: Bytes::new(3 * GIB),
        longest_pause: Duration::from_micros(21_400),
        wiped: true,
    })
}

#[test]
fn what_left_with_a_device_is_told() {
    insta::assert_snapshot!(render::evacuated(&evacuated()));
}

#[test]
fn what_a_volume_gave_back_is_told() {
    let path = "p0/web".parse().unwrap();
    let trimmed = ZeroReport {
        read_bytes: Bytes::new(3 * GIB),
        zero_bytes: Bytes::new(GIB),
        mapped_before: Some(Bytes::new(3 * GIB)),
        mapped_after: None,
    };
    insta::assert_snapshot!(render::trim(&path, &TrimJson::of_zeros("web", &trimmed)));
}

fn drawn() -> MapJson {
    let map = PoolMap {
        pool: PoolName::new("p0").unwrap(),
        block_size: BlockSize::DEFAULT,
        read_at: Timestamp(0),
        grid: CellGrid::new(DataBlocks::ZERO, 1),
        cells: Vec::new(),
        bars: Vec::new(),
    };
    MapJson::new(&map, Path::new("f"), 1)
}

fn operations() -> OperationsJson {
    let operation = OperationJson {
        ended_at: Some("2024-02-29T12:34:56.007Z".to_owned()),
        operation: "snapshot create".to_owned(),
        subject: Some("web".to_owned()),
        duration_seconds: 0.0042,
        outcome: "ok".to_owned(),
    };
    OperationsJson { holder_pid: 4711, operations: vec![operation] }
}

fn watched() -> TopJson {
    let volume = TopVolumeJson { volume: VolumeJson::from(&volume()), exclusive_bytes: Some(GIB) };
    let reading = ReadingJson { read_at: None, duration_seconds: 0.3, accounting_error: None };
    let OperationsJson { holder_pid, operations } = operations();
    TopJson {
        at: None,
        pools: vec![TopPoolJson {
            pool: PoolJson::from(&healthy_pool()),
            volumes: Some(vec![volume]),
            volumes_error: None,
            accounting: Some(reading),
            resident: Some(ResidentJson {
                holder_pid: Some(holder_pid),
                operations: Some(operations),
                resident_error: None,
            }),
        }],
        events: vec![TopEventJson {
            at: None,
            pool: "p0".to_owned(),
            event: "health",
            message: "m".to_owned(),
        }],
        troubles: Vec::new(),
    }
}

#[test]
fn what_a_holder_did() {
    insta::assert_snapshot!(render::operation_table(&operations().operations));
}

fn sent() -> SendJson {
    SendJson {
        pool: "p0".to_owned(),
        snapshot: "web-monday".to_owned(),
        source_uuid: Uuid::from_u128(0x11),
        base_uuid: None,
        file: PathBuf::from("f"),
        stream_bytes: 1,
        start_bytes: 0,
        data_bytes: 1,
        zero_bytes: 0,
    }
}

fn received() -> ReceiveJson {
    ReceiveJson {
        pool: "p1".to_owned(),
        volume: "web".to_owned(),
        snapshot: "web@monday".to_owned(),
        source_uuid: Uuid::from_u128(0x11),
        base_uuid: None,
        stream_bytes: 1,
        start_bytes: 0,
        data_bytes: 1,
        zero_bytes: 0,
    }
}

fn token() -> TokenJson {
    TokenJson {
        pool: "p1".to_owned(),
        volume: "web".to_owned(),
        source_uuid: Uuid::from_u128(0x11),
        base_uuid: None,
        durable_bytes: 1,
        token: String::new(),
    }
}

fn receiving() -> ReceivingJson {
    let device = PathBuf::from("d");
    ReceivingJson { device, snapshot: String::new(), block_bytes: 1, durable_bytes: 1 }
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

fn image_difference() -> Value {
    let mut ranges = differing().into_iter().map(Ok);
    let difference = ImageDiffJson {
        file: std::path::Path::new("f"),
        thin1: Some(5),
        thin2: 9,
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
        dangling: vec![DanglingJson {
            handle: handle(),
            fault: "absent",
            name: None,
            object: None,
        }],
        malformed: vec![MalformedJson { object: name(), handle: handle(), also: None }],
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
        leaked_data_blocks: 3,
        repaired: true,
        device_count: Some(2),
        lost: vec!["web".to_owned()],
    }
}

fn image() -> ImageJson {
    let map = SpaceMapJson {
        total_block_count: 1000,
        used_block_count: 250,
        free_block_count: 750,
        bitmap_root_block: 8,
        ref_count_root_block: 9,
    };
    ImageJson {
        file: PathBuf::from("p0.metadata"),
        uuid: None,
        version: 2,
        needs_check: true,
        transaction_id: 12,
        snapshot_time: 3,
        held_root_block: Some(77),
        block_size_bytes: 128 << 10,
        metadata_block_count: 1024,
        data_mapping_root_block: 5,
        device_details_root_block: 6,
        data_space_map: map,
        metadata_space_map: SpaceMapJson { bitmap_root_block: 10, ..map },
        device_count: Some(2),
    }
}

fn image_device() -> ImageDeviceJson {
    ImageDeviceJson {
        thin_id: 5,
        mapped_bytes: 3 << 17,
        mapped_block_count: 3,
        exclusive_bytes: Some(1 << 20),
        shared_bytes: None,
        metadata_bytes: None,
        exclusive_metadata_bytes: Some(4096),
        transaction_id: 7,
        creation_time: 1,
        snapshotted_time: 2,
    }
}

fn image_dump() -> ImageDumpJson {
    let file = PathBuf::from("p0.xml");
    ImageDumpJson { file, file_bytes: 4096, device_count: 2, mapped_block_count: 3 }
}

#[test]
fn images() {
    insta::assert_snapshot!(render::image_page(&image()));
    let blank = ImageJson { needs_check: false, held_root_block: None, ..image() };
    insta::assert_snapshot!(render::image_page(&ImageJson { device_count: None, ..blank }));
    insta::assert_snapshot!(render::image_table(&[image_device()]));
    insta::assert_snapshot!(text(&image()));
}

fn check() -> CheckJson {
    let finding = |severity, kind: &'static str, rank| FindingJson {
        severity,
        kind,
        message: format!("something of kind {kind}"),
        meaning: "what follows",
        rank,
    };
    CheckJson {
        checked: "p0".to_owned(),
        worst: Some("error"),
        findings: vec![
            finding("error", "Damage", Severity::Error),
            finding("note", "HeldRoot", Severity::Note),
        ],
        more_findings: 7,
        device_count: 3,
        node_count: 120,
        mapped_data_block_count: 9000,
    }
}

#[test]
fn the_check() {
    insta::assert_snapshot!("check_json", text(&check()));
    insta::assert_snapshot!("check_page", render::check_page(&check()));
    let sound = CheckJson { worst: None, findings: Vec::new(), more_findings: 0, ..check() };
    insta::assert_snapshot!("check_page_sound", render::check_page(&sound));
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
