//! Somebody who uses a volume and notices when it stands still: one small read or write after the
//! other, past the page cache, and how long each took.
#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use nix::fcntl::OFlag;
use thinly_engine::aligned::AlignedBuffer;

/// What is read or written at once.
const OPERATION_BYTES: u64 = 4096;

/// What a watcher does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reads.
    Read,
    /// Writes; none is flushed.
    Write,
}

/// A thread that uses a device or a file.
#[derive(Debug)]
pub(crate) struct Watcher {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Watched>>,
}

/// What a watcher, or several, went through.
#[derive(Debug, Default, Clone)]
pub(crate) struct Watched {
    /// How many nanoseconds each operation took, from the shortest on.
    sorted: Vec<u64>,
    /// The longest time from the end of one operation to the end of the next.
    pub(crate) longest_gap: Duration,
}

impl Watcher {
    /// Starts to use the first `length` bytes of `path`, here and there, and returns when it does.
    /// The memory for `room` operations is taken before: none may be while somebody is frozen.
    pub(crate) fn start(path: &Path, length: u64, access: Access, room: usize) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(access == Access::Write)
            .custom_flags(OFlag::O_DIRECT.bits())
            .open(path)
            .with_context(|| format!("opening {} for a watcher", path.display()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, wait) = sync_channel(1);
        let blocks = length / OPERATION_BYTES;
        let user = User { file, blocks, access, room, stop: Arc::clone(&stop) };
        let thread = thread::spawn(move || user.run(&ready));
        // A watcher that failed at once says why when it is asked for what it saw.
        let _ = wait.recv();
        Ok(Self { stop, thread })
    }

    /// Ends it.
    pub(crate) fn finish(self) -> Result<Watched> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("a watcher panicked"))?
    }
}

struct User {
    file: File,
    blocks: u64,
    access: Access,
    room: usize,
    stop: Arc<AtomicBool>,
}

impl User {
    fn run(&self, ready: &SyncSender<()>) -> Result<Watched> {
        ensure!(self.blocks > 0, "a watcher got nothing to watch");
        let mut buffer = AlignedBuffer::zeroed(usize::try_from(OPERATION_BYTES)?);
        buffer.fill(0x77);
        // Written to, so that it is memory and not a promise of it.
        let mut took = vec![u64::MAX; self.room];
        took.clear();
        let mut longest_gap = Duration::ZERO;
        let mut place = 0x9e37_79b9_7f4a_7c15_u64;
        self.operate(&mut buffer, 0)?;
        ready.send(())?;
        let mut last_end = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            ensure!(took.len() < self.room, "a watcher had room for {} operations", self.room);
            place ^= place << 13;
            place ^= place >> 7;
            place ^= place << 17;
            let began = Instant::now();
            self.operate(&mut buffer, place % self.blocks)?;
            let end = Instant::now();
            took.push(u64::try_from((end - began).as_nanos())?);
            longest_gap = longest_gap.max(end - last_end);
            last_end = end;
        }
        took.sort_unstable();
        Ok(Watched { sorted: took, longest_gap })
    }

    fn operate(&self, buffer: &mut AlignedBuffer, block: u64) -> Result<()> {
        let offset = block * OPERATION_BYTES;
        match self.access {
            Access::Read => self.file.read_exact_at(buffer, offset),
            Access::Write => self.file.write_all_at(buffer, offset),
        }
        .with_context(|| format!("a watcher could not {:?} at {offset}", self.access))
    }
}

impl Watched {
    /// Adds what another one went through.
    pub(crate) fn add(&mut self, other: Self) {
        self.sorted.extend(other.sorted);
        self.sorted.sort_unstable();
        self.longest_gap = self.longest_gap.max(other.longest_gap);
    }

    /// How many operations there were.
    pub(crate) fn count(&self) -> usize {
        self.sorted.len()
    }

    /// What all operations but so many of a thousand did not exceed.
    pub(crate) fn per_mille(&self, per_mille: usize) -> Duration {
        let rank = (self.sorted.len() * per_mille).div_ceil(1000);
        Duration::from_nanos(self.sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default())
    }

    /// The longest operation.
    pub(crate) fn max(&self) -> Duration {
        Duration::from_nanos(self.sorted.last().copied().unwrap_or_default())
    }

    /// How many operations took at least how long, in microseconds, at steps that grow evenly. One
    /// that took a second stays to be seen beside a million that took a millisecond: a count for
    /// each step would be a line between zeros there.
    pub(crate) fn tail(&self) -> Vec<(f64, f64)> {
        let step = 10_f64.powf(0.1);
        let micros = |nanos: &u64| Duration::from_nanos(*nanos).as_secs_f64() * 1e6;
        let shortest = self.sorted.first().map_or(0.0, micros);
        let longest = self.sorted.last().map_or(0.0, micros);
        let mut at = 1.0;
        while at * step <= shortest {
            at *= step;
        }
        let mut points = Vec::new();
        while at < longest {
            let less = self.sorted.partition_point(|took| micros(took) < at);
            points.push((at, count_as_f64(self.sorted.len() - less)));
            at *= step;
        }
        points.push((longest, 1.0));
        points
    }
}

fn count_as_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(micros: impl IntoIterator<Item = u64>) -> Watched {
        let mut sorted: Vec<u64> = micros.into_iter().map(|micros| micros * 1000).collect();
        sorted.sort_unstable();
        Watched { sorted, longest_gap: Duration::ZERO }
    }

    #[test]
    fn quantiles_are_operations_that_were_made() {
        let mut all = watched(1..=999);
        all.add(watched([5000]));
        assert_eq!(all.count(), 1000);
        let micros = [500, 990, 999, 1000].map(|part| all.per_mille(part).as_micros());
        assert_eq!(micros, [500, 990, 999, 5000]);
        assert_eq!(all.max().as_micros(), 5000);
        assert_eq!(Watched::default().max(), Duration::ZERO);
    }

    #[test]
    fn the_tail_falls_from_all_to_the_longest() {
        let points = watched([50, 50, 50, 100, 20_000]).tail();
        assert!(points.is_sorted_by(|a, b| a.0 < b.0 && a.1 >= b.1), "{points:?}");
        assert_eq!(points.first().map(|point| point.1), Some(5.0));
        assert_eq!(points.last(), Some(&(20_000.0, 1.0)));
        assert!(points.iter().any(|point| (1.5..2.5).contains(&point.1)), "{points:?}");
    }

    #[test]
    fn a_watcher_keeps_what_it_does() {
        let file = tempfile::NamedTempFile::new_in("/var/tmp").unwrap();
        file.as_file().write_all_at(&vec![1; 64 << 10], 0).unwrap();
        let watcher = Watcher::start(file.path(), 64 << 10, Access::Write, 1 << 20).unwrap();
        thread::sleep(Duration::from_millis(20));
        let writes = watcher.finish().unwrap();
        assert!(writes.count() > 0 && writes.longest_gap >= writes.max());
        let mut byte = [0];
        file.as_file().read_exact_at(&mut byte, 0).unwrap();
        assert_eq!(byte, [0x77]);
        assert!(Watcher::start(file.path(), 0, Access::Read, 1).unwrap().finish().is_err());
    }
}
