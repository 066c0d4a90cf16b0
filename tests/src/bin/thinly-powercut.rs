//! Power cuts, proven: records work in the guest, judges the log anywhere, opens pools in the guest.
#![forbid(unsafe_code)]

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use thinly_tests::power_cut::{Effort, Plan, Report, judge_all, open_some, record};

/// Prove what a power cut leaves of a pool.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Work on a pool whose disk is logged (in the guest).
    Record {
        /// The pool's disk, of 96 MiB; its content is lost.
        disk: PathBuf,
        /// The disk that the log goes to.
        log: PathBuf,
        /// How many operations are picked by chance, after one of every kind.
        #[arg(long, default_value_t = 300)]
        steps: usize,
        /// Which operations those are.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Read the pool at every moment of a log. Prints what was found as JSON.
    Judge {
        /// The log: a device or an image of it.
        log: PathBuf,
        /// Where temporary files go.
        #[arg(long, default_value = ".")]
        directory: PathBuf,
        /// At most so many moments.
        #[arg(long, default_value_t = usize::MAX)]
        moments: usize,
        /// At each of them so many chance parts of what was not flushed.
        #[arg(long, default_value_t = 2)]
        parts: u64,
        /// So many looks by `thin_check`.
        #[arg(long, default_value_t = 50)]
        checks: usize,
    },
    /// Open the pool at some moments of a log (in the guest). Prints what was found as JSON.
    Open {
        /// The log.
        log: PathBuf,
        /// How many moments.
        #[arg(long, default_value_t = 60)]
        moments: usize,
    },
    /// Add the findings up; fails when something went wrong.
    Report {
        /// What the other commands printed.
        findings: Vec<PathBuf>,
    },
}

fn main() -> Result<ExitCode> {
    match Arguments::parse().command {
        Action::Record { disk, log, steps, seed } => {
            let acknowledged = record(&Plan { disk, log, steps, seed })?;
            println!("{acknowledged} operations were acknowledged (seed {seed})");
        }
        Action::Judge { log, directory, moments, parts, checks } => {
            print_json(&judge_all(&log, &directory, Effort { moments, parts, checks })?)?;
        }
        Action::Open { log, moments } => print_json(&open_some(&log, moments)?)?,
        Action::Report { findings } => {
            let mut sum = Report::default();
            for file in findings {
                let found =
                    File::open(&file).with_context(|| format!("cannot open {}", file.display()))?;
                sum = sum.with(serde_json::from_reader(found)?);
            }
            println!("{sum}");
            return Ok(if sum.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_json(report: &Report) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(report)?);
    Ok(())
}
