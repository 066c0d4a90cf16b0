//! Why a verb failed: the engine's error, or one of the command's own.
#![forbid(unsafe_code)]

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

use thinly_cluster::ClusterError;
use thinly_engine::block_device::DeviceError;
use thinly_engine::catalogue::ObjectId;
use thinly_engine::dm::DmError;
use thinly_engine::monitor::MonitorError;
use thinly_engine::pool::PoolError;
use thinly_engine::stream::StreamError;
use thiserror::Error;

use crate::exit::Exit;
use crate::handles::HandleListError;
use crate::socket::SocketError;

/// Why a verb failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Failure {
    /// The engine said no.
    #[error(transparent)]
    Engine(Box<PoolError>),
    /// Events of the device-mapper cannot be waited for.
    #[error(transparent)]
    Monitor(#[from] MonitorError),
    /// The arguments parse, but contradict each other.
    #[error("{0}")]
    Usage(String),
    /// There is no such volume or snapshot in the pool.
    #[error(
        "pool {pool:?} has no volume or snapshot {name:?}; `thinly volume list {pool} --all` shows what it has"
    )]
    NoVolume {
        /// The pool that was asked.
        pool: String,
        /// What was not found.
        name: String,
    },
    /// A verb for volumes was given a snapshot, or the other way round.
    #[error("{name:?} is a {is}, not a {wanted}; use `thinly {is} {verb}` if you mean it")]
    WrongKind {
        /// Its name.
        name: String,
        /// `volume` or `snapshot`: what it is.
        is: &'static str,
        /// `volume` or `snapshot`: what the verb takes.
        wanted: &'static str,
        /// The verb.
        verb: &'static str,
    },
    /// A cluster knows what should be deleted.
    #[error(
        "a cluster knows {path} as {handle}; delete its {object} there, or run `thinly forget {forget}` first"
    )]
    KnownToCluster {
        /// The volume or snapshot.
        path: String,
        /// The handle, of itself or of its group.
        handle: ObjectId,
        /// What the cluster calls such an object.
        object: &'static str,
        /// What to hand to `thinly forget`.
        forget: String,
    },
    /// A snapshot is known with its group, not by itself.
    #[error(
        "a cluster knows {path} with its group {group:?}, as {handle}; forget all of it with `thinly forget {forget}`"
    )]
    KnownByGroup {
        /// The snapshot.
        path: String,
        /// The group's name.
        group: String,
        /// The group's handle.
        handle: ObjectId,
        /// What to hand to `thinly forget`.
        forget: String,
    },
    /// There is no such group of snapshots in the pool.
    #[error(
        "pool {pool:?} has no group of snapshots {name:?}; `thinly snapshot list {pool} --json` tells the group of each snapshot"
    )]
    NoGroup {
        /// The pool that was asked.
        pool: String,
        /// What was not found.
        name: String,
    },
    /// Several groups of snapshots have the name.
    #[error("pool {pool:?} has several groups called {name:?}; name one by its uuid: {uuids}")]
    AmbiguousGroup {
        /// The pool that was asked.
        pool: String,
        /// Their name.
        name: String,
        /// Their uuids.
        uuids: String,
    },
    /// A volume cannot be made known to a cluster in the way that was asked for.
    #[error("{path} {problem}")]
    NotAdoptable {
        /// The volume.
        path: String,
        /// What is in the way, and what to do.
        problem: String,
    },
    /// A list of handles cannot be read.
    #[error("{file}: {source}", file = file.display())]
    HandleList {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: HandleListError,
    },
    /// A cluster cannot be asked.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A check found damage.
    #[error(
        "{name} is damaged: data is lost or in danger; do not write to it before it is repaired (`thinly pool repair`)"
    )]
    CheckDamaged {
        /// The pool or image.
        name: String,
    },
    /// A check found lost space or wrong counts.
    #[error("{name} has wrong counts: no data is in danger; `thinly pool repair` makes them right")]
    CheckWarned {
        /// The pool or image.
        name: String,
    },
    /// A pool and a cluster do not have the same objects.
    #[error(
        "pool {pool} and the handles differ: {unnamed} objects that no handle names, {dangling} handles that reach nothing"
    )]
    Differs {
        /// The pool.
        pool: String,
        /// How many objects no handle names.
        unnamed: usize,
        /// How many handles reach nothing.
        dangling: usize,
    },
    /// A verb that destroys data wants its confirmation.
    #[error("{0} for good; add --yes if that is what you want")]
    NotConfirmed(String),
    /// A file is there already.
    #[error("{path} exists and is not overwritten; move it away or name another file", path = path.display())]
    FileExists {
        /// The file.
        path: PathBuf,
    },
    /// No metadata snapshot is held in an image.
    #[error("no metadata snapshot is held in {file}; leave --held out to see its live state")]
    NothingHeld {
        /// The image.
        file: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A verb of `thinly dm` would not do it.
    #[error("{0:#}")]
    Dm(anyhow::Error),
    /// The answer could not be written out.
    #[error("cannot write the answer to standard output: {0}; what was asked for may be done")]
    Output(#[source] io::Error),
    /// The pool is held by a process that does not take changes where it was asked.
    #[error("{refused}; the change cannot be handed to it by {socket}: {why}; --admin-socket names another", socket = socket.display())]
    NoResident {
        /// Why the command could not do it alone.
        refused: String,
        /// The socket that was tried.
        socket: PathBuf,
        /// Why that failed.
        why: String,
    },
    /// Nobody tells what was done in a pool.
    #[error("nobody tells what was done in pool {pool:?}: {socket}: {why}; only `thinly serve` and the driver keep that, and --admin-socket names where they listen", socket = socket.display())]
    NotTold {
        /// The pool.
        pool: String,
        /// The socket that was tried.
        socket: PathBuf,
        /// Why that failed.
        why: String,
    },
    /// The process that holds the pool ended, or said what is no answer.
    #[error("the process behind {socket} holds the pool and did not answer to the end: {source}; what was asked for may be done", socket = socket.display())]
    ResidentGone {
        /// Its socket.
        socket: PathBuf,
        /// What was seen.
        source: io::Error,
    },
    /// A socket could not be listened at.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// Somebody else changes the same object.
    #[error("{0}")]
    Busy(String),
    /// A process that holds the pool refused a step of a longer command.
    #[error("{message}")]
    Step {
        /// What it said.
        message: String,
        /// How it ended there.
        exit: Exit,
    },
    /// What was named cannot be sent, or not from there.
    #[error("{0}")]
    NotSendable(String),
    /// A stream cannot be written on.
    #[error(
        "cannot write the stream: {0}; what the receiver has of it can be gone on with, by its --token"
    )]
    StreamOutput(#[source] io::Error),
    /// A stream cannot be read on.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The pool ran full under a stream.
    #[error(
        "pool {pool} has no block left for the rest of the stream; give it more (`thinly pool grow {pool}`) or delete volumes or snapshots, and go on then"
    )]
    FullMidStream {
        /// The pool.
        pool: String,
    },
    /// A frame of a stream is not what it says.
    #[error(
        "the data at offset {offset} of the volume does not decompress to what the stream says"
    )]
    StreamData {
        /// Where it belongs.
        offset: u64,
    },
    /// A resident part could not be started.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        Self::Engine(Box::new(error))
    }
}

