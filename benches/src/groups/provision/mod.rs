//! Volumes come and go: how long a caller waits, and how many callers are served.
#![forbid(unsafe_code)]

mod callers;
mod contender;
mod filesystem;
mod growth;
mod ladder;
mod turns;

use anyhow::Result;

use self::callers::Sides;
use self::contender::{Bare, ByDmsetup, Contender, Ours};
use self::ladder::{Field, Rounds, Step};
use self::turns::Slots;
use crate::bed::{Bed, VOLUME_SIZE};
use crate::results::Group;
use crate::rivals::dmsetup::Dmsetup;
use crate::rivals::lvm::Lvm;
use crate::stage::{Extent, Stage};

/// A number of volumes, and whether LVM is measured with as many.
type Size = (usize, bool);

/// Creating, activating and deleting, by the engine and everybody else.
pub(super) fn provision(stage: &Stage) -> Result<Group> {
    let mut group = Group::new("provision", "Creating, activating and deleting volumes", TEXT);
    let extent = stage.extent;
    let bed = Bed::new(stage.disk(0)?, stage.disk(1)?)?;
    let slots = Slots::new();
    let ours = Ours { pool: &bed.pool, origin: &bed.origin };
    let bare = Bare { floor: &bed.floor, origin: bed.floor_origin };

    let both = Sides { ours: &ours, pool: &bed.pool, bare: &bare, slots: &slots };
    callers::callers(both, extent, &mut group)?;
    both.activations(extent.pick(8, 64, 200), extent.pick(1, 2, 3), &mut group)?;

    let sizes: &[Size] = extent.pick(
        &[(5, true), (20, false)],
        &[(10, true), (200, true), (1000, false)],
        &[(10, true), (200, true), (1000, true), (10_000, false)],
    );
    let climb = Climb { stage, bed: &bed, ours: &ours, bare: &bare, slots: &slots };
    let many = climb.sizes(sizes, &mut group)?;

    let few = sizes[0].0;
    let pool = bed.add_pool(stage.disk(2)?)?;
    let rounds = extent.pick(1, 50, 200);
    growth::growth((&bed.pool, many), (&pool, few), &slots, rounds, &mut group)?;
    bed.remove_pool(pool)?;
    bed.finish()?;
    Ok(group)
}

/// One size after the other, on pools that grow.
struct Climb<'a> {
    stage: &'a Stage,
    bed: &'a Bed,
    ours: &'a Ours<'a>,
    bare: &'a Bare<'a>,
    slots: &'a Slots,
}

impl Climb<'_> {
    fn sizes(&self, sizes: &[Size], group: &mut Group) -> Result<usize> {
        let extent = self.stage.extent;
        let dmsetup = Dmsetup::new(&self.bed.floor);
        let dmsetup = ByDmsetup { dmsetup, origin: self.bed.floor_origin };
        let mut steps = Vec::new();
        let mut volumes_before = 0;
        for &(volumes, with_lvm) in sizes {
            let lvm = if with_lvm {
                Some(Lvm::new(self.stage.disk(2)?, VOLUME_SIZE, volumes)?)
            } else {
                None
            };
            let field = Field {
                ours: self.ours,
                bare: self.bare,
                dmsetup: &dmsetup,
                lvm: lvm.as_ref().map(|lvm| lvm as &dyn Contender),
            };
            let rounds = Rounds {
                quick: extent.pick(1, 20, 50),
                slow: extent.pick(usize::from(with_lvm), 2, 7),
                is_warm: extent == Extent::Once || !steps.is_empty(),
            };
            ladder::fill(field, self.slots, volumes - volumes_before)?;
            volumes_before = volumes;
            steps.push(Step::measure(field, self.slots, volumes, rounds)?);
            if steps.len() == 1 {
                // Each of LVM's commands takes most of a second by emulation.
                let lvm = field.lvm.filter(|_| extent != Extent::Once);
                let all: Vec<_> = [field.ours, field.bare].into_iter().chain(lvm).collect();
                filesystem::filesystem(&all, self.slots, extent.pick(1, 2, 7), group)?;
            }
            if let Some(lvm) = lvm {
                if steps.len() == 1 {
                    group.text.extend([" LVM here is ", lvm.version(), "."]);
                }
                lvm.finish()?;
            }
        }
        ladder::tell(&steps, group);
        Ok(volumes_before)
    }
}

const TEXT: &str = "\
Everybody does the same in turns, one operation each, and who goes first changes with every round. *Bare ioctls* go to a
pool of the same make without anything remembered, but with the status that alone shows whether the kernel's commit went
well. *dmsetup* is that pool driven as containerd's devmapper snapshotter does it: a durable note of 4 KiB before and after
every `dmsetup` command (containerd's database syncs twice for a note). *LVM* runs its own commands on its own disk
(`--devices`), with its archive and backup as they come. Most of its thin volumes are written into its metadata as text by
`vgcfgrestore`, because making them would take hours; they are not active. One thin volume is, so that its pool is active
as well. What forks programs is slow, so it gets fewer rounds, with the engine among them: each ratio is of medians from the
same rounds.

A *create* of ours is durable and gets its thin in the kernel with the first activation; a bare create, and LVM's, is a
thin in the kernel at once. So *create + activate* is the same work for all. A *delete* of ours is durable when it returns;
the space is free after *reap*, and that row has both together. For all others the two rows are the same. The pools are
filled by creating: ours have records, the bare ones thins in the kernel. A batch by several callers is timed from the
first call to the end of the last, with all threads ready before, and divided by its volumes.";
