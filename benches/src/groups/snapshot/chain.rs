//! A long chain: each snapshot is one of the snapshot before it.

use anyhow::{Context, Result};
use thinly_engine::catalogue::VolumeName;

use crate::bed::Bed;
use crate::results::{Bound, Group, Table};
use crate::samples::{Samples, timed};
use crate::stage::Extent;

/// How much of the chain's beginning and end is compared, at most.
const ENDS_MAX: usize = 50;

pub(super) fn chain(bed: &mut Bed, extent: Extent, group: &mut Group) -> Result<()> {
    let length = extent.pick(10, 200, 1000);
    let ends = ENDS_MAX.min(length / 2);
    let (mut first, mut last) = (Samples::default(), Samples::default());
    let (mut bare_first, mut bare_last) = (Samples::default(), Samples::default());
    let mut origin = bed.origin.clone();
    let mut bare_origin = bed.floor_origin;
    for number in 0..=length {
        let name = VolumeName::new(&format!("chain-{number}"))?;
        let id = bed.floor.take_id()?;
        let (_, ours) = timed(|| Ok(bed.pool.snapshot(&origin, &name)?))
            .with_context(|| format!("snapshot {number} of a chain"))?;
        // The first one freezes its origin; all others are of a snapshot that is not in use.
        if number == 0 {
            bed.floor.snapshot(bare_origin, id)?;
        } else {
            let ((), bare) = timed(|| bed.floor.snapshot_inactive(bare_origin, id))?;
            if number <= ends {
                first.push(ours);
                bare_first.push(bare);
            } else if number > length - ends {
                last.push(ours);
                bare_last.push(bare);
            }
        }
        (origin, bare_origin) = (name, id);
    }
    let micros = |samples: &Samples| format!("{:.0}", samples.median().as_secs_f64() * 1e6);
    let ratio = |last: &Samples, first: &Samples| {
        last.median().as_secs_f64() / first.median().as_secs_f64()
    };
    let title = format!("A chain of {length} snapshots, each of the one before, microseconds");
    let mut table = Table::new(title, &["whose", "first", "last", "ratio"]);
    for (whose, first, last) in [("ours", &first, &last), ("bare", &bare_first, &bare_last)] {
        let ratio = format!("{:.2}", ratio(last, first));
        table.row([whose.to_owned(), micros(first), micros(last), ratio]);
    }
    group.tables.push(table);
    // The kernel's own cost changes along the chain: what counts is whether ours changes more.
    let what = format!(
        "growth of a snapshot's cost along a chain of {length}, against that of bare ioctls"
    );
    let growth = ratio(&last, &first) / ratio(&bare_last, &bare_first);
    let goal = Bound::AtMost(1.1);
    group.goal(what, growth, "x", extent.pick(Bound::Shown, goal, goal));
    Ok(())
}
