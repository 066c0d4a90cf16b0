//! What the engine costs above the bare kernel, measured side by side in one run.
//!
//! `docs/benchmarks.md` says how and why. [`measure`] is the whole benchmark; the program
//! `thinly-floor` prints its [`Report`], and a kernel test runs it with a few rounds. Beside it,
//! [`accounting`] measures what reads metadata against thin-provisioning-tools.
#![forbid(unsafe_code)]

pub mod accounting;
mod bed;
pub mod floor;
mod growth;
mod ratios;
mod report;
mod samples;
mod timing;

use std::path::PathBuf;

use anyhow::Result;

pub use growth::{Growth, OperationGrowth, Step};
pub use report::{Ratio, Report};
pub use samples::{Samples, timed};
pub use timing::TimingDm;

/// What to measure, and on what. Both disks are overwritten; they must be empty.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The disk of the engine's pool.
    pub disk: PathBuf,
    /// The disk of the pool that takes bare ioctls.
    pub floor_disk: PathBuf,
    /// How often each operation is measured.
    pub rounds: usize,
    /// The number of volumes to which operations are counted first.
    pub volumes_few: usize,
    /// The number of volumes that must not make a difference.
    pub volumes_many: usize,
}

/// Makes both pools, measures, and takes both pools off their disks again.
pub fn measure(plan: &Plan) -> Result<Report> {
    let mut bed = bed::Bed::new(plan)?;
    let ratios = ratios::ratios(&mut bed, plan.rounds)?;
    let growth = growth::growth(&bed, plan.volumes_few, plan.volumes_many)?;
    bed.finish()?;
    Ok(Report { rounds: plan.rounds, ratios, growth })
}
