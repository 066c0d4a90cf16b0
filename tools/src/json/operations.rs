//! What the process that holds a pool did.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use crate::admin::Done;
use crate::time::rfc3339;

/// What the process that holds a pool did last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct OperationsJson {
    pub holder_pid: u32,
    pub operations: Vec<OperationJson>,
}

/// An operation that ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct OperationJson {
    pub ended_at: Option<String>,
    pub operation: String,
    pub subject: Option<String>,
    pub duration_seconds: f64,
    pub outcome: String,
}

impl OperationsJson {
    /// Of this process.
    #[must_use]
    pub fn own(done: &[Done]) -> Self {
        Self {
            holder_pid: std::process::id(),
            operations: done.iter().map(OperationJson::from).collect(),
        }
    }
}

impl From<&Done> for OperationJson {
    fn from(done: &Done) -> Self {
        Self {
            ended_at: rfc3339(done.at),
            operation: done.operation.clone(),
            subject: done.object.clone(),
            duration_seconds: done.took.as_secs_f64(),
            outcome: done.outcome.clone(),
        }
    }
}
