//! The arguments of `thinly diff`.
#![forbid(unsafe_code)]

use clap::Args;

use crate::name::VolumePath;

pub(super) const EXAMPLE: &str = "\
Example:
  thinly diff p0/web-monday p0/web-tuesday
  thinly diff p0/web-monday --json";

/// `thinly diff`.
#[derive(Debug, Args)]
pub struct Diff {
    /// The earlier one of the two, or the only one.
    #[arg(value_name = "POOL/NAME")]
    pub first: VolumePath,
    /// The later one, of the same pool.
    #[arg(value_name = "POOL/LATER")]
    pub second: Option<VolumePath>,
}
