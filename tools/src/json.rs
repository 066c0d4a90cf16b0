//! Answers for programs. Field names and meanings are a contract, written down in `docs/json.md`;
//! a test holds the two together.
#![forbid(unsafe_code)]

mod accounting;
mod check;
mod cluster;
mod condition;
mod diff;
mod erasure;
mod evacuation;
mod image;
mod map;
mod operations;
mod policy;
mod report;
mod stream;
mod top;
mod trim;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use thinly_engine::catalogue::VolumeKind;
use thinly_engine::layout::METADATA_BYTES_MAX;
use thinly_engine::plan::Health;
use thinly_engine::pool::{
    DeviceView, PoolState, PoolView, RepairReport, SNAPSHOT_TIME_MAX, SalvagedVolume, Usage,
    VolumeState, VolumeView,
};
use thinly_engine::units::{Bytes, ThinId};
use uuid::Uuid;

pub use self::accounting::{
    AccountingJson, CostJson, OtherUsageJson, SetJson, TotalsJson, VolumeUsageJson,
};
pub use self::check::{CheckJson, FindingJson};
pub use self::cluster::{AdoptionJson, AuditJson, DanglingJson, MalformedJson, UnnamedJson};
pub use self::condition::ConditionJson;
pub(crate) use self::diff::kind_word;
pub use self::diff::{DiffJson, ImageDiffJson, RangeJson, Ranges};
pub use self::erasure::ErasureJson;
pub use self::evacuation::EvacuatedJson;
pub use self::image::{ImageDeviceJson, ImageDumpJson, ImageJson, SpaceMapJson};
pub use self::map::MapJson;
pub use self::operations::{OperationJson, OperationsJson};
pub use self::policy::PolicyJson;
pub use self::report::{ErrorJson, EventJson, WarningJson};
pub use self::stream::{ReceiveJson, ReceivingJson, SendJson, TokenJson};
pub use self::top::{ReadingJson, ResidentJson, TopEventJson, TopJson, TopPoolJson, TopVolumeJson};
pub use self::trim::TrimJson;
use crate::time::rfc3339;

/// A pool.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct PoolJson {
    pub name: String,
    pub uuid: Uuid,
    pub state: &'static str,
    pub health: Option<String>,
    pub conditions: Vec<ConditionJson>,
    pub problems: Vec<String>,
    pub devices: Vec<DeviceJson>,
    pub block_size_bytes: u64,
    pub created_at: Option<String>,
    pub usage: Option<UsageJson>,
    pub unused_bytes: Option<u64>,
    pub metadata_limit_bytes: u64,
    pub policy: Option<PolicyJson>,
    pub virtual_bytes: u64,
    pub volume_count: usize,
    pub snapshot_count: usize,
    pub transaction_id: Option<u64>,
    pub snapshot_time: Option<u32>,
    pub snapshot_time_max: u32,
    pub tombstones: Vec<u32>,
    pub reaping_bytes: Option<u64>,
    pub orphans: Vec<u32>,
    pub needs_check: bool,
    pub held_root_block: Option<u64>,
    pub clean: bool,
    pub writer_pid: Option<u32>,
    pub writer_elsewhere: bool,
}

/// One device of a pool.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct DeviceJson {
    pub path: Option<PathBuf>,
    pub uuid: Uuid,
    pub size_bytes: u64,
}

/// What a pool uses of what it has.
#[derive(Debug, Clone, Copy, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
#[allow(clippy::struct_field_names, reason = "units stand last in every name of the contract")]
pub struct UsageJson {
    pub used_data_bytes: u64,
    pub total_data_bytes: u64,
    pub used_metadata_bytes: u64,
    pub total_metadata_bytes: u64,
}

