//! The metrics of pools and volumes, made from a sample for each scrape.
#![forbid(unsafe_code)]

use std::fmt::{self, Error};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use thinly_engine::durations::Durations;
use thinly_engine::plan::Health;
use thinly_engine::pool::{Gauges, SNAPSHOT_TIME_MAX};
use thinly_engine::units::Bytes;

use super::sample::{OpenSample, PoolSample, VolumeSample};

/// All conditions: each is a series, and one of them is 1.
const HEALTHS: [Health; 5] = [
    Health::Writable,
    Health::OutOfDataSpace,
    Health::ReadOnly,
    Health::NeedsCheck,
    Health::Failed,
];

/// A number of a pool: its name, its help, its unit, and where it comes from.
type PoolGauge = (&'static str, &'static str, Option<Unit>, fn(&Gauges) -> Option<u64>);

const POOL_GAUGES: [PoolGauge; 12] = [
    ("data_used", "Data in use", Some(Unit::Bytes), |it| Some(it.usage?.used_data.get())),
    ("data", "All data", Some(Unit::Bytes), |it| Some(it.usage?.total_data.get())),
    ("metadata_used", "Metadata in use", Some(Unit::Bytes), |it| {
        Some(it.usage?.used_metadata.get())
    }),
    ("metadata", "All metadata", Some(Unit::Bytes), |it| Some(it.usage?.total_metadata.get())),
    ("promised", "What the sizes of volumes add up to", Some(Unit::Bytes), |it| {
        Some(it.promised.get())
    }),
    ("headroom", "The largest volume that can be created", Some(Unit::Bytes), |it| {
        Some(it.headroom?.virtual_bytes.get())
    }),
    ("snapshots_taken", "Snapshots and clones made in the pool's life", None, |it| {
        Some(it.snapshot_time.into())
    }),
    ("snapshots_taken_limit", "How many it can make in its life", None, |_| {
        Some(SNAPSHOT_TIME_MAX.into())
    }),
    ("volumes", "Volumes and clones", None, |it| count(it.volumes)),
    ("snapshots", "Snapshots", None, |it| count(it.snapshots)),
    ("tombstones", "Deleted thin ids that wait to be freed", None, |it| count(it.tombstones)),
    ("orphans", "Thin ids that belong to nobody", None, |it| count(it.orphans)),
];

fn count(number: usize) -> Option<u64> {
    u64::try_from(number).ok()
}

/// One number beyond what a gauge may be would fail the whole scrape.
fn saturated(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Makes the metrics of what a function samples.
pub(super) struct Pools<F>(pub(super) F);

impl<F> fmt::Debug for Pools<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pools").finish_non_exhaustive()
    }
}

impl<F: Fn() -> Vec<PoolSample> + Send + Sync + 'static> Collector for Pools<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let samples = (self.0)();
        let mut out = Out { encoder: &mut encoder, samples: &samples };
        out.handles()?;
        out.health()?;
        out.conditions()?;
        for (name, help, unit, read) in &POOL_GAUGES {
            out.gauge(&format!("thinly_pool_{name}"), help, unit.as_ref(), |open| {
                read(open.gauges.as_ref()?)
            })?;
        }
        let reaping = "What deleted volumes still map, as of the pool's last commit";
        out.gauge("thinly_pool_reaping", reaping, Some(&Unit::Bytes), |open| {
            Some(open.reaping?.get())
        })?;
        out.discarded()?;
        out.histogram(
            "thinly_pool_freeze_duration",
            "How long volumes in use were frozen for a copy",
            |open| &open.freezes,
        )?;
        out.histogram(
            "thinly_pool_journal_flush_duration",
            "How long the journal's writes took until they were durable",
            |open| &open.flushes,
        )?;
        let size = "The size of a volume or snapshot";
        out.volumes("thinly_volume_virtual", size, |volume| Some(volume.virtual_bytes))?;
        let mapped = "What a volume or snapshot maps, as of the pool's last commit";
        out.volumes("thinly_volume_mapped", mapped, |volume| volume.mapped_bytes)?;
        let exclusive = "What is free once a volume or snapshot is deleted";
        out.volumes("thinly_volume_exclusive", exclusive, |volume| volume.exclusive_bytes)?;
        out.accounting()
    }
}

struct Out<'a, 'e> {
    encoder: &'a mut DescriptorEncoder<'e>,
    samples: &'a [PoolSample],
}

/// A label's value as the format wants it: the library writes it as it is given.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn labels(sample: &PoolSample) -> [(&'static str, String); 2] {
    [("pool", escaped(&sample.pool)), ("device_class", escaped(&sample.class))]
}

