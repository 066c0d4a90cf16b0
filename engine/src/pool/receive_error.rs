//! Why a stream cannot be taken.
#![forbid(unsafe_code)]

use thiserror::Error;
use uuid::Uuid;

use super::error::ExitClass;
use crate::catalogue::{PoolName, VolumeName};
use crate::units::Bytes;

/// A stream, or a use of a volume, that what was received so far does not allow.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// A volume is half one snapshot and half another.
    #[error(
        "a stream is being received into {pool}/{name}, and it is of no use before that ends; go on with `thinly receive {pool}/{name} --resume` and what `thinly receive {pool}/{name} --token` says, or give it up: {way_out}"
    )]
    UnderWay {
        /// The pool.
        pool: PoolName,
        /// The volume.
        name: VolumeName,
        /// How to give it up.
        way_out: String,
    },
    /// There is nothing to go on with.
    #[error(
        "nothing is being received into {pool}/{name}, so nothing can be resumed; leave --resume out"
    )]
    NotUnderWay {
        /// The pool.
        pool: PoolName,
        /// The volume.
        name: VolumeName,
    },
    /// The stream is a difference to something that is not here.
    #[error(
        "the stream is a difference to snapshot {base}, and {pool}/{name} holds {held}; send it with `--from` that snapshot, or send all of it under a new name"
    )]
    WrongBase {
        /// The pool.
        pool: PoolName,
        /// The volume.
        name: VolumeName,
        /// What the stream wants.
        base: Uuid,
        /// What is here.
        held: String,
    },
    /// The volume is not what was received.
    #[error(
        "{pool}/{name} was written to since snapshot {snapshot} arrived, and a difference to that would make a mixture of it; put it back with `thinly snapshot rollback {pool}/{name} --to {snapshot}`, which drops what was written"
    )]
    Changed {
        /// The pool.
        pool: PoolName,
        /// The volume.
        name: VolumeName,
        /// The snapshot that arrived last.
        snapshot: VolumeName,
    },
    /// What could show that the volume is unchanged was deleted.
    #[error(
        "the snapshot that arrived last in {pool}/{name} was deleted, and without it nothing tells whether the volume was written to since; send all of it under a new name"
    )]
    SnapshotGone {
        /// The pool.
        pool: PoolName,
        /// The volume.
        name: VolumeName,
    },
    /// The stream is not the one that was begun.
    #[error(
        "{pool}/{name} is in the middle of another stream, of snapshot {expected}; this one is of {found}. `thinly receive {pool}/{name} --token` says what to send"
    )]
    OtherStream {
        /// The pool.
        pool: PoolName,
        /// The volume.
        name: VolumeName,
        /// What was begun.
        expected: String,
        /// What came.
        found: String,
    },
    /// The pool has no block left.
    #[error(
        "pool {pool} is full: not even one block of a stream would fit; give it more (`thinly pool grow {pool}`) or delete volumes or snapshots, and receive then"
    )]
    Full {
        /// The pool.
        pool: PoolName,
    },
    /// Something between what is here and what comes would be missing.
    #[error(
        "the stream begins at byte {start}, and {pool}/{name} has all up to byte {durable}; `thinly receive {pool}/{name} --token` says where to send from"
    )]
    Gap {
        /// The pool.
        pool: PoolName,
        /// The volume.
        name: VolumeName,
        /// Where the stream begins.
        start: Bytes,
        /// What is on disk.
        durable: Bytes,
    },
}

impl ReceiveError {
    pub(super) const fn exit_class(&self) -> ExitClass {
        match self {
            Self::UnderWay { .. } => ExitClass::InUse,
            Self::Full { .. } => ExitClass::NoSpace,
            _ => ExitClass::Refused,
        }
    }
}