/// A volume or a snapshot.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct VolumeJson {
    pub name: String,
    pub uuid: Uuid,
    pub kind: &'static str,
    pub thin_id: Option<u32>,
    pub virtual_bytes: u64,
    pub mapped_bytes: Option<u64>,
    pub state: &'static str,
    pub condition: Option<ConditionJson>,
    pub origin: Option<String>,
    pub origin_uuid: Option<Uuid>,
    pub group: Option<GroupJson>,
    pub created_at: Option<String>,
    pub device: Option<PathBuf>,
    pub link: Option<PathBuf>,
    pub open_count: Option<u32>,
    pub read_only: bool,
    pub received_uuid: Option<Uuid>,
    pub csi_handle: String,
    pub provision_key: Option<String>,
    pub attributes: Option<BTreeMap<String, String>>,
}

/// The group that a snapshot was taken in.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct GroupJson {
    pub name: String,
    pub uuid: Uuid,
}

/// A volume that salvage named anew.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct SalvagedJson {
    pub name: String,
    pub thin_id: u32,
    pub virtual_bytes: u64,
    pub filesystem: Option<String>,
}

/// What a repair found and did.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct RepairJson {
    pub pool: String,
    pub damage: Option<String>,
    pub needs_check: bool,
    pub tool: Option<String>,
    pub leaked_data_blocks: u64,
    pub repaired: bool,
    pub device_count: Option<usize>,
    pub lost: Vec<String>,
}

impl RepairJson {
    /// The report on a pool.
    #[must_use]
    pub fn new(pool: &str, report: &RepairReport) -> Self {
        Self {
            pool: pool.to_owned(),
            damage: report.damage.clone(),
            needs_check: report.needs_check,
            tool: report.tool.clone(),
            leaked_data_blocks: report.leaked_data_blocks.get(),
            repaired: report.swapped,
            device_count: report.device_count,
            lost: report.lost.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A file that was written or read.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct FileJson {
    pub pool: String,
    pub file: PathBuf,
    pub file_bytes: u64,
}

/// A page of the manual.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct PageJson {
    pub page: String,
    pub file: Option<PathBuf>,
    pub text: Option<String>,
}

/// A completion script.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct CompletionsJson {
    pub shell: String,
    pub script: String,
}

/// The word for a pool's state.
pub const fn pool_state(state: PoolState) -> &'static str {
    match state {
        PoolState::Open => "open",
        PoolState::Closed => "closed",
        PoolState::Exported => "exported",
        PoolState::Incomplete => "incomplete",
        PoolState::Damaged => "damaged",
    }
}

/// The word for a volume's state.
pub const fn volume_state(state: VolumeState) -> &'static str {
    match state {
        VolumeState::Pending => "pending",
        VolumeState::Inactive => "inactive",
        VolumeState::Active => "active",
        VolumeState::Suspended => "suspended",
        VolumeState::Lost => "lost",
        VolumeState::Receiving => "receiving",
    }
}

/// The snapshot of another pool that arrived last.
fn last_received(view: &VolumeView) -> Option<Uuid> {
    view.received.as_ref().and_then(|received| received.last).map(|last| last.source)
}

/// A device says so itself; without one it is decided: a snapshot is activated read-only, always.
pub(crate) const fn refuses_writes(view: &VolumeView) -> bool {
    if view.device.is_some() {
        view.read_only
    } else {
        matches!(view.kind, VolumeKind::Snapshot { .. })
    }
}

