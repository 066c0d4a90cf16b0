//! What a CreateVolume costs; see docs/benchmarks.md.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "it prints its report")]

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use thinly_tests::csi_rate::{Plan, measure};

/// Measures CreateVolume beside Probe, the engine and LVM. All disks are overwritten.
#[derive(Debug, Parser)]
struct Args {
    /// An empty disk for the driver's pool.
    driver_disk: PathBuf,
    /// An empty disk for the engine's pool.
    engine_disk: PathBuf,
    /// An empty disk for LVM.
    lvm_disk: Option<PathBuf>,
    /// How often each operation is measured.
    #[arg(long, default_value_t = 80)]
    rounds: usize,
    /// With how many volumes.
    #[arg(long, value_delimiter = ',', default_value = "10,2000")]
    volumes: Vec<usize>,
}

fn main() -> Result<()> {
    let Args { driver_disk, engine_disk, lvm_disk, rounds, mut volumes } = Args::parse();
    volumes.sort_unstable();
    let report = measure(&Plan { driver_disk, engine_disk, lvm_disk, rounds, volumes })?;
    print!("{report}");
    Ok(())
}
