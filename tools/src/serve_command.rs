//! `thinly serve`: the resident that frees what deleted volumes held.
//!
//! The stop signals are blocked before any thread exists, so every thread inherits that and only
//! the one that waits for them ever sees one. Each pool has a thread that sleeps on a condition
//! variable; the signal wakes them all. Commands that change a pool are served beside that.
#![forbid(unsafe_code)]

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use thinly_engine::catalogue::VolumeName;
use thinly_engine::monitor::Monitor;
use thinly_engine::plan::{Condition, Health, changes};
use thinly_engine::pool::{Engine, Pool, ReapBudget};
use uuid::Uuid;

use crate::admin::{AdminServer, Entry, Recent, Residence};
use crate::args::Serve;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::json::EventJson;
use crate::notify::notify;
use crate::wait::open_within;

const POLL: Duration = Duration::from_secs(3);

/// A view reads the labels of every disk, so it is taken once a minute.
const ROUNDS_PER_LOOK: u64 = 20;

pub(crate) fn run(console: Console<'_>, socket: &Path, arguments: &Serve) -> Result<(), Failure> {
    let signals = block_stop_signals()?;
    let log = Log { console };
    let recent = Arc::new(Recent::default());
    let served = Arc::new(AllServed(attach_all(log, arguments, &recent)?, recent));
    let discard_bytes_per_second = arguments.reap_rate;
    let budget = ReapBudget { discard_bytes_per_second, ..ReapBudget::default() };
    served.0.iter().for_each(|served| served.pool.set_reap_budget(budget));
    let admin = take_changes(log, socket, &served);
    tell_manager(log, "READY=1");
    let stop = Stop::default();
    let (monitor, monitor_stop) = Monitor::new().map_err(Failure::from)?;
    let waited = thread::scope(|scope| {
        for served in &served.0 {
            scope.spawn(|| served.watch(log, &stop));
        }
        scope.spawn(|| {
            if let Err(error) = monitor.run(|| served.extend_all(log)) {
                log.line("error", None, &format!("pools are not extended any more: {error}"));
            }
        });
        let waited = signals.wait();
        stop.request();
        drop(monitor_stop);
        // A large deletion takes hours; the next writer goes on with it.
        served.0.iter().for_each(|served| served.pool.stop_reaping());
        tell_manager(log, "STOPPING=1");
        waited
    });
    log.line("stopping", None, &waited.map_or_else(|error| error.to_string(), name_of));
    if let Some(admin) = admin {
        admin.stop();
    }
    // The admin server, which ends before, was the only other one that had it.
    for served in Arc::into_inner(served).map(|all| all.0).into_iter().flatten() {
        served.release(log);
    }
    Ok(())
}

/// Pools are served, and freed, where nobody can be asked too.
fn take_changes(log: Log<'_>, socket: &Path, served: &Arc<AllServed>) -> Option<AdminServer> {
    let residence: Arc<dyn Residence> = Arc::<AllServed>::clone(served);
    match AdminServer::start(socket, residence) {
        Ok(admin) => Some(admin),
        Err(error) => {
            let why = Failure::from(error).message();
            log.line("warning", None, &format!("changes by commands are refused: {why}"));
            None
        }
    }
}

fn name_of(signal: Signal) -> String {
    format!("{signal} received")
}

fn block_stop_signals() -> Result<SigSet, Failure> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block().map_err(|errno| Failure::System {
        action: "block the stop signals",
        source: io::Error::from(errno),
    })?;
    Ok(signals)
}

fn tell_manager(log: Log<'_>, state: &str) {
    if let Err(error) = notify(state) {
        log.line("warning", None, &format!("the service manager was not told {state}: {error}"));
    }
}

/// All of them, or none: what was attached already is released again.
fn attach_all(
    log: Log<'_>,
    arguments: &Serve,
    recent: &Arc<Recent>,
) -> Result<Vec<Served>, Failure> {
    let engine = Engine::new()?;
    let patience = Duration::from_secs(arguments.wait.unwrap_or(0));
    let mut served = Vec::new();
    for name in &arguments.pools {
        match Served::attach(&engine, log, name, patience, recent) {
            Ok(one) => served.push(one),
            Err(failure) => {
                for one in served {
                    one.release(log);
                }
                return Err(failure);
            }
        }
    }
    Ok(served)
}

/// One line per event on standard error.
#[derive(Debug, Clone, Copy)]
struct Log<'a> {
    console: Console<'a>,
}

impl Log<'_> {
    fn line(self, event: &'static str, pool: Option<&str>, message: &str) {
        let human = match pool {
            Some(pool) => format!("{pool}: {event}: {message}"),
            None => format!("{event}: {message}"),
        };
        self.console.event(&EventJson { event, pool, message }, &human);
    }
}

/// Tells all threads to end, and wakes them for it.
#[derive(Debug, Default)]
struct Stop {
    requested: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    fn request(&self) {
        *self.lock() = true;
        self.changed.notify_all();
    }

