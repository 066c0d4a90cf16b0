//! Pools and volumes for tests.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use thinly_engine::catalogue::{
    AutoExtend, Content, GrowthStep, ObjectId, ObjectKind, PoolName, PoolPolicy, Timestamp,
    VolumeKind, VolumeName,
};
use thinly_engine::plan::Health;
use thinly_engine::pool::{DeviceView, PoolState, PoolView, Usage, VolumeState, VolumeView};
use thinly_engine::units::{BlockSize, Bytes, ThinId};
use uuid::Uuid;

use super::model::Model;
use super::sample::{Reading, Resident, Sample};
use crate::json::{OperationJson, OperationsJson};

const GIB: u64 = 1 << 30;

/// 2024-02-29 12:34:56.
pub(super) const NOON: Timestamp = Timestamp(1_709_210_096_007);

pub(super) fn pool(name: &str, number: u128) -> PoolView {
    PoolView {
        name: PoolName::new(name).unwrap(),
        uuid: Uuid::from_u128(number << 96),
        state: PoolState::Open,
        health: Some(Health::Writable),
        problems: Vec::new(),
        devices: vec![DeviceView {
            path: Some(PathBuf::from("/dev/sdb1")),
            uuid: Uuid::from_u128(0xd1),
            size: Bytes::new(120 * GIB),
        }],
        block_size: BlockSize::DEFAULT,
        created_at: Some(NOON),
        usage: Some(Usage {
            used_data: Bytes::new(61 * GIB),
            total_data: Bytes::new(100 * GIB),
            used_metadata: Bytes::new(17 << 20),
            total_metadata: Bytes::new(128 << 20),
        }),
        unused: Some(Bytes::new(20 * GIB)),
        policy: Some(PoolPolicy {
            auto_extend: Some(AutoExtend {
                at_percent: 80,
                by: GrowthStep::Percent(20),
                data_max: None,
            }),
            reserve: Bytes::new(5 * GIB),
            ..PoolPolicy::default()
        }),
        fallen_filesystems: Vec::new(),
        metadata_outlook: None,
        transaction_id: None,
        snapshot_time: Some(3),
        volume_count: 3,
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

pub(super) fn volume(name: &str, number: u128, size: u64) -> VolumeView {
    let uuid = Uuid::from_u128(number);
    VolumeView {
        name: VolumeName::new(name).unwrap(),
        uuid,
        thin_id: ThinId::new(u32::try_from(number).unwrap()).ok(),
        virtual_bytes: Bytes::new(size),
        mapped_bytes: Some(Bytes::new(size / 2)),
        state: VolumeState::Active,
        kind: VolumeKind::Blank,
        origin_name: None,
        created_at: NOON,
        device: Some(PathBuf::from("/dev/dm-7")),
        link: None,
        open_count: Some(1),
        read_only: false,
        handle: ObjectId::new(Uuid::from_u128(1 << 96), ObjectKind::Volume, uuid),
        provision: None,
        group_provision: None,
        received: None,
        content: Content::Touched,
    }
}

fn volumes() -> Vec<VolumeView> {
    let kind = VolumeKind::Snapshot {
        origin: Uuid::from_u128(3),
        origin_name: VolumeName::new("web").unwrap(),
        group: None,
    };
    vec![
        volume("db", 1, 10 * GIB),
        VolumeView {
            kind,
            mapped_bytes: Some(Bytes::new(15 * GIB)),
            state: VolumeState::Inactive,
            device: None,
            open_count: None,
            ..volume("monday", 2, 10 * GIB)
        },
        volume("web", 3, 40 * GIB),
        VolumeView {
            state: VolumeState::Pending,
            mapped_bytes: Some(Bytes::ZERO),
            device: None,
            open_count: None,
            ..volume("young", 4, GIB)
        },
    ]
}

/// `p0`, open, with four volumes and a resident, and `p1`, closed.
pub(super) fn sample() -> Sample {
    let pools = vec![
        pool("p0", 1),
        PoolView {
            state: PoolState::Closed,
            health: None,
            usage: None,
            policy: None,
            ..pool("p1", 2)
        },
    ];
    let key = pools[0].uuid;
    let handle = ObjectId::new(key, ObjectKind::Volume, Uuid::from_u128(3)).to_string();
    let done = |operation: &str, object: &str, seconds: f64, outcome: &str| OperationJson {
        ended_at: Some("2024-02-29T12:34:50.000Z".to_owned()),
        operation: operation.to_owned(),
        subject: Some(object.to_owned()),
        duration_seconds: seconds,
        outcome: outcome.to_owned(),
    };
    let told = OperationsJson {
        holder_pid: 4711,
        operations: vec![
            done("NodeStageVolume", &handle, 1.5, "ok"),
            done("snapshot create", "web", 0.0042, "no_space"),
        ],
    };
    Sample {
        at: NOON,
        volumes: BTreeMap::from([(key, volumes())]),
        unread: BTreeMap::new(),
        residents: BTreeMap::from([(key, Resident::Tells(told))]),
        pools,
        troubles: Vec::new(),
    }
}

/// What the volumes of `p0` hold alone, but for the youngest.
pub(super) fn reading() -> Reading {
    let exclusive = [(1, GIB), (2, 9 * GIB), (3, 4 * GIB)];
    let exclusive = exclusive.map(|(uuid, bytes)| (Uuid::from_u128(uuid), Bytes::new(bytes)));
    let at = Timestamp(NOON.0 - 10_000);
    Reading { at, took: Duration::from_millis(300), exclusive: Ok(exclusive.into()) }
}

/// A model that has seen both.
pub(super) fn model() -> Model {
    let mut model = Model::new(Duration::from_secs(2));
    model.take(sample());
    let key = model.pools()[0].uuid;
    model.take_reading(key, reading());
    model
}
