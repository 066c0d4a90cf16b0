//! The outcome of a run, for people and for programs.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::growth::{Growth, Step};
use crate::samples::Samples;

/// One operation of the engine beside the least that the kernel asks for it.
#[derive(Debug, Clone, Serialize)]
pub struct Ratio {
    /// The operation.
    pub name: &'static str,
    /// What it is compared with.
    pub against: &'static str,
    /// The engine's median, in microseconds.
    pub ours_median_us: f64,
    /// The engine's 90th percentile, in microseconds.
    pub ours_p90_us: f64,
    /// The floor's median, in microseconds.
    pub bare_median_us: f64,
    /// The floor's 90th percentile, in microseconds.
    pub bare_p90_us: f64,
    /// The ratio of the medians.
    pub ratio: f64,
    /// The most that the ratio should be; `None` where it is only told.
    pub goal: Option<f64>,
}

impl Ratio {
    pub(crate) fn new(
        name: &'static str,
        against: &'static str,
        ours: &Samples,
        bare: &Samples,
        goal: Option<f64>,
    ) -> Self {
        let (ours_median_us, bare_median_us) = (micros(ours.median()), micros(bare.median()));
        Self {
            name,
            against,
            ours_median_us,
            ours_p90_us: micros(ours.p90()),
            bare_median_us,
            bare_p90_us: micros(bare.p90()),
            ratio: ours_median_us / bare_median_us,
            goal,
        }
    }

    /// Whether the goal was met, where there is one.
    pub fn is_met(&self) -> Option<bool> {
        self.goal.map(|goal| self.ratio <= goal)
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Everything that one run found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// How often each operation was timed.
    pub rounds: usize,
    /// The engine against the floor.
    pub ratios: Vec<Ratio>,
    /// Few volumes against many.
    pub growth: Growth,
}

impl Report {
    /// Operations whose cost grew with the number of volumes.
    pub fn grown(&self) -> Vec<&'static str> {
        let grown = self.growth.operations.iter().filter(|operation| !operation.is_constant());
        grown.map(|operation| operation.name).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_ratios(f)?;
        writeln!(f)?;
        self.write_growth(f)
    }
}

impl Report {
    fn write_ratios(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Against the bare kernel: {} rounds in turns, times in us", self.rounds)?;
        writeln!(
            f,
            "{:<34} {:>9} {:>9} {:>9} {:>9} {:>6} {:>5}  {:<5} against",
            "operation", "median", "p90", "bare med", "bare p90", "ratio", "goal", "",
        )?;
        for row in &self.ratios {
            let goal = row.goal.map_or_else(|| "-".to_owned(), |goal| format!("{goal:.1}"));
            let verdict = match row.is_met() {
                Some(true) => "PASS",
                Some(false) => "MISS",
                None => "",
            };
            writeln!(
                f,
                "{:<34} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>6.2} {goal:>5}  {verdict:<5} {}",
                row.name,
                row.ours_median_us,
                row.ours_p90_us,
                row.bare_median_us,
                row.bare_p90_us,
                row.ratio,
                row.against,
            )?;
        }
        Ok(())
    }

    fn write_growth(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Growth { volumes_few, volumes_many, tree_depth_few, tree_depth_many, operations } =
            &self.growth;
        writeln!(
            f,
            "What an operation costs with {volumes_few} volumes (device tree {tree_depth_few} deep) \
             and with {volumes_many} ({tree_depth_many} deep)",
        )?;
        let columns =
            format!("{:>6} {:>6} {:>6} {:>6} {:>9}", "ioctl", "writes", "bytes", "reads", "us");
        writeln!(f, "{:<25} {columns}  | {columns}", "operation")?;
        for operation in operations {
            let (few, many): (&Step, &Step) = (&operation.few, &operation.many);
            let verdict = if operation.is_constant() { "PASS" } else { "GROWS" };
            writeln!(f, "{:<25} {few}  | {many}  {verdict}", operation.name)?;
        }
        Ok(())
    }
}
