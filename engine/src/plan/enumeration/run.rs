//! One operation on its way: the steps of its plans one by one, the undoing of a failed one, and
//! the answer.
#![forbid(unsafe_code)]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use super::effect::{Branch, Half, perform};
use super::ledger::Ledger;
use super::operation::Kind;
use super::promises::{Rule, ensure};
use super::shell::{Next, next};
use super::world::{Event, Phase, World};
use crate::plan::{Failure, Plan, Step, unwind};
use crate::units::ThinId;

/// The steps of a plan or of its undoing, with their digest.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) plan: Plan,
    digest: u64,
}

impl Work {
    pub(super) fn new(plan: Plan) -> Rc<Self> {
        let mut hasher = DefaultHasher::new();
        for step in &plan.steps {
            match step {
                Step::Commit(record) => record.encode().hash(&mut hasher),
                step => format!("{step:?}").hash(&mut hasher),
            }
        }
        Rc::new(Self { plan, digest: hasher.finish() })
    }
}

impl Hash for Work {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest);
    }
}

/// How far an operation is.
#[derive(Debug, Clone, Hash)]
pub(super) enum State {
    /// Not begun, or waiting for a lock.
    Waiting,
    /// Announcing the handle's epoch, or waiting for somebody who does.
    Announcing(Rc<Work>, super::announce::Turn),
    /// Performing a plan.
    Doing(Rc<Work>, usize, Half),
    /// Undoing one; the flag says whether all of it was done so far.
    Undoing(Rc<Work>, usize, Half, bool),
    Acknowledged,
    Failed,
}

/// One operation.
#[derive(Debug, Clone, Hash)]
pub(super) struct Run {
    pub(super) slot: u8,
    pub(super) kind: Kind,
    pub(super) state: State,
    /// How many plans it has performed.
    pub(super) stage: u8,
    /// Thin ids that it has reserved.
    pub(super) ids: Vec<ThinId>,
    /// Tombstones that a reaper has still to look at.
    pub(super) todo: Vec<ThinId>,
    /// Devices that a plan made before it failed.
    made: Vec<ThinId>,
    /// A message of its own left the pool in doubt.
    pub(super) in_doubt: bool,
}

impl Run {
    pub(super) fn new(slot: u8, kind: Kind) -> Self {
        let (ids, todo, made) = (Vec::new(), Vec::new(), Vec::new());
        Self { slot, kind, state: State::Waiting, stage: 0, ids, todo, made, in_doubt: false }
    }

    /// Whether it holds its locks.
    pub(super) const fn is_under_way(&self) -> bool {
        !matches!(self.state, State::Waiting | State::Acknowledged | State::Failed)
    }

    /// Reserves a thin id from the real allocator.
    pub(super) fn reserve(&mut self, world: &mut World) -> Option<ThinId> {
        // Asked with the admission: a poisoned handle may not have recorded an id that it gave back.
        if world.handle.poisoned {
            return None;
        }
        let id = world.handle.ids.reserve(world.ledger.memory())?;
        let verdict = world.promises.check_reserved(id, &world.kernel);
        world.judge(verdict);
        self.ids.push(id);
        Some(id)
    }

    /// Whether a lock that it takes is held: those of volumes, and the reaper's own.
    fn is_locked_out(&self, runs: &[Self], ledger: &Ledger) -> bool {
        // The reaper goes by what is durable.
        if self.kind == Kind::Reap && ledger.is_settled() == Ok(false) {
            return true;
        }
        // A handle ends when nobody uses it any more.
        let has_ended = |run: &Self| matches!(run.state, State::Acknowledged | State::Failed);
        if self.kind == Kind::Release {
            return runs.iter().any(|other| other.slot != self.slot && !has_ended(other));
        }
        runs.iter().filter(|other| other.slot != self.slot && other.is_under_way()).any(|other| {
            let shared = self.kind.locks().iter().any(|lock| other.kind.locks().contains(lock));
            shared || (self.kind == Kind::Reap && other.kind == Kind::Reap)
        })
    }