impl From<&PoolView> for PoolJson {
    fn from(view: &PoolView) -> Self {
        let ids = |ids: &[ThinId]| ids.iter().map(|id| id.get()).collect();
        Self {
            name: view.name.to_string(),
            uuid: view.uuid,
            state: pool_state(view.state),
            health: view.health.map(|health| health.to_string()),
            conditions: view.conditions().iter().map(ConditionJson::from).collect(),
            problems: view.problems.clone(),
            devices: view.devices.iter().map(DeviceJson::from).collect(),
            block_size_bytes: view.block_size.bytes().get(),
            created_at: view.created_at.and_then(rfc3339),
            usage: view.usage.as_ref().map(UsageJson::from),
            unused_bytes: view.unused.map(thinly_engine::units::Bytes::get),
            metadata_limit_bytes: METADATA_BYTES_MAX.get(),
            policy: view.policy.as_ref().map(PolicyJson::from),
            virtual_bytes: view.virtual_bytes.get(),
            volume_count: view.volume_count,
            snapshot_count: view.snapshot_count,
            transaction_id: view.transaction_id.map(thinly_engine::units::TransactionId::get),
            snapshot_time: view.snapshot_time,
            snapshot_time_max: SNAPSHOT_TIME_MAX,
            tombstones: ids(&view.tombstones),
            reaping_bytes: view.reaping_bytes.map(Bytes::get),
            orphans: ids(&view.orphans),
            needs_check: view.health == Some(Health::NeedsCheck),
            held_root_block: view.held_root,
            clean: view.clean,
            writer_pid: view.writer,
            writer_elsewhere: view.is_written_elsewhere,
        }
    }
}

impl From<&DeviceView> for DeviceJson {
    fn from(device: &DeviceView) -> Self {
        Self { path: device.path.clone(), uuid: device.uuid, size_bytes: device.size.get() }
    }
}

impl From<&Usage> for UsageJson {
    fn from(usage: &Usage) -> Self {
        Self {
            used_data_bytes: usage.used_data.get(),
            total_data_bytes: usage.total_data.get(),
            used_metadata_bytes: usage.used_metadata.get(),
            total_metadata_bytes: usage.total_metadata.get(),
        }
    }
}

impl From<&VolumeView> for VolumeJson {
    fn from(view: &VolumeView) -> Self {
        let (kind, origin_uuid, group) = match &view.kind {
            VolumeKind::Blank => ("blank", None, None),
            VolumeKind::Clone { source } => ("clone", Some(*source), None),
            VolumeKind::Snapshot { origin, group, .. } => {
                let group = group
                    .as_ref()
                    .map(|tag| GroupJson { name: tag.name.to_string(), uuid: tag.uuid });
                ("snapshot", Some(*origin), group)
            }
        };
        Self {
            name: view.name.to_string(),
            uuid: view.uuid,
            kind,
            thin_id: view.thin_id.map(ThinId::get),
            virtual_bytes: view.virtual_bytes.get(),
            mapped_bytes: view.mapped_bytes.map(thinly_engine::units::Bytes::get),
            state: volume_state(view.state),
            condition: view.condition().as_ref().map(ConditionJson::from),
            origin: view.origin_name.as_ref().map(ToString::to_string),
            origin_uuid,
            group,
            created_at: rfc3339(view.created_at),
            device: view.device.clone(),
            link: view.link.clone(),
            open_count: view.open_count,
            read_only: refuses_writes(view),
            received_uuid: last_received(view),
            csi_handle: view.handle.to_string(),
            provision_key: view.provision.as_ref().map(|asked| asked.key.to_string()),
            attributes: view.provision.as_ref().map(|asked| asked.attributes.clone()),
        }
    }
}

impl From<&SalvagedVolume> for SalvagedJson {
    fn from(volume: &SalvagedVolume) -> Self {
        Self {
            name: volume.name.to_string(),
            thin_id: volume.thin_id.get(),
            virtual_bytes: volume.virtual_bytes.get(),
            filesystem: volume.filesystem.clone(),
        }
    }
}

impl PoolJson {
    /// What is left to say of a pool that is no more.
    #[must_use]
    pub fn destroyed(mut self) -> Self {
        self.state = "destroyed";
        self
    }
}

impl VolumeJson {
    /// What is left to say of a volume that is no more.
    #[must_use]
    pub fn deleted(mut self) -> Self {
        self.state = "deleted";
        self.thin_id = None;
        self.mapped_bytes = None;
        self.device = None;
        self.link = None;
        self.open_count = None;
        self
    }
}
