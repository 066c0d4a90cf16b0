//! The verbs of `thinly image`.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use clap::{Args, Subcommand};
use thinly_engine::units::ThinId;

use crate::size::parse_thin_id;

/// What can be done with metadata that no pool uses.
#[derive(Debug, Subcommand)]
pub enum ImageVerb {
    /// Show what the superblock says: versions, roots, space, and whether a check is wanted.
    #[command(after_long_help = INFO_EXAMPLE)]
    Info(ImageFile),
    /// List the thin devices and what each maps.
    ///
    /// With --exclusive also what each frees when it is deleted, for which all of the mappings are read.
    #[command(after_long_help = "Example:\n  thinly image ls /root/p0.metadata\n  \
            thinly image ls --exclusive /root/p0.metadata")]
    Ls(ImageLs),
    /// Check every tree, and the counts of both space maps against what the trees reach.
    ///
    /// Nothing is written. The exit code is 0 when nothing is wrong (notes are shown all the same), 11
    /// when space is lost or a count is off, and 8 when data is lost or in danger.
    #[command(after_long_help = "Example:\n  thinly image check /root/p0.metadata")]
    Check(ImageFile),
    /// List the ranges that differ between two thin devices, or all that one maps.
    ///
    /// An image does not know how long a device is: ranges are whole blocks, and memory grows with their
    /// number. Exit code 0 whether anything differs or not.
    #[command(
        after_long_help = "Example:\n  thinly image diff /root/p0.metadata --thin1 5 --thin2 9\n  \
            thinly image diff /root/p0.metadata --thin2 9"
    )]
    Diff(ImageDiff),
    /// Write devices and mappings as XML, in the format of `thin_dump`.
    ///
    /// `thin_restore` makes metadata of it again; there, nothing is shared between the trees of
    /// devices any more, so it takes more room. Memory does not grow with the number of mappings.
    #[command(after_long_help = DUMP_EXAMPLE)]
    Dump(ImageDump),
}

const INFO_EXAMPLE: &str = "\
Example:
  thinly pool copy-metadata p0 /root/p0.metadata
  thinly image info /root/p0.metadata";

const DUMP_EXAMPLE: &str = "\
Example:
  thinly image dump /root/p0.metadata --out /root/p0.xml
  thinly image dump /root/p0.metadata --dev-id 5 --dev-id 6 | less";

/// The argument of the verbs that take an image and nothing else.
#[derive(Debug, Args)]
pub struct ImageFile {
    /// A copy of a pool's metadata, or a metadata device that nothing uses.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `thinly image ls`.
#[derive(Debug, Args)]
pub struct ImageLs {
    /// A copy of a pool's metadata, or a metadata device that nothing uses.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Read all mappings and tell what each device holds alone and shares.
    #[arg(long)]
    pub exclusive: bool,
}

/// `thinly image diff`.
#[derive(Debug, Args)]
pub struct ImageDiff {
    /// A copy of a pool's metadata, or a metadata device that nothing uses.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The thin device to compare with; without it, all that the other maps is listed.
    #[arg(long, value_name = "THIN_ID", value_parser = parse_thin_id)]
    pub thin1: Option<ThinId>,
    /// The thin device that is compared.
    #[arg(long, value_name = "THIN_ID", value_parser = parse_thin_id)]
    pub thin2: ThinId,
}

/// `thinly image dump`.
#[derive(Debug, Args)]
pub struct ImageDump {
    /// A copy of a pool's metadata, or a metadata device that nothing uses.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Write to this file, which must not exist, instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Only this thin device; give it again for another.
    #[arg(long, value_name = "THIN_ID", value_parser = parse_thin_id)]
    pub dev_id: Vec<ThinId>,
    /// The pool as it is in the metadata snapshot that is held.
    #[arg(long)]
    pub held: bool,
}
