//! The verbs of `thinly pool`.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use clap::{Args, Subcommand};
use thinly_engine::units::{BlockSize, Bytes, ThinId};

use super::growth::{PoolEvacuate, PoolGrow, PoolSet};
use crate::name::parse_pool;
use crate::size::{parse_block_size, parse_bytes, parse_thin_id};

/// What can be done with pools.
#[derive(Debug, Subcommand)]
pub enum PoolVerb {
    /// Make a pool out of disks, partitions or logical volumes.
    ///
    /// A device that carries a filesystem, a partition table, LVM, md or another pool is refused,
    /// and the message says what was found; --force overwrites it. A whole disk gets a partition
    /// table first, so that other tools do not take it for empty; --raw leaves that out. The pool
    /// is open afterwards.
    #[command(after_long_help = CREATE_EXAMPLE)]
    Create(PoolCreate),
    /// List all pools that the disks hold, open or closed.
    #[command(after_long_help = "Example:\n  thinly pool list\n  thinly pool list --json")]
    List,
    /// Show one pool: its condition, its space, its disks, and what to do.
    #[command(after_long_help = "Example:\n  thinly pool show p0")]
    Show(PoolName),
    /// Save a pool's catalogue (names, sizes, snapshots; not the data) to a file.
    ///
    /// The file must not exist yet. It is what `thinly pool restore` takes.
    #[command(after_long_help = "Example:\n  thinly pool backup p0 /root/p0.backup")]
    Backup(PoolBackup),
    /// Put a saved catalogue back.
    ///
    /// Refused when the pool has moved on since the backup, unless the id that the message names
    /// is accepted: volumes made or deleted since then are not in the backup.
    #[command(after_long_help = RESTORE_EXAMPLE)]
    Restore(PoolRestore),
    /// Rebuild a lost catalogue from the data that the pool holds.
    ///
    /// The names are gone with the catalogue: volumes are named after their thin ids, and their
    /// sizes come from the filesystem found on them or their highest block. Try `thinly pool
    /// restore` first if there is a backup.
    #[command(after_long_help = "Example:\n  thinly pool salvage p0")]
    Salvage(PoolName),
    /// Bring a closed pool up.
    ///
    /// The devices are found by their labels; name them only where the search cannot see them.
    /// What a crash left half done is finished or taken back, and reported.
    #[command(after_long_help = OPEN_EXAMPLE)]
    Open(PoolOpen),
    /// Take a pool's devices out of the kernel.
    ///
    /// Refused while one of its volumes is in use. Nothing on disk changes.
    #[command(after_long_help = "Example:\n  thinly pool close p0")]
    Close(PoolName),
    /// Close a pool and mark its disks, for another machine to take it in.
    ///
    /// Refused while one of its volumes is in use. Until it is imported, there or here again, nothing
    /// opens it, so that the disks can be moved, or shown to both machines, and only one uses them.
    #[command(after_long_help = "Example:\n  thinly pool export p0")]
    Export(PoolName),
    /// Take in a pool that was exported, and bring it up.
    ///
    /// All its disks must be here. Where another pool has its name already, give the uuid and a new
    /// name: `thinly pool list` shows both.
    #[command(after_long_help = IMPORT_EXAMPLE)]
    Import(PoolImport),
    /// Give a pool more data and metadata, while it is used.
    ///
    /// Devices that are named join the pool and are used whole, unless --by says how much of them;
    /// without devices --by takes what the pool's devices still hold. Metadata, and the room for a
    /// repaired copy of it, grow with the data. Volumes notice a pause of some milliseconds. This is
    /// also the way out of a full pool: what waits to be written goes on.
    #[command(after_long_help = GROW_EXAMPLE)]
    Grow(PoolGrow),
    /// Move all that a device carries to the pool's other devices, while it is used, and let it go.
    ///
    /// Refused before anything is moved when the others have no room. Extents are copied one by one;
    /// users of the pool notice a pause for each. What cannot be read stays where it is and is told
    /// of; then the device stays in the pool. Cut off at any point, what was moved stays moved: run
    /// it again to go on.
    #[command(after_long_help = EVACUATE_EXAMPLE)]
    Evacuate(PoolEvacuate),
    /// Say how a pool is looked after: when it is extended, what it does when it is full, what it
    /// refuses before that.
    ///
    /// Whoever is resident on the pool acts on it: `thinly serve` or the driver. What is not named
    /// stays as it is.
    #[command(after_long_help = SET_EXAMPLE)]
    Set(PoolSet),
    /// Delete a pool with all its volumes and snapshots.
    #[command(after_long_help = "Example:\n  thinly pool destroy p0 --yes")]
    Destroy(PoolDestroy),
    /// Check a pool's dm-thin metadata, and the catalogue against it.
    ///
    /// Nothing is written, and the pool may be in use; of an open pool the counts of references cannot be
    /// checked, and the answer says so. The exit code is 0 when nothing is wrong (notes are shown all the
    /// same), 11 when space is lost or a count is off, and 8 when data is lost or in danger. Metadata in a
    /// file is checked by `thinly image check`, or by --image here.
    #[command(after_long_help = "Example:\n  thinly pool check p0\n  \
            thinly pool check --image /root/p0.metadata")]
    Check(PoolCheck),
    /// Look at a closed pool's dm-thin metadata, and repair it.
    ///
    /// Without --yes nothing is written: the command says what it found and what it would do. A
    /// repair rebuilds the metadata with `thin_repair` onto the pool's spare region, checks the result
    /// there, and swaps the two regions in one step; the damaged metadata becomes the spare.
    #[command(after_long_help = "Example:\n  thinly pool close p0\n  thinly pool repair p0\n  \
            thinly pool repair p0 --yes\n  thinly pool open p0")]
    Repair(PoolRepair),
    /// Put an image of dm-thin's metadata in the place of a closed pool's.
    ///
    /// The image is what `thinly pool copy-metadata` or `thin_restore` wrote. It goes to the pool's spare
    /// region and is checked there before the two regions change places.
    #[command(after_long_help = "Example:\n  thinly pool close p0\n  \
            thinly pool restore-metadata p0 /root/p0.metadata --yes\n  thinly pool open p0")]
    RestoreMetadata(PoolRestoreMetadata),
    /// Delete a thin id that no volume claims.
    ///
    /// `thinly pool show` lists them. Another tool made them, or they are what a restored
    /// catalogue does not know; nothing deletes them by itself.
    #[command(after_long_help = "Example:\n  thinly pool remove-orphan p0 17 --yes")]
    RemoveOrphan(PoolRemoveOrphan),
    /// Copy dm-thin's own metadata to a file, for offline tools such as `thin_check`.
    ///
    /// The file must not exist yet.
    #[command(after_long_help = "Example:\n  thinly pool copy-metadata p0 /root/p0.metadata\n  \
            thin_check /root/p0.metadata")]
    CopyMetadata(PoolCopyMetadata),
}

