//! One operation done by both sides in turns, so that what drifts on the host meets both alike.
#![forbid(unsafe_code)]

use std::time::Duration;

use anyhow::Result;

use crate::results::{Bound, Group, Table};
use crate::samples::{Samples, timed};

/// The times of one operation, ours and the rival's.
#[derive(Debug, Default, Clone)]
pub struct Pair {
    /// Ours.
    pub ours: Samples,
    /// The rival's.
    pub rival: Samples,
}

impl Pair {
    /// Adds one turn of both.
    pub fn push(&mut self, ours: Duration, rival: Duration) {
        self.ours.push(ours);
        self.rival.push(rival);
    }

    /// Runs both, one after the other, and adds their times.
    pub fn push_turn<A, B>(
        &mut self,
        ours_first: bool,
        ours: impl FnOnce() -> Result<A>,
        rival: impl FnOnce() -> Result<B>,
    ) -> Result<()> {
        let (_, ours, _, rival) = in_turn(ours_first, || timed(ours), || timed(rival))?;
        self.push(ours, rival);
        Ok(())
    }

    /// Our median against the rival's.
    pub fn ratio(&self) -> f64 {
        self.ours.median().as_secs_f64() / self.rival.median().as_secs_f64()
    }

    /// The head of a table of pairs.
    pub fn table(title: impl Into<String>) -> Table {
        Table::new(title, &["operation", "ours", "p90", "rival", "p90", "ratio", "the rival"])
    }

    /// Adds the pair to a group: a row in its table (microseconds), and the ratio as a figure.
    pub fn tell(
        &self,
        group: &mut Group,
        table: &mut Table,
        name: &str,
        rival: &str,
        bound: Bound,
    ) {
        let micros = |duration: Duration| format!("{:.0}", duration.as_secs_f64() * 1e6);
        table.row([
            name.to_owned(),
            micros(self.ours.median()),
            micros(self.ours.p90()),
            micros(self.rival.median()),
            micros(self.rival.p90()),
            format!("{:.2}", self.ratio()),
            rival.to_owned(),
        ]);
        group.goal(format!("{name}, against {rival}"), self.ratio(), "x", bound);
    }
}

/// Runs both, one after the other. Who goes first changes from round to round, so that neither
/// always finds what the other left behind.
pub fn in_turn<A, B>(
    ours_first: bool,
    ours: impl FnOnce() -> Result<(A, Duration)>,
    rival: impl FnOnce() -> Result<(B, Duration)>,
) -> Result<(A, Duration, B, Duration)> {
    if ours_first {
        let (a, ours) = ours()?;
        let (b, rival) = rival()?;
        return Ok((a, ours, b, rival));
    }
    let (b, rival) = rival()?;
    let (a, ours) = ours()?;
    Ok((a, ours, b, rival))
}
