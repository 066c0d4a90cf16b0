//! Running one program under a clock that also sees its memory.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

use super::{CLOCK_VERB, LONG};
use crate::program::{self, command};

/// The kernel tells `ru_maxrss` in KiB.
const MAX_RSS_UNIT_BYTES: u64 = 1024;

/// What one run of a program took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Measured {
    /// From the start to the end.
    pub wall_seconds: f64,
    /// Processor time, of all its threads.
    pub cpu_seconds: f64,
    /// The most memory that it had at a time, mapped files included.
    pub peak_rss_bytes: u64,
}

/// Runs the program `words` with its output thrown away, and tells what it took.
///
/// To be called once by a process that did nothing else: what a child has of memory begins with
/// its parent's, and the kernel tells the maximum over all children.
pub fn measure_child(words: &[OsString]) -> Result<Measured> {
    let (program, arguments) = words.split_first().context("no program to run")?;
    let began = Instant::now();
    let status =
        command(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let wall = began.elapsed();
    let status = status.with_context(|| format!("running {}", program.display()))?;
    ensure!(status.success(), "{words:?} ended with {status}");
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu = [usage.user_time(), usage.system_time()].map(|time| {
        let micros = time.tv_sec().saturating_mul(1_000_000).saturating_add(time.tv_usec());
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    });
    Ok(Measured {
        wall_seconds: wall.as_secs_f64(),
        cpu_seconds: cpu.iter().sum::<Duration>().as_secs_f64(),
        peak_rss_bytes: u64::try_from(usage.max_rss()).unwrap_or(0) * MAX_RSS_UNIT_BYTES,
    })
}

/// Runs programs, each under a fresh process that does nothing but watch it.
#[derive(Debug)]
pub(super) struct Clock {
    program: PathBuf,
    runs: usize,
}

impl Clock {
    pub(super) fn new(program: &Path, runs: usize) -> Self {
        Self { program: program.to_owned(), runs: runs.max(1) }
    }

    /// The medians of several runs; of one, when that takes long.
    pub(super) fn median(&self, words: &[OsString]) -> Result<Measured> {
        let first = self.once(words)?;
        let mut all = vec![first];
        while all.len() < self.runs && first.wall_seconds < LONG.as_secs_f64() {
            all.push(self.once(words)?);
        }
        all.sort_unstable_by(|a, b| a.wall_seconds.total_cmp(&b.wall_seconds));
        let mut median = all[all.len() / 2];
        all.sort_unstable_by_key(|measured| measured.peak_rss_bytes);
        median.peak_rss_bytes = all[all.len() / 2].peak_rss_bytes;
        Ok(median)
    }

    fn once(&self, words: &[OsString]) -> Result<Measured> {
        let output = command(&self.program)
            .arg(CLOCK_VERB)
            .args(words)
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("running {}", self.program.display()))?;
        ensure!(output.status.success(), "{words:?} failed");
        serde_json::from_slice(&output.stdout).with_context(|| format!("timing {words:?}"))
    }
}

/// Which thin-provisioning-tools there are.
pub(super) fn tools_version() -> Result<String> {
    let output = command(program::path("thin_check")).arg("-V").output();
    let output = output.context("thin_check: is thin-provisioning-tools installed?")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
