//! The verbs of `thinly snapshot`.
#![forbid(unsafe_code)]

use clap::{Args, Subcommand};
use thinly_engine::catalogue::VolumeName;

use crate::name::{Member, VolumePath, parse_pool};

/// What can be done with snapshots.
#[derive(Debug, Subcommand)]
pub enum SnapshotVerb {
    /// Take a snapshot of a volume, mounted or not.
    ///
    /// A filesystem that is mounted from the volume is frozen for the moment that it takes, so
    /// the snapshot is clean. It shares all its data with the volume until one of them changes.
    #[command(after_long_help = "Example:\n  thinly snapshot create p0/web web-monday")]
    Create(SnapshotCreate),
    /// List the snapshots of a pool.
    #[command(
        after_long_help = "Example:\n  thinly snapshot list p0\n  thinly snapshot list p0 --json"
    )]
    List(SnapshotList),
    /// Put a volume back to a snapshot of it; what was written since then is lost.
    ///
    /// Refused while the volume is active. The snapshot stays.
    #[command(
        after_long_help = "Example:\n  thinly volume deactivate p0/web\n  thinly snapshot rollback p0/web --to web-monday"
    )]
    Rollback(SnapshotRollback),
    /// Delete a snapshot; its origin and copies made from it stay.
    #[command(
        after_long_help = "Example:\n  thinly snapshot delete p0/web-monday\n  thinly snapshot delete p0/keys-monday --erase"
    )]
    Delete(SnapshotDelete),
    /// Take snapshots of several volumes at one instant: all of them, or none.
    #[command(
        after_long_help = "Example:\n  thinly snapshot group p0 --name monday db=db-monday log=log-monday"
    )]
    Group(SnapshotGroup),
}

/// `thinly snapshot create`.
#[derive(Debug, Args)]
pub struct SnapshotCreate {
    /// The volume.
    #[arg(value_name = "POOL/ORIGIN")]
    pub origin: VolumePath,
    /// The snapshot's name, without the pool.
    #[arg(value_name = "NAME")]
    pub name: VolumeName,
}

/// `thinly snapshot list`.
#[derive(Debug, Args)]
pub struct SnapshotList {
    /// The pool's name or uuid.
    #[arg(value_name = "POOL", value_parser = parse_pool)]
    pub pool: String,
}

/// `thinly snapshot rollback`.
#[derive(Debug, Args)]
pub struct SnapshotRollback {
    /// The volume.
    #[arg(value_name = "POOL/VOLUME")]
    pub volume: VolumePath,
    /// The snapshot to go back to, without the pool.
    #[arg(long, value_name = "SNAPSHOT")]
    pub to: VolumeName,
}

/// `thinly snapshot delete`.
#[derive(Debug, Args)]
pub struct SnapshotDelete {
    /// The snapshot.
    #[arg(value_name = "POOL/NAME")]
    pub snapshot: VolumePath,
    /// Overwrite with zeros what no volume or other snapshot holds too, before its space is freed.
    #[arg(long)]
    pub erase: bool,
}

/// `thinly snapshot group`.
#[derive(Debug, Args)]
pub struct SnapshotGroup {
    /// The pool's name or uuid.
    #[arg(value_name = "POOL", value_parser = parse_pool)]
    pub pool: String,
    /// The group's name.
    #[arg(long, value_name = "GROUP")]
    pub name: VolumeName,
    /// A volume and the name of its snapshot.
    #[arg(required = true, value_name = "ORIGIN=SNAPSHOT")]
    pub members: Vec<Member>,
}
