//! Measures the engine against bare ioctls on two empty disks, and prints the ratios.
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use thinly_benches::{Plan, measure};

/// Measure the engine against bare ioctls. Both disks are used and must be empty.
#[derive(Debug, Parser)]
struct Arguments {
    /// The disk of the engine's pool.
    disk: PathBuf,
    /// The disk of the pool that takes bare ioctls; of the same kind and size.
    floor_disk: PathBuf,
    /// How often each operation is timed.
    #[arg(long, default_value_t = 80)]
    rounds: usize,
    /// The number of volumes that must not make an operation dearer.
    #[arg(long, default_value_t = 2000)]
    volumes: usize,
    /// A few rounds and volumes: shows that it works, measures nothing.
    #[arg(long)]
    quick: bool,
    /// Also write the report to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let (rounds, volumes_many) =
        if arguments.quick { (3, 30) } else { (arguments.rounds, arguments.volumes) };
    let report = measure(&Plan {
        disk: arguments.disk,
        floor_disk: arguments.floor_disk,
        rounds,
        volumes_few: 10,
        volumes_many,
    })?;
    print!("{report}");
    if let Some(file) = arguments.json {
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(&file, text + "\n").with_context(|| format!("writing {}", file.display()))?;
    }
    let grown = report.grown();
    if grown.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("dearer with more volumes: {}", grown.join(", "));
    Ok(ExitCode::FAILURE)
}
