//! What an operation costs with few volumes and with many: it must be the same.

use std::time::Duration;

use anyhow::{Context, Result};
use thinly_engine::catalogue::VolumeName;
use thinly_engine::metadata::prove_device;
use thinly_engine::pool::{Counters, Pool, VolumeAccess};
use thinly_engine::units::ThinId;

use crate::bed::{Bed, VOLUME_SIZE};
use crate::results::{Group, Table};
use crate::samples::Samples;

/// Passes over all operations at one size. The middle one counts: a checkpoint that happens to fall
/// into a pass, or a proof that starts again, is not the operation's own cost.
const PASSES: usize = 5;

/// A proof reads the superblock before and after the lookup.
const SUPERBLOCK_READS: u64 = 2;

/// What one operation costs, without its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    /// Ioctls.
    ioctls: u64,
    /// Durable writes of the journal.
    journal_writes: u64,
    /// Their bytes.
    journal_bytes: u64,
    /// Reads of the metadata device.
    metadata_reads: u64,
    /// The time in microseconds; it says nothing where it is not read beside a floor.
    time_us: u128,
}

impl Step {
    fn cells(&self) -> [String; 5] {
        let Self { ioctls, journal_writes, journal_bytes, metadata_reads, time_us } = self;
        let counts = [ioctls, journal_writes, journal_bytes, metadata_reads].map(u64::to_string);
        let [ioctls, writes, bytes, reads] = counts;
        [ioctls, writes, bytes, reads, time_us.to_string()]
    }
}

/// One operation at both sizes.
#[derive(Debug, Clone)]
struct OperationGrowth {
    /// The operation.
    name: &'static str,
    /// With few volumes.
    few: Step,
    /// With many.
    many: Step,
    /// Reads that the deeper device tree explains.
    reads_allowed: u64,
}

impl OperationGrowth {
    /// Whether the operation costs the same.
    fn is_constant(&self) -> bool {
        let Self { few, many, .. } = self;
        many.ioctls == few.ioctls
            && many.journal_writes == few.journal_writes
            && many.journal_bytes == few.journal_bytes
            && many.metadata_reads <= few.metadata_reads + self.reads_allowed
    }
}

/// All operations at both sizes.
#[derive(Debug, Clone)]
struct Growth {
    /// Volumes that had a thin id at the first size.
    volumes_few: usize,
    /// Volumes that had a thin id at the second size.
    volumes_many: usize,
    /// Blocks from the root of the device tree to a leaf, at the first size.
    tree_depth_few: u64,
    /// The same at the second size.
    tree_depth_many: u64,
    /// The operations.
    operations: Vec<OperationGrowth>,
}

/// Counts every operation at both sizes.
pub(super) fn growth(
    bed: &Bed,
    volumes_few: usize,
    volumes_many: usize,
    group: &mut Group,
) -> Result<()> {
    let growth = count(bed, volumes_few, volumes_many)?;
    for operation in &growth.operations {
        if !operation.is_constant() {
            group.failures.push(format!("dearer with more volumes: {}", operation.name));
        }
    }
    group.tables.push(growth.table());
    Ok(())
}

impl Growth {
    fn table(&self) -> Table {
        let Self { volumes_few, volumes_many, tree_depth_few, tree_depth_many, .. } = self;
        let title = format!(
            "With {volumes_few} volumes (device tree {tree_depth_few} deep) and with {volumes_many} \
             ({tree_depth_many} deep): ioctls, journal writes and their bytes, reads of metadata, us"
        );
        let step = ["ioctls", "writes", "bytes", "reads", "us"];
        let columns: Vec<&str> = ["operation"].into_iter().chain(step).chain(step).collect();
        let mut table = Table::new(title, &columns);
        for operation in &self.operations {
            let name = operation.name.to_owned();
            let cells = operation.few.cells().into_iter().chain(operation.many.cells());
            table.row(std::iter::once(name).chain(cells));
        }
        table
    }
}

fn count(bed: &Bed, volumes_few: usize, volumes_many: usize) -> Result<Growth> {
    populate(bed, volumes_few)?;
    let tree_depth_few = tree_depth(bed)?;
    let few = costs(bed)?;
    populate(bed, volumes_many)?;
    let tree_depth_many = tree_depth(bed)?;
    let many = costs(bed)?;
    let deeper = tree_depth_many.saturating_sub(tree_depth_few);
    let operations = few.into_iter().zip(many).map(|((name, few), (_, many))| {
        // Each proof of one id goes down the tree once.
        let proofs = few.metadata_reads / (SUPERBLOCK_READS + tree_depth_few);
        OperationGrowth { name, few, many, reads_allowed: proofs * deeper }
    });
    let operations = operations.collect();
    Ok(Growth { volumes_few, volumes_many, tree_depth_few, tree_depth_many, operations })
}

