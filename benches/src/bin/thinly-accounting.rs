//! Measures accounting for space against thin-provisioning-tools, and prints the ratios.
#![forbid(unsafe_code)]

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use thinly_benches::accounting::{Plan, measure, measure_child};

/// Measure accounting for space against thin-provisioning-tools, on generated metadata.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Arguments {
    /// Where the images go, up to 1 GiB of them; a directory.
    #[arg(required = true)]
    scratch: Option<PathBuf>,
    /// The command to measure; without it only the others are timed.
    #[arg(long, value_name = "PROGRAM")]
    thinly: Option<PathBuf>,
    /// How often each command is run; once when it takes longer than half a minute.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Small images and single runs: shows that it works, measures nothing.
    #[arg(long)]
    small: bool,
    /// Also write the report to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(subcommand)]
    clock: Option<Clock>,
}

#[derive(Debug, Subcommand)]
enum Clock {
    /// Run one program and tell what it took.
    #[command(hide = true)]
    TimeChild {
        /// The program and its words.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(Clock::TimeChild { words }) = arguments.clock {
        println!("{}", serde_json::to_string(&measure_child(&words)?)?);
        return Ok(());
    }
    let report = measure(&Plan {
        scratch: arguments.scratch.context("no scratch directory")?,
        thinly: arguments.thinly,
        clock: env::current_exe()?,
        runs: if arguments.small { 1 } else { arguments.runs },
        small: arguments.small,
    })?;
    print!("{report}");
    if let Some(file) = arguments.json {
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(&file, text + "\n").with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}
