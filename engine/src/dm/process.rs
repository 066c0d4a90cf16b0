//! What a process must take care of before it suspends a device that it may depend on.
#![forbid(unsafe_code)]

use std::io;
use std::marker::PhantomData;

use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::signal::{SigSet, SigmaskHow};
use thiserror::Error;

/// Whether the process can be paged out to a device that it has suspended.
#[derive(Debug)]
#[must_use]
pub enum MemoryLock {
    /// All memory, also what is yet to come, stays in place.
    Locked,
    /// The kernel refused, as a rule because of `RLIMIT_MEMLOCK`. Work may go on: the danger is
    /// real only where the program or its swap lies on a device that it suspends.
    Refused(io::Error),
}

/// Keeps the process in memory: while a device is suspended, a page that must come from it never
/// comes.
pub fn lock_memory() -> MemoryLock {
    match mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE) {
        Ok(()) => MemoryLock::Locked,
        Err(errno) => MemoryLock::Refused(errno.into()),
    }
}

/// The thread's signals cannot be blocked.
#[derive(Debug, Error)]
#[error("cannot block the thread's signals: {source}; nothing was suspended, try again")]
pub struct SignalError {
    /// The kernel's answer.
    pub source: io::Error,
}

/// While it lives, no signal but SIGKILL and SIGSTOP reaches this thread: none can end it between
/// a suspend and its resume, nor interrupt either. Bound to its thread.
#[derive(Debug)]
#[must_use = "signals are blocked only as long as the guard lives"]
pub struct SignalGuard {
    before: SigSet,
    bound_to_thread: PhantomData<*const ()>,
}

impl SignalGuard {
    /// Blocks all signals of this thread.
    pub fn block() -> Result<Self, SignalError> {
        let before = SigSet::all()
            .thread_swap_mask(SigmaskHow::SIG_BLOCK)
            .map_err(|errno| SignalError { source: errno.into() })?;
        Ok(Self { before, bound_to_thread: PhantomData })
    }
}

impl Drop for SignalGuard {
    fn drop(&mut self) {
        // A mask that was in force cannot be an invalid one, so this cannot fail.
        let _ = self.before.thread_set_mask();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;

    #[test]
    fn signals_are_blocked_while_the_guard_lives() {
        let blocked = || SigSet::thread_get_mask().unwrap().contains(Signal::SIGTERM);
        assert!(!blocked());
        let outer = SignalGuard::block().unwrap();
        let inner = SignalGuard::block().unwrap();
        assert!(blocked());
        drop(inner);
        assert!(blocked(), "an inner guard must not lift an outer one");
        drop(outer);
        assert!(!blocked());
    }

    #[test]
    fn memory_is_locked_or_the_refusal_is_kept() {
        match lock_memory() {
            MemoryLock::Locked => nix::sys::mman::munlockall().unwrap(),
            MemoryLock::Refused(source) => assert!(source.raw_os_error().is_some()),
        }
    }
}
