//! Runs groups one after the other, and writes what they found.
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::groups::Entry;
use crate::machine::Machine;
use crate::results::Run;
use crate::stage::{Extent, Stage};

/// What to run, and where.
#[derive(Debug, clap::Args)]
pub struct Request {
    /// Empty disks of one kind and size; without any, the groups that need none are run.
    pub disks: Vec<PathBuf>,
    /// Only these groups, in this order.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub groups: Vec<String>,
    /// How much: `once` shows that it works, `quick` takes minutes.
    #[arg(long, value_enum, default_value = "full")]
    pub extent: Extent,
    /// Write the results to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Runs what is asked for of `entries`; tells whether every exact number was right. What a person
/// watches goes to standard error, the results to the file or to standard output.
pub fn run(entries: &[Entry], request: &Request) -> Result<bool> {
    let Request { disks, groups, extent, json } = request;
    let entries = picked(entries, groups, disks.len())?;
    let needed = entries.iter().map(|entry| entry.disk_count).max().unwrap_or_default();
    ensure!(needed <= disks.len(), "{needed} empty disks are needed, {} were given", disks.len());
    let stage = Stage { disks: disks.clone(), extent: *extent };
    let machine = Machine::look(disks)?;
    let mut run = Run { machine, extent: *extent, groups: Vec::new() };
    for entry in entries {
        let group = (entry.run)(&stage).with_context(|| format!("in group {}", entry.name))?;
        eprintln!("{group}");
        run.groups.push(group);
    }
    let text = serde_json::to_string_pretty(&run)? + "\n";
    match json {
        Some(file) => {
            fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
        }
        None => print!("{text}"),
    }
    Ok(run.groups.iter().all(|group| group.failures.is_empty()))
}

fn picked(entries: &[Entry], names: &[String], disk_count: usize) -> Result<Vec<Entry>> {
    if names.is_empty() {
        let fits = |entry: &&Entry| (entry.disk_count == 0) == (disk_count == 0);
        return Ok(entries.iter().filter(fits).copied().collect());
    }
    let find = |name: &String| entries.iter().find(|entry| entry.name == name).copied();
    let known = || entries.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
    names
        .iter()
        .map(|name| find(name).with_context(|| format!("no group {name:?}; there are {}", known())))
        .collect()
}
