//! What can be asked: every verb, flag and help text, defined once.
#![forbid(unsafe_code)]

mod accounting;
mod cluster;
mod diff;
mod growth;
mod image;
mod pool;
mod snapshot;
mod stream;
mod top;
mod volume;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use self::accounting::{Map, Usage, UsageOrder};
pub use self::cluster::{AccessChoice, Adopt, Audit, FilesystemChoice, Forget};
pub use self::diff::Diff;
pub use self::growth::{Limit, OnFullWord, PoolEvacuate, PoolGrow, PoolSet, Share};
pub use self::image::{ImageDiff, ImageDump, ImageFile, ImageLs, ImageVerb};
pub use self::pool::{
    PoolBackup, PoolCheck, PoolCopyMetadata, PoolCreate, PoolDestroy, PoolImport, PoolName,
    PoolOpen, PoolRemoveOrphan, PoolRepair, PoolRestore, PoolRestoreMetadata, PoolVerb,
};
pub use self::snapshot::{
    SnapshotCreate, SnapshotDelete, SnapshotGroup, SnapshotList, SnapshotRollback, SnapshotVerb,
};
pub use self::stream::{Compression, Receive, ReceiveStep, ReceiveVerb, Send};
pub use self::top::{Operations, Top};
pub use self::volume::{
    VolumeActivate, VolumeCreate, VolumeList, VolumeRename, VolumeResize, VolumeTarget, VolumeTrim,
    VolumeVerb,
};
use thinly_engine::units::Bytes;

use crate::admin::DEFAULT_SOCKET;
use crate::dm_command::DmArguments;
pub use crate::name::{Member, PairError, VolumePath};

const AFTER_HELP: &str = "\
Example:
  thinly pool create p0 /dev/nvme1n1
  thinly volume create p0/web --size 10G
  thinly volume activate p0/web
  thinly snapshot create p0/web web-monday

Exit codes: 0 done, 1 internal, 2 usage, 3 not found, 4 exists, 5 in use, 6 refused,
7 no space, 8 damaged, 9 degraded pool, 10 unsupported kernel, 11 differs, 77 permission.";

