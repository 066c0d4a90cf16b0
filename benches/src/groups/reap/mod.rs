//! What a neighbour notices when a large volume is deleted, and how long that takes.
#![forbid(unsafe_code)]

mod lvm;
mod no_discards;
mod prepare;
mod sides;

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use thinly_engine::block_device::{Access as Claim, BlockDevice};
use thinly_engine::units::Bytes;

use self::lvm::Lvm;
use self::no_discards::NoDiscards;
use self::prepare::{BLOCK_BYTES, DATA_SLACK};
use self::sides::{Bare, Ours};
use crate::results::{Axis, Bound, Group, Plot, Series, Table};
use crate::samples::timed;
use crate::stage::{Extent, Stage};
use crate::watcher::{Access, Watched, Watcher};

/// How long the neighbour reads before and after.
const RUN_UP: Duration = Duration::from_millis(200);

/// How many reads are kept: those of some minutes on a fast disk.
const ROOM: usize = 8 << 20;

/// What a side did to its neighbour.
#[derive(Debug)]
struct Deletion {
    whose: &'static str,
    /// How long until the space was free.
    took: Duration,
    reads: Watched,
}

/// Deletes a snapshot that shares everything, and then the volume itself, beside a reader.
pub(super) fn reap(stage: &Stage) -> Result<Group> {
    let mut group = Group::new("reap", "What a delete costs its neighbours", TEXT);
    let mappings = mappings(stage)?;
    let neighbour = Bytes::new(stage.extent.pick(4 << 20, 64 << 20, 64 << 20));
    let told = told(stage, neighbour, &mut group)?;
    // The message tells the disks nothing, so neither does the engine where the two are compared.
    // Not where times are not looked at: some kernels leave such a disk without discards.
    let quiet = stage.extent.pick(0, 3, 3);
    let quiet = (0..quiet).map(|disk| NoDiscards::new(stage.disk(disk)?));
    let _quiet: Vec<NoDiscards> = quiet.collect::<Result<_>>()?;
    let ours = Ours::new(stage.disk(0)?, mappings, neighbour)?;
    let shared = ours.delete_snapshot()?;
    let alone = ours.delete_volume()?;
    ours.finish(&mut group)?;
    let mut bare = Bare::new(stage.disk(1)?, mappings, neighbour)?;
    let bare_shared = bare.delete_snapshot()?;
    let bare_alone = bare.delete_volume()?;
    bare.finish(&mut group)?;
    let lvm = Lvm::new(stage.disk(2)?, mappings, neighbour)?;
    let lvm_shared = lvm.delete_snapshot()?;
    let lvm_alone = lvm.delete_volume()?;
    lvm.finish()?;
    let title = format!("A volume of {mappings} random mappings, ms");
    group.tables.push(table(&title, &[&alone, &bare_alone, &lvm_alone]));
    let title = format!("A snapshot that shares all {mappings} mappings with its origin, ms");
    group.tables.push(table(&title, &[&shared, &bare_shared, &lvm_shared]));
    group.tables.push(told);
    // A bare delete of few mappings is over before anybody notices.
    let bound = stage.extent.pick(Bound::Shown, Bound::Shown, Bound::AtMost(1.0 / 20.0));
    tell(&mut group, "the delete of a volume", (&alone, &bare_alone), bound);
    let what = "the delete of a snapshot that shares all";
    tell(&mut group, what, (&shared, &bare_shared), Bound::Shown);
    let longest = ratio(|one| one.reads.max(), &alone, &lvm_alone);
    let what = "longest read beside the delete of a volume, against lvremove";
    group.goal(what, longest, "x", Bound::Shown);
    let line = |one: &Deletion| Series { name: one.whose.to_owned(), points: one.reads.tail() };
    group.plots.push(Plot {
        file: "stall-delete".to_owned(),
        title: format!("Reads of a neighbour while a volume of {mappings} mappings is deleted"),
        x: Axis::logarithmic("latency, us"),
        y: Axis::logarithmic("reads that took at least as long"),
        series: vec![line(&alone), line(&bare_alone), line(&lvm_alone)],
    });
    Ok(group)
}

