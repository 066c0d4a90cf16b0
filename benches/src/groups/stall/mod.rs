//! How long whoever writes to an origin has to wait when one snapshot of it is taken.
#![forbid(unsafe_code)]

mod bare;
mod contender;
mod filesystem;
mod lvm;
mod ours;
mod rounds;

use anyhow::Result;
use thinly_engine::units::{BlockSize, Bytes};

use self::rounds::Found;
use crate::results::{Axis, Bound, Group, Plot, Series, Table};
use crate::stage::{Extent, Stage};

/// LVM's own default, and the smallest that there is.
const BLOCK_BYTES: Bytes = Bytes::new(64 << 10);

/// The write stall of a raw device and of a file system, under each who can take the snapshot.
pub(super) fn stall(stage: &Stage) -> Result<Group> {
    let mut group = Group::new("stall", "What a snapshot costs whoever writes to its origin", TEXT);
    let found = rounds::measure(stage)?;
    group.tables.push(table(&found, rounds_of(stage.extent)));
    goals(&found, &mut group);
    group.plots.push(plot(&found));
    Ok(group)
}

/// How many windows each contender gets.
fn rounds_of(extent: Extent) -> usize {
    extent.pick(1, 5, 15)
}

fn block_size() -> Result<BlockSize> {
    Ok(BlockSize::new(BLOCK_BYTES.to_sectors_exact()?)?)
}

fn table(found: &[Found], rounds: usize) -> Table {
    let title = format!(
        "{rounds} windows each with one snapshot in its middle, ms: medians of the longest gap and \
         of the time the snapshot took; all writes of all windows"
    );
    let columns =
        ["snapshot by", "writer on", "gap", "longest", "snapshot", "writes", "p50", "p99", "p99.9"];
    let mut table = Table::new(title, &columns);
    let millis = |duration: std::time::Duration| format!("{:.2}", duration.as_secs_f64() * 1e3);
    for one in found {
        let writes = &one.writes;
        table.row([
            one.name.to_owned(),
            one.target.words().to_owned(),
            millis(one.gaps.median()),
            millis(writes.longest_gap),
            millis(one.snapshots.median()),
            writes.count().to_string(),
            millis(writes.per_mille(500)),
            millis(writes.per_mille(990)),
            millis(writes.per_mille(999)),
        ]);
    }
    table
}

fn goals(found: &[Found], group: &mut Group) {
    for ours in found.iter().filter(|one| one.name == ours::NAME) {
        let words = ours.target.words();
        let gap = |name: &str| {
            let other = found.iter().find(|one| one.name == name && one.target == ours.target);
            other.map_or(f64::NAN, |other| other.gaps.median().as_secs_f64())
        };
        let own = ours.gaps.median().as_secs_f64();
        let what = format!("write stall of a snapshot, {words}, against lvcreate -s");
        group.goal(what, own / gap(lvm::NAME), "x", Bound::AtMost(1.0));
        let what = format!("write stall of a snapshot, {words}, against bare ioctls");
        group.goal(what, own / gap(bare::NAME), "x", Bound::Shown);
        let what = format!("longest gap without any snapshot, {words}");
        group.goal(what, gap(rounds::NOBODY) * 1e3, "ms", Bound::Shown);
    }
}

fn plot(found: &[Found]) -> Plot {
    let line = |one: &Found| Series {
        name: format!("{}, {}", one.name, one.target.words()),
        points: one.writes.tail(),
    };
    Plot {
        file: "stall-snapshot".to_owned(),
        title: "Writes while a snapshot of their origin is taken".to_owned(),
        x: Axis::logarithmic("latency, us"),
        y: Axis::logarithmic("writes that took at least as long"),
        series: found.iter().map(line).collect(),
    }
}

const TEXT: &str = "\
One thread makes a 4 KiB `O_DIRECT` write after the other at random places, and keeps when each one ended, in memory that was
there before: on a thin device whose blocks are all written, and on a file, written beforehand, in an ext4 that is mounted on
another one. In the middle of each window one snapshot of that device is taken. What counts is the longest time between the
ends of two writes, in the median over the windows; who comes first changes from window to window. The contenders have a disk of
the same kind each and 64 KiB blocks: the engine in this process; bare `suspend`, `create_snap`, `resume`, status, proof and
record; `lvcreate -s` as people run it, a process that is started; and nobody, which shows what the machine itself adds. Each
snapshot is gone before the next window. After a snapshot each first write to a block copies it, for all alike: that is in
the latencies, and in the gaps where it lasts longer than the freeze. The plot shows, for each latency, how many writes took at
least as long.";
