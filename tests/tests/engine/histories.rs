//! Random histories of a pool, judged by thin-provisioning-tools: what is mapped and shared, what
//! differs, and whether the metadata is sound.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use thinly_engine::metadata::{DiffKind, Severity};
use thinly_engine::pool::{CatalogueFinding, Pool};
use thinly_engine::units::{BlockSize, Bytes};
use thinly_tests::{Disks, is_soak, sh};

use crate::support::{Bed, activate, active, fill, judged_costs, mib, name, our_costs};

/// How long a volume is, in blocks.
const VOLUME_BLOCKS: u64 = 512;
/// 64 KiB: many blocks for little data.
const BLOCK_BYTES: u64 = 64 << 10;
/// No more volumes and snapshots than this at a time.
const OBJECTS_MAX: usize = 14;
/// How much happens between two judgements.
const STEPS: usize = 12;

/// How many follow each other on one pool.
fn histories() -> u64 {
    if is_soak() { 150 } else { 6 }
}

/// Numbers that are the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A pool and what lives in it; a volume has its device, a snapshot none.
struct History {
    bed: Bed,
    random: Random,
    objects: BTreeMap<String, Option<PathBuf>>,
    made: u32,
}

impl History {
    fn new(seed: u64) -> Result<Self> {
        let blocks = BlockSize::new(Bytes::new(BLOCK_BYTES).to_sectors_exact()?)?;
        let bed = Bed::with(Disks::new(&[1 << 30])?, |asked| asked.block_size = blocks)?;
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Ok(Self { bed, random, objects: BTreeMap::new(), made: 0 })
    }

    fn pick(
        &mut self,
        wanted: impl Fn(&Option<PathBuf>) -> bool,
    ) -> Option<(String, Option<PathBuf>)> {
        let fitting: Vec<_> = self.objects.iter().filter(|(_, device)| wanted(device)).collect();
        let place = self.random.below(fitting.len().max(1) as u64);
        let (name, device) = fitting.get(usize::try_from(place).ok()?)?;
        Some(((*name).clone(), (*device).clone()))
    }

    fn new_name(&mut self) -> String {
        self.made += 1;
        format!("o{:03}", self.made)
    }

    fn step(&mut self, pool: &Pool) -> Result<()> {
        let full = self.objects.len() >= OBJECTS_MAX;
        match self.random.below(12) {
            0..=4 => self.write(),
            5..=6 => self.discard(),
            7 | 8 if !full => self.snapshot(pool),
            9 if !full => self.copy(pool),
            10 if !full => self.create(pool),
            _ => self.delete(pool),
        }
    }

    fn range(&mut self) -> (Bytes, Bytes) {
        let first = self.random.below(VOLUME_BLOCKS);
        let length = (1 + self.random.below(24)).min(VOLUME_BLOCKS - first);
        (Bytes::new(first * BLOCK_BYTES), Bytes::new(length * BLOCK_BYTES))
    }

    fn write(&mut self) -> Result<()> {
        let Some((_, Some(device))) = self.pick(Option::is_some) else { return Ok(()) };
        for _ in 0..3 {
            let (offset, length) = self.range();
            fill(&device, offset, length, 0x5a)?;
        }
        Ok(())
    }

    fn discard(&mut self) -> Result<()> {
        let Some((_, Some(device))) = self.pick(Option::is_some) else { return Ok(()) };
        let (offset, length) = self.range();
        sh(&format!("blkdiscard --offset {offset} --length {length} {}", device.display()))?;
        Ok(())
    }

    fn create(&mut self, pool: &Pool) -> Result<()> {
        let volume = self.new_name();
        let device = active(pool, &volume, Bytes::new(VOLUME_BLOCKS * BLOCK_BYTES))?;
        fill(&device, mib(0), mib(1), 0x11)?;
        self.objects.insert(volume, Some(device));
        Ok(())
    }

    fn snapshot(&mut self, pool: &Pool) -> Result<()> {
        let Some((origin, _)) = self.pick(Option::is_some) else { return Ok(()) };
        let snapshot = self.new_name();
        pool.snapshot(&name(&origin), &name(&snapshot))?;
        self.objects.insert(snapshot, None);
        Ok(())
    }

    fn copy(&mut self, pool: &Pool) -> Result<()> {
        let Some((source, _)) = self.pick(|_| true) else { return Ok(()) };
        let copy = self.new_name();
        pool.clone_volume(&name(&source), &name(&copy), None)?;
        let device = activate(pool, &copy)?;
        self.objects.insert(copy, Some(device));
        Ok(())
    }

    fn delete(&mut self, pool: &Pool) -> Result<()> {
        let Some((object, device)) = self.pick(|_| true) else { return Ok(()) };
        if device.is_some() {
            pool.deactivate(&name(&object))?;
        }
        pool.delete(&name(&object))?;
        pool.reap(&mut |_| ())?;
        self.objects.remove(&object);
        Ok(())
    }

    /// What the pool says of itself while it is open, and what the judges say of an image of it.
    fn judge(&mut self, directory: &Path) -> Result<()> {
        let image = directory.join("image");
        let _ = std::fs::remove_file(&image);
        self.bed.engine.copy_metadata(&self.bed.pool, &image, &mut |_, _| ())?;
        sh(&format!("thin_check -q {}", image.display()))?;
        self.judge_usage(&image)?;
        for _ in 0..2 {
            self.judge_diff(&image)?;
        }
        Ok(())
    }

    fn judge_usage(&self, image: &Path) -> Result<()> {
        let judged = judged_costs(&image.display().to_string())?;
        let ours = our_costs(&self.bed, BLOCK_BYTES)?;
        ensure!(ours == judged, "ours: {ours:?}\nthin_ls: {judged:?}");
        Ok(())
    }