/// A smaller volume, on a disk that is told of every piece that is free.
fn told(stage: &Stage, neighbour: Bytes, group: &mut Group) -> Result<Table> {
    let mappings = (mappings(stage)? / 20).max(5000);
    let ours = Ours::new(stage.disk(0)?, mappings, neighbour)?;
    let deletion = ours.delete_volume()?;
    ours.finish(group)?;
    let title = format!("A volume of {mappings} random mappings on a disk that takes discards, ms");
    Ok(table(&title, &[&deletion]))
}

/// How many blocks are mapped: as many as asked for, or as the disks have room for.
fn mappings(stage: &Stage) -> Result<u64> {
    let asked = match stage.extent {
        Extent::Once => 8000,
        Extent::Quick => 200_000,
        Extent::Full => 1_000_000,
    };
    let disk = BlockDevice::open(stage.disk(0)?, Claim::ReadOnly)?.size().get();
    Ok(asked.min(disk / BLOCK_BYTES.get() * 10 / DATA_SLACK))
}

/// Reads a neighbour here and there while something is done.
fn beside_reader(
    whose: &'static str,
    neighbour: &Path,
    length: Bytes,
    work: impl FnOnce() -> Result<()>,
) -> Result<Deletion> {
    let watcher = Watcher::start(neighbour, length.get(), Access::Read, ROOM)?;
    thread::sleep(RUN_UP);
    let done = timed(work);
    thread::sleep(RUN_UP);
    let reads = watcher.finish()?;
    let ((), took) = done?;
    Ok(Deletion { whose, took, reads })
}

fn table(title: &str, deletions: &[&Deletion]) -> Table {
    let columns = ["whose", "in all", "reads", "p50", "p99", "p99.9", "longest"];
    let mut table = Table::new(title, &columns);
    let millis = |duration: Duration| format!("{:.2}", duration.as_secs_f64() * 1e3);
    for Deletion { whose, took, reads } in deletions {
        table.row([
            (*whose).to_owned(),
            millis(*took),
            reads.count().to_string(),
            millis(reads.per_mille(500)),
            millis(reads.per_mille(990)),
            millis(reads.per_mille(999)),
            millis(reads.max()),
        ]);
    }
    table
}

fn tell(group: &mut Group, what: &str, (ours, bare): (&Deletion, &Deletion), bound: Bound) {
    let longest = ratio(|one| one.reads.max(), ours, bare);
    let against = "against the bare message";
    group.goal(format!("longest read beside {what}, {against}"), longest, "x", bound);
    let rare = ratio(|one| one.reads.per_mille(999), ours, bare);
    group.goal(format!("p99.9 of the reads beside {what}, {against}"), rare, "x", Bound::Shown);
    let whole = ratio(|one| one.took, ours, bare);
    group.goal(format!("time of {what}, {against}"), whole, "x", Bound::Shown);
}

fn ratio(of: impl Fn(&Deletion) -> Duration, ours: &Deletion, rival: &Deletion) -> f64 {
    of(ours).as_secs_f64() / of(rival).as_secs_f64()
}

const TEXT: &str = "\
Three pools with 64 KiB blocks: one with the engine, one with bare ioctls, one of LVM. In each there is one large volume whose
virtual blocks are mapped one by one to data blocks in random order: dm-thin's metadata is generated (it is what the kernel
would leave; `thin_check` accepts it in the generator's tests) and put in the place of the pool's own while that is closed,
because writing so many blocks takes long. A
thread makes one 4 KiB `O_DIRECT` read after the other, at random, on a small neighbour whose blocks are all mapped. First a
snapshot that shares everything is deleted, then the volume itself: by the engine (`delete`, then the reaper until the space
is free), by the bare `delete` message with the status after it, and by `lvremove`.

The message takes the tree apart under a lock that every read of the pool needs; `lvremove` sends the same message. The
engine first discards, by at most 16 MiB at a time, what no other volume reaches, also when the volume had snapshots before,
as here; that takes longer in all, because each piece is found, removed and counted by itself. What other volumes reach is
left to the message, which does not go below it.

The message tells the disks nothing of what is free; the engine's discards do where the disks take them. Here random blocks make
that one small discard for each mapping, and the time is then the disk's. So the two are compared on disks whose discards
are turned off (Linux 6.12 cannot turn them on again before the disk is detached or the machine starts again; the run says
so), and a smaller volume is deleted on one that takes them.

A reader that stands still makes no reads, so a single long wait hardly moves the quantiles: beside the bare message the longest
read says it all.";
