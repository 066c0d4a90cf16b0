//! What it costs to account for space from metadata, beside thin-provisioning-tools on the same
//! images in the same run.
//!
//! Every command runs as a child of its own under the same clock; [`measure_child`] is what the
//! benchmark's program runs as that clock.
#![forbid(unsafe_code)]

mod child;
mod comparison;
mod image;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use self::child::{Clock, tools_version};
pub use self::child::{Measured, measure_child};
use self::comparison::COMPARISONS;
pub use self::image::ImageFacts;
use self::image::{Image, shapes};
pub use self::report::{Report, Row, Side};

/// A command that takes longer is run once.
const LONG: Duration = Duration::from_secs(30);

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where the images go; they are removed afterwards.
    pub scratch: PathBuf,
    /// The command `thinly`; without it only the others are timed.
    pub thinly: Option<PathBuf>,
    /// The program that runs [`measure_child`] when its first argument is [`CLOCK_VERB`].
    pub clock: PathBuf,
    /// How often each command is run.
    pub runs: usize,
    /// Small images: shows that it works, measures nothing.
    pub small: bool,
}

/// The argument that makes the benchmark's program the clock of one child.
pub const CLOCK_VERB: &str = "time-child";

/// Generates the images, checks them, and times every comparison on each.
pub fn measure(plan: &Plan) -> Result<Report> {
    let clock = Clock::new(&plan.clock, plan.runs);
    let mut report =
        Report { tools: tools_version()?, runs: plan.runs, images: Vec::new(), rows: Vec::new() };
    for shape in shapes(plan.small) {
        eprintln!("{}: generating", shape.name);
        let image = Image::generate(&shape, &plan.scratch)?;
        eprintln!("{}: {}", shape.name, image.facts);
        image.verify(plan.thinly.as_deref())?;
        for comparison in COMPARISONS {
            if let Some(row) = comparison.measure(&clock, plan.thinly.as_deref(), &image)? {
                eprintln!("{row}");
                report.rows.push(row);
            }
        }
        report.images.push(image.facts.clone());
    }
    Ok(report)
}
