//! What is overwritten of a deleted volume.
#![forbid(unsafe_code)]

use serde::Serialize;
use thinly_engine::pool::Erasure;

use super::VolumeJson;

/// The answer of `delete --erase`.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct ErasureJson {
    #[serde(flatten)]
    pub volume: VolumeJson,
    pub to_erase_bytes: u64,
    pub kept_bytes: u64,
    pub kept_by: Vec<String>,
    pub kept_by_more: bool,
}

impl ErasureJson {
    /// What is left to say of a volume that is no more, and of its data.
    #[must_use]
    pub fn new(volume: VolumeJson, erasure: &Erasure) -> Self {
        Self {
            volume,
            to_erase_bytes: erasure.to_erase_bytes.get(),
            kept_bytes: erasure.kept_bytes.get(),
            kept_by: erasure.kept_by.iter().map(ToString::to_string).collect(),
            kept_by_more: erasure.kept_by_more,
        }
    }
}
