//! `thinly-csi`: see `--help`.
#![forbid(unsafe_code)]

mod args;

use std::io::{IsTerminal, stderr};

use anyhow::Context as _;
use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::args::{Args, LogFormat};

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    log_to_standard_error(args.log_format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime failed")?;
    let served = runtime.block_on(thinly_csi::serve::serve(args.into_options()));
    // A freeing of blocks may still be under way; it is safe to leave it.
    runtime.shutdown_background();
    Ok(served?)
}

fn log_to_standard_error(format: LogFormat) -> anyhow::Result<()> {
    let mut filter = EnvFilter::builder()
        .with_default_directive(tracing::Level::INFO.into())
        .from_env()
        .context("RUST_LOG is not understood; try RUST_LOG=info")?;
    if !std::env::var("RUST_LOG").is_ok_and(|asked| asked.contains("kube")) {
        // It tells each failed request; the controller tells what has changed.
        filter = filter.add_directive("kube_client=off".parse()?);
    }
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_target(false);
    match format {
        LogFormat::Json => builder.json().with_span_list(false).init(),
        LogFormat::Text => builder.with_ansi(stderr().is_terminal()).init(),
    }
    Ok(())
}
