//! What left a pool with a device.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use serde::Serialize;
use thinly_engine::pool::Evacuated;
use uuid::Uuid;

/// The answer of `pool evacuate`.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct EvacuatedJson {
    pub uuid: Uuid,
    pub path: PathBuf,
    pub moved_bytes: u64,
    pub longest_pause_seconds: f64,
    pub wiped: bool,
}

impl From<&Evacuated> for EvacuatedJson {
    fn from(evacuated: &Evacuated) -> Self {
        Self {
            uuid: evacuated.device,
            path: evacuated.path.clone(),
            moved_bytes: evacuated.moved.get(),
            longest_pause_seconds: evacuated.longest_pause.as_secs_f64(),
            wiped: evacuated.wiped,
        }
    }
}