const CREATE_EXAMPLE: &str = "\
Example:
  thinly pool create p0 /dev/nvme1n1
  thinly pool create fast /dev/sdb /dev/sdc --metadata /dev/nvme0n1p4 --block-size 256KiB

A block is what a volume grows by and what a snapshot copies at the first write: small blocks suit
snapshots, large ones suit streaming. Allowed: multiples of 64 KiB up to 1 GiB.";

const RESTORE_EXAMPLE: &str = "\
Example:
  thinly pool restore p0 /root/p0.backup
  thinly pool restore p0 /root/p0.backup --accept-transaction-id 1207";

const GROW_EXAMPLE: &str = "\
Example:
  thinly pool grow p0 /dev/sdd
  thinly pool grow p0 --by 100G
  thinly pool grow p0 /dev/sdd --by 0      # joins as a reserve for auto-extension
  thinly pool grow p0 --metadata-by 1G

The kernel uses at most 15.875 GiB of metadata. A device whose logical block is longer than that of
the others is refused: filesystems on the volumes could not be read any more.";

const EVACUATE_EXAMPLE: &str = "\
Example:
  thinly pool evacuate p0 /dev/sdb
  thinly pool evacuate p0 /dev/sdb --onto /dev/sdd";

const SET_EXAMPLE: &str = "\
Example:
  thinly pool set p0 --auto-extend-at 80 --auto-extend-by 20%
  thinly pool set p0 --reserve 50G --admit-data 95 --admit-metadata 90
  thinly pool set p0 --on-full error
  thinly pool set p0 --auto-extend-at off";

const OPEN_EXAMPLE: &str = "\
Example:
  thinly pool open p0
  thinly pool open p0 /dev/sdb /dev/sdc
  thinly pool open p0 --wait 60";

const IMPORT_EXAMPLE: &str = "\
Example:
  thinly pool import p0
  thinly pool import 3f0a1c52-8f3e-4f4b-9f0e-1f6a2f8f5d11 --name p0-from-old-host
  thinly pool import p0 /dev/sdb /dev/sdc --no-open";

/// `thinly pool create`.
#[derive(Debug, Args)]
pub struct PoolCreate {
    /// The pool's name: letters, digits, '.', '_' and '-', up to 64.
    #[arg(value_name = "NAME")]
    pub name: thinly_engine::catalogue::PoolName,
    /// The disks, partitions or logical volumes to use.
    #[arg(required = true, value_name = "DEVICE")]
    pub devices: Vec<PathBuf>,
    /// Keep dm-thin's metadata on this device of its own, a fast one.
    #[arg(long, value_name = "DEVICE")]
    pub metadata: Option<PathBuf>,
    /// The size of one block; fixed for the pool's life.
    #[arg(long, value_name = "SIZE", default_value = "128KiB", value_parser = parse_block_size)]
    pub block_size: BlockSize,
    /// Room for dm-thin's metadata; computed from the pool's size when not given.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub metadata_size: Option<Bytes>,
    /// Room for data; all that the devices hold when not given. What is left over is for growth.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub data_size: Option<Bytes>,
    /// Overwrite whatever the devices carry.
    #[arg(long)]
    pub force: bool,
    /// Use whole disks without a partition table.
    #[arg(long)]
    pub raw: bool,
}

