//! What long-lived processes hold: memory and open files.
//!
//! Of another process that is what the kernel keeps resident. Of this one it is what its allocator has given out and not got
//! back: the soak's own threads come and go with large buffers, and what the allocator keeps of those for later says
//! nothing about the library.
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// Samples below which nothing is said about growth.
const SAMPLES_MIN: usize = 9;
/// The last third may have so much more than the first: a part, and a fixed amount.
const MARGIN_PERCENT: u64 = 10;
const MARGIN_KIB: u64 = 4 << 10;
/// Bytes that the allocator has given out.
pub type LiveBytes = fn() -> u64;
/// A thread of the resident may have a file open for a moment.
const FD_TRIES: u32 = 20;

/// A process, and what it held over time.
#[derive(Debug)]
pub(super) struct Watched {
    what: &'static str,
    process: u32,
    live_bytes: Option<LiveBytes>,
    held_kib: Vec<u64>,
    open_files: Option<usize>,
}

impl Watched {
    pub(super) const fn other(what: &'static str, process: u32) -> Self {
        Self { what, process, live_bytes: None, held_kib: Vec::new(), open_files: None }
    }

    pub(super) fn this(what: &'static str, live_bytes: LiveBytes) -> Self {
        let live_bytes = Some(live_bytes);
        Self { live_bytes, ..Self::other(what, std::process::id()) }
    }

    pub(super) fn sample(&mut self) -> Result<()> {
        if let Some(live_bytes) = self.live_bytes {
            self.held_kib.push(live_bytes() / 1024);
            return Ok(());
        }
        let path = format!("/proc/{}/status", self.process);
        let status = fs::read_to_string(&path).with_context(|| format!("{} is gone", self.what))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        self.held_kib.push(line.trim().trim_end_matches(" kB").parse()?);
        Ok(())
    }

    /// Call it when nothing goes on: once it has `warmed` up it keeps as many files open as it has then.
    pub(super) fn count_files(&mut self, is_warm: bool) -> Result<()> {
        let mut open = read_links(self.process)?;
        if !is_warm {
            return Ok(());
        }
        let first = self.open_files.get_or_insert(open.len());
        for _ in 0..FD_TRIES {
            if open.len() <= *first {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(100));
            open = read_links(self.process)?;
        }
        bail!("{} has {} files open, and had {first}: {open:?}", self.what, open.len());
    }

    /// The mean of the last third is hardly above that of the first.
    pub(super) fn judge(&self) -> Result<String> {
        let (first, last) = thirds(&self.held_kib);
        let limit = first + first * MARGIN_PERCENT / 100 + MARGIN_KIB;
        let is_long = self.held_kib.len() >= SAMPLES_MIN;
        let told = format!(
            "{}: {first} KiB in the first third, {last} KiB in the last, of {} samples; {} files open",
            self.what,
            self.held_kib.len(),
            self.open_files.unwrap_or_default()
        );
        ensure!(!is_long || last <= limit, "memory grows: {told} {:?}", self.held_kib);
        Ok(told)
    }
}

fn read_links(process: u32) -> Result<Vec<PathBuf>> {
    let open = fs::read_dir(format!("/proc/{process}/fd"))?;
    // One may be closed between the two.
    Ok(open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).collect())
}

fn thirds(samples: &[u64]) -> (u64, u64) {
    let part = samples.len().div_ceil(3);
    let mean = |part: &[u64]| {
        let count = u64::try_from(part.len()).unwrap_or(1).max(1);
        part.iter().sum::<u64>() / count
    };
    (mean(&samples[..part]), mean(&samples[samples.len() - part..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_beyond_the_margin_is_seen() {
        let watched = |held_kib| Watched { held_kib, ..Watched::other("it", 1) };
        watched(vec![10_000; 30]).judge().unwrap();
        watched((0..30).map(|at| 10_000 + at * 100).collect()).judge().unwrap();
        let error = watched((0..30).map(|at| 10_000 + at * 400).collect()).judge().unwrap_err();
        assert!(error.to_string().contains("memory grows"), "{error}");
    }

    #[test]
    fn a_file_that_stays_open_is_seen() {
        let mut watched = Watched::other("this test", std::process::id());
        watched.count_files(true).unwrap();
        watched.count_files(true).unwrap();
        let kept = fs::File::open("/dev/null").unwrap();
        let error = watched.count_files(true).unwrap_err();
        assert!(error.to_string().contains("/dev/null"), "{error}");
        drop(kept);
    }
}