/// Thin-provisioned pools, volumes and snapshots on the kernel's dm-thin, without LVM.
#[derive(Debug, Parser)]
#[command(
    name = "thinly",
    version,
    after_long_help = AFTER_HELP,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// Print answers, warnings and errors as JSON, for programs.
    #[arg(long, global = true, display_order = 900)]
    pub json: bool,
    /// Where `thinly serve` listens, and where changes of a pool that another process holds are
    /// handed over.
    #[arg(
        long,
        global = true,
        display_order = 901,
        hide_short_help = true,
        value_name = "PATH",
        env = "THINLY_ADMIN_SOCKET",
        hide_env_values = true,
        default_value = DEFAULT_SOCKET
    )]
    pub admin_socket: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The families of verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make, open, inspect, back up and close pools.
    Pool {
        /// What to do.
        #[command(subcommand)]
        verb: PoolVerb,
    },
    /// Make, activate, grow and delete volumes.
    Volume {
        /// What to do.
        #[command(subcommand)]
        verb: VolumeVerb,
    },
    /// Take snapshots, list them, go back to them.
    Snapshot {
        /// What to do.
        #[command(subcommand)]
        verb: SnapshotVerb,
    },
    /// Look into dm-thin's metadata offline: in a copy of it, or on a device that no pool uses.
    Image {
        /// What to do.
        #[command(subcommand)]
        verb: ImageVerb,
    },
    /// Make a volume or snapshot known to a cluster, and print what to apply there.
    ///
    /// The driver serves only what a cluster asked for or was told of. This tells it of a volume that
    /// was made here or outlived its claim, and prints the PersistentVolume (of a snapshot: the
    /// VolumeSnapshotContent) for `kubectl apply -f -`. What the volume holds stays: the driver makes a
    /// filesystem only on a volume that nobody ever wrote. When it is known already, nothing is changed
    /// and the object for its handle is printed.
    #[command(after_long_help = cluster::ADOPT_EXAMPLE)]
    Adopt(Adopt),
    /// Make clusters forget a volume, a snapshot or a group of snapshots; it and its data stay.
    ///
    /// The driver then answers that its handle names nothing. Refused while it is active. Repeating it
    /// is harmless.
    #[command(after_long_help = cluster::FORGET_EXAMPLE)]
    Forget(Forget),
    /// Compare what a pool keeps for a cluster with the handles that the cluster has.
    ///
    /// It only reads, from the pool and from the cluster. The exit code is 0 when both have the same
    /// objects, and 11 when not; handles of other pools are listed and are no difference. A volume that
    /// is being made at this moment may seem to lack its handle: what a second run finds too is amiss.
    #[command(after_long_help = cluster::AUDIT_EXAMPLE)]
    Audit(Audit),
    /// Tell what every volume and snapshot of a pool really costs.
    ///
    /// The pool's metadata is read once, however many volumes share it; the pool may be in use. What is
    /// shown is the pool at one moment of the last seconds. Nothing is written, and no claim is needed.
    #[command(after_long_help = accounting::USAGE_EXAMPLE)]
    Usage(Usage),
    /// Watch pools and their volumes on a terminal.
    ///
    /// How full each pool is, what is wrong with it and what is being freed; the volumes of the pool that
    /// is chosen, by what each holds alone; what the process that holds it did last, and how long it took;
    /// and what happened since this was started. Nothing is changed, and no claim is needed. Where standard
    /// output is no terminal, one plain frame is printed.
    #[command(after_long_help = top::TOP_EXAMPLE)]
    Top(Top),
    /// Tell what the process that holds a pool did last, and how long each took.
    ///
    /// It is kept in the memory of `thinly serve` or the driver: the last 256 changes of all its pools,
    /// those of commands and those of a cluster. Reading calls are not among them.
    #[command(after_long_help = top::OPERATIONS_EXAMPLE)]
    Operations(Operations),
    /// Draw where on a pool's data device the blocks of its volumes and snapshots lie.
    ///
    /// An SVG file: the whole data device from left to right, with what one volume has alone, what several
    /// share and what is free; below it, on the same scale, a bar for each of the 40 volumes and snapshots
    /// that map most, and one for the others. The metadata is read once, as by `thinly usage`.
    #[command(after_long_help = accounting::MAP_EXAMPLE)]
    Map(Map),
    /// List the ranges that differ between two volumes or snapshots of a pool, or all that one holds.
    ///
    /// Read from the pool's metadata, not from the data: a range is `changed` when it was written since
    /// both were the same, even with what it held before. Works while the pool is written to and while
    /// `thinly serve` or the driver holds it. What an active volume wrote last may not be in it yet. The
    /// exit code is 0 whether anything differs or not.
    #[command(after_long_help = diff::EXAMPLE)]
    Diff(Diff),
    /// Write a snapshot as a stream, whole or what changed since an earlier one.
    ///
    /// `thinly receive` makes a volume and a snapshot of it, in any pool, with blocks of any size. Only what
    /// the snapshot maps is sent. It is activated for the time, which also keeps it from being deleted;
    /// nothing else of the pool waits for it.
    #[command(after_long_help = stream::SEND_EXAMPLE)]
    Send(Send),
    /// Make a volume and a snapshot of a stream, or bring a received volume up to a later snapshot.
    ///
    /// Until all came and its checksums fit there is no snapshot, and the volume is refused to everything
    /// else. What came before a stream broke is kept: --token says where to go on.
    #[command(after_long_help = stream::RECEIVE_EXAMPLE)]
    Receive(Receive),
    /// One change of the catalogue for `thinly receive`, which runs it by itself.
    #[command(hide = true, after_long_help = stream::STEP_EXAMPLE)]
    ReceiveStep(ReceiveStep),
    /// Look at dm devices as the kernel sees them, whoever made them.
    Dm(DmArguments),
    /// Stay resident and free what deleted volumes held.
    ///
    /// Attaches every pool that is named, opening it first when it is closed, and frees in the
    /// background what deleted volumes and snapshots held. One line per event goes to standard
    /// error. SIGTERM and SIGINT release the pools and end with exit code 0; volumes stay active.
    /// Under systemd, use Type=notify.
    ///
    /// While it runs it is the pools' one writer: commands that change volumes and snapshots are
    /// handed to it by the socket --admin-socket, which is for its user alone; commands that close,
    /// restore, repair or destroy a pool are refused.
    #[command(after_long_help = "Example:\n  thinly serve p0 p1")]
    Serve(Serve),
    /// Print a completion script for a shell.
    #[command(
        after_long_help = "Example:\n  thinly completions bash > /etc/bash_completion.d/thinly"
    )]
    Completions(Completions),
    /// Print the manual's first page, or write all its pages into a directory.
    #[command(after_long_help = "Example:\n  thinly man --out /usr/local/share/man/man8")]
    Man(Man),
}

/// `thinly serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Names or uuids of the pools.
    #[arg(required = true, value_name = "POOL", value_parser = crate::name::parse_pool)]
    pub pools: Vec<String>,
    /// Wait so many seconds for disks that are not there yet.
    #[arg(long, value_name = "SECONDS")]
    pub wait: Option<u64>,
    /// Free at most so much of what deleted volumes held each second, unless space runs out.
    ///
    /// Without it, freeing only pauses while others read or write in the pool. Above 90 % of the
    /// data in use neither holds it back.
    #[arg(long, value_name = "SIZE", value_parser = crate::size::parse_bytes)]
    pub reap_rate: Option<Bytes>,
}

/// `thinly completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell.
    pub shell: clap_complete::Shell,
}

/// `thinly man`.
#[derive(Debug, Args)]
pub struct Man {
    /// Write one page per verb into this directory, which must exist.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}
