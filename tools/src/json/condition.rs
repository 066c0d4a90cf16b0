//! What is wrong with a pool or a volume.
#![forbid(unsafe_code)]

use serde::Serialize;
use thinly_engine::plan::Condition;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct ConditionJson {
    pub severity: &'static str,
    pub reason: &'static str,
    pub message: String,
}

impl From<&Condition> for ConditionJson {
    fn from(condition: &Condition) -> Self {
        Self {
            severity: condition.severity.as_str(),
            reason: condition.reason.as_str(),
            message: condition.message.clone(),
        }
    }
}
