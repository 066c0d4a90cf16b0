//! How a pool is looked after, in a line each.
#![forbid(unsafe_code)]

use thinly_engine::catalogue::{GrowthStep, OnFull, PoolPolicy};
use thinly_engine::units::Bytes;

use super::human;

/// What happens by itself when the pool fills up.
pub(super) fn extension(policy: &PoolPolicy) -> String {
    let Some(auto) = policy.auto_extend else {
        return "by `thinly pool grow` only".to_owned();
    };
    let step = match auto.by {
        GrowthStep::Percent(percent) => format!("{percent} %"),
        GrowthStep::Bytes(bytes) => human(bytes),
    };
    let most = auto.data_max.map_or(String::new(), |most| format!(", up to {}", human(most)));
    let kept = if policy.reserve == Bytes::ZERO {
        String::new()
    } else {
        format!(", {} kept until it is full", human(policy.reserve))
    };
    format!("by {step} at {} % of the data{most}{kept}", auto.at_percent)
}

/// What a write does that finds it full.
pub(super) fn when_full(policy: &PoolPolicy) -> String {
    match policy.on_full {
        OnFull::Queue => "writes wait for the kernel's no_space_timeout (60 s), then fail",
        OnFull::Error => "writes fail at once",
    }
    .to_owned()
}

/// What is refused before it is full.
pub(super) fn admission(policy: &PoolPolicy) -> Option<String> {
    let part = |what, limit: Option<u8>| limit.map(|limit| format!("{limit} % of the {what}"));
    let parts =
        [part("data", policy.admit_data_percent), part("metadata", policy.admit_metadata_percent)];
    let limits: Vec<String> = parts.into_iter().flatten().collect();
    (!limits.is_empty()).then(|| format!("no new volumes or snapshots above {}", limits.join(", ")))
}
