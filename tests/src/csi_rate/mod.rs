//! What the driver's calls cost above the engine's work and an empty call, and how many a second
//! there can be, measured side by side in one run. `docs/benchmarks.md` says how to read it.

mod rate;
mod sides;
mod single;

use anyhow::Result;
use thinly_benches::groups::Entry;
use thinly_benches::results::Group;
use thinly_benches::stage::Stage;

use self::sides::Sides;
use crate::csi::CsiBed;

/// The driver, as a group of measurements.
pub const CSI: Entry = Entry {
    name: "csi",
    about: "the driver's calls over its socket, alone and 32 at a time",
    disk_count: 2,
    run: csi,
};

/// Makes both pools, measures, and takes both off their disks again.
fn csi(stage: &Stage) -> Result<Group> {
    let mut group = Group::new("csi", "The driver over its socket", TEXT);
    let extent = stage.extent;
    let bed = CsiBed::on(&[stage.disk(0)?.to_owned()], "")?;
    let driver = bed.start()?;
    let mut sides = Sides::new(driver.client().clone(), stage.disk(1)?)?;
    let mut table = single::table();
    for volumes in extent.pick([2, 4], [10, 500], [10, 2000]) {
        sides.fill(volumes)?;
        single::measure(&sides, extent.pick(2, 20, 80), &mut group, &mut table)?;
    }
    group.tables.push(table);
    rate::measure(&sides, extent.pick(32, 160, 640), &mut group)?;
    sides.finish()?;
    driver.stop()?;
    thinly_engine::pool::Engine::new()?.destroy_pool(bed.pool())?;
    Ok(group)
}

const TEXT: &str = "\
The driver runs as its own process on one disk and is called by a real gRPC client over its socket; on another disk the
engine does the same in the client's process. One call at a time is held against the sum of its parts: an empty call
(`Probe`) and the engine's work. With 32 calls in flight it is held against the slower of both. That second goal asks for
more than a machine has whose processors the client, the driver and the engine share, and all three are busy: an empty call
and the engine's work cost what they cost, one after the other or not. *Of both* is the rate that would be reached if a call
cost nothing beyond its two parts.";
