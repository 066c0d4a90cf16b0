//! Why a device cannot be emptied.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use thiserror::Error;
use uuid::Uuid;

use super::error::ExitClass;
use crate::block_device::DeviceError;
use crate::layout::Role;
use crate::units::Bytes;

/// Why a device cannot be emptied.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EvacuationError {
    /// Not a device of this pool.
    #[error("{device} is no device of pool {pool}; `thinly pool show {pool}` lists those that are")]
    NoMember {
        /// The pool.
        pool: String,
        /// What was named.
        device: String,
    },
    /// The others have no room.
    #[error(
        "{needs} bytes of {role} have to leave {path} and {free} bytes are free on the other devices; let one join with --onto DEVICE, and nothing was moved", path = path.display()
    )]
    NoRoom {
        /// The device.
        path: PathBuf,
        /// What does not fit.
        role: Role,
        /// What has to leave the device.
        needs: Bytes,
        /// What the others have.
        free: Bytes,
    },
    /// More runs of extents than a label holds.
    #[error(
        "device {device} would carry more than {limit} runs of extents, and its label holds no more; let another device join with --onto DEVICE, and nothing was moved"
    )]
    LabelFull {
        /// The device.
        device: Uuid,
        /// What a label holds.
        limit: usize,
    },
    /// Parts of the device cannot be read.
    #[error(
        "{left} bytes stay on {path} because they cannot be read: {first}; all else was moved. What lies there is still served from it; run this again to try once more", path = path.display()
    )]
    Unreadable {
        /// The device.
        path: PathBuf,
        /// How much stays.
        left: Bytes,
        /// The first failure.
        #[source]
        first: DeviceError,
    },
    /// The record of a move was written or not: nobody can tell.
    #[error(
        "the journal failed while {length} bytes of {role} were moved, so which copy of them counts is in doubt ({reason}); they fail every request until the pool is attached anew, which settles it"
    )]
    InDoubt {
        /// What was moved.
        role: Role,
        /// How much.
        length: Bytes,
        /// What the journal said.
        reason: String,
    },
}

impl EvacuationError {
    pub(super) const fn exit_class(&self) -> ExitClass {
        match self {
            Self::NoRoom { .. } => ExitClass::NoSpace,
            Self::NoMember { .. } | Self::LabelFull { .. } => ExitClass::Refused,
            Self::Unreadable { .. } | Self::InDoubt { .. } => ExitClass::Internal,
        }
    }
}
