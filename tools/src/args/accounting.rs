//! The verbs that tell what things cost.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use thinly_engine::catalogue::VolumeName;

use crate::name::parse_pool;

pub(super) const USAGE_EXAMPLE: &str = "\
Example:
  thinly usage p0
  thinly usage p0 --sort exclusive
  thinly usage p0 --set web-monday,web-tuesday

EXCLUSIVE is what deleting that one volume or snapshot frees. Two snapshots that share blocks with
each other alone free none of these by themselves: --set tells what goes when all of them go.";

pub(super) const MAP_EXAMPLE: &str = "\
Example:
  thinly map p0 --out p0.svg

Any browser shows it. The file may be read by its owner only, for it names volumes.";

/// `thinly usage`.
#[derive(Debug, Args)]
pub struct Usage {
    /// The pool's name or uuid.
    #[arg(value_name = "POOL", value_parser = parse_pool)]
    pub pool: String,
    /// Also tell what is freed when all of these volumes and snapshots go.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub set: Vec<VolumeName>,
    /// What comes first.
    #[arg(long, value_enum, value_name = "BY", default_value_t)]
    pub sort: UsageOrder,
}

/// `thinly map`.
#[derive(Debug, Args)]
pub struct Map {
    /// The pool's name or uuid.
    #[arg(value_name = "POOL", value_parser = parse_pool)]
    pub pool: String,
    /// The file to write; it must not exist.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// The order of volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum UsageOrder {
    /// By name.
    #[default]
    Name,
    /// What frees most comes first.
    Exclusive,
    /// What maps most comes first.
    Mapped,
}
