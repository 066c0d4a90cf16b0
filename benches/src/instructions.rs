//! What the hot path costs in instructions: a number that a busy machine does not change.
//!
//! Each piece runs in a process of its own under `valgrind --tool=callgrind`, once with few runs and
//! once with more; the difference of both, divided, is one run without its preparation. The numbers
//! that were accepted are in the tree, and a piece that needs more than [`TOLERANCE`] above its own
//! is a regression. One that needs as much less is told too: its number should be lowered.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::micro::{CASES, Case};
use crate::program::command;
use crate::results::{Bound, Group, Table};

/// A change elsewhere moves what the optimiser inlines, by up to five percent for a piece it never touched; other compilers and
/// C libraries differ by as much.
pub const TOLERANCE: f64 = 0.10;
/// Runs of a piece: the first ones fill caches and tables.
const RUNS_FEW: u64 = 5;
const RUNS_MANY: u64 = 25;

/// Instructions of one run, by case.
pub type Counts = BTreeMap<String, u64>;

/// Runs one piece, as often as told: what callgrind looks at.
pub fn perform(name: &str, runs: u64, directory: &Path) -> Result<()> {
    let case = CASES.iter().find(|case| case.name == name);
    let case = case.with_context(|| format!("there is no case {name:?}"))?;
    let mut piece = (case.prepare)(directory)?;
    (0..runs).try_for_each(|_| piece())
}

/// Counts every piece. `program` performs one when it is called with `perform NAME RUNS DIRECTORY`.
pub fn count(program: &Path) -> Result<Counts> {
    let directory = tempfile::tempdir()?;
    let one = |case: &Case| -> Result<(String, u64)> {
        perform(case.name, 0, directory.path())?;
        let total = |runs| total(program, case.name, runs, directory.path());
        let (few, many) = (total(RUNS_FEW)?, total(RUNS_MANY)?);
        let each = many.saturating_sub(few) / (RUNS_MANY - RUNS_FEW);
        Ok((case.name.to_owned(), each))
    };
    CASES.iter().map(one).collect()
}

/// Instructions of a whole process.
fn total(program: &Path, case: &str, runs: u64, directory: &Path) -> Result<u64> {
    let output = command("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["perform", case, &runs.to_string()])
        .arg(directory)
        .stdin(Stdio::null())
        .output()
        .context("starting valgrind; `make deps` installs it")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{case} under callgrind: {}\n{told}", output.status);
    collected(&told).with_context(|| format!("callgrind did not say what it counted:\n{told}"))
}

/// From the line `==123== Collected : 4567`.
fn collected(told: &str) -> Option<u64> {
    told.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
}

/// What was counted beside what was accepted.
pub fn compare(counted: &Counts, accepted: &Counts) -> Group {
    let mut group = Group::new("instructions", "Pieces of the hot path, in instructions", TEXT);
    let mut table = Table::new("Instructions of one run", &["piece", "now", "accepted", "ratio"]);
    for (name, &now) in counted {
        let Some(&before) = accepted.get(name) else {
            table.row([name.clone(), now.to_string(), "-".to_owned(), "-".to_owned()]);
            group.failures.push(format!("{name} has no accepted number yet"));
            continue;
        };
        #[allow(clippy::cast_precision_loss, reason = "a ratio is told to a hundredth")]
        let ratio = now as f64 / before.max(1) as f64;
        table.row([name.clone(), now.to_string(), before.to_string(), format!("{ratio:.3}")]);
        group.goal(
            format!("{name}, instructions against the accepted number"),
            ratio,
            "x",
            Bound::AtMost(1.0 + TOLERANCE),
        );
        if ratio > 1.0 + TOLERANCE {
            group.failures.push(format!("{name} needs {now} instructions, {before} are accepted"));
        }
    }
    for name in accepted.keys().filter(|name| !counted.contains_key(*name)) {
        group.failures.push(format!("{name} is accepted and no case any more"));
    }
    group.tables.push(table);
    group
}

const TEXT: &str = "\
Counted by callgrind, natively, so that the number is the same on a quiet machine and on a busy one. `make test` fails when
a piece needs over 10 % more than the number in `benches/instructions.json`; `make bench-accept` writes the file anew.";

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, u64)]) -> Counts {
        pairs.iter().map(|&(name, count)| (name.to_owned(), count)).collect()
    }

    #[test]
    fn only_what_grew_beyond_the_tolerance_fails() {
        let accepted = counts(&[("a", 1000), ("b", 1000), ("gone", 1)]);
        let group = compare(&counts(&[("a", 1100), ("b", 1101), ("new", 1)]), &accepted);
        assert_eq!(
            group.failures,
            [
                "b needs 1101 instructions, 1000 are accepted",
                "new has no accepted number yet",
                "gone is accepted and no case any more"
            ]
        );
        assert_eq!(compare(&accepted, &accepted).failures, [""; 0]);
    }

    #[test]
    fn the_count_is_found_in_what_callgrind_says() {
        let told = "==7== Events    : Ir\n==7== Collected : 123456\n==7==\n";
        assert_eq!(collected(told), Some(123_456));
        assert_eq!(collected("==7== killed"), None);
    }

    #[test]
    fn every_piece_runs() {
        let directory = tempfile::tempdir().unwrap();
        for case in CASES {
            perform(case.name, 3, directory.path()).unwrap();
        }
    }
}
