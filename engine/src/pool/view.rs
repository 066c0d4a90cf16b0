//! What a pool and its volumes look like from outside, at one moment.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use uuid::Uuid;

use super::fallen::FallenFilesystem;
use super::handle::SNAPSHOT_TIME_MAX;
use super::metadata_margin::MetadataOutlook;
use crate::catalogue::{
    Content, ObjectId, PoolName, PoolPolicy, Provision, Received, Timestamp, VolumeKind, VolumeName,
};
use crate::plan::{Condition, Health, PoolFacts, Reason, Severity, conditions};
use crate::units::{BlockSize, Bytes, ThinId, TransactionId};

/// Whether a pool can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolState {
    /// Its devices are in the kernel.
    Open,
    /// All its disks are here, its devices are not in the kernel.
    Closed,
    /// It was closed for another machine to take, and is not opened before it is imported.
    Exported,
    /// Some of its disks are missing.
    Incomplete,
    /// Its labels or its journal cannot be read, or its creation never ended.
    Damaged,
}

/// A disk of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceView {
    /// Its node; `None` when it is missing.
    pub path: Option<PathBuf>,
    /// Its uuid in the label.
    pub uuid: Uuid,
    /// Its length.
    pub size: Bytes,
}

/// How full a pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Data in use.
    pub used_data: Bytes,
    /// All data.
    pub total_data: Bytes,
    /// Metadata in use, the kernel's commit reserve left out (it counts as used in its status).
    pub used_metadata: Bytes,
    /// All metadata.
    pub total_metadata: Bytes,
}

/// A pool.
#[derive(Debug, Clone)]
pub struct PoolView {
    /// Its name.
    pub name: PoolName,
    /// Its uuid.
    pub uuid: Uuid,
    /// Whether it can be used.
    pub state: PoolState,
    /// The kernel's view of its condition; `None` unless open.
    pub health: Option<Health>,
    /// What is wrong with it, each with what to do.
    pub problems: Vec<String>,
    /// Its disks.
    pub devices: Vec<DeviceView>,
    /// Its block size.
    pub block_size: BlockSize,
    /// When it was created; `None` when the journal cannot be read.
    pub created_at: Option<Timestamp>,
    /// How full it is; `None` unless open and served.
    pub usage: Option<Usage>,
    /// What of its disks no role has: how far it can grow without another one; `None` when the
    /// journal cannot be read.
    pub unused: Option<Bytes>,
    /// How it is looked after; `None` when the journal cannot be read.
    pub policy: Option<PoolPolicy>,
    /// Filesystems on its volumes that went read-only after an error.
    pub fallen_filesystems: Vec<FallenFilesystem>,
    /// Whether its metadata lasts whatever is written; `None` unless open and served.
    pub metadata_outlook: Option<MetadataOutlook>,
    /// Its transaction id in the kernel; `None` unless open.
    pub transaction_id: Option<TransactionId>,
    /// How many of its 2^24 snapshots it has made; `None` when the metadata cannot be read.
    pub snapshot_time: Option<u32>,
    /// Volumes in the catalogue.
    pub volume_count: usize,
    /// Snapshots in the catalogue.
    pub snapshot_count: usize,
    /// Their virtual sizes added up.
    pub virtual_bytes: Bytes,
    /// Thin ids that wait to be reaped.
    pub tombstones: Vec<ThinId>,
    /// What these still map, shared blocks included, as of the last commit; `None` unless open.
    pub reaping_bytes: Option<Bytes>,
    /// Thin ids that belong to nobody.
    pub orphans: Vec<ThinId>,
    /// The held metadata root, if somebody holds one.
    pub held_root: Option<u64>,
    /// Whether the last writer ended in order.
    pub clean: bool,
    /// The process that holds the writer's claim, when it is known.
    pub writer: Option<u32>,
    /// Whether the claim was last taken by a process with process numbers of its own, as in a container, that has not
    /// ended in order.
    pub is_written_elsewhere: bool,
}

impl PoolView {
    /// What is wrong with it, the worst first.
    pub fn conditions(&self) -> Vec<Condition> {
        let parts = |of: fn(&Usage) -> (Bytes, Bytes)| self.usage.as_ref().map(of);
        conditions(&PoolFacts {
            missing_devices: self.devices.iter().filter(|device| device.path.is_none()).count(),
            is_damaged: self.state == PoolState::Damaged,
            health: self.health,
            doubt: None,
            fallen_filesystems: self.fallen_filesystems.iter().map(as_words).collect(),
            data: parts(|usage| (usage.used_data, usage.total_data)),
            metadata: parts(|usage| (usage.used_metadata, usage.total_metadata)),
            metadata_outlook: self
                .metadata_outlook
                .map(|outlook| (outlook.potential, outlook.free)),
            snapshot_time: self.snapshot_time.map(|time| (time, SNAPSHOT_TIME_MAX)),
            orphans: self.orphans.len(),
        })
    }
}

fn as_words(fallen: &FallenFilesystem) -> String {
    format!("{} at {}", fallen.volume, fallen.mount_point.display())
}

impl VolumeView {
    /// What is wrong with it, if anything is.
    pub fn condition(&self) -> Option<Condition> {
        let (reason, message) = match self.state {
            VolumeState::Lost => (
                Reason::Lost,
                "its thin id is not in the pool; restore the metadata from a copy, or delete it",
            ),
            VolumeState::Suspended => (
                Reason::Suspended,
                "its device is suspended and its users wait; the next command that changes the \
                 pool resumes what a crash left so",
            ),
            _ => return None,
        };
        Some(Condition::new(Severity::Error, reason, message))
    }
}

/// What a volume is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeState {
    /// It has no thin id yet.
    Pending,
    /// It has no device.
    Inactive,
    /// It has a device.
    Active,
    /// Its device is suspended: its users wait.
    Suspended,
    /// Its thin id is not in the pool.
    Lost,
    /// A stream from another pool is being applied to it: it is no snapshot's content yet.
    Receiving,
}

/// A volume or snapshot.
#[derive(Debug, Clone)]
pub struct VolumeView {
    /// Its name.
    pub name: VolumeName,
    /// Its uuid.
    pub uuid: Uuid,
    /// Its thin id; `None` while pending.
    pub thin_id: Option<ThinId>,
    /// Its virtual size.
    pub virtual_bytes: Bytes,
    /// What is mapped: at this moment where the engine asks an active volume's device, otherwise as
    /// of the pool's last commit; `None` when it cannot be known.
    pub mapped_bytes: Option<Bytes>,
    /// What it is doing.
    pub state: VolumeState,
    /// Volume, clone or snapshot.
    pub kind: VolumeKind,
    /// The present name of its origin or source; `None` when that is gone or there is none.
    pub origin_name: Option<VolumeName>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Its device node, while active.
    pub device: Option<PathBuf>,
    /// Its link, while active.
    pub link: Option<PathBuf>,
    /// How many have its device open, while active.
    pub open_count: Option<u32>,
    /// Whether its device refuses writes.
    pub read_only: bool,
    /// The handle that a cluster knows it by, or would if it were told of it.
    pub handle: ObjectId,
    /// What an orchestrator asked for when it had it made.
    pub provision: Option<Provision>,
    /// What an orchestrator asked for when it had the group made that this snapshot is of.
    pub group_provision: Option<Provision>,
    /// What it received from another pool.
    pub received: Option<Received>,
    /// What is known of its content.
    pub content: Content,
}
