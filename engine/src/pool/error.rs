//! What can go wrong with a pool or a volume: what failed, on what, and what to do next.
#![forbid(unsafe_code)]

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use uuid::Uuid;

use super::evacuation_error::EvacuationError;
use super::growth_error::GrowthError;
use super::receive_error::ReceiveError;
use crate::block_device::DeviceError;
use crate::catalogue::{ApplyError, NameError, PoolName, ReplayError, VolumeName};
use crate::dm::{DmError, TextError, Unsupported};
use crate::journal::JournalError;
use crate::layout::{LayoutError, PlanError};
use crate::metadata::MetadataError;
use crate::plan::{ForeignPool, Refusal};
use crate::units::{Bytes, ThinId, TransactionId, UnitError};

/// The family of a failure, from which a program chooses its exit code or status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExitClass {
    /// The pool, volume or device is not there.
    NotFound,
    /// The name or the pool is there already.
    Exists,
    /// Somebody uses it.
    InUse,
    /// The request itself is unsafe or makes no sense.
    Refused,
    /// The kernel or the machine lacks something.
    Unsupported,
    /// The caller may not.
    Permission,
    /// Something on disk is damaged or was changed by somebody else.
    Damaged,
    /// The pool does not serve this in its present condition.
    Degraded,
    /// There is no room.
    NoSpace,
    /// A device or the kernel failed.
    Internal,
}

