//! Snapshots of eight origins at one instant.

use anyhow::{Context, Result};
use thinly_engine::catalogue::VolumeName;
use thinly_engine::pool::VolumeAccess;
use thinly_engine::units::ThinId;

use super::Rounds;
use crate::bed::{Bed, VOLUME_SIZE};
use crate::pair::{Pair, in_turn};
use crate::results::{Bound, Group, Table};
use crate::samples::timed;

const MEMBERS: usize = 8;

/// Eight active origins on both sides.
#[derive(Debug)]
struct Origins {
    ours: Vec<VolumeName>,
    bare: Vec<ThinId>,
}

pub(super) fn group_of_eight(
    bed: &mut Bed,
    rounds: Rounds,
    group: &mut Group,
    table: &mut Table,
) -> Result<()> {
    let origins = Origins::new(bed)?;
    let (mut window, mut whole) = (Pair::default(), Pair::default());
    for turn in 0..rounds.all() {
        if turn == rounds.warm_up {
            (window, whole) = (Pair::default(), Pair::default());
        }
        origins.turn(bed, turn, &mut window, &mut whole).context("a group of snapshots")?;
    }
    let rival = "8 suspend + 8 create_snap + 8 resume";
    let name = format!("frozen window of a group of {MEMBERS}");
    window.tell(group, table, &name, rival, Bound::AtMost(1.1));
    let rival = "these + one status, proof and 4 KiB O_DSYNC";
    let name = format!("snapshot of a group of {MEMBERS}");
    whole.tell(group, table, &name, rival, Bound::AtMost(1.1));
    origins.finish(bed)
}

impl Origins {
    fn new(bed: &mut Bed) -> Result<Self> {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for member in 0..MEMBERS {
            let name = VolumeName::new(&format!("member-{member}"))?;
            bed.pool.create_volume(&name, VOLUME_SIZE)?;
            bed.pool.activate(&name, VolumeAccess::ReadWrite)?;
            ours.push(name);
            let id = bed.floor.take_id()?;
            bed.floor.create_thin(id)?;
            bed.floor.activate(id, VOLUME_SIZE)?;
            bare.push(id);
        }
        Ok(Self { ours, bare })
    }

    fn turn(&self, bed: &mut Bed, turn: usize, window: &mut Pair, whole: &mut Pair) -> Result<()> {
        let tag = VolumeName::new(&format!("group-{turn}"))?;
        let mut members = Vec::new();
        for origin in &self.ours {
            members.push((origin.clone(), VolumeName::new(&format!("{origin}@{turn}"))?));
        }
        let mut bare_members = Vec::new();
        for origin in &self.bare {
            bare_members.push((*origin, bed.floor.take_id()?));
        }
        let (pool, floor) = (&bed.pool, &mut bed.floor);
        bed.dm.take_window();
        let ours = || timed(|| Ok(pool.snapshot_group(&tag, &members)?));
        let bare = || floor.snapshot_group(&bare_members).map(|times| (times, times.whole));
        let (_, ours, times, bare) = in_turn(turn.is_multiple_of(2), ours, bare)?;
        whole.push(ours, bare);
        window.push(bed.dm.take_window().context("the engine froze nothing")?, times.window);
        for (_, name) in &members {
            bed.pool.delete(name)?;
        }
        bed.pool.reap(&mut |_| {})?;
        bare_members.iter().try_for_each(|(_, id)| bed.floor.delete(*id))
    }

    fn finish(&self, bed: &Bed) -> Result<()> {
        for name in &self.ours {
            bed.pool.deactivate(name)?;
            bed.pool.delete(name)?;
        }
        bed.pool.reap(&mut |_| {})?;
        for id in &self.bare {
            bed.floor.deactivate(*id)?;
            bed.floor.delete(*id)?;
        }
        Ok(())
    }
}
