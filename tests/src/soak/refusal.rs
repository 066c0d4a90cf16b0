//! Why something was not done, in the words of the table of exit codes.
#![forbid(unsafe_code)]

use std::fmt;

use thinly::exit::Exit;
use thinly_engine::pool::PoolError;

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// `no_space` and the like; `killed` when there was no answer.
    pub(super) kind: String,
    pub(super) message: String,
    /// Whether a fault was there meanwhile: then any refusal may be.
    pub(super) is_excused: bool,
}

impl Refusal {
    pub(super) const KILLED: &str = "killed";

    pub(super) fn new(kind: &str, message: &str) -> Self {
        Self { kind: kind.to_owned(), message: message.to_owned(), is_excused: false }
    }

    /// Whether the pool has no room for it, or is in a condition in which it takes nothing new.
    pub(super) fn is_for_want_of_space(&self) -> bool {
        [Exit::NoSpace, Exit::Degraded].iter().any(|exit| exit.kind() == self.kind)
    }
}

impl From<PoolError> for Refusal {
    fn from(error: PoolError) -> Self {
        Self::new(Exit::of_class(error.exit_class()).kind(), &error.to_string())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let excuse = if self.is_excused { ", a fault was there" } else { "" };
        write!(f, "{}{excuse}: {}", self.kind, self.message)
    }
}
