//! The driver under a real kubelet, in a guest where `tools/cluster/node.sh` made a node.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "it tells what was done")]

use anyhow::Result;
use clap::Parser;
use thinly_tests::kubelet::walk;

/// Walk through what kubelet does with the driver.
#[derive(Debug, Parser)]
struct Arguments {
    /// Empty disks for the pool.
    #[arg(required = true)]
    devices: Vec<String>,
}

fn main() -> Result<()> {
    walk(&Arguments::parse().devices, |step| println!("{step}"))
}
