//! Runs groups of measurements on empty disks, and writes what they found.
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use thinly_benches::groups::{ALL, Entry};
use thinly_benches::machine::Machine;
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
        /// Empty disks of one kind and size.
        #[arg(required = true)]
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
    /// Say what is measured.
    List,
}

fn main() -> Result<ExitCode> {
    match Arguments::parse().action {
        Action::Run { disks, groups, extent, json } => run(disks, &groups, extent, json),
        Action::List => {
            for Entry { name, about, disk_count, .. } in ALL {
                println!("{name:<16} {about} ({disk_count} disks)");
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn picked(names: &[String]) -> Result<Vec<Entry>> {
    if names.is_empty() {
        return Ok(ALL.to_vec());
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
    let entries = picked(names)?;
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
