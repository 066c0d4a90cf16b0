//! Pools as they are watched.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::hash::BuildHasher;

use serde::Serialize;
use thinly_engine::pool::PoolView;
use thinly_engine::units::Bytes;
use uuid::Uuid;

use super::{OperationJson, PoolJson, VolumeJson};
use crate::time::rfc3339;
use crate::top::{Event, Reading, Resident, Sample};

/// Pools at one moment.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct TopJson {
    pub at: Option<String>,
    pub pools: Vec<TopPoolJson>,
    pub events: Vec<TopEventJson>,
    pub troubles: Vec<String>,
}

/// A pool with its volumes.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct TopPoolJson {
    #[serde(flatten)]
    pub pool: PoolJson,
    pub volumes: Option<Vec<TopVolumeJson>>,
    pub volumes_error: Option<String>,
    pub accounting: Option<ReadingJson>,
    pub resident: Option<ResidentJson>,
}

/// A volume with what it holds alone.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct TopVolumeJson {
    #[serde(flatten)]
    pub volume: VolumeJson,
    pub exclusive_bytes: Option<u64>,
}

/// A reading of a pool's metadata.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct ReadingJson {
    pub read_at: Option<String>,
    pub duration_seconds: f64,
    pub accounting_error: Option<String>,
}

/// The process that holds a pool.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct ResidentJson {
    pub holder_pid: Option<u32>,
    pub operations: Option<Vec<OperationJson>>,
    pub resident_error: Option<String>,
}

/// Something that happened since the document before.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct TopEventJson {
    pub at: Option<String>,
    pub pool: String,
    pub event: &'static str,
    pub message: String,
}

impl TopJson {
    pub(crate) fn new<S: BuildHasher>(
        sample: &Sample,
        readings: &HashMap<Uuid, Reading, S>,
        events: &[Event],
    ) -> Self {
        Self {
            at: rfc3339(sample.at),
            pools: sample
                .pools
                .iter()
                .map(|pool| TopPoolJson::new(sample, pool, readings.get(&pool.uuid)))
                .collect(),
            events: events.iter().map(TopEventJson::from).collect(),
            troubles: sample.troubles.clone(),
        }
    }
}

impl TopPoolJson {
    fn new(sample: &Sample, pool: &PoolView, reading: Option<&Reading>) -> Self {
        let exclusive = |uuid| reading.and_then(|reading| reading.of(uuid)).map(Bytes::get);
        let volume = |view| {
            let volume = VolumeJson::from(view);
            TopVolumeJson { exclusive_bytes: exclusive(volume.uuid), volume }
        };
        Self {
            pool: PoolJson::from(pool),
            volumes: sample
                .volumes
                .get(&pool.uuid)
                .map(|volumes| volumes.iter().map(volume).collect()),
            volumes_error: sample.unread.get(&pool.uuid).cloned(),
            accounting: reading.map(ReadingJson::from),
            resident: sample
                .residents
                .get(&pool.uuid)
                .and_then(|resident| ResidentJson::new(pool, resident)),
        }
    }
}

impl ResidentJson {
    fn new(pool: &PoolView, resident: &Resident) -> Option<Self> {
        match resident {
            Resident::None => None,
            Resident::Silent(why) => {
                let resident_error = Some(why.clone());
                Some(Self { holder_pid: pool.writer, operations: None, resident_error })
            }
            Resident::Tells(told) => Some(Self {
                holder_pid: Some(told.holder_pid),
                operations: Some(told.operations.clone()),
                resident_error: None,
            }),
        }
    }
}

impl From<&Reading> for ReadingJson {
    fn from(reading: &Reading) -> Self {
        Self {
            read_at: rfc3339(reading.at),
            duration_seconds: reading.took.as_secs_f64(),
            accounting_error: reading.exclusive.as_ref().err().cloned(),
        }
    }
}

impl From<&Event> for TopEventJson {
    fn from(event: &Event) -> Self {
        Self {
            at: rfc3339(event.at),
            pool: event.pool.clone(),
            event: event.word,
            message: event.message.clone(),
        }
    }
}
