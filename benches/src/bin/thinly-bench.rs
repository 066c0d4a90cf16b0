//! Runs groups of measurements on empty disks, and writes what they found.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use thinly_benches::groups::{ALL, Entry};
use thinly_benches::instructions;
use thinly_benches::report;
use thinly_benches::results::Run;
use thinly_benches::runner::{Request, run};

/// What the engine costs, beside the bare kernel and beside others.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Measure. Everything on the disks is overwritten; a disk that carries a signature is refused.
    Run {
        #[command(flatten)]
        request: Request,
    },
    /// Write the documentation of runs: its figures, its pictures.
    Report {
        /// What `run` wrote.
        #[arg(required = true)]
        results: Vec<PathBuf>,
        /// The directory of the documentation.
        #[arg(long, default_value = "docs")]
        docs: PathBuf,
    },
    /// Count instructions of small pieces under callgrind, beside the accepted numbers.
    Instructions {
        /// The accepted numbers.
        #[arg(default_value = "benches/instructions.json")]
        accepted: PathBuf,
        /// Write the file anew from what is counted now.
        #[arg(long)]
        accept: bool,
    },
    /// Run one piece (what callgrind looks at).
    #[command(hide = true)]
    Perform { name: String, runs: u64, directory: PathBuf },
    /// Say what is measured.
    List,
}

fn main() -> Result<ExitCode> {
    match Arguments::parse().action {
        Action::Run { request } => {
            Ok(if run(ALL, &request)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Action::Report { results, docs } => {
            let mut runs = Vec::new();
            for file in &results {
                let reading = || format!("reading {}", file.display());
                let text = fs::read_to_string(file).with_context(reading)?;
                // Several runs may have written to one file, one after the other.
                for run in serde_json::Deserializer::from_str(&text).into_iter::<Run>() {
                    runs.push(run.with_context(reading)?);
                }
            }
            report::write(&runs, &docs)?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Instructions { accepted, accept } => count(&accepted, accept),
        Action::Perform { name, runs, directory } => {
            instructions::perform(&name, runs, &directory)?;
            Ok(ExitCode::SUCCESS)
        }
        Action::List => {
            for Entry { name, about, disk_count, .. } in ALL {
                println!("{name:<16} {about} ({disk_count} disks)");
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn count(accepted: &Path, accept: bool) -> Result<ExitCode> {
    let counted = instructions::count(&std::env::current_exe()?)?;
    if accept {
        let text = serde_json::to_string_pretty(&counted)? + "\n";
        fs::write(accepted, text).with_context(|| format!("writing {}", accepted.display()))?;
    }
    let text = fs::read_to_string(accepted)
        .with_context(|| format!("reading the accepted numbers in {}", accepted.display()))?;
    let group = instructions::compare(&counted, &serde_json::from_str(&text)?);
    println!("{group}");
    Ok(if group.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
