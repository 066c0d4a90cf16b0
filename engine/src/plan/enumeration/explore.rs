//! The walk over every state.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use super::operation::Kind;
use super::promises::{Rule, Violation};
use super::recovery::{End, check_again, ends};
use super::run::{Run, State};
use super::start::RELEASE;
use super::world::{Event, Notes, Phase, World};

/// How many ways to a broken rule are told.
const STORIES_MAX: usize = 8;

/// What was visited, and which rules were broken.
#[derive(Debug, Default)]
pub(super) struct Explorer {
    seen: HashSet<(u64, u64)>,
    visits: u64,
    /// Ways that came to their end with every promise kept.
    ends: u64,
    broken: BTreeMap<Rule, u64>,
    /// What was broken, with the way to the first such state.
    shown: BTreeMap<(Rule, String), String>,
}

impl Explorer {
    /// Visits every state that can follow.
    pub(super) fn explore(&mut self, start: World) {
        let mut open = vec![start];
        while let Some(mut world) = open.pop() {
            self.visits += 1;
            if let Some(violation) = world.notes.violation.take() {
                self.note(&violation, &world.notes);
                continue;
            }
            if self.seen.insert(world.digest()) {
                self.expand(&world, &mut open);
            }
        }
    }

    fn expand(&mut self, world: &World, open: &mut Vec<World>) {
        if world.has_ended() {
            match end(world) {
                Ok(next) => {
                    self.ends += u64::from(next.is_empty());
                    open.extend(next);
                }
                Err(violation) => self.note(&violation, &world.notes),
            }
        } else {
            match &world.phase {
                Phase::Running { runs, .. } => {
                    open.extend(runs.iter().flat_map(|run| run.advance(world)));
                }
                Phase::Recovering(recovery) => open.extend(recovery.advance(world)),
            }
        }
        if let Some(unlucky) = world.clone().with_misfortune() {
            open.extend(ends(&unlucky, End::Process));
            open.extend(ends(&unlucky, End::Machine));
        }
    }

    fn note(&mut self, violation: &Violation, notes: &Notes) {
        *self.broken.entry(violation.rule).or_default() += 1;
        if self.shown.len() < STORIES_MAX {
            let key = (violation.rule, violation.what.clone());
            self.shown.entry(key).or_insert_with(|| story(violation, notes));
        }
    }

    pub(super) fn count(&self, rule: Rule) -> u64 {
        self.broken.get(&rule).copied().unwrap_or(0)
    }

    pub(super) const fn ends(&self) -> u64 {
        self.ends
    }

    /// The ways to the first state that breaks each rule; empty when none does.
    pub(super) fn stories(&self) -> String {
        self.shown.values().map(String::as_str).collect()
    }
}

impl fmt::Display for Explorer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "states={} visits={}", self.seen.len(), self.visits)
    }
}

/// All operations have ended: the handle does, and the next process comes; or that was the last.
fn end(world: &World) -> Result<Vec<World>, Violation> {
    let Phase::Running { runs, last } = &world.phase else { return Ok(Vec::new()) };
    let failed = runs.iter().any(|run| matches!(run.state, State::Failed));
    match last {
        // The reaper met a misfortune: the next process tries again.
        Some(before) if failed && world.misfortunes < *before => Ok(ends(world, End::Process)),
        Some(_) => {
            super::promises::ensure(
                !failed || !world.kernel.health.serves_messages(),
                Rule::Leaked,
                || "the last reaper does not get through".to_owned(),
            )?;
            world.promises.check_end(world.memory(), &world.kernel)?;
            check_again(world)?;
            Ok(Vec::new())
        }
        None if runs.is_empty() => Ok(Vec::new()),
        None => {
            let mut next = ends(world, End::Process);
            if !world.handle.poisoned && runs.iter().all(|run| run.kind != Kind::Release) {
                let mut releasing = world.clone().noted(Event::Turn(RELEASE, Kind::Release), "");
                let runs = vec![Run::new(RELEASE, Kind::Release)];
                releasing.phase = Phase::Running { runs, last: None };
                next.push(releasing);
            }
            Ok(next)
        }
    }
}

/// A broken rule and the steps that led to it.
fn story(violation: &Violation, notes: &Notes) -> String {
    let mut lines = Vec::new();
    let mut trace = notes.trace.as_deref();
    while let Some(step) = trace {
        lines.push(match &step.event {
            Event::Step(slot, work, at) => {
                format!("  {slot}: {:?} {}", work.plan.steps[*at], step.note)
            }
            Event::Turn(slot, kind) => format!("  {slot}: {kind:?} {}", step.note),
            Event::Recovery => format!("  recovery {}", step.note),
            Event::End(what) => format!("  the {what} ends {}", step.note),
        });
        trace = step.earlier.as_deref();
    }
    lines.reverse();
    format!("\n{:?}: {}\n{}\n", violation.rule, violation.what, lines.join("\n"))
}
