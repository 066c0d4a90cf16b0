//! One state of everything: journal, kernel, the handle that changes them, and what was promised.
#![forbid(unsafe_code)]

use std::hash::{Hash, Hasher};
use std::rc::Rc;

use uuid::Uuid;

use super::kernel::Kernel;
use super::ledger::Ledger;
use super::operation::Kind;
use super::promises::{Promises, Violation};
use super::recovery::Recovery;
use super::run::{Run, State, Work};
use crate::catalogue::{Catalogue, IdAllocator, Record, Volume};
use crate::plan::Step;
use crate::units::ThinId;

/// What a writer holds in memory only.
#[derive(Debug, Clone, Hash)]
pub(super) struct Handle {
    pub(super) ids: IdAllocator,
    pub(super) announced: bool,
    /// Who is announcing at this moment: the others wait.
    pub(super) announcing: Option<u8>,
    pub(super) poisoned: bool,
}

impl Handle {
    pub(super) const fn new(ids: IdAllocator) -> Self {
        Self { ids, announced: false, announcing: None, poisoned: false }
    }
}

/// What is going on.
#[derive(Debug, Clone, Hash)]
pub(super) enum Phase {
    /// Operations run; `last` is the reaper's turn after recovery, with the number of misfortunes
    /// that were left when it began.
    Running { runs: Vec<Run>, last: Option<u8> },
    /// A new process brings the pool up.
    Recovering(Recovery),
}

/// How a state was reached, and what is wrong with it: no part of the state.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes {
    pub(super) trace: Option<Rc<Trace>>,
    pub(super) violation: Option<Violation>,
}

impl Hash for Notes {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// One step on the way to a state; formatted only when a rule is broken.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) event: Event,
    pub(super) note: &'static str,
    pub(super) earlier: Option<Rc<Self>>,
}

/// What a step of a trace did.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// A turn of an operation that is no step of a plan.
    Turn(u8, Kind),
    /// A step of a plan or of its undoing.
    Step(u8, Rc<Work>, usize),
    /// A part of recovery.
    Recovery,
    /// The process or the machine ends.
    End(&'static str),
}

/// One state of everything.
#[derive(Debug, Clone, Hash)]
pub(super) struct World {
    pub(super) ledger: Ledger,
    pub(super) kernel: Kernel,
    pub(super) handle: Handle,
    pub(super) phase: Phase,
    pub(super) promises: Promises,
    /// How many crashes and failures may still come.
    pub(super) misfortunes: u8,
    /// Thin ids end here.
    pub(super) limit: ThinId,
    /// Whether a repair of the metadata may lose a volume's id while the pool is down.
    pub(super) may_vanish: bool,
    pub(super) notes: Notes,
}

impl World {
    pub(super) fn memory(&self) -> &Catalogue {
        self.ledger.memory()
    }

    pub(super) fn volume(&self, uuid: Uuid) -> Option<&Volume> {
        self.memory().volume(uuid)
    }

    /// The thin id of a volume that has a dm device, whatever its state.
    pub(super) fn device_of(&self, uuid: Uuid) -> Option<ThinId> {
        let id = self.volume(uuid)?.thin.id()?;
        self.kernel.devices.contains_key(&id).then_some(id)
    }

    /// Whether an operation that runs reads a thin id.
    pub(super) fn is_pinned(&self, id: ThinId) -> bool {
        let Phase::Running { runs, .. } = &self.phase else { return false };
        runs.iter().any(|run| run.is_under_way() && run.kind.pinned(self) == Some(id))
    }

    /// Whether nothing but its own end is left for the handle.
    pub(super) fn has_ended(&self) -> bool {
        match &self.phase {
            Phase::Running { runs, .. } => {
                runs.iter().all(|run| matches!(run.state, State::Acknowledged | State::Failed))
            }
            Phase::Recovering(_) => false,
        }
    }

    /// Notes a broken rule; the first one counts.
    pub(super) fn judge(&mut self, verdict: Result<(), Violation>) {
        if let Err(violation) = verdict {
            self.notes.violation.get_or_insert(violation);
        }
    }

    /// The same world after one more step.
    pub(super) fn noted(mut self, event: Event, note: &'static str) -> Self {
        let earlier = self.notes.trace.take();
        self.notes.trace = Some(Rc::new(Trace { event, note, earlier }));
        self
    }

    /// A step handed a device out: from now on there may be data on it.
    pub(super) fn hand_out(&mut self, step: &Step) {
        if let Step::Resume(id) | Step::Reload(id) = step
            && let Some(thin) = self.kernel.core.thins.get(id)
        {
            self.promises.wanted.insert(*id, thin.maker);
        }
    }

    /// An operation was acknowledged: what it made and the catalogue speaks for is wanted.
    pub(super) fn keep_what_was_made(&mut self, slot: u8) {
        for (id, thin) in &self.kernel.core.thins {
            if thin.maker == slot && self.ledger.memory().owner(*id).is_some() {
                self.promises.wanted.insert(*id, slot);
            }
        }
    }

    /// The thin id that a volume gives up with a record: its user asked for that.
    pub(super) fn id_given_up(&self, record: &Record) -> Option<ThinId> {
        match record {
            Record::Deleted { uuid } | Record::RolledBack { uuid, .. } => {
                self.volume(*uuid)?.thin.id()
            }
            _ => None,
        }
    }

    /// Takes one misfortune, if there is one left.
    pub(super) fn with_misfortune(mut self) -> Option<Self> {
        self.misfortunes = self.misfortunes.checked_sub(1)?;
        Some(self)
    }

    /// Two digests of the state: together they do not collide in any enumeration of this size.
    pub(super) fn digest(&self) -> (u64, u64) {
        let mut first = std::hash::DefaultHasher::new();
        self.hash(&mut first);
        let mut second = first.clone();
        second.write_u8(1);
        (first.finish(), second.finish())
    }
}
