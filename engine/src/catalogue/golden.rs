//! Every record's encoding, held against bytes that were written once and for all.
//!
//! `testdata/records-v1.txt` has a line a record: its bytes in hexadecimal, then its debug text. A
//! release that reads or writes any of them differently cannot open the pools of an earlier one.
//! A new variant is a new line at the end, written by `THINLY_BLESS=1 cargo test golden`; a changed
//! line is a broken promise.
#![forbid(unsafe_code)]
#![allow(clippy::format_collect, reason = "a test may allocate")]

use std::collections::BTreeMap;

use uuid::Uuid;

use super::policy::{AutoExtend, GrowthStep, OnFull, PoolPolicy};
use super::record::{PoolDevice, PoolIdentity, Record, SnapshotMember};
use super::volume::{Content, GroupTag, ThinState, Timestamp, TombstoneReason, Volume, VolumeKind};
use super::{Arrived, Incoming, PoolName, Provision, ProvisionKey, Received, VolumeName};
use crate::layout::{Extents, Role, Segment};
use crate::units::{BlockSize, Bytes, ThinId, TransactionId};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/catalogue/testdata/records-v1.txt");

fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_ee00 + n)
}

fn name(text: &str) -> VolumeName {
    VolumeName::new(text).unwrap()
}

fn id(n: u32) -> ThinId {
    ThinId::new(n).unwrap()
}

fn pool_records() -> Vec<Record> {
    vec![
        Record::PoolCreated(PoolIdentity {
            uuid: uuid(0),
            name: PoolName::new("fast").unwrap(),
            created_at: Timestamp(1_700_000_000_123),
            block_size: BlockSize::DEFAULT,
            extent: Bytes::new(4 << 20),
            discard_passdown: true,
        }),
        Record::DeviceAdded(PoolDevice { uuid: uuid(1), index: 1, size: Bytes::new(1 << 40) }),
        Record::SegmentsAdded(vec![Segment {
            role: Role::Data,
            logical_start: Extents::new(0),
            device: uuid(1),
            device_start: Extents::new(9),
            count: Extents::new(1000),
        }]),
        Record::Opened { epoch: 7, from: TransactionId::new(41), to: TransactionId::new(42) },
        Record::Released { epoch: 7, transaction_id: TransactionId::new(42) },
    ]
}

fn volume_records() -> Vec<Record> {
    let created_at = Timestamp(1_700_000_001_000);
    let group = GroupTag { uuid: uuid(9), name: name("nightly") };
    let member = SnapshotMember {
        uuid: uuid(3),
        name: name("web-1@monday"),
        origin: uuid(2),
        thin_id: id(5),
    };
    let size = Bytes::new(10 << 30);
    let filesystem = || (String::from("ext4"), uuid(8));
    let (fs, fs_uuid) = filesystem();
    vec![
        Record::VolumeCreated { uuid: uuid(2), name: name("web-1"), size, created_at },
        Record::VolumeReady { uuid: uuid(2), thin_id: id(4), touched: true },
        Record::SnapshotsCreated { group: Some(group), created_at, members: vec![member] },
        Record::CloneCreated {
            uuid: uuid(4),
            name: name("copy"),
            size,
            created_at,
            source: uuid(3),
            thin_id: id(16_777_215),
        },
        Record::Resized { uuid: uuid(2), size: Bytes::new(11 << 30) },
        Record::Renamed { uuid: uuid(2), name: name("\u{fc}ber") },
        Record::RolledBack { uuid: uuid(2), snapshot: uuid(3), thin_id: id(6) },
        Record::Deleted { uuid: uuid(2) },
        Record::Tombstoned { thin_id: id(7), reason: TombstoneReason::Deleted },
        Record::Tombstoned { thin_id: id(7), reason: TombstoneReason::UnknownFate },
        Record::Tombstoned { thin_id: id(7), reason: TombstoneReason::Unclaimed },
        Record::Tombstoned { thin_id: id(7), reason: TombstoneReason::RolledBack },
        Record::Reaped { thin_id: id(7) },
        Record::Orphaned { thin_id: id(8) },
        Record::Lost { uuid: uuid(2) },
        Record::Found { uuid: uuid(2) },
        Record::ContentChanged { uuid: uuid(2), content: Content::Touched },
        Record::ContentChanged {
            uuid: uuid(2),
            content: Content::Formatting { filesystem: fs.clone(), filesystem_uuid: fs_uuid },
        },
        Record::ContentChanged {
            uuid: uuid(2),
            content: Content::Formatted { filesystem: fs, filesystem_uuid: fs_uuid },
        },
        Record::Checkpointed(Volume {
            uuid: uuid(2),
            name: name("web-1"),
            size,
            created_at,
            kind: VolumeKind::Snapshot { origin: uuid(1), origin_name: name("o"), group: None },
            thin: ThinState::Lost(id(4)),
            content: Content::Blank,
        }),
        Record::Checkpointed(Volume {
            uuid: uuid(2),
            name: name("web-1"),
            size,
            created_at,
            kind: VolumeKind::Clone { source: uuid(1) },
            thin: ThinState::Ready(id(4)),
            content: Content::Touched,
        }),
        Record::MetadataSwapped,
    ]
}

