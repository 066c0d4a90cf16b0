//! What is seen of pools at one moment.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thinly_engine::catalogue::Timestamp;
use thinly_engine::pool::{PoolView, VolumeView};
use thinly_engine::units::Bytes;
use uuid::Uuid;

use crate::json::OperationsJson;

/// Pools at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// The moment.
    pub(crate) at: Timestamp,
    /// All of them, by name.
    pub(crate) pools: Vec<PoolView>,
    /// The volumes of those that were asked for.
    pub(crate) volumes: BTreeMap<Uuid, Vec<VolumeView>>,
    /// Of those whose volumes cannot be read, why.
    pub(crate) unread: BTreeMap<Uuid, String>,
    /// Who holds those.
    pub(crate) residents: BTreeMap<Uuid, Resident>,
    /// What could not be looked at, and why.
    pub(crate) troubles: Vec<String>,
}

/// The process that holds a pool, and what it tells.
#[derive(Debug, Clone)]
pub(crate) enum Resident {
    /// Nobody holds it.
    None,
    /// Somebody holds it who does not tell, and why.
    Silent(String),
    /// What it did.
    Tells(OperationsJson),
}

/// What the volumes of a pool hold alone.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    /// When it was read.
    pub(crate) at: Timestamp,
    /// How long that took.
    pub(crate) took: Duration,
    /// By volume; or why it is not known.
    pub(crate) exclusive: Result<BTreeMap<Uuid, Bytes>, String>,
}

impl Reading {
    /// What this volume holds alone, where that is known.
    pub(crate) fn of(&self, volume: Uuid) -> Option<Bytes> {
        self.exclusive.as_ref().ok()?.get(&volume).copied()
    }
}

/// This moment.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// How long ago that was, to the second.
pub(super) const fn seconds_since(then: Timestamp, now: Timestamp) -> u64 {
    now.0.saturating_sub(then.0) / 1000
}
