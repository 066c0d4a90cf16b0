//! Runs groups of measurements on empty disks, and writes what they found.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use thinly_benches::groups::{ALL, Entry};
use thinly_benches::instructions;
use thinly_benches::machine::Machine;
use thinly_benches::report;
use thinly_benches::results::Run;
use thinly_benches::stage::{Extent, Stage};

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
        /// Empty disks of one kind and size; without any, the groups that need none are run.
        disks: Vec<PathBuf>,
        /// Only these groups, in this order; see `list`.
        #[arg(long, value_delimiter = ',', value_name = "NAMES")]
        groups: Vec<String>,
        /// How much: `once` shows that it works, `quick` takes minutes.
        #[arg(long, value_enum, default_value = "full")]
        extent: Extent,
        /// Write the results to this file instead of standard output.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// Write the documentation of runs: its figures, its pictures.
    Report {
        /// What `run --json` wrote.
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
        Action::Run { disks, groups, extent, json } => run(disks, &groups, extent, json),
        Action::Report { results, docs } => {
            let read = |file: &PathBuf| -> Result<Run> {
                let text = fs::read_to_string(file)?;
                serde_json::from_str(&text).map_err(Into::into)
            };
            let read = |file| read(file).with_context(|| format!("reading {}", file.display()));
            let runs: Vec<Run> = results.iter().map(read).collect::<Result<_>>()?;
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

fn picked(names: &[String], disk_count: usize) -> Result<Vec<Entry>> {
    if names.is_empty() {
        let fits = |entry: &&Entry| (entry.disk_count == 0) == (disk_count == 0);
        return Ok(ALL.iter().filter(fits).copied().collect());
    }
    let find = |name: &String| ALL.iter().find(|entry| entry.name == name).copied();
    names
        .iter()
        .map(|name| find(name).with_context(|| format!("there is no group {name:?}; see list")))
        .collect()
}

fn run(
    disks: Vec<PathBuf>,
    names: &[String],
    extent: Extent,
    json: Option<PathBuf>,
) -> Result<ExitCode> {
    let entries = picked(names, disks.len())?;
    let needed = entries.iter().map(|entry| entry.disk_count).max().unwrap_or_default();
    if needed > disks.len() {
        bail!("{needed} empty disks are needed, {} were given", disks.len());
    }
    let machine = Machine::look(&disks)?;
    let stage = Stage { disks, extent };
    let mut run = Run { machine, groups: Vec::new() };
    for entry in entries {
        let group = (entry.run)(&stage).with_context(|| format!("in group {}", entry.name))?;
        eprintln!("{group}");
        run.groups.push(group);
    }
    let text = serde_json::to_string_pretty(&run)? + "\n";
    match json {
        Some(file) => {
            fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
        }
        None => print!("{text}"),
    }
    let has_failed = run.groups.iter().any(|group| !group.failures.is_empty());
    Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
