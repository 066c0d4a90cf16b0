//! Why a record is refused.
#![forbid(unsafe_code)]

use thiserror::Error;
use uuid::Uuid;

use super::name::VolumeName;
use super::policy::PolicyError;
use super::provision::{Provision, ProvisionKey};
use crate::layout::ExtentError;
use crate::units::{Bytes, ThinId};

/// A record that contradicts the state. On the live path it is a user's mistake (a name taken
/// twice); in a replay it means that the journal was not written by this code.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The extents would not be true.
    #[error(transparent)]
    Extents(#[from] ExtentError),
    /// The policy makes no sense.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A device that the pool does not know, or that carries something.
    #[error("device {device} is no unused device of the pool, so it cannot leave")]
    DeviceInUse {
        /// The device.
        device: Uuid,
    },
    /// The name is taken.
    #[error("the name {name:?} is taken by another volume or snapshot; choose another one")]
    NameTaken {
        /// The name.
        name: VolumeName,
    },
    /// The identity is taken.
    #[error("volume {uuid} exists already")]
    UuidTaken {
        /// The identity.
        uuid: Uuid,
    },
    /// No such volume.
    #[error("there is no volume {uuid}")]
    NoVolume {
        /// The identity.
        uuid: Uuid,
    },
    /// The thin id is spoken for.
    #[error("thin id {id} is in use by a volume, a tombstone or an orphan")]
    IdTaken {
        /// The id.
        id: ThinId,
    },
    /// The thin id has no tombstone or orphan entry to end.
    #[error("thin id {id} is neither a tombstone nor an orphan")]
    NotDead {
        /// The id.
        id: ThinId,
    },
    /// The volume is in a state in which this cannot happen.
    #[error("volume {uuid} is {state}, so this change cannot apply")]
    WrongState {
        /// The volume.
        uuid: Uuid,
        /// Its state in words.
        state: &'static str,
    },
    /// A volume never shrinks.
    #[error("volume {uuid} has {current} bytes and cannot shrink to {requested}")]
    Shrink {
        /// The volume.
        uuid: Uuid,
        /// What it has.
        current: Bytes,
        /// What was asked for.
        requested: Bytes,
    },
    /// Writers must count upwards.
    #[error("writer epoch {found} follows {expected}; the journal is out of order")]
    EpochOrder {
        /// The last epoch in the state.
        expected: u64,
        /// The epoch in the record.
        found: u64,
    },
    /// No spare region that the metadata could move to.
    #[error(
        "the pool has {has} extents of spare metadata and needs {needed}; restore a copy of the \
         metadata instead"
    )]
    NoSpare {
        /// Extents of the spare region.
        has: u64,
        /// Extents of the metadata.
        needed: u64,
    },
    /// The orchestrator's name is taken.
    #[error(
        "the orchestrator's name {key:?} belongs to another volume, snapshot or group; choose \
         another one"
    )]
    KeyTaken {
        /// The name.
        key: ProvisionKey,
    },
    /// More attributes than are kept beside an object.
    #[error(
        "the attributes of {key:?} are {bytes} bytes long, the limit is {max}; shorten them",
        max = Provision::ATTRIBUTE_BYTES_MAX
    )]
    AttributesTooLong {
        /// The orchestrator's name for the object.
        key: ProvisionKey,
        /// Keys and values together.
        bytes: usize,
    },
    /// A record that creates nothing stands where a creation belongs.
    #[error("the record beside a provision creates no volume and no snapshot")]
    NotACreation,
    /// The first record of a checkpoint is not the pool's identity, or comes twice.
    #[error("the pool's identity stands in the wrong place of the journal")]
    Identity,
}
