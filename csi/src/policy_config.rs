//! How a pool is looked after, as the configuration says it.
#![forbid(unsafe_code)]

use serde::Deserialize;
use thinly_engine::catalogue::{AutoExtend, GrowthStep, OnFull, PoolPolicy};
use thinly_engine::units::Bytes;

/// The keys of a device class that make a policy. Where none is given the pool keeps its own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RawPolicy {
    auto_extend: Option<RawAutoExtend>,
    #[serde(default)]
    reserve_gb: u64,
    #[serde(default)]
    on_full: RawOnFull,
    admit_data_percent: Option<u8>,
    admit_metadata_percent: Option<u8>,
    #[serde(default)]
    overcommit_metadata: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawAutoExtend {
    at_percent: u8,
    by_percent: Option<u16>,
    by_gb: Option<u64>,
    max_gb: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawOnFull {
    #[default]
    Queue,
    Error,
}

impl TryFrom<RawPolicy> for PoolPolicy {
    type Error = String;

    fn try_from(raw: RawPolicy) -> Result<Self, String> {
        let policy = Self {
            auto_extend: raw.auto_extend.map(TryInto::try_into).transpose()?,
            reserve: gigabytes("reserve-gb", raw.reserve_gb)?,
            on_full: match raw.on_full {
                RawOnFull::Queue => OnFull::Queue,
                RawOnFull::Error => OnFull::Error,
            },
            admit_data_percent: raw.admit_data_percent,
            admit_metadata_percent: raw.admit_metadata_percent,
            overcommit_metadata: raw.overcommit_metadata,
        };
        policy.check().map_err(|error| error.to_string())?;
        Ok(policy)
    }
}

impl TryFrom<RawAutoExtend> for AutoExtend {
    type Error = String;

    fn try_from(raw: RawAutoExtend) -> Result<Self, String> {
        let by = match (raw.by_percent, raw.by_gb) {
            (Some(percent), None) => GrowthStep::Percent(percent),
            (None, Some(count)) => GrowthStep::Bytes(gigabytes("by-gb", count)?),
            _ => return Err("auto-extend takes one of by-percent and by-gb".to_owned()),
        };
        let data_max = raw.max_gb.map(|count| gigabytes("max-gb", count)).transpose()?;
        Ok(Self { at_percent: raw.at_percent, by, data_max })
    }
}

/// In steps of 1024, as `spare-gb` counts.
fn gigabytes(key: &str, count: u64) -> Result<Bytes, String> {
    count.checked_mul(1 << 30).map(Bytes::new).ok_or_else(|| format!("{key} is too large"))
}