/// The argument of the verbs that take a pool and nothing else.
#[derive(Debug, Args)]
pub struct PoolName {
    /// The pool's name or uuid.
    #[arg(value_name = "POOL", value_parser = parse_pool)]
    pub pool: String,
}

/// `thinly pool check`.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct PoolCheck {
    /// The pool's name or uuid.
    #[arg(value_name = "POOL", value_parser = parse_pool)]
    pub pool: Option<String>,
    /// Check metadata in a file, or on a device that no pool uses.
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
}

/// `thinly pool backup`.
#[derive(Debug, Args)]
pub struct PoolBackup {
    /// The pool's name or uuid.
    #[arg(value_name = "POOL", value_parser = parse_pool)]
    pub pool: String,
    /// The file to write.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `thinly pool restore`.
#[derive(Debug, Args)]
pub struct PoolRestore {
    /// The pool's name or uuid.
    #[arg(value_name = "POOL", value_parser = parse_pool)]
    pub pool: String,
    /// A file written by `thinly pool backup`.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Accept a pool at this transaction id, although the backup expects another.
    #[arg(long, value_name = "N")]
    pub accept_transaction_id: Option<u64>,
}

/// `thinly pool open`.
#[derive(Debug, Args)]
pub struct PoolOpen {
    /// The pool's name or uuid.
    #[arg(value_name = "POOL", value_parser = parse_pool)]
    pub pool: String,
    /// Look for the pool on these devices only.
    #[arg(value_name = "DEVICE")]
    pub devices: Vec<PathBuf>,
    /// Wait so many seconds for disks that are not there yet.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "600")]
    pub wait: Option<u64>,
}

/// `thinly pool import`.
#[derive(Debug, Args)]
pub struct PoolImport {
    /// The pool's name or uuid.
    #[arg(value_name = "POOL", value_parser = parse_pool)]
    pub pool: String,
    /// Look for the pool on these devices only.
    #[arg(value_name = "DEVICE")]
    pub devices: Vec<PathBuf>,
    /// Call it this from now on.
    #[arg(long, value_name = "NAME")]
    pub name: Option<thinly_engine::catalogue::PoolName>,
    /// Leave it closed.
    #[arg(long)]
    pub no_open: bool,
}

/// `thinly pool destroy`.
#[derive(Debug, Args)]
pub struct PoolDestroy {
    /// The pool's name or uuid.
    #[arg(value_name = "POOL", value_parser = parse_pool)]
    pub pool: String,
    /// Yes, delete everything that the pool holds.
    #[arg(long)]
    pub yes: bool,
}

/// `thinly pool repair`.
#[derive(Debug, Args)]
pub struct PoolRepair {
    /// The pool's name or uuid.
    #[arg(value_name = "POOL", value_parser = parse_pool)]
    pub pool: String,
    /// Yes, repair it.
    #[arg(long)]
    pub yes: bool,
    /// Repair it for leaked blocks alone, too.
    ///
    /// A disk that refuses writes for a while makes the kernel lose blocks: nothing uses them, and they stay
    /// allocated. They do no harm but take their space.
    #[arg(long)]
    pub leaks: bool,
    /// Go on although the repaired metadata lacks volumes.
    #[arg(long, requires = "yes")]
    pub accept_loss: bool,
}

/// `thinly pool restore-metadata`.
#[derive(Debug, Args)]
pub struct PoolRestoreMetadata {
    /// The pool's name or uuid.
    #[arg(value_name = "POOL", value_parser = parse_pool)]
    pub pool: String,
    /// The image.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Yes, the pool's present metadata is given up.
    #[arg(long)]
    pub yes: bool,
    /// Go on although the image lacks volumes.
    #[arg(long)]
    pub accept_loss: bool,
}

/// `thinly pool remove-orphan`.
#[derive(Debug, Args)]
pub struct PoolRemoveOrphan {
    /// The pool's name or uuid.
    #[arg(value_name = "POOL", value_parser = parse_pool)]
    pub pool: String,
    /// The thin id.
    #[arg(value_name = "THIN_ID", value_parser = parse_thin_id)]
    pub thin_id: ThinId,
    /// Yes, delete what it holds.
    #[arg(long)]
    pub yes: bool,
}

/// `thinly pool copy-metadata`.
#[derive(Debug, Args)]
pub struct PoolCopyMetadata {
    /// The pool's name or uuid.
    #[arg(value_name = "POOL", value_parser = parse_pool)]
    pub pool: String,
    /// The file to write.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}