impl Failure {
    /// The exit that it leads to.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Engine(error) => Exit::of_class(error.exit_class()),
            Self::Usage(_) | Self::HandleList { .. } => Exit::Usage,
            Self::NoResident { .. } | Self::Busy(_) => Exit::InUse,
            Self::NoVolume { .. }
            | Self::NoGroup { .. }
            | Self::NothingHeld { .. }
            | Self::Cluster(ClusterError::Access { .. })
            | Self::NotTold { .. } => Exit::NotFound,
            Self::Cluster(ClusterError::Forbidden { .. }) => Exit::Permission,
            Self::WrongKind { .. }
            | Self::KnownToCluster { .. }
            | Self::KnownByGroup { .. }
            | Self::AmbiguousGroup { .. }
            | Self::NotAdoptable { .. }
            | Self::NotConfirmed(_)
            | Self::NotSendable(_)
            | Self::Dm(_) => Exit::Refused,
            Self::Step { exit, .. } => *exit,
            Self::FullMidStream { .. } => Exit::NoSpace,
            Self::StreamOutput(source) if source.kind() == io::ErrorKind::StorageFull => {
                Exit::NoSpace
            }
            Self::Differs { .. } | Self::CheckWarned { .. } => Exit::Differs,
            Self::Monitor(_)
            | Self::Cluster(_)
            | Self::Stream(StreamError::Read(_))
            | Self::StreamOutput(_)
            | Self::Output(_)
            | Self::ResidentGone { .. }
            | Self::Socket(_)
            | Self::System { .. } => Exit::Internal,
            Self::CheckDamaged { .. } | Self::Stream(_) | Self::StreamData { .. } => Exit::Damaged,
            Self::FileExists { .. } => Exit::Exists,
            Self::File { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => Exit::NotFound,
                io::ErrorKind::PermissionDenied => Exit::Permission,
                io::ErrorKind::StorageFull => Exit::NoSpace,
                _ => Exit::Internal,
            },
        }
    }

    /// Whether a write found no block left in its pool.
    pub(crate) fn is_out_of_blocks(&self) -> bool {
        let Self::Engine(error) = self else { return false };
        let PoolError::Device(DeviceError::Io { source, .. }) = &**error else { return false };
        source.kind() == io::ErrorKind::StorageFull
    }

    /// Whether another process is the pool's writer, and nothing was done for that reason.
    pub(crate) fn is_claimed(&self) -> bool {
        matches!(self, Self::Engine(error) if matches!(**error, PoolError::Claimed { .. }))
    }

    /// What a verb of `thinly dm` ended with: the engine's own errors keep their class.
    pub(crate) fn from_dm_command(error: anyhow::Error) -> Self {
        match error.downcast::<DmError>() {
            Ok(error) => PoolError::from(error).into(),
            Err(other) => Self::Dm(other),
        }
    }

    /// The message, with every cause that it does not quote already.
    pub fn message(&self) -> String {
        let mut message = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = error.source();
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_told_from_a_full_disk() {
        let failure = |kind: io::ErrorKind| Failure::File {
            action: "write",
            path: PathBuf::from("backup"),
            source: io::Error::from(kind),
        };
        assert_eq!(failure(io::ErrorKind::NotFound).exit(), Exit::NotFound);
        assert_eq!(failure(io::ErrorKind::StorageFull).exit(), Exit::NoSpace);
        assert_eq!(failure(io::ErrorKind::InvalidData).exit(), Exit::Internal);
    }

    #[test]
    fn a_cause_is_told_once() {
        let failure = Failure::Output(io::Error::other("disk on fire"));
        assert_eq!(failure.message().matches("disk on fire").count(), 1);
    }
}