/// Adds volumes that are in the device tree until there are `count`.
fn populate(bed: &Bed, count: usize) -> Result<()> {
    let base = VolumeName::new("base")?;
    if bed.pool.volume(&base).is_err() {
        bed.pool.create_volume(&base, VOLUME_SIZE)?;
    }
    for number in bed.pool.catalogue().volume_count()..count {
        let name = VolumeName::new(&format!("filler-{number:06}"))?;
        bed.pool.clone_volume(&base, &name, None).with_context(|| format!("making {name:?}"))?;
    }
    Ok(())
}

/// How deep the device tree is, as a lookup of its own shows.
fn tree_depth(bed: &Bed) -> Result<u64> {
    let id = ThinId::new(u32::try_from(bed.pool.catalogue().volume_count())?)?;
    let mut reads = u64::MAX;
    for _ in 0..PASSES {
        let metadata = bed.metadata()?;
        prove_device(&metadata, id)?;
        reads = reads.min(metadata.io_counts().0);
    }
    Ok(reads.saturating_sub(SUPERBLOCK_READS))
}

#[derive(Debug, Default)]
struct Costs {
    counts: Vec<Step>,
    times: Samples,
}

/// The middle of each number over all passes.
fn costs(bed: &Bed) -> Result<Vec<(&'static str, Step)>> {
    let mut all: Vec<(&'static str, Costs)> = Vec::new();
    for _ in 0..PASSES {
        for (position, (name, step, time)) in pass(bed)?.into_iter().enumerate() {
            if position == all.len() {
                all.push((name, Costs::default()));
            }
            all[position].1.counts.push(step);
            all[position].1.times.push(time);
        }
    }
    Ok(all.into_iter().map(|(name, costs)| (name, costs.middle())).collect())
}

impl Costs {
    fn middle(&self) -> Step {
        let of = |field: fn(&Step) -> u64| {
            let mut values: Vec<u64> = self.counts.iter().map(field).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        Step {
            ioctls: of(|step| step.ioctls),
            journal_writes: of(|step| step.journal_writes),
            journal_bytes: of(|step| step.journal_bytes),
            metadata_reads: of(|step| step.metadata_reads),
            time_us: self.times.median().as_micros(),
        }
    }
}

type Measured = Vec<(&'static str, Step, Duration)>;

/// Every operation once; leaves the volumes as they were.
fn pass(bed: &Bed) -> Result<Measured> {
    let pool = &bed.pool;
    let name = VolumeName::new("volume")?;
    let snapshot = VolumeName::new("snapshot")?;
    let mut measured = Measured::new();
    let mut run = |label, work: &dyn Fn() -> Result<()>| -> Result<()> {
        let (step, time) = counted(pool, work).with_context(|| format!("counting: {label}"))?;
        measured.push((label, step, time));
        Ok(())
    };
    let access = VolumeAccess::ReadWrite;
    run("create", &|| pool.create_volume(&name, VOLUME_SIZE).map(drop).map_err(Into::into))?;
    run("first activation", &|| pool.activate(&name, access).map(drop).map_err(Into::into))?;
    run("deactivate", &|| pool.deactivate(&name).map(drop).map_err(Into::into))?;
    run("activate", &|| pool.activate(&name, access).map(drop).map_err(Into::into))?;
    run("snapshot, active origin", &|| {
        pool.snapshot(&bed.origin, &snapshot).map(drop).map_err(Into::into)
    })?;
    pool.deactivate(&name)?;
    run("delete", &|| pool.delete(&name).map_err(Into::into))?;
    run("reap", &|| pool.reap(&mut |_| {}).map(drop).map_err(Into::into))?;
    pool.delete(&snapshot)?;
    pool.reap(&mut |_| {})?;
    Ok(measured)
}

fn counted(pool: &Pool, work: &dyn Fn() -> Result<()>) -> Result<(Step, Duration)> {
    let before = pool.counters();
    let ((), time) = crate::samples::timed(work)?;
    let step = difference(&before, &pool.counters());
    Ok((step, time))
}

fn difference(before: &Counters, after: &Counters) -> Step {
    Step {
        ioctls: after.dm.since(&before.dm).total(),
        journal_writes: after.journal.writes - before.journal.writes,
        journal_bytes: after.journal.bytes_written - before.journal.bytes_written,
        metadata_reads: after.metadata_reads - before.metadata_reads,
        time_us: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Step =
        Step { ioctls: 3, journal_writes: 1, journal_bytes: 4096, metadata_reads: 3, time_us: 0 };

    #[test]
    fn only_the_depth_of_the_tree_may_add_reads() {
        let grown = |many| OperationGrowth { name: "x", few: STEP, many, reads_allowed: 1 };
        assert!(grown(STEP).is_constant());
        assert!(grown(Step { metadata_reads: 4, time_us: 9, ..STEP }).is_constant());
        assert!(!grown(Step { metadata_reads: 5, ..STEP }).is_constant());
        assert!(!grown(Step { ioctls: 4, ..STEP }).is_constant());
        assert!(!grown(Step { journal_writes: 2, ..STEP }).is_constant());
        assert!(!grown(Step { journal_bytes: 8192, ..STEP }).is_constant());
    }
}
