//! What the driver's calls cost; see docs/benchmarks.md.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use thinly_benches::runner::{Request, run};
use thinly_tests::csi_rate::CSI;

/// Measure the driver's calls beside an empty call and the engine. All disks are overwritten.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    request: Request,
}

fn main() -> Result<ExitCode> {
    let Arguments { request } = Arguments::parse();
    Ok(if run(&[CSI], &request)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
