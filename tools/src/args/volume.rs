//! The verbs of `thinly volume`.
#![forbid(unsafe_code)]

use clap::{Args, Subcommand};
use thinly_engine::catalogue::VolumeName;
use thinly_engine::units::Bytes;

use crate::name::{VolumePath, parse_pool};
use crate::size::{SIZE_HELP, parse_volume_size};

/// What can be done with volumes.
#[derive(Debug, Subcommand)]
pub enum VolumeVerb {
    /// Make a volume: blank, or a writable copy of a volume or snapshot.
    ///
    /// It takes no space until something is written to it. The size is rounded up to a multiple
    /// of 4 KiB.
    #[command(after_long_help = format!("{CREATE_EXAMPLE}\n\n{SIZE_HELP}"))]
    Create(VolumeCreate),
    /// List the volumes of a pool.
    #[command(
        after_long_help = "Example:\n  thinly volume list p0\n  thinly volume list p0 --all --json"
    )]
    List(VolumeList),
    /// Show one volume or snapshot.
    #[command(after_long_help = "Example:\n  thinly volume show p0/web")]
    Show(VolumeTarget),
    /// Grow a volume; a filesystem on it is grown separately.
    ///
    /// The size is rounded up to a multiple of 4 KiB. A volume never shrinks: what a filesystem
    /// keeps beyond the new end would be cut off.
    #[command(after_long_help = format!("Example:\n  thinly volume resize p0/web --size 20G\n\n{SIZE_HELP}"))]
    Resize(VolumeResize),
    /// Make the block device of a volume or snapshot; prints where it is.
    ///
    /// Snapshots are activated read-only, always.
    #[command(
        after_long_help = "Example:\n  thinly volume activate p0/web\n  mount /dev/thinly/p0/web /mnt"
    )]
    Activate(VolumeActivate),
    /// Remove the block device of a volume or snapshot; the data stays.
    #[command(after_long_help = "Example:\n  thinly volume deactivate p0/web")]
    Deactivate(VolumeTarget),
    /// Delete a volume; its snapshots and copies stay.
    ///
    /// Refused while it is in use. Its space is freed before the command ends; when that is cut
    /// short, the next command goes on with it.
    #[command(
        after_long_help = "Example:\n  thinly volume delete p0/web\n  thinly volume delete p0/keys --erase"
    )]
    Delete(VolumeDelete),
    /// Give a volume or snapshot another name.
    #[command(after_long_help = "Example:\n  thinly volume rename p0/web web-old")]
    Rename(VolumeRename),
    /// Give back the space that a volume's filesystem does not use, or blocks of zeros.
    ///
    /// A mounted filesystem is trimmed where it is mounted. That of an inactive volume (ext4, xfs or
    /// btrfs) is mounted for this, where nobody sees it.
    #[command(
        after_long_help = "Example:\n  thinly volume trim p0/web\n  thinly volume trim p0/web-monday --zero-detect"
    )]
    Trim(VolumeTrim),
}

const CREATE_EXAMPLE: &str = "\
Example:
  thinly volume create p0/web --size 10G
  thinly volume create p0/web-test --from p0/web-monday
  thinly volume create p0/web-large --from p0/web-monday --size 50G";

/// `thinly volume create`.
#[derive(Debug, Args)]
pub struct VolumeCreate {
    /// The new volume.
    #[arg(value_name = "POOL/NAME")]
    pub volume: VolumePath,
    /// Its size; with --from it may be left out and is the source's then.
    #[arg(long, value_name = "SIZE", value_parser = parse_volume_size, required_unless_present = "from")]
    pub size: Option<Bytes>,
    /// Make it a writable copy of this volume or snapshot of the same pool.
    #[arg(long, value_name = "POOL/SOURCE")]
    pub from: Option<VolumePath>,
}

/// `thinly volume list`.
#[derive(Debug, Args)]
pub struct VolumeList {
    /// The pool's name or uuid.
    #[arg(value_name = "POOL", value_parser = parse_pool)]
    pub pool: String,
    /// List snapshots too.
    #[arg(long)]
    pub all: bool,
}

/// The argument of the verbs that take a volume and nothing else.
#[derive(Debug, Args)]
pub struct VolumeTarget {
    /// The volume or snapshot.
    #[arg(value_name = "POOL/NAME")]
    pub volume: VolumePath,
}

/// `thinly volume delete`.
#[derive(Debug, Args)]
pub struct VolumeDelete {
    /// The volume.
    #[arg(value_name = "POOL/NAME")]
    pub volume: VolumePath,
    /// Overwrite with zeros what no snapshot or copy holds too, before its space is freed.
    ///
    /// Says how much stays because others hold it, and who. Takes about as long as writing that
    /// much; when it is cut short, whoever frees the volume begins with it again.
    #[arg(long)]
    pub erase: bool,
}

/// `thinly volume resize`.
#[derive(Debug, Args)]
pub struct VolumeResize {
    /// The volume.
    #[arg(value_name = "POOL/NAME")]
    pub volume: VolumePath,
    /// Its new size, no smaller than it is.
    #[arg(long, value_name = "SIZE", value_parser = parse_volume_size)]
    pub size: Bytes,
}

/// `thinly volume activate`.
#[derive(Debug, Args)]
pub struct VolumeActivate {
    /// The volume or snapshot.
    #[arg(value_name = "POOL/NAME")]
    pub volume: VolumePath,
    /// Refuse writes to the device.
    #[arg(long)]
    pub read_only: bool,
}

/// `thinly volume rename`.
#[derive(Debug, Args)]
pub struct VolumeRename {
    /// The volume or snapshot.
    #[arg(value_name = "POOL/NAME")]
    pub volume: VolumePath,
    /// Its new name, without the pool.
    #[arg(value_name = "NEWNAME")]
    pub new_name: VolumeName,
}

/// `thinly volume trim`.
#[derive(Debug, Args)]
pub struct VolumeTrim {
    /// The volume; with --zero-detect also a snapshot.
    #[arg(value_name = "POOL/NAME")]
    pub volume: VolumePath,
    /// Read all that it maps and give back every block of zeros, whatever is on it.
    ///
    /// The volume or snapshot must be inactive, and is kept so until the end. What is read from it
    /// stays the same, byte for byte.
    #[arg(long)]
    pub zero_detect: bool,
}
