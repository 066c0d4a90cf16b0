//! The end of a process or of the machine, and what the next process does: what `pool::open` does
//! around the real `reconcile`.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::rc::Rc;

use super::effect::{Half, perform};
use super::ledger::Remains;
use super::operation::Kind;
use super::promises::{Rule, ensure};
use super::run::{Run, Work};
use super::start::{LAST_REAPER, RELEASE, id};
use super::world::{Event, Handle, Phase, World};
use crate::catalogue::{Epoch, IdAllocator};
use crate::metadata::DeviceDetails;
use crate::plan::{Health, KernelView, Operation, Plan, Step, Tail, needs_device_tree, reconcile};
use crate::units::DataBlocks;

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The process alone: the kernel goes on.
    Process,
    /// The machine: devices are gone, and what was not committed.
    Machine,
}

/// How far recovery is.
#[derive(Debug, Clone, Hash)]
enum Stage {
    /// Devices that a crash left frozen are put in order.
    Settle,
    /// The pool is made to commit.
    Flush,
    /// Journal and pool are compared.
    Compare,
    /// The outcome is made durable.
    Records(Rc<Work>, usize, Half),
}

/// A new process brings the pool up.
#[derive(Debug, Clone, Hash)]
pub(super) struct Recovery {
    is_live: bool,
    stage: Stage,
}

/// Every state that an end at this moment may leave.
pub(super) fn ends(world: &World, end: End) -> Vec<World> {
    let mut all = Vec::new();
    for remains in world.ledger.remains() {
        let Remains { ledger, frame_lost } = remains;
        let mut next = world.clone();
        if frame_lost {
            let Some(unlucky) = next.with_misfortune() else { continue };
            next = unlucky;
            next.promises.frame_lost = true;
        }
        next.ledger = ledger;
        next.handle = Handle::new(IdAllocator::new(next.memory(), next.limit));
        next.kernel.lagging = false;
        let is_live = end == End::Process;
        next.phase = Phase::Recovering(Recovery { is_live, stage: Stage::Settle });
        let note = match (frame_lost, next.ledger.tail()) {
            (true, _) => "a durable frame is lost",
            (_, Tail::Damaged) => "the tail is torn",
            _ => "",
        };
        let next = next.noted(Event::End(if is_live { "process" } else { "machine" }), note);
        match end {
            End::Process => all.push(next),
            End::Machine => all.extend(powered_off(next)),
        }
    }
    all
}

/// While the machine is off, a pool that asks for a check may get it, and lose a device by it.
fn powered_off(mut world: World) -> Vec<World> {
    world.kernel.cut_power();
    // What somebody else held is not held any more: then its stamp alone decides.
    world.promises.wanted.remove(&id(9));
    let mut all = Vec::new();
    // After a release nobody looks: then only a restore, which looks at everything, finds out.
    let looks = needs_device_tree(world.memory(), world.ledger.tail());
    if world.may_vanish && looks && world.kernel.disk.thins.contains_key(&id(1)) {
        let mut repaired = world.clone();
        repaired.kernel.disk.thins.remove(&id(1));
        repaired.kernel.core.thins.remove(&id(1));
        repaired.promises.wanted.remove(&id(1));
        repaired.promises.vanished = Some(id(1));
        all.push(repaired);
    }
    if world.kernel.health == Health::NeedsCheck {
        let mut repaired = world.clone();
        repaired.kernel.health = Health::Writable;
        all.push(repaired);
    }
    all.push(world);
    all
}

impl Recovery {
    /// Its next step, in every way in which it comes out.
    pub(super) fn advance(&self, world: &World) -> Vec<World> {
        let is_damaged = world.ledger.tail() == Tail::Damaged;
        let unclean = matches!(world.memory().epoch(), Epoch::Opened { .. }) || is_damaged;
        let next = world.clone().noted(Event::Recovery, "");
        match &self.stage {
            Stage::Settle => {
                let mut next = next;
                if unclean && self.is_live {
                    settle_devices(&mut next);
                }
                vec![self.at(next, Stage::Flush)]
            }
            Stage::Flush if unclean && self.is_live && world.kernel.takes_messages() => {
                self.flush(next)
            }
            Stage::Flush => vec![self.at(next, Stage::Compare)],
            Stage::Compare => vec![self.compare(next)],
            Stage::Records(work, at, half) => self.record(world, work, *at, *half),
        }
    }

    fn at(&self, mut world: World, stage: Stage) -> World {
        world.phase = Phase::Recovering(Self { stage, ..self.clone() });
        world
    }