    /// Sleeps for `duration` or until a stop is requested; tells whether it is.
    fn wait(&self, duration: Duration) -> bool {
        let waited =
            self.changed.wait_timeout_while(self.lock(), duration, |requested| !*requested);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.requested.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pools that we are the writer of, and what was done in them.
#[derive(Debug)]
struct AllServed(Vec<Served>, Arc<Recent>);

impl AllServed {
    /// Gives space to pools that run low and may have it.
    fn extend_all(&self, log: Log<'_>) {
        for served in &self.0 {
            served.extend(log);
        }
    }
}

impl Residence for AllServed {
    /// The engine's own locks are all that is needed: nobody else makes changes here.
    fn enter(&self, pool: &str, _: &[&VolumeName], work: &mut dyn FnMut(&Pool)) -> Entry {
        match self.0.iter().find(|served| served.pool.identity().is_called(pool)) {
            Some(served) => {
                work(&served.pool);
                Entry::Done
            }
            None => Entry::NotHeld,
        }
    }

    fn identify(&self, pool: &str) -> Option<Uuid> {
        let mut identities = self.0.iter().map(|served| served.pool.identity());
        identities.find(|identity| identity.is_called(pool)).map(|identity| identity.uuid)
    }

    fn recent(&self) -> &Recent {
        &self.1
    }
}

/// A pool that we are the writer of.
#[derive(Debug)]
struct Served {
    name: String,
    pool: Pool,
    /// Why it was not extended when that was tried last.
    extension_error: Mutex<Option<String>>,
    /// What was wrong with it when that was looked at last.
    conditions: Mutex<Vec<Condition>>,
    recent: Arc<Recent>,
}

impl Served {
    fn attach(
        engine: &Engine,
        log: Log<'_>,
        name: &str,
        patience: Duration,
        recent: &Arc<Recent>,
    ) -> Result<Self, Failure> {
        let mut tell = |missing: &str| log.line("waiting", Some(name), missing);
        let (pool, is_new) = open_within(engine, name, &[], patience, true, &mut tell)?;
        let event = if is_new { "opened" } else { "attached" };
        for finding in pool.findings() {
            log.line("finding", Some(name), &finding.to_string());
        }
        log.line(event, Some(name), "serving it");
        Ok(Self {
            name: name.to_owned(),
            pool,
            extension_error: Mutex::default(),
            conditions: Mutex::default(),
            recent: Arc::clone(recent),
        })
    }

    fn watch(&self, log: Log<'_>, stop: &Stop) {
        let mut last = Last::default();
        let mut rounds = 0_u64;
        loop {
            let looked = if rounds.is_multiple_of(ROUNDS_PER_LOOK) {
                self.look(log, &mut last)
            } else {
                Ok(())
            };
            match looked.and_then(|()| self.reap(log)) {
                Ok(()) => last.error = None,
                Err(failure) => last.tell_error(log, &self.name, failure.message()),
            }
            if stop.wait(POLL) {
                return;
            }
            rounds += 1;
        }
    }

    fn look(&self, log: Log<'_>, last: &mut Last) -> Result<(), Failure> {
        let health = self.pool.view()?.health;
        if let Some(health) = health.filter(|_| health != last.health) {
            log.line("health", Some(&self.name), &format!("{health}: {}", health.advice()));
        }
        last.health = health;
        Ok(())
    }

    /// Costs nothing while no thin id waits.
    fn reap(&self, log: Log<'_>) -> Result<(), Failure> {
        let begun = Instant::now();
        let report = self.pool.reap(&mut |_| {})?;
        if report.reaped > 0 {
            let message = format!("{} freed, {} waiting", report.reaped, report.waiting);
            self.note("reap", &message, begun);
            log.line("reaped", Some(&self.name), &message);
        }
        Ok(())
    }

    fn extend(&self, log: Log<'_>) {
        self.extend_if_due(log);
        self.tell_conditions(log);
    }

    /// Once when it begins, and once when it is over.
    fn tell_conditions(&self, log: Log<'_>) {
        let Ok(now) = self.pool.conditions() else { return };
        let mut last = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        let (begun, over) = changes(&last, &now);
        for condition in begun {
            let text = format!("{}: {}", condition.reason, condition.message);
            log.line("condition", Some(&self.name), &text);
        }
        for condition in over {
            log.line("recovered", Some(&self.name), condition.reason.as_str());
        }
        *last = now;
    }

    fn extend_if_due(&self, log: Log<'_>) {
        let mut last = self.extension_error.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = Instant::now();
        match self.pool.tend() {
            Ok(extended) => {
                last.take();
                if let Some(extended) = extended {
                    self.note("extend", &extended.to_string(), begun);
                    log.line("extended", Some(&self.name), &extended.to_string());
                }
            }
            Err(error) => {
                let error = error.to_string();
                if last.as_ref() != Some(&error) {
                    log.line("error", Some(&self.name), &error);
                    *last = Some(error);
                }
            }
        }
    }

    /// What is done here by itself and went well.
    fn note(&self, operation: &str, what: &str, begun: Instant) {
        let (uuid, took) = (self.pool.identity().uuid, begun.elapsed());
        self.recent.note(Some(uuid), operation, Some(what), took, Exit::Success.kind());
    }

    fn release(self, log: Log<'_>) {
        match self.pool.release() {
            Ok(()) => log.line("released", Some(&self.name), "no longer serving it"),
            Err(error) => log.line("warning", Some(&self.name), &format!("release: {error}")),
        }
    }
}

/// What was told last: the log repeats nothing that has not changed.
#[derive(Debug, Default)]
struct Last {
    health: Option<Health>,
    error: Option<String>,
}

impl Last {
    fn tell_error(&mut self, log: Log<'_>, pool: &str, error: String) {
        if self.error.as_ref() != Some(&error) {
            log.line("error", Some(pool), &error);
            self.error = Some(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_wakes_every_sleeper() {
        let stop = Stop::default();
        assert!(!stop.wait(Duration::ZERO));
        thread::scope(|scope| {
            let sleepers: Vec<_> =
                (0..2).map(|_| scope.spawn(|| stop.wait(Duration::from_mins(10)))).collect();
            stop.request();
            for sleeper in sleepers {
                assert!(sleeper.join().unwrap());
            }
        });
        assert!(stop.wait(Duration::from_mins(10)));
    }
}
