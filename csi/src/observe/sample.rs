//! The pools in numbers, at one moment.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use thinly_engine::durations::Durations;
use thinly_engine::plan::Condition;
use thinly_engine::pool::{Gauges, Pool, ReapCounters};
use thinly_engine::units::Bytes;
use uuid::Uuid;

use super::exclusive::{Answer, Exclusive};
use crate::driver::{Driver, id_of};
use crate::failure::chain;
use crate::pools::Class;

/// How old the mapped bytes of volumes may be. They are read from the metadata device, so that
/// no number of scrapes can read it more often than this.
const MAPPED_AGE_MAX: Duration = Duration::from_secs(15);

/// A pool in numbers.
#[derive(Debug, Default)]
pub(super) struct PoolSample {
    pub(super) pool: String,
    pub(super) class: String,
    pub(super) recoveries: u64,
    /// `None` while its handle is being replaced.
    pub(super) open: Option<OpenSample>,
}

/// What only a handle tells.
#[derive(Debug)]
pub(super) struct OpenSample {
    pub(super) poisoned: bool,
    /// `None` when the kernel did not answer.
    pub(super) gauges: Option<Gauges>,
    /// What is wrong with it.
    pub(super) conditions: Vec<Condition>,
    pub(super) freezes: Durations,
    pub(super) flushes: Durations,
    pub(super) volumes: Vec<VolumeSample>,
    /// What deleted volumes still map.
    pub(super) reaping: Option<Bytes>,
    pub(super) reap: ReapCounters,
    /// How long it took to find out what they hold alone.
    pub(super) accounting: Option<Duration>,
}

/// A volume or snapshot in numbers.
#[derive(Debug)]
pub(super) struct VolumeSample {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) virtual_bytes: Bytes,
    /// `None` when it cannot be read, and for a volume younger than the last reading.
    pub(super) mapped_bytes: Option<Bytes>,
    /// Likewise.
    pub(super) exclusive_bytes: Option<Bytes>,
}

/// The mapped bytes of a pool.
#[derive(Debug)]
struct Reading {
    at: Instant,
    volumes: HashMap<Uuid, Bytes>,
    reaping: Option<Bytes>,
}

/// Reads samples, and remembers what is dear to read.
#[derive(Debug)]
pub(super) struct Sampler {
    mapped: Mutex<HashMap<Uuid, Reading>>,
    exclusive: Exclusive,
}

impl Sampler {
    /// `accounting` is how old the answer may get to what volumes hold alone.
    pub(super) fn new(accounting: Duration) -> Self {
        Self { mapped: Mutex::default(), exclusive: Exclusive::new(accounting) }
    }

    pub(super) fn sample(&self, driver: &Driver) -> Vec<PoolSample> {
        let classes = driver.classes();
        let samples = classes.iter().map(|class| self.sample_class(class)).collect();
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        let is_served = |uuid: Uuid| classes.iter().any(|class| class.uuid == uuid);
        mapped.retain(|uuid, _| is_served(*uuid));
        self.exclusive.retain(is_served);
        samples
    }

    fn sample_class(&self, class: &Class) -> PoolSample {
        let open = class.pool().ok().map(|pool| {
            let gauges = pool.gauges().inspect_err(|error| {
                tracing::warn!(pool = %class.config.pool, "no metrics: {}", chain(error));
            });
            let counters = pool.counters();
            let answer = self.exclusive.answer(class.uuid);
            let (volumes, reaping) = self.sample_volumes(class, &pool, answer.as_deref());
            OpenSample {
                conditions: pool.conditions().unwrap_or_default(),
                poisoned: pool.poisoned().is_some(),
                gauges: gauges.ok(),
                freezes: counters.freezes,
                flushes: counters.journal_flushes,
                accounting: answer.as_ref().map(|answer| answer.took),
                volumes,
                reaping,
                reap: counters.reap,
            }
        });
        PoolSample {
            pool: class.config.pool.to_string(),
            class: class.config.name.clone(),
            recoveries: class.recoveries(),
            open,
        }
    }

    fn sample_volumes(
        &self,
        class: &Class,
        pool: &Pool,
        answer: Option<&Answer>,
    ) -> (Vec<VolumeSample>, Option<Bytes>) {
        let mut readings = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = |reading: &Reading| reading.at.elapsed() < MAPPED_AGE_MAX;
        if !readings.get(&class.uuid).is_some_and(is_fresh) {
            let volumes = pool.committed_bytes().unwrap_or_default();
            let reaping = pool.reaping_bytes();
            readings.insert(class.uuid, Reading { at: Instant::now(), volumes, reaping });
        }
        let reading = readings.get(&class.uuid);
        let mapped = reading.map(|reading| &reading.volumes);
        let sample = |volume: &thinly_engine::catalogue::Volume| VolumeSample {
            id: id_of(class.uuid, volume).to_string(),
            name: volume.name.to_string(),
            kind: if volume.is_snapshot() { "snapshot" } else { "volume" },
            virtual_bytes: volume.size,
            mapped_bytes: mapped.and_then(|mapped| mapped.get(&volume.uuid)).copied(),
            exclusive_bytes: answer.and_then(|answer| answer.bytes.get(&volume.uuid)).copied(),
        };
        let volumes = pool.volume_records().iter().map(sample).collect();
        (volumes, reading.and_then(|reading| reading.reaping))
    }
}
