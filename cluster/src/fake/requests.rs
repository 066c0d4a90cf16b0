//! What was asked, and what is to fail.

use serde_json::Value;

/// A request.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its method; of a watch, `WATCH`.
    pub method: String,
    /// Its path.
    pub path: String,
    /// What is behind the path.
    pub query: String,
    /// What was sent.
    pub body: Value,
    /// How it was answered.
    pub status: u16,
}

/// Requests that fail.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Of this method; `WATCH` is a watch.
    pub method: &'static str,
    /// Whose path and query have these words.
    pub part: &'static str,
    /// How they are answered.
    pub status: u16,
    /// How many; `usize::MAX` is until [`heal`](super::FakeCluster::heal).
    pub times: usize,
    /// What somebody else puts there at the same moment, with the last word of its path.
    pub rival: Option<(&'static str, Value)>,
}

impl Fault {
    /// Requests that fail until [`heal`](super::FakeCluster::heal).
    pub fn lasting(method: &'static str, part: &'static str, status: u16) -> Self {
        Self { method, part, status, times: usize::MAX, rival: None }
    }

    /// One request that fails.
    pub fn once(method: &'static str, part: &'static str, status: u16) -> Self {
        Self { times: 1, ..Self::lasting(method, part, status) }
    }
}