    /// Every way in which its next step comes out; none while it waits, and none after its end.
    pub(super) fn advance(&self, world: &World) -> Vec<World> {
        match &self.state {
            State::Waiting => {
                let Phase::Running { runs, .. } = &world.phase else { return Vec::new() };
                if self.is_locked_out(runs, &world.ledger) {
                    return Vec::new();
                }
                let mut world = world.clone();
                world.promises.begin(self.slot, self.kind);
                vec![self.clone().go_on(world)]
            }
            State::Announcing(work, turn) => self.announce(world, work, *turn),
            State::Doing(work, at, half) => self.each(world, work, *at, *half, |run, branch| {
                let Branch { mut world, result, half, in_doubt } = branch;
                run.in_doubt |= in_doubt;
                match result {
                    Ok(()) if half != Half::No => {
                        run.settle_in(world, State::Doing(Rc::clone(work), *at, half))
                    }
                    Ok(()) if at + 1 < work.plan.steps.len() => {
                        world.hand_out(&work.plan.steps[*at]);
                        run.settle_in(world, State::Doing(Rc::clone(work), at + 1, Half::No))
                    }
                    Ok(()) => {
                        world.hand_out(&work.plan.steps[*at]);
                        run.stage += 1;
                        run.clone().go_on(world)
                    }
                    Err(failure) => run.undo(world, &work.plan, *at, failure),
                }
            }),
            State::Undoing(work, at, half, whole) => {
                self.each(world, work, *at, *half, |run, branch| {
                    let Branch { world, result, half, .. } = branch;
                    let state = |at, half, whole| State::Undoing(Rc::clone(work), at, half, whole);
                    if result.is_ok() && half != Half::No {
                        return run.settle_in(world, state(*at, half, *whole));
                    }
                    run.undo_from(world, state(at + 1, Half::No, *whole && result.is_ok()))
                })
            }
            State::Acknowledged | State::Failed => Vec::new(),
        }
    }

    fn each(
        &self,
        world: &World,
        work: &Rc<Work>,
        at: usize,
        half: Half,
        then: impl Fn(&mut Self, Branch) -> World,
    ) -> Vec<World> {
        perform(world, self.slot, &work.plan.steps[at], half)
            .into_iter()
            .map(|(mut branch, note)| {
                let event = Event::Step(self.slot, Rc::clone(work), at);
                branch.world = branch.world.noted(event, note);
                then(&mut self.clone(), branch)
            })
            .collect()
    }

    /// Begins the next plan, or ends.
    fn go_on(mut self, mut world: World) -> World {
        self.release_ids(&mut world);
        match next(&mut self, &mut world) {
            Next::Refused => self.settle_in(world, State::Failed),
            Next::Done => self.acknowledge(world),
            Next::Run(_) if world.handle.poisoned => self.fail(world),
            Next::Run(plan) => {
                let needs_epoch = plan.needs_epoch() && !world.handle.announced;
                let work = Work::new(plan);
                let turn = super::announce::Turn::Asking;
                let state = if needs_epoch {
                    State::Announcing(work, turn)
                } else {
                    State::Doing(work, 0, Half::No)
                };
                self.settle_in(world, state)
            }
        }
    }

    fn acknowledge(&mut self, mut world: World) -> World {
        let sure = !self.in_doubt;
        let (kind, slot) = (self.kind, self.slot);
        world.judge(ensure(sure, Rule::Broken, || {
            format!("{kind:?} of {slot} was acknowledged though its message left the pool in doubt")
        }));
        world.promises.acknowledge(slot, kind);
        world.keep_what_was_made(slot);
        self.settle_in(world, State::Acknowledged)
    }

    /// Decides the undoing with the real core, and begins it.
    fn undo(&self, world: World, plan: &Plan, failed: usize, failure: Failure) -> World {
        let undo = unwind(plan, failed, failure);
        let work = Work::new(Plan { operation: plan.operation, steps: undo.steps });
        let mut run = self.clone();
        run.made = plan.steps[..failed].iter().filter_map(made).collect();
        run.undo_from(world, State::Undoing(work, 0, Half::No, !undo.poison))
    }

    fn undo_from(&mut self, mut world: World, state: State) -> World {
        match state {
            State::Undoing(work, at, _, whole) if at == work.plan.steps.len() => {
                world.handle.poisoned |= !whole;
                for id in std::mem::take(&mut self.made) {
                    let gone = !whole || !world.kernel.devices.contains_key(&id);
                    world.judge(ensure(gone, Rule::Broken, || {
                        format!("the device of thin id {id} was never handed out and is left")
                    }));
                }
                self.fail(world)
            }
            state => self.settle_in(world, state),
        }
    }

    pub(super) fn fail(&mut self, mut world: World) -> World {
        self.release_ids(&mut world);
        self.settle_in(world, State::Failed)
    }

    fn release_ids(&mut self, world: &mut World) {
        for id in self.ids.drain(..) {
            world.handle.ids.settle(id);
        }
    }

    /// The world with this operation in a new state.
    pub(super) fn settle_in(&mut self, mut world: World, state: State) -> World {
        self.state = state;
        if let Phase::Running { runs, .. } = &mut world.phase
            && let Some(run) = runs.iter_mut().find(|run| run.slot == self.slot)
        {
            run.clone_from(self);
        }
        world
    }
}

/// The device that a step makes.
const fn made(step: &Step) -> Option<ThinId> {
    match step {
        Step::CreateDevice { id, .. } => Some(*id),
        _ => None,
    }
}