    fn judge_diff(&mut self, image: &Path) -> Result<()> {
        let (Some((from, _)), Some((to, _))) = (self.pick(|_| true), self.pick(|_| true)) else {
            return Ok(());
        };
        let volumes = self.bed.engine.volumes(&self.bed.pool)?;
        let id = |of: &str| {
            let volume = volumes.iter().find(|volume| volume.name.as_str() == of);
            volume.and_then(|volume| volume.thin_id).context("a volume without a thin id")
        };
        let (one, other) = (id(&from)?, id(&to)?);
        let xml = sh(&format!(
            "thin_delta --thin1 {one} --thin2 {other} {} | grep -v same",
            image.display()
        ))?;
        let mut judged = Vec::new();
        for line in xml.lines() {
            let kind = match line.trim_start_matches([' ', '<']).split(' ').next() {
                Some("different") => DiffKind::Changed,
                Some("left_only") => DiffKind::Removed,
                Some("right_only") => DiffKind::Added,
                _ => continue,
            };
            let field = |name: &str| -> Result<u64> {
                let (_, rest) = line.split_once(&format!("{name}=\"")).context("no field")?;
                Ok(rest.split('"').next().unwrap_or_default().parse()?)
            };
            judged.push((field("begin")?, field("length")?, kind));
        }
        let diff = self.bed.engine.diff(&self.bed.pool, Some(&name(&from)), &name(&to))?;
        let mut ours = Vec::new();
        for range in diff.ranges {
            let range = range?;
            let blocks = |bytes: Bytes| bytes.get() / BLOCK_BYTES;
            ours.push((blocks(range.offset), blocks(range.length), range.kind));
        }
        ensure!(merged(&ours) == merged(&judged), "{from} {to}: {ours:?}\nthin_delta: {judged:?}");
        Ok(())
    }

    /// What the kernel wrote itself, space maps and all.
    fn judge_closed(&self, directory: &Path) -> Result<()> {
        let checked = self.bed.engine.check(&self.bed.pool, &mut |_, _| ())?;
        let found: Vec<String> =
            checked.metadata.findings.iter().map(ToString::to_string).collect();
        ensure!(
            found.is_empty() && checked.catalogue.is_empty(),
            "{found:?} {:?}",
            checked.catalogue
        );
        let image = directory.join("closed");
        let _ = std::fs::remove_file(&image);
        self.bed.engine.copy_metadata(&self.bed.pool, &image, &mut |_, _| ())?;
        sh(&format!("thin_check -q {}", image.display()))?;
        self.judge_usage(&image)
    }
}

/// Ranges of one kind that touch, as one: the judge ends a range where the data blocks jump.
fn merged(ranges: &[(u64, u64, DiffKind)]) -> Vec<(u64, u64, DiffKind)> {
    let mut all: Vec<(u64, u64, DiffKind)> = Vec::new();
    for &(first, length, kind) in ranges {
        match all.last_mut() {
            Some(last) if last.0 + last.1 == first && last.2 == kind => last.1 += length,
            _ => all.push((first, length, kind)),
        }
    }
    all
}

/// Goes on with an open pool until it is judged, closed and judged again.
fn go_on(history: &mut History, pool: Pool, directory: &Path) -> Result<()> {
    for _ in 0..STEPS {
        history.step(&pool)?;
    }
    history.judge(directory)?;
    for (object, device) in &history.objects {
        if device.is_some() {
            pool.deactivate(&name(object))?;
        }
    }
    pool.release()?;
    history.bed.engine.close_pool(&history.bed.pool)?;
    history.judge_closed(directory)
}

#[test]
fn random_histories_are_accounted_for_as_the_judges_do() -> Result<()> {
    go_through(1)
}

#[test]
fn other_random_histories_are_accounted_for_as_the_judges_do() -> Result<()> {
    go_through(2)
}

fn go_through(seed: u64) -> Result<()> {
    let directory = tempfile::tempdir_in("/scratch")?;
    // One pool for all: what was written and deleted before is part of what comes after.
    let mut history = History::new(seed)?;
    let mut pool = history.bed.attach()?;
    for number in 1..=histories() {
        history.create(&pool)?;
        go_on(&mut history, pool, directory.path()).with_context(|| format!("history {number}"))?;
        pool = history.bed.open()?;
        for (object, device) in history.objects.iter_mut().filter(|(_, device)| device.is_some()) {
            *device = Some(activate(&pool, object)?);
        }
    }
    Ok(())
}

/// A check that finds nothing in sound pools must find what is wrong in others.
#[test]
fn what_is_wrong_between_catalogue_and_pool_is_found() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    fill(&active(&pool, "web", mib(16))?, mib(0), mib(4), 1)?;
    pool.snapshot(&name("web"), &name("web@1"))?;
    let checked = bed.engine.check(&bed.pool, &mut |_, _| ())?;
    ensure!(checked.metadata.worst() == Some(Severity::Note), "{:?}", checked.metadata.findings);
    ensure!(checked.catalogue.is_empty(), "{:?}", checked.catalogue);
    let snapshot = pool.volume(&name("web@1"))?.thin_id.context("no thin id")?;
    pool.release()?;
    bed.message("create_thin 4000")?;
    bed.message(&format!("delete {snapshot}"))?;
    let checked = bed.engine.check(&bed.pool, &mut |_, _| ())?;
    let kinds: Vec<_> = checked.catalogue.iter().map(CatalogueFinding::kind).collect();
    ensure!(kinds == ["VolumeGone", "Orphan"], "{kinds:?}");
    Ok(())
}
