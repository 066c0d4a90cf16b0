//! One step in every way in which it can come out.
#![forbid(unsafe_code)]

use super::kernel::{Kernel, Outcome, fault, nominal};
use super::ledger::Ticket;
use super::world::World;
use crate::catalogue::Record;
use crate::dm::PoolMessage;
use crate::plan::{Failure, Step};
use crate::units::ThinId;

/// A step that a crash can cut in two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Half {
    No,
    /// A record was appended and is waited for.
    Appended(Ticket),
    /// A device is paused for the swap of its table.
    Paused,
}

/// One way in which a step came out.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) world: World,
    pub(super) result: Result<(), Failure>,
    pub(super) half: Half,
    pub(super) in_doubt: bool,
}

/// Every way in which a step comes out.
pub(super) fn perform(
    world: &World,
    slot: u8,
    step: &Step,
    half: Half,
) -> Vec<(Branch, &'static str)> {
    if let Step::Commit(record) = step {
        return commit(world, record, half);
    }
    let paused = |_: &Outcome| half == Half::No && matches!(step, Step::Reload(_));
    outcomes(world, slot, step, half)
        .into_iter()
        .filter_map(|outcome| {
            let half =
                if paused(&outcome) && outcome.result.is_ok() { Half::Paused } else { Half::No };
            let Outcome { kernel, result, is_fault, in_doubt, note } = outcome;
            let mut world = world.clone();
            if is_fault {
                world = world.with_misfortune()?;
            }
            if let Step::Message(PoolMessage::Delete(id)) = step
                && world.kernel.core.thins.contains_key(id)
                && !kernel.core.thins.contains_key(id)
            {
                let verdict = world.promises.check_delete(*id);
                world.judge(verdict);
            }
            world.kernel = kernel;
            Some((Branch { world, result, half, in_doubt }, note))
        })
        .collect()
}

fn outcomes(world: &World, slot: u8, step: &Step, half: Half) -> Vec<Outcome> {
    let kernel = &world.kernel;
    match step {
        Step::Suspend(id) => kernel.device(kernel.suspended(*id)),
        Step::Reload(id) if half == Half::No => {
            // A pause that fails is followed by a resume: from the guard's drop.
            let mut all = kernel.device(kernel.suspended(*id));
            all.retain(|outcome| {
                outcome.result.is_ok() || outcome.kernel.devices == kernel.devices
            });
            for outcome in &mut all {
                outcome.result = outcome.result.map_err(|_| Failure::Unknown);
            }
            all
        }
        Step::Resume(id) | Step::Reload(id) => resumes(kernel, *id),
        Step::Message(message) => kernel.message(*message, slot),
        Step::CheckPool => check_pool(kernel),
        Step::Prove(ids) => {
            let there = ids.iter().all(|id| kernel.disk.thins.contains_key(id));
            read(kernel, there.then_some(()).ok_or(Failure::NotProven), Failure::NotProven)
        }
        Step::ProveGone(id) => {
            let gone = !kernel.disk.thins.contains_key(id);
            read(kernel, gone.then_some(()).ok_or(Failure::NotProven), Failure::NotProven)
        }
        Step::CreateDevice { id, .. } => kernel.device(kernel.created(*id)),
        Step::LoadTable { id, length, .. } => kernel.device(kernel.loaded(*id, *length)),
        Step::RemoveDevice(id) => kernel.device(kernel.removed(*id)),
        Step::Commit(_) => Vec::new(),
    }
}

/// A look that changes nothing: what it shows, or an error.
fn read(kernel: &Kernel, shown: Result<(), Failure>, failure: Failure) -> Vec<Outcome> {
    vec![nominal(kernel.clone(), shown), fault(kernel.clone(), Err(failure), "cannot be read")]
}

/// A resume always fails as unknown.
fn resumes(kernel: &Kernel, id: ThinId) -> Vec<Outcome> {
    let mut all = kernel.device(kernel.resumed(id));
    all.retain(|outcome| !outcome.is_fault || outcome.result == Err(Failure::Unknown));
    for outcome in &mut all {
        outcome.result = outcome.result.map_err(|_| Failure::Unknown);
    }
    all
}

fn check_pool(kernel: &Kernel) -> Vec<Outcome> {
    let mut seen = kernel.clone();
    seen.lagging = false;
    let health = kernel.shown_health();
    let shown = if health.serves_messages() { Ok(()) } else { Err(Failure::Degraded(health)) };
    vec![
        nominal(seen, shown),
        fault(kernel.clone(), Err(Failure::Unknown), "the status cannot be read"),
    ]
}

/// Appends a record, then waits for it: a crash may fall between.
fn commit(world: &World, record: &Record, half: Half) -> Vec<(Branch, &'static str)> {
    let branch = |world: World, result, half| Branch { world, result, half, in_doubt: false };
    let mut branches = Vec::new();
    if let Half::Appended(ticket) = half {
        let mut done = world.clone();
        let result = done.ledger.wait(ticket);
        done.handle.poisoned |= result.is_err();
        branches.push((branch(done, result, Half::No), "durable"));
        if result.is_ok()
            && let Some(mut failed) = world.clone().with_misfortune()
        {
            failed.ledger.fail();
            failed.handle.poisoned = true;
            let result = Err(Failure::Journal);
            branches.push((branch(failed, result, Half::No), "the journal cannot be written"));
        }
        return branches;
    }
    let mut next = world.clone();
    if world.handle.poisoned {
        branches.push((branch(next, Err(Failure::Journal), Half::No), "poisoned"));
        return branches;
    }
    let old = next.id_given_up(record);
    match next.ledger.append(record.clone()) {
        Ok(ticket) => {
            if let Some(id) = old {
                next.promises.wanted.remove(&id);
            }
            branches.push((branch(next, Ok(()), Half::Appended(ticket)), "appended"));
        }
        Err(failure) => branches.push((branch(next, Err(failure), Half::No), "refused")),
    }
    branches
}