/// A pool or volume operation that failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PoolError {
    /// No pool of that name on any device.
    #[error(
        "no pool {pool:?} on any block device of this machine; `thinly pool list` shows the pools that are there"
    )]
    NoPool {
        /// What was asked for.
        pool: String,
    },
    /// Several pools carry the name.
    #[error("{count} pools are called {pool:?}; name one by its uuid: {uuids}", count = uuids.split(", ").count())]
    AmbiguousPool {
        /// What was asked for.
        pool: String,
        /// Their uuids.
        uuids: String,
    },
    /// A pool of that name exists.
    #[error(
        "a pool {pool} exists already (uuid {uuid}); choose another name, or destroy that one first"
    )]
    PoolExists {
        /// The name.
        pool: PoolName,
        /// The pool that has it.
        uuid: Uuid,
    },
    /// The pool's devices are not all here.
    #[error(
        "pool {pool} is incomplete: {missing} of its {total} devices are missing ({uuids}); attach them, then `thinly pool open {pool}`"
    )]
    Incomplete {
        /// The pool.
        pool: String,
        /// How many are missing.
        missing: usize,
        /// How many it has.
        total: usize,
        /// Their uuids.
        uuids: String,
    },
    /// The disks with the journal are not here, so nothing says how many are missing.
    #[error(
        "pool {pool} is incomplete: its journal is on none of the {here} devices that are here; attach the others, then `thinly pool open {pool}`"
    )]
    JournalMissing {
        /// The pool.
        pool: String,
        /// How many of its devices are here.
        here: usize,
    },
    /// The pool's labels cannot be used.
    #[error("pool {pool} cannot be opened: {problem}")]
    BadLabels {
        /// The pool.
        pool: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The pool was closed for another machine to take.
    #[error(
        "pool {pool} is exported, for another machine to take; if it is to be used on this one, run `thinly pool import {pool}`"
    )]
    Exported {
        /// The pool.
        pool: String,
    },
    /// Nothing to import: the pool is this machine's.
    #[error("pool {pool} is not exported; bring it up with `thinly pool open {pool}`")]
    NotExported {
        /// The pool.
        pool: String,
    },
    /// A pool comes in whose name another one has.
    #[error(
        "another pool is called {pool} here (uuid {other}); give this one another name: `thinly pool import {uuid} --name NEW`"
    )]
    ImportNameTaken {
        /// The name.
        pool: PoolName,
        /// The pool that comes in.
        uuid: Uuid,
        /// The pool that has the name.
        other: Uuid,
    },
    /// The pool has no devices in the kernel.
    #[error("pool {pool} is not open; run `thinly pool open {pool}`")]
    NotOpen {
        /// The pool.
        pool: String,
    },
    /// The pool is in the kernel already.
    #[error("pool {pool} is open already; its volumes can be used as they are")]
    AlreadyOpen {
        /// The pool.
        pool: String,
    },
    /// Another writer holds the claim.
    #[error(
        "pool {pool} is held by another writer{holder}; ask it (`thinly serve` or the driver), or stop it first"
    )]
    Claimed {
        /// The pool.
        pool: String,
        /// ` (process N)` when it is known.
        holder: String,
    },
    /// No such volume or snapshot.
    #[error(
        "no volume or snapshot {name:?} in pool {pool}; `thinly volume list {pool}` shows what is there"
    )]
    NoVolume {
        /// The pool.
        pool: PoolName,
        /// What was asked for.
        name: VolumeName,
    },
    /// A repair needs the pool closed.
    #[error(
        "pool {pool} is open, and its metadata cannot be repaired under the kernel; run `thinly pool close {pool}` first"
    )]
    RepairOpen {
        /// The pool.
        pool: String,
    },
    /// The program that repairs is not there.
    #[error(
        "thin_repair is not installed, and pool {pool} cannot be repaired without it; install thin-provisioning-tools and run this again"
    )]
    NoRepairTool {
        /// The pool.
        pool: String,
    },
    /// The program that repairs failed.
    #[error(
        "{tool} cannot repair the metadata of pool {pool}: {problem}; nothing was changed. Restore a copy of the metadata, or look at `thinly pool copy-metadata {pool} FILE` with thin_dump --repair"
    )]
    RepairFailed {
        /// The pool.
        pool: String,
        /// The program.
        tool: &'static str,
        /// What it said.
        problem: String,
    },
    /// An image is not this pool's metadata.
    #[error(
        "{path} cannot become the metadata of pool {pool}: {problem}; nothing was changed",
        path = path.display()
    )]
    BadImage {
        /// The pool.
        pool: String,
        /// The image.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Repaired metadata lacks volumes.
    #[error(
        "the repaired metadata of pool {pool} lacks these volumes: {volumes}; nothing was changed. Restore a copy of the metadata if there is one, or accept the loss with --accept-loss"
    )]
    RepairLoses {
        /// The pool.
        pool: String,
        /// Their names.
        volumes: String,
    },
    /// No such orphan.
    #[error(
        "thin id {id} of pool {pool} is no orphan; `thinly pool show {pool}` lists the thin ids that no volume claims"
    )]
    NoOrphan {
        /// The pool.
        pool: PoolName,
        /// What was asked for.
        id: ThinId,
    },
    /// The name is taken.
    #[error("{name:?} exists already in pool {pool}; choose another name")]
    VolumeExists {
        /// The pool.
        pool: PoolName,
        /// The name.
        name: VolumeName,
    },
    /// A rollback to something that is no snapshot.
    #[error("{name:?} in pool {pool} is not a snapshot; `thinly snapshot list {pool}` shows them")]
    NotASnapshot {
        /// The pool.
        pool: PoolName,
        /// What was named.
        name: VolumeName,
    },
    /// A rollback to a snapshot of another volume.
    #[error(
        "{snapshot:?} in pool {pool} is not a snapshot of {name:?}; clone it to have its data, or name one of its own"
    )]
    NotItsSnapshot {
        /// The pool.
        pool: PoolName,
        /// The volume.
        name: VolumeName,
        /// What was named.
        snapshot: VolumeName,
    },
    /// The volume is open.
    #[error("{name:?} is in use ({count} openers of {device}); unmount it or stop its user, then try again", device = device.display())]
    VolumeInUse {
        /// The volume.
        name: VolumeName,
        /// Its device.
        device: PathBuf,
        /// How many openers the kernel counts.
        count: u32,
    },
    /// The operation needs an inactive volume, or one that is active in another way.
    #[error("{name:?} is active; run `thinly volume deactivate` on it first")]
    VolumeActive {
        /// The volume.
        name: VolumeName,
    },
    /// The operation needs an active volume.
    #[error("{name:?} is not active; run `thinly volume activate` on it first")]
    VolumeInactive {
        /// The volume.
        name: VolumeName,
    },
    /// The volume's data is not in the pool.
    #[error(
        "{name:?} is lost: its thin id {id} is not in the pool; restore it from a backup, or delete it"
    )]
    VolumeLost {
        /// The volume.
        name: VolumeName,
        /// Its thin id.
        id: ThinId,
    },
    /// The origin was suspended by somebody else.
    #[error(
        "{name:?} is suspended by something else; whoever suspended {device} must resume it first"
    )]
    OriginSuspended {
        /// The volume.
        name: VolumeName,
        /// Its dm device.
        device: String,
    },
    /// Two members of a group lie on top of each other.
    #[error(
        "{upper:?} lies on a device built over {lower:?}: freezing both would deadlock; snapshot them one by one"
    )]
    StackedMembers {
        /// The upper one.
        upper: VolumeName,
        /// The lower one.
        lower: VolumeName,
    },
    /// A size that makes no sense.
    #[error("size {size} bytes is refused: {why}")]
    BadSize {
        /// What was asked for.
        size: Bytes,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// A volume never shrinks.
    #[error(
        "{name:?} has {current} bytes and cannot become {requested}: shrinking would cut off data; create a smaller volume and copy"
    )]
    Shrink {
        /// The volume or source.
        name: VolumeName,
        /// What it has.
        current: Bytes,
        /// What was asked for.
        requested: Bytes,
    },
    /// No free thin id.
    #[error(
        "all {limit} thin ids of the pool are taken; delete volumes or snapshots and let them be reaped"
    )]
    ThinIdsExhausted {
        /// How many there are.
        limit: u64,
    },
    /// The pool's lifetime of snapshots is used up.
    #[error(
        "the pool has made {time} of the 16777216 snapshots that dm-thin can tell apart; more would mix up data. docs/operations.md describes the offline renewal"
    )]
    SnapshotLifetime {
        /// How many it has made.
        time: u32,
    },
    /// The capacity rule allows no more.
    #[error(
        "the pool cannot promise {requested} more bytes: its capacity rule leaves {headroom}, and {free_data} bytes of its data are free; delete volumes or snapshots, give the pool more space, or widen the rule"
    )]
    NoHeadroom {
        /// What was asked for beyond what is promised already; zero for snapshots.
        requested: Bytes,
        /// What may still be promised.
        headroom: Bytes,
        /// What is free.
        free_data: Bytes,
    },
    /// What the volumes may come to need of the metadata is more than there is.
    #[error(
        "the pool's metadata might not last: with this copy its volumes may come to need {potential} bytes beyond what they use, and {free} are free; give it more with `thinly pool grow NAME --metadata-by SIZE`, delete snapshots, or take the risk with `thinly pool set NAME --overcommit-metadata yes`"
    )]
    MetadataMayRunOut {
        /// What they may come to need.
        potential: Bytes,
        /// What is free.
        free: Bytes,
    },
    /// The pool's policy admits nothing new while it is this full.
    #[error(
        "{used_percent} % of the pool's {what} is used, and its policy admits no new volumes or snapshots above {limit} %; free some or let it grow, or change the limit with `thinly pool set`"
    )]
    AdmissionLimit {
        /// Data or metadata.
        what: &'static str,
        /// How much is used.
        used_percent: u64,
        /// The limit.
        limit: u8,
    },
    /// A pool that cannot grow.
    #[error(transparent)]
    Growth(#[from] GrowthError),
    /// A device that cannot be emptied.
    #[error(transparent)]
    Evacuation(#[from] EvacuationError),
    /// There is no room for what a freeze would write.
    #[error(
        "the pool has {free} bytes free, a snapshot of a volume in use needs {needed}; free space first"
    )]
    NoRoomToFreeze {
        /// What is free.
        free: Bytes,
        /// What is needed.
        needed: Bytes,
    },
    /// The pool's condition does not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Somebody else changed the pool.
    #[error(transparent)]
    Foreign(#[from] ForeignPool),
    /// The metadata head is zero.
    #[error(
        "the metadata of pool {pool} begins with zeros: the kernel would format it and lose every volume, so it is not loaded; restore the metadata from a copy"
    )]
    BlankMetadata {
        /// The pool.
        pool: String,
    },
    /// The metadata was made with another block size.
    #[error(
        "the metadata of pool {pool} has {found} sectors a block, the catalogue says {expected}; these devices do not belong together"
    )]
    BlockSizeMismatch {
        /// The pool.
        pool: String,
        /// In the superblock.
        found: u64,
        /// In the catalogue.
        expected: u64,
    },
    /// A message succeeded and its effect is not on disk.
    #[error(
        "the kernel acknowledged thin id {id}, but it is not in the device tree on disk: its commit was lost; check the kernel log"
    )]
    NotProven {
        /// The id.
        id: ThinId,
    },
    /// A delete succeeded and the id is still on disk.
    #[error(
        "the kernel deleted thin id {id}, but it is still in the device tree on disk: its commit was lost; check the kernel log"
    )]
    NotReaped {
        /// The id.
        id: ThinId,
    },
    /// The kernel does not serve the pool as it did.
    #[error("the pool went {health} while {operation}; {advice}")]
    WentDegraded {
        /// Its condition now.
        health: crate::plan::Health,
        /// What was being done.
        operation: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// An earlier failure left something unknown.
    #[error(
        "this handle takes no more changes after: {reason}; run the command again: opening the pool anew reconciles it"
    )]
    Poisoned {
        /// The failure.
        reason: String,
    },
    /// A device cannot be removed.
    #[error("{device} cannot be removed: it is in use; see `thinly dm info` and the mounts on it")]
    DeviceInUse {
        /// The dm device.
        device: String,
    },
    /// A backup file that cannot be used.
    #[error("the backup cannot be used: {why}")]
    BadBackup {
        /// Why.
        why: String,
    },
    /// The ranges that differ could not be kept for their reader.
    #[error(
        "cannot keep the list of ranges in the temporary directory: {source}; make room there, or set TMPDIR"
    )]
    Spool {
        /// The system's answer.
        source: io::Error,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// The answer.
        source: io::Error,
    },
    /// An ioctl of a block device failed.
    #[error("{path}: {source}", path = path.display())]
    Block {
        /// Which device.
        path: PathBuf,
        /// The answer.
        source: crate::dm::block::BlockError,
    },
    /// A volume's filesystem cannot be asked to give anything back.
    #[error("{name:?} is not trimmed: {why}")]
    NotTrimmed {
        /// The volume.
        name: VolumeName,
        /// Why, and what to do.
        why: String,
    },
    /// A filesystem cannot be mounted.
    #[error(
        "the {filesystem} on {name:?} cannot be mounted: {source}; check it with fsck, and the kernel log"
    )]
    Mount {
        /// The volume.
        name: VolumeName,
        /// What is on it.
        filesystem: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A volume takes no discard or trim.
    #[error(transparent)]
    Ioctl(#[from] crate::dm::block::BlockError),
    /// The journal can be read, so there is nothing to salvage.
    #[error(
        "the journal of pool {pool} can be read; nothing needs salvaging, run `thinly pool open {pool}`"
    )]
    NothingToSalvage {
        /// The pool.
        pool: String,
    },
    /// A metadata snapshot was reserved and is gone.
    #[error(
        "the metadata snapshot of pool {pool} does not stay: something else releases or reserves it; find that program, then try again"
    )]
    NoHeldRoot {
        /// The pool.
        pool: PoolName,
    },
    /// Another program's metadata snapshot is in the way.
    #[error(
        "a metadata snapshot of pool {pool} is held already (block {block}), and not by Thinly: a program like thin_delta or thin_ls may be reading under it. Wait until it ends; when nobody uses it, `thinly dm message --yes {pool_device} release_metadata_snap`"
    )]
    ForeignHeldRoot {
        /// The pool.
        pool: PoolName,
        /// Where it is.
        block: u64,
        /// The pool's dm device.
        pool_device: String,
    },
    /// Readers of an older metadata snapshot do not end.
    #[error(
        "pool {pool} is being read as it was before what is asked for was made, and those readers do not end; try again when they have (`thinly diff`, `thinly usage`, `thinly pool copy-metadata`, the driver)"
    )]
    OlderHeldRoot {
        /// The pool.
        pool: PoolName,
    },
    /// The device tree moved during every attempt to read it.
    #[error(
        "the metadata of pool {pool} changed during each of {attempts} reads; try again when the pool is less busy"
    )]
    MovingTree {
        /// The pool.
        pool: String,
        /// How often it was read.
        attempts: u32,
    },
    /// A name is not allowed.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A dm name is not allowed.
    #[error(transparent)]
    DmName(#[from] crate::dm::NameError),
    /// A change contradicts the catalogue.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The journal's records do not add up.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Labels, extents, signatures.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A pool that cannot be cut from these devices.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// An extent map that contradicts itself.
    #[error(transparent)]
    Extents(#[from] crate::layout::ExtentError),
    /// A stream from another pool, or what it would be applied to.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// dm-thin's metadata.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A device node.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A dm ioctl.
    #[error(transparent)]
    Dm(#[from] DmError),
    /// Text from the kernel that is not understood.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The kernel lacks something.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// A quantity out of range.
    #[error(transparent)]
    Unit(#[from] UnitError),
    /// The kernel's transaction id did not move as told.
    #[error(
        "the pool's transaction id is {found} after it was set to {expected}; something else writes to this pool"
    )]
    Fence {
        /// What status shows.
        found: TransactionId,
        /// What was set.
        expected: TransactionId,
    },
}

impl PoolError {
    /// The family of this failure.
    pub fn exit_class(&self) -> ExitClass {
        match self {
            Self::NoPool { .. } | Self::NoVolume { .. } | Self::NoOrphan { .. } => {
                ExitClass::NotFound
            }
            Self::PoolExists { .. }
            | Self::ImportNameTaken { .. }
            | Self::VolumeExists { .. }
            | Self::AlreadyOpen { .. }
            | Self::Apply(ApplyError::NameTaken { .. } | ApplyError::KeyTaken { .. }) => {
                ExitClass::Exists
            }
            Self::Claimed { .. }
            | Self::VolumeInUse { .. }
            | Self::VolumeActive { .. }
            | Self::OriginSuspended { .. }
            | Self::ForeignHeldRoot { .. }
            | Self::OlderHeldRoot { .. }
            | Self::RepairOpen { .. }
            | Self::DeviceInUse { .. } => ExitClass::InUse,
            Self::Incomplete { .. }
            | Self::JournalMissing { .. }
            | Self::BadLabels { .. }
            | Self::Foreign(_)
            | Self::BlankMetadata { .. }
            | Self::BlockSizeMismatch { .. }
            | Self::VolumeLost { .. }
            | Self::Replay(_)
            | Self::RepairFailed { .. }
            | Self::BadImage { .. }
            | Self::RepairLoses { .. }
            | Self::BadBackup { .. } => ExitClass::Damaged,
            Self::Refused(_)
            | Self::WentDegraded { .. }
            | Self::NotProven { .. }
            | Self::NotReaped { .. } => ExitClass::Degraded,
            Self::ThinIdsExhausted { .. }
            | Self::SnapshotLifetime { .. }
            | Self::NoHeadroom { .. }
            | Self::AdmissionLimit { .. }
            | Self::MetadataMayRunOut { .. }
            | Self::NoRoomToFreeze { .. } => ExitClass::NoSpace,
            Self::Unsupported(_) | Self::NoRepairTool { .. } => ExitClass::Unsupported,
            other => other.class_of_cause(),
        }
    }

    /// The family of a failure that is most often its cause's.
    fn class_of_cause(&self) -> ExitClass {
        match self {
            Self::Growth(error) => error.exit_class(),
            Self::Evacuation(error) => error.exit_class(),
            Self::Receive(error) => error.exit_class(),
            Self::Metadata(error) => class_of_metadata(error),
            Self::Journal(error) => class_of_journal(error),
            Self::Layout(error) => class_of_layout(error),
            Self::Device(error) => class_of_device(error),
            Self::Dm(error) => class_of_dm(error),
            Self::File { source, .. } | Self::Spool { source } => class_of_io(source),
            Self::NotOpen { .. }
            | Self::Exported { .. }
            | Self::NotExported { .. }
            | Self::NothingToSalvage { .. }
            | Self::AmbiguousPool { .. }
            | Self::NotASnapshot { .. }
            | Self::VolumeInactive { .. }
            | Self::NotTrimmed { .. }
            | Self::NotItsSnapshot { .. }
            | Self::StackedMembers { .. }
            | Self::BadSize { .. }
            | Self::Shrink { .. }
            | Self::Name(_)
            | Self::Plan(_)
            | Self::Apply(_)
            | Self::Unit(_) => ExitClass::Refused,
            // Poisoned, a fence, an ioctl or a node that failed: nothing that a request could change.
            _ => ExitClass::Internal,
        }
    }
}

fn class_of_io(error: &io::Error) -> ExitClass {
    match error.kind() {
        io::ErrorKind::NotFound => ExitClass::NotFound,
        io::ErrorKind::PermissionDenied => ExitClass::Permission,
        io::ErrorKind::AlreadyExists => ExitClass::Exists,
        io::ErrorKind::StorageFull => ExitClass::NoSpace,
        _ => ExitClass::Internal,
    }
}

fn class_of_device(error: &DeviceError) -> ExitClass {
    match error {
        DeviceError::Open { source, .. } => class_of_io(source),
        DeviceError::NotABlockDevice { .. } => ExitClass::Refused,
        DeviceError::Busy { .. } => ExitClass::InUse,
        DeviceError::Io { .. } => ExitClass::Internal,
    }
}

/// A file is named by whoever asks; all else is what a pool's own device gave.
fn class_of_metadata(error: &MetadataError) -> ExitClass {
    match error {
        MetadataError::OpenImage { source, .. } if source.kind() == io::ErrorKind::InvalidInput => {
            ExitClass::Refused
        }
        MetadataError::OpenImage { source, .. }
        | MetadataError::WriteImage { source, .. }
        | MetadataError::WriteDump { source } => class_of_io(source),
        MetadataError::NoDevice { .. } => ExitClass::NotFound,
        MetadataError::Device {
            source: source @ (DeviceError::Open { .. } | DeviceError::Busy { .. }),
            ..
        } => class_of_device(source),
        _ => ExitClass::Damaged,
    }
}

fn class_of_journal(error: &JournalError) -> ExitClass {
    match error {
        JournalError::Media(_) | JournalError::Poisoned { .. } => ExitClass::Internal,
        JournalError::Full { .. } => ExitClass::NoSpace,
        _ => ExitClass::Damaged,
    }
}

fn class_of_dm(error: &DmError) -> ExitClass {
    use nix::errno::Errno;
    match (error, error.errno()) {
        (DmError::NotPermitted { .. }, _) | (_, Some(Errno::EPERM | Errno::EACCES)) => {
            ExitClass::Permission
        }
        (
            DmError::NoControlNode { .. }
            | DmError::NoDeviceMapper { .. }
            | DmError::Unsupported(_),
            _,
        ) => ExitClass::Unsupported,
        (DmError::NotFound { .. }, _) => ExitClass::NotFound,
        (_, Some(Errno::EBUSY)) => ExitClass::InUse,
        (_, Some(Errno::ENOSPC)) => ExitClass::NoSpace,
        _ => ExitClass::Internal,
    }
}

fn class_of_layout(error: &LayoutError) -> ExitClass {
    match error {
        LayoutError::Device(source) => class_of_device(source),
        LayoutError::Mounted { .. } | LayoutError::Swap { .. } | LayoutError::Held { .. } => {
            ExitClass::InUse
        }
        LayoutError::BothLabelsTorn { .. } => ExitClass::Damaged,
        _ => ExitClass::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_cannot_be_opened_is_not_damaged() {
        let class =
            |source| PoolError::from(MetadataError::Device { block: 0, source }).exit_class();
        let path = PathBuf::from("metadata");
        let open = |kind| DeviceError::Open { path: path.clone(), source: io::Error::from(kind) };
        assert_eq!(class(DeviceError::Busy { path: path.clone() }), ExitClass::InUse);
        assert_eq!(class(open(io::ErrorKind::PermissionDenied)), ExitClass::Permission);
        assert_eq!(class(open(io::ErrorKind::NotFound)), ExitClass::NotFound);
        let source = io::Error::from(io::ErrorKind::Other);
        let path = path.clone();
        let lost = DeviceError::Io { action: "reading", path, offset: 0, length: 4096, source };
        assert_eq!(class(lost), ExitClass::Damaged);
    }
}
