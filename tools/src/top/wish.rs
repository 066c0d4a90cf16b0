//! What the screen asks of the threads that look.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uuid::Uuid;

/// What is to be looked at, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The pool whose volumes are shown; the first one when none is chosen.
    pub(super) pool: Option<Uuid>,
    pub(super) interval: Duration,
    pub(super) is_paused: bool,
}

/// The same, for several threads.
#[derive(Debug)]
pub(super) struct Wish {
    wanted: Mutex<Wanted>,
    changed: Condvar,
    is_over: AtomicBool,
}

impl Wish {
    pub(super) fn new(interval: Duration) -> Self {
        let wanted = Wanted { pool: None, interval, is_paused: false };
        Self {
            wanted: Mutex::new(wanted),
            changed: Condvar::new(),
            is_over: AtomicBool::new(false),
        }
    }

    pub(super) fn get(&self) -> Wanted {
        *self.lock()
    }

    /// Wakes whoever waits, if anything changed.
    pub(super) fn set(&self, wanted: Wanted) {
        let mut now = self.lock();
        if *now != wanted {
            *now = wanted;
            self.changed.notify_all();
        }
    }

    /// Nobody looks any more.
    pub(super) fn end(&self) {
        let _now = self.lock();
        self.is_over.store(true, Ordering::Release);
        self.changed.notify_all();
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Waits until something else is wanted than `known`, or for so long; tells whether to go on.
    pub(super) fn wait(&self, known: Wanted, longest: Option<Duration>) -> bool {
        let is_same = |now: &mut Wanted| *now == known && !self.is_over();
        let longest = longest.unwrap_or(Duration::MAX);
        drop(self.changed.wait_timeout_while(self.lock(), longest, is_same));
        !self.is_over()
    }

    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_change_and_the_end_wake_and_the_same_again_does_not() {
        let wish = Wish::new(Duration::from_secs(2));
        let known = wish.get();
        assert!(wish.wait(known, Some(Duration::ZERO)));
        let other = Wanted { is_paused: true, ..known };
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| wish.wait(known, None));
            wish.set(known);
            wish.set(other);
            assert!(sleeper.join().unwrap());
            let sleeper = scope.spawn(|| wish.wait(other, None));
            wish.end();
            assert!(!sleeper.join().unwrap());
        });
    }
}
