//! The verbs that watch.
#![forbid(unsafe_code)]

use std::time::Duration;

use clap::Args;

use crate::name::parse_pool;
use crate::top::parse_interval;

pub(super) const TOP_EXAMPLE: &str = "\
Example:
  thinly top
  thinly top p0 --interval 5s
  thinly top --once
  thinly top p0 --json --count 60 --interval 10s

Keys: arrows or j and k move, Tab goes to the next part, Enter shows details, s sorts, r reverses,
/ filters, p pauses, + and - change the interval, ? helps, q ends.

What volumes hold alone is read from the metadata as by `thinly usage`: every 10 seconds at most,
and never for more than a tenth of the time.";

pub(super) const OPERATIONS_EXAMPLE: &str = "\
Example:
  thinly operations p0";

/// `thinly top`.
#[derive(Debug, Args)]
pub struct Top {
    /// Names or uuids of the pools; all that the disks hold when none is given.
    #[arg(value_name = "POOL", value_parser = parse_pool)]
    pub pools: Vec<String>,
    /// Between two looks: a number and a unit, such as 500ms, 2s or 1m.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_interval)]
    pub interval: Duration,
    /// Print one plain frame and end.
    #[arg(long, conflicts_with = "count")]
    pub once: bool,
    /// Print so many frames, one each interval, and end; with --json a document a line.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

/// `thinly operations`.
#[derive(Debug, Args)]
pub struct Operations {
    /// The pool's name or uuid.
    #[arg(value_name = "POOL", value_parser = parse_pool)]
    pub pool: String,
}
