//! What all who work on the pool share: who holds it, whether a fault is there, and what is counted.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use anyhow::{Result, bail};
use thinly_engine::dm::Control;
use thinly_engine::pool::{Engine, Pool};

use super::commands::{Commands, Resident};
use super::drives::Drives;
use super::op::Op;
use super::perform::{by_library, command_line, is_for_library};
use super::refusal::Refusal;
use super::tally::Tally;

/// Who changes the pool.
#[derive(Debug)]
pub(super) enum Holder {
    /// This process, by the library.
    Library(Arc<Pool>),
    /// `thinly serve`; changes are commands that are handed to it.
    Resident(Resident),
    /// Each command for itself.
    Commands,
}

/// What they share.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) engine: Engine,
    pub(super) control: Control,
    pub(super) pool: String,
    pub(super) drives: Drives,
    pub(super) commands: Commands,
    /// The pool that streams go to, and the socket of the resident that has it.
    pub(super) other: (String, PathBuf),
    holder: RwLock<Holder>,
    /// Held for writing while the pool is closed, which makes it one more: devices of before are gone.
    generation: RwLock<u64>,
    /// Odd while there is a fault.
    faults: AtomicU64,
    numbers: AtomicU64,
    steps: AtomicU64,
    ended: AtomicUsize,
    is_over: AtomicBool,
    tally: Mutex<Tally>,
}

impl Stage {
    pub(super) fn new(
        engine: Engine,
        drives: Drives,
        pool: &str,
        other: (String, PathBuf),
    ) -> Result<Self> {
        Ok(Self {
            engine,
            control: Control::open()?,
            pool: pool.to_owned(),
            drives,
            commands: Commands::default(),
            other,
            holder: RwLock::new(Holder::Commands),
            generation: RwLock::new(0),
            faults: AtomicU64::new(0),
            numbers: AtomicU64::new(0),
            steps: AtomicU64::new(0),
            ended: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            tally: Mutex::default(),
        })
    }

    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn holder(&self) -> RwLockReadGuard<'_, Holder> {
        self.holder.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts another holder in the place of the present one, which is given back.
    pub(super) fn hold(&self, holder: Holder) -> Holder {
        let mut held = self.holder.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *held, holder)
    }

    /// While this is kept the pool is not closed.
    pub(super) fn enter(&self) -> RwLockReadGuard<'_, u64> {
        self.generation.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// While this is kept nobody does anything.
    pub(super) fn shut(&self) -> RwLockWriteGuard<'_, u64> {
        self.generation.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin_fault(&self, kind: &str) {
        self.faults.fetch_add(1, Ordering::SeqCst);
        self.tally().fault(kind);
        self.step("fault", &kind);
    }

    pub(super) fn end_fault(&self) {
        if self.faults.load(Ordering::SeqCst) % 2 == 1 {
            self.faults.fetch_add(1, Ordering::SeqCst);
        }
    }

    pub(super) fn is_faulty(&self) -> bool {
        self.faults.load(Ordering::SeqCst) % 2 == 1
    }

    /// A number for the next write.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// How many steps were done in this round.
    pub(super) fn steps(&self) -> u64 {
        self.steps.load(Ordering::SeqCst)
    }

    pub(super) fn begin_round(&self) {
        self.steps.store(0, Ordering::SeqCst);
        self.ended.store(0, Ordering::SeqCst);
        self.is_over.store(false, Ordering::SeqCst);
    }

    /// One of those who work has ended; says how many have.
    pub(super) fn one_ended(&self) -> usize {
        self.ended.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Nobody is to begin anything any more.
    pub(super) fn end_round(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    pub(super) fn step(&self, who: &str, what: &dyn std::fmt::Display) {
        self.tally().step(&format!("{who}: {what}"));
    }

    pub(super) fn is_library(&self) -> bool {
        matches!(*self.holder(), Holder::Library(_))
    }

    /// Does something that may be refused, and counts how it ended.
    pub(super) fn attempt<T>(
        &self,
        who: &str,
        kind: &str,
        what: &dyn std::fmt::Debug,
        work: impl FnOnce() -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.steps.fetch_add(1, Ordering::SeqCst);
        let before = self.faults.load(Ordering::SeqCst);
        self.step(who, &format!("begins {what:?}"));
        let mut outcome = work();
        let is_excused = before % 2 == 1 || self.faults.load(Ordering::SeqCst) != before;
        match &mut outcome {
            Ok(_) => {
                self.tally().done(kind);
                self.step(who, &format!("{kind} done"));
            }
            Err(refusal) => {
                refusal.is_excused = is_excused;
                let excuse = if is_excused { " (fault)" } else { "" };
                self.tally().refused(&format!("{kind}: {}{excuse}", refusal.kind));
                self.step(who, &format!("{kind} refused: {refusal}"));
            }
        }
        outcome
    }

    /// Makes a change, whoever holds the pool.
    pub(super) fn perform(&self, who: &str, op: &Op) -> Result<Option<PathBuf>, Refusal> {
        self.attempt(who, op.kind(), op, || {
            let held = match &*self.holder() {
                Holder::Library(pool) => Some(Arc::clone(pool)),
                _ => None,
            };
            match held {
                Some(pool) => by_library(&pool, op),
                None if is_for_library(op) => Err(Refusal::new("soak", "no verb for it")),
                None => self
                    .command(&command_line(&self.pool, op))
                    .map(|answer| answer["device"].as_str().map(PathBuf::from)),
            }
        })
    }

    /// Runs a command on the pool.
    pub(super) fn command(&self, arguments: &[String]) -> Result<serde_json::Value, Refusal> {
        let socket = match &*self.holder() {
            Holder::Resident(resident) => Some(resident.socket.clone()),
            _ => None,
        };
        let Some(socket) = socket else {
            let _turn = self.commands.turn();
            return self.commands.run(Path::new("/nowhere/thinly.sock"), arguments, true);
        };
        self.commands.run(&socket, arguments, true)
    }

    /// Runs a command on the pool that streams go to.
    pub(super) fn command_elsewhere(&self, words: &[&str]) -> Result<serde_json::Value, Refusal> {
        let arguments: Vec<String> = words.iter().map(ToString::to_string).collect();
        self.commands.run(&self.other.1, &arguments, false)
    }
}

/// What was refused without a fault is right only for want of space.
pub(super) fn judge_refusal(
    what: &dyn std::fmt::Debug,
    takes_space: bool,
    refusal: &Refusal,
) -> Result<()> {
    if refusal.is_excused || (takes_space && refusal.is_for_want_of_space()) {
        return Ok(());
    }
    bail!("{what:?} was refused for no reason: {refusal}")
}
