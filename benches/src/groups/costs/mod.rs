//! The engine's bookkeeping above the least that the kernel asks for the same effect.
#![forbid(unsafe_code)]

mod growth;
mod ratios;

use anyhow::Result;

use crate::bed::Bed;
use crate::results::Group;
use crate::stage::Stage;

/// Each operation against bare ioctls, and with few volumes and many.
pub(super) fn costs(stage: &Stage) -> Result<Group> {
    let mut group = Group::new("costs", "Each operation against the kernel's floor", TEXT);
    let extent = stage.extent;
    let bed = Bed::new(stage.disk(0)?, stage.disk(1)?)?;
    ratios::ratios(&bed, extent.pick(2, 20, 80), &mut group)?;
    growth::growth(&bed, 10, extent.pick(30, 200, 2000), &mut group)?;
    bed.finish()?;
    Ok(group)
}

const TEXT: &str = "\
Two pools of the same make: the engine works on one; the other has no writer, and bare ioctls go to it through the same
binding, with nothing remembered, checked or recorded. Both sides take turns, one operation each, and who goes first
changes with every round. A *first activation* is `create_thin` too, and journaled before the device is handed out; a
delete is a record, and its space is freed later by the reaper, which proves on disk that the volume is gone. The frozen
window is taken below the engine, by a clock around the ioctl layer. The second table counts: the run fails when a count
grows with the number of volumes (a deeper tree of devices may add the reads that it explains).";
