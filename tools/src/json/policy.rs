//! How a pool is looked after.
#![forbid(unsafe_code)]

use serde::Serialize;
use thinly_engine::catalogue::{GrowthStep, OnFull, PoolPolicy};
use thinly_engine::units::Bytes;

/// How a pool is looked after.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct PolicyJson {
    pub auto_extend_at_percent: Option<u8>,
    pub auto_extend_by_percent: Option<u16>,
    pub auto_extend_by_bytes: Option<u64>,
    pub auto_extend_max_bytes: Option<u64>,
    pub reserve_bytes: u64,
    pub on_full: &'static str,
    pub admit_data_percent: Option<u8>,
    pub admit_metadata_percent: Option<u8>,
    pub overcommit_metadata: bool,
}

impl From<&PoolPolicy> for PolicyJson {
    fn from(policy: &PoolPolicy) -> Self {
        let auto = policy.auto_extend;
        let (by_percent, by_bytes) = match auto.map(|auto| auto.by) {
            None => (None, None),
            Some(GrowthStep::Percent(percent)) => (Some(percent), None),
            Some(GrowthStep::Bytes(bytes)) => (None, Some(bytes.get())),
        };
        Self {
            auto_extend_at_percent: auto.map(|auto| auto.at_percent),
            auto_extend_by_percent: by_percent,
            auto_extend_by_bytes: by_bytes,
            auto_extend_max_bytes: auto.and_then(|auto| auto.data_max).map(Bytes::get),
            reserve_bytes: policy.reserve.get(),
            on_full: match policy.on_full {
                OnFull::Queue => "queue",
                OnFull::Error => "error",
            },
            admit_data_percent: policy.admit_data_percent,
            admit_metadata_percent: policy.admit_metadata_percent,
            overcommit_metadata: policy.overcommit_metadata,
        }
    }
}