impl Out<'_, '_> {
    fn handles(&mut self) -> Result<(), Error> {
        let help = "1 while the driver has the pool open and the kernel answers for it";
        let mut up =
            self.encoder.encode_descriptor("thinly_pool_up", help, None, MetricType::Gauge)?;
        for sample in self.samples {
            let is_up = sample.open.as_ref().is_some_and(|open| open.gauges.is_some());
            up.encode_family(&labels(sample))?.encode_gauge(&u64::from(is_up))?;
        }
        let help = "1 while changes are refused until the pool is opened anew";
        self.gauge("thinly_pool_handle_poisoned", help, None, |open| Some(open.poisoned.into()))?;
        let (name, help) = ("thinly_pool_handle_recoveries", "Times the pool was opened anew");
        let mut recoveries =
            self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for sample in self.samples {
            recoveries
                .encode_family(&labels(sample))?
                .encode_counter::<NoLabelSet, u64, f64>(&sample.recoveries, None)?;
        }
        Ok(())
    }

    fn health(&mut self) -> Result<(), Error> {
        let (name, help) = ("thinly_pool_health", "1 for the condition that the pool is in");
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for sample in self.samples {
            let gauges = sample.open.as_ref().and_then(|open| open.gauges.as_ref());
            let Some(found) = gauges.map(|gauges| gauges.health) else { continue };
            for health in HEALTHS {
                let [pool, class] = labels(sample);
                let labels = [pool, class, ("health", health.to_string())];
                metric.encode_family(&labels)?.encode_gauge(&u64::from(health == found))?;
            }
        }
        Ok(())
    }

    fn conditions(&mut self) -> Result<(), Error> {
        let (name, help) = ("thinly_pool_condition", "1 for everything that is wrong with a pool");
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for sample in self.samples {
            for condition in sample.open.iter().flat_map(|open| &open.conditions) {
                let [pool, class] = labels(sample);
                let reason = ("reason", condition.reason.to_string());
                let severity = ("severity", condition.severity.as_str().to_owned());
                metric.encode_family(&[pool, class, reason, severity])?.encode_gauge(&1_u64)?;
            }
        }
        Ok(())
    }

    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        read: impl Fn(&OpenSample) -> Option<u64>,
    ) -> Result<(), Error> {
        let mut metric = self.encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for sample in self.samples {
            if let Some(value) = sample.open.as_ref().and_then(&read) {
                metric.encode_family(&labels(sample))?.encode_gauge(&saturated(value))?;
            }
        }
        Ok(())
    }

    fn discarded(&mut self) -> Result<(), Error> {
        let (name, unit) = ("thinly_pool_reap_discarded", Some(&Unit::Bytes));
        let help = "What was discarded of deleted volumes before their delete";
        let mut metric = self.encoder.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for sample in self.samples {
            let Some(open) = &sample.open else { continue };
            let bytes = open.reap.discarded_bytes.get();
            metric
                .encode_family(&labels(sample))?
                .encode_counter::<NoLabelSet, u64, f64>(&bytes, None)?;
        }
        Ok(())
    }

    fn histogram(
        &mut self,
        name: &str,
        help: &str,
        read: impl Fn(&OpenSample) -> &Durations,
    ) -> Result<(), Error> {
        let unit = Some(&Unit::Seconds);
        let mut metric = self.encoder.encode_descriptor(name, help, unit, MetricType::Histogram)?;
        for sample in self.samples {
            let Some(durations) = sample.open.as_ref().map(&read) else { continue };
            let seconds = |(bound, count): (Option<std::time::Duration>, u64)| {
                (bound.map_or(f64::MAX, |bound| bound.as_secs_f64()), count)
            };
            let buckets: Vec<(f64, u64)> = durations.buckets().map(seconds).collect();
            metric.encode_family(&labels(sample))?.encode_histogram::<NoLabelSet>(
                durations.sum().as_secs_f64(),
                durations.count(),
                &buckets,
                None,
            )?;
        }
        Ok(())
    }

    fn accounting(&mut self) -> Result<(), Error> {
        let help = "How long it took to find out what volumes hold alone, the last time";
        let name = "thinly_pool_accounting";
        let unit = Some(&Unit::Seconds);
        let mut metric = self.encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for sample in self.samples {
            if let Some(took) = sample.open.as_ref().and_then(|open| open.accounting) {
                metric.encode_family(&labels(sample))?.encode_gauge(&took.as_secs_f64())?;
            }
        }
        Ok(())
    }

    fn volumes(
        &mut self,
        name: &str,
        help: &str,
        read: impl Fn(&VolumeSample) -> Option<Bytes>,
    ) -> Result<(), Error> {
        let unit = Some(&Unit::Bytes);
        let mut metric = self.encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for sample in self.samples {
            for volume in sample.open.iter().flat_map(|open| &open.volumes) {
                let Some(bytes) = read(volume) else { continue };
                let labels = [
                    ("pool", escaped(&sample.pool)),
                    ("volume_id", volume.id.clone()),
                    ("name", escaped(&volume.name)),
                    ("kind", volume.kind.to_owned()),
                ];
                metric.encode_family(&labels)?.encode_gauge(&saturated(bytes.get()))?;
            }
        }
        Ok(())
    }
}