fn provision_records() -> Vec<Record> {
    let provision = |key| {
        let attributes = [("fs", "xfs"), ("class", "fast")];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Provision::new(ProvisionKey::new(key).unwrap(), BTreeMap::from(attributes)).unwrap()
    };
    let created = Record::VolumeCreated {
        uuid: uuid(5),
        name: name("pvc"),
        size: Bytes::new(1 << 30),
        created_at: Timestamp(1_700_000_002_000),
    };
    vec![
        Record::Provisioned {
            made: Some(Box::new(created)),
            provisions: vec![(uuid(5), provision("volume pvc-0815"))],
        },
        Record::Provisioned { made: None, provisions: vec![(uuid(9), provision("g/\u{fc}"))] },
        Record::Unprovisioned { uuid: uuid(5) },
    ]
}

fn growth_records() -> Vec<Record> {
    let segment = Segment {
        role: Role::Metadata,
        logical_start: Extents::new(300),
        device: uuid(7),
        device_start: Extents::new(0),
        count: Extents::new(1 << 20),
    };
    let auto = AutoExtend {
        at_percent: 80,
        by: GrowthStep::Percent(300),
        data_max: Some(Bytes::new(1 << 50)),
    };
    vec![
        Record::Grown {
            devices: vec![PoolDevice { uuid: uuid(7), index: 3, size: Bytes::new(1 << 42) }],
            segments: vec![segment],
        },
        Record::PolicySet(PoolPolicy::default()),
        Record::PolicySet(PoolPolicy {
            auto_extend: Some(auto),
            reserve: Bytes::new(10 << 30),
            on_full: OnFull::Error,
            admit_data_percent: Some(95),
            admit_metadata_percent: Some(90),
            overcommit_metadata: true,
        }),
        Record::PolicySet(PoolPolicy {
            auto_extend: Some(AutoExtend { by: GrowthStep::Bytes(Bytes::new(5)), ..auto }),
            ..PoolPolicy::default()
        }),
    ]
}

fn erasure_records() -> Vec<Record> {
    let reason = TombstoneReason::ToErase;
    vec![Record::DeletedToErase { uuid: uuid(2) }, Record::Tombstoned { thin_id: id(7), reason }]
}

fn received_records() -> Vec<Record> {
    let created = Record::VolumeCreated {
        uuid: uuid(6),
        name: name("web"),
        size: Bytes::new(1 << 30),
        created_at: Timestamp(1_700_000_003_000),
    };
    let incoming = |base| {
        let durable = Bytes::new(64 << 20);
        Some(Incoming { source: uuid(20), base, name: name("web@monday"), durable })
    };
    let last = Some(Arrived { source: uuid(21), snapshot: uuid(7) });
    vec![
        Record::received(Some(created), uuid(6), Received { last: None, incoming: incoming(None) }),
        Record::received(None, uuid(6), Received { last, incoming: incoming(Some(uuid(21))) }),
        Record::received(None, uuid(6), Received { last, incoming: None }),
        Record::Relocated {
            role: Role::Data,
            segments: vec![Segment {
                role: Role::Data,
                logical_start: Extents::ZERO,
                device: uuid(1),
                device_start: Extents::new(300),
                count: Extents::new(7),
            }],
        },
        Record::DeviceRemoved { uuid: uuid(1) },
        Record::PoolRenamed { name: PoolName::new("slow").unwrap() },
    ]
}

/// One record of each kind, and of each shape that a kind has.
pub(super) fn records() -> Vec<Record> {
    let groups = [
        pool_records(),
        volume_records(),
        provision_records(),
        growth_records(),
        erasure_records(),
        received_records(),
    ];
    groups.into_iter().flatten().collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().collect();
    let pair = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

#[test]
fn golden_records_are_read_and_written_as_ever() {
    let records = records();
    let lines: String =
        records.iter().map(|record| format!("{} {record:?}\n", hex(&record.encode()))).collect();
    if std::env::var_os("THINLY_BLESS").is_some() {
        std::fs::write(FILE, &lines).unwrap();
    }
    let golden = std::fs::read_to_string(FILE).unwrap();
    assert_eq!(lines, golden, "an encoding changed");
    for (line, record) in golden.lines().zip(records) {
        let (bytes, _) = line.split_once(' ').unwrap();
        assert_eq!(Record::decode(&unhex(bytes)).unwrap(), record);
    }
}

#[test]
fn a_record_with_bytes_left_over_or_missing_is_refused() {
    for record in records() {
        let mut bytes = record.encode();
        assert!(Record::decode(&bytes[..bytes.len() - 1]).is_err(), "{record:?}");
        bytes.push(0);
        assert!(Record::decode(&bytes).is_err(), "{record:?}");
        bytes[0] = 99;
        assert!(Record::decode(&bytes).unwrap_err().to_string().contains("version 99"));
    }
}
