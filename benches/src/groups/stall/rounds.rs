//! Windows in which somebody writes and one snapshot is taken.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::bare::Bare;
use super::contender::{Contender, Sizes, Target};
use super::filesystem::Mounted;
use super::lvm::Lvm;
use super::ours::Ours;
use crate::bed::fill;
use crate::samples::{Samples, timed};
use crate::stage::Stage;
use crate::watcher::{Access, Watched, Watcher};

/// Who takes no snapshot.
pub(super) const NOBODY: &str = "nobody";

/// What one contender did to one kind of writer.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) name: &'static str,
    pub(super) target: Target,
    /// The longest gap of each window.
    pub(super) gaps: Samples,
    /// How long taking each snapshot took.
    pub(super) snapshots: Samples,
    /// All writes of all windows.
    pub(super) writes: Watched,
}

/// A contender with data on its volumes.
struct Prepared {
    contender: Box<dyn Contender>,
    mounted: Mounted,
    device: PathBuf,
    sizes: Sizes,
}

/// Rounds of windows, one for each contender and kind of writer.
pub(super) fn measure(stage: &Stage) -> Result<Vec<Found>> {
    let sizes = Sizes::of(stage.extent);
    let mut all = vec![
        Prepared::new(Box::new(Ours::new(stage.disk(0)?, sizes)?), sizes)?,
        Prepared::new(Box::new(Bare::new(stage.disk(1)?, sizes)?), sizes)?,
        Prepared::new(Box::new(Lvm::new(stage.disk(2)?, sizes)?), sizes)?,
    ];
    let mut found = Vec::new();
    for target in Target::ALL {
        found.extend(all.iter().map(|one| Found::new(one.contender.name(), target)));
        found.push(Found::new(NOBODY, target));
    }
    let half = Duration::from_millis(stage.extent.pick(100, 1000, 1000));
    // Rounds that are not counted: the engine's first freeze locks the process's memory.
    let warm_up = stage.extent.pick(0, 1, 1);
    for round in 0..warm_up + super::rounds_of(stage.extent) {
        let half = if round < warm_up { half / 5 } else { half };
        for turn in 0..found.len() {
            let place = (turn + round) % found.len();
            let one = &mut found[place];
            one.window(&mut all, half, round >= warm_up)
                .with_context(|| format!("{} on a {}", one.name, one.target.words()))?;
        }
    }
    all.into_iter().try_for_each(Prepared::finish)?;
    Ok(found)
}

impl Found {
    fn new(name: &'static str, target: Target) -> Self {
        let (gaps, snapshots) = (Samples::default(), Samples::default());
        Self { name, target, gaps, snapshots, writes: Watched::default() }
    }

    /// One window, with a snapshot in its middle if this contender takes one.
    fn window(&mut self, all: &mut [Prepared], half: Duration, is_counted: bool) -> Result<()> {
        let own = all.iter().position(|one| one.contender.name() == self.name);
        let prepared = &mut all[own.unwrap_or(0)];
        let (path, length) = prepared.place(self.target);
        let watcher = Watcher::start(&path, length, Access::Write, 1 << 20)?;
        thread::sleep(half);
        let mut took = Ok(((), Duration::ZERO));
        if own.is_some() {
            took = timed(|| prepared.contender.snapshot(self.target));
        }
        thread::sleep(half);
        let writes = watcher.finish()?;
        let ((), took) = took?;
        if own.is_some() {
            prepared.contender.forget(self.target)?;
        }
        if is_counted {
            self.gaps.push(writes.longest_gap);
            self.snapshots.push(took);
            self.writes.add(writes);
        }
        Ok(())
    }
}

impl Prepared {
    fn new(contender: Box<dyn Contender>, sizes: Sizes) -> Result<Self> {
        let device = contender.device(Target::Device)?;
        fill(&device, sizes.volume.get())?;
        let mounted = Mounted::new(&contender.device(Target::File)?, sizes.file)?;
        Ok(Self { contender, mounted, device, sizes })
    }

    /// Where to write, and how far.
    fn place(&self, target: Target) -> (PathBuf, u64) {
        match target {
            Target::Device => (self.device.clone(), self.sizes.volume.get()),
            Target::File => (self.mounted.file(), self.sizes.file.get()),
        }
    }

    fn finish(self) -> Result<()> {
        drop(self.mounted);
        self.contender.finish()
    }
}