    fn flush(&self, world: World) -> Vec<World> {
        let failed = world.clone().with_misfortune().map(|mut failed| {
            failed.kernel.abort(false);
            self.at(failed, Stage::Compare)
        });
        let mut flushed = world;
        flushed.kernel.commit();
        let mut all = vec![self.at(flushed, Stage::Compare)];
        all.extend(failed);
        all
    }

    fn compare(&self, mut world: World) -> World {
        let tail = world.ledger.tail();
        let checkpoint_first = tail == Tail::Damaged;
        let looked = needs_device_tree(world.memory(), tail);
        let outcome = match reconcile(world.memory(), tail, &view(&world, tail)) {
            Ok(outcome) => outcome,
            Err(error) => {
                // Refused, and nothing was written: right only if the announcement itself is lost.
                let explained = world.promises.frame_lost;
                world.judge(ensure(explained, Rule::Broken, || error.to_string()));
                world.phase = Phase::Running { runs: Vec::new(), last: None };
                world.handle.poisoned = true;
                return world;
            }
        };
        let mut catalogue = world.memory().clone();
        let records = outcome.settle(&mut catalogue, checkpoint_first).unwrap();
        if checkpoint_first {
            world.ledger.checkpoint(catalogue);
        }
        world.handle = Handle::new(IdAllocator::new(world.memory(), world.limit));
        let steps: Vec<Step> = records.into_iter().map(Step::Commit).collect();
        if steps.is_empty() {
            return recovered(world, looked);
        }
        let work = Work::new(Plan { operation: Operation::Rename, steps });
        self.at(world, Stage::Records(work, 0, Half::No))
    }

    fn record(&self, world: &World, work: &Rc<Work>, at: usize, half: Half) -> Vec<World> {
        let mut all = Vec::new();
        for (branch, note) in perform(world, LAST_REAPER, &work.plan.steps[at], half) {
            let next = branch.world.noted(Event::Recovery, note);
            let stage = |at, half| Stage::Records(Rc::clone(work), at, half);
            match branch.result {
                // The process ends, and the next one begins anew.
                Err(_) => all.extend(ends(&next, End::Process)),
                Ok(()) if branch.half != Half::No => {
                    all.push(self.at(next, stage(at, branch.half)));
                }
                Ok(()) if at + 1 < work.plan.steps.len() => {
                    all.push(self.at(next, stage(at + 1, Half::No)));
                }
                Ok(()) => all.push(recovered(next, true)),
            }
        }
        all
    }
}

/// Inactive tables are cleared first, because a resume would swap them in.
fn settle_devices(world: &mut World) {
    for device in world.kernel.devices.values_mut() {
        device.inactive = None;
        if device.live.is_some() {
            device.suspended = false;
        }
    }
}

fn view(world: &World, tail: Tail) -> KernelView {
    let transaction_id = world.kernel.core.transaction_id;
    if !needs_device_tree(world.memory(), tail) {
        return KernelView { transaction_id, devices: None, loaded: BTreeSet::new() };
    }
    let details = |stamp| DeviceDetails {
        mapped_blocks: DataBlocks::ZERO,
        transaction_id: stamp,
        creation_time: 0,
        snapshotted_time: 0,
    };
    let thins = &world.kernel.disk.thins;
    let live = world.kernel.devices.iter().filter(|(_, device)| device.live.is_some());
    KernelView {
        transaction_id,
        devices: Some(thins.iter().map(|(id, thin)| (*id, details(thin.stamp))).collect()),
        loaded: live.map(|(id, _)| *id).collect(),
    }
}

/// The handle is there; the reaper has its turn.
fn recovered(mut world: World, looked: bool) -> World {
    let verdict = world.promises.check_recovered(
        looked,
        world.ledger.memory(),
        &world.handle.ids,
        &world.kernel,
    );
    world.judge(verdict);
    // A pool that takes no messages is not reaped. Somebody may still try to change it, and end.
    let runs = if world.kernel.takes_messages() {
        vec![Run::new(LAST_REAPER, Kind::Reap)]
    } else {
        vec![Run::new(LAST_REAPER, Kind::Resize), Run::new(RELEASE, Kind::Release)]
    };
    world.phase = Phase::Running { runs, last: Some(world.misfortunes) };
    world
}

/// Once everything is over a second look finds nothing more to do.
pub(super) fn check_again(world: &World) -> Result<(), super::promises::Violation> {
    let again = reconcile(world.memory(), Tail::Clean, &view(world, Tail::Clean));
    // What is foreign is named when somebody looks: after an end without release.
    let foreign = !world.promises.foreign.is_empty();
    let nothing = foreign || again.is_ok_and(|outcome| outcome.records.is_empty());
    ensure(nothing, Rule::Broken, || "recovery finds more to do when it is run again".to_owned())
}
