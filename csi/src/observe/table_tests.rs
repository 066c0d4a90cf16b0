//! The table in docs/metrics.md against what is served.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use thinly_engine::durations::Durations;
use thinly_engine::plan::{Condition, Health, Reason, Severity};
use thinly_engine::pool::{Gauges, Headroom, ReapCounters, Usage};
use thinly_engine::units::Bytes;
use tonic::Code;

use super::pools::Pools;
use super::rpc::RpcMetrics;
use super::sample::{OpenSample, PoolSample, VolumeSample};
use crate::cluster::ClusterMetrics;

fn gauges() -> Gauges {
    let number = Bytes::new;
    Gauges {
        health: Health::NeedsCheck,
        usage: Some(Usage {
            used_data: number(1),
            total_data: number(2),
            used_metadata: number(3),
            total_metadata: number(4),
        }),
        headroom: Some(Headroom {
            virtual_bytes: number(5),
            free_data: number(1),
            total_data: number(2),
            promised: number(6),
        }),
        promised: number(6),
        snapshot_time: 7,
        volumes: 8,
        snapshots: 9,
        tombstones: 10,
        orphans: 11,
    }
}

fn samples() -> Vec<PoolSample> {
    let volume = VolumeSample {
        id: "v1.00112233.vol.x".to_owned(),
        name: "a\"b".to_owned(),
        kind: "volume",
        virtual_bytes: Bytes::new(u64::MAX),
        mapped_bytes: Some(Bytes::new(12)),
        exclusive_bytes: Some(Bytes::new(4)),
    };
    let young = VolumeSample {
        mapped_bytes: None,
        exclusive_bytes: None,
        name: "young".to_owned(),
        ..volume_like(&volume)
    };
    let open = OpenSample {
        poisoned: true,
        gauges: Some(gauges()),
        conditions: vec![Condition {
            severity: Severity::Error,
            reason: Reason::ThinPoolOutOfDataSpace,
            message: "it is full".to_owned(),
        }],
        freezes: Durations::default(),
        flushes: Durations::default(),
        volumes: vec![volume, young],
        reaping: Some(Bytes::new(13)),
        reap: ReapCounters { discarded_bytes: Bytes::new(14), ..ReapCounters::default() },
        accounting: Some(Duration::from_millis(1500)),
    };
    let name = |text: &str| text.to_owned();
    vec![
        PoolSample { pool: name("p"), class: name("c"), recoveries: 3, open: Some(open) },
        PoolSample { pool: name("q"), class: name("d"), recoveries: 0, open: None },
    ]
}

fn volume_like(other: &VolumeSample) -> VolumeSample {
    let VolumeSample { id, name, .. } = other;
    VolumeSample { id: id.clone(), name: name.clone(), ..*other }
}

fn served() -> String {
    let mut registry = Registry::default();
    let rpcs = RpcMetrics::new(&mut registry);
    rpcs.count("Probe", Code::NotFound, Duration::from_millis(30));
    ClusterMetrics::default().register(&mut registry);
    registry.register_collector(Box::new(Pools(samples)));
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    text
}

/// `name type labels unit` of each metric of a scrape.
fn metrics_of(text: &str) -> BTreeSet<String> {
    let word = |line: &str, at: usize| line.split(' ').nth(at).unwrap_or_default().to_owned();
    let about = |start: &str| -> BTreeMap<String, String> {
        let lines = text.lines().filter(|line| line.starts_with(start));
        lines.map(|line| (word(line, 2), word(line, 3))).collect()
    };
    let units = about("# UNIT ");
    let metric = |(name, kind): (String, String)| {
        let suffix = match kind.as_str() {
            "counter" => "_total",
            "histogram" => "_bucket",
            _ => "",
        };
        let start = format!("{name}{suffix}{{");
        let line = text.lines().find(|line| line.starts_with(&start)).unwrap_or_default();
        let labels = line.split_once('{').map_or("", |(_, rest)| rest);
        let keys = labels.split("\",").filter_map(|label| label.split_once("=\""));
        let keys: Vec<&str> = keys.map(|(key, _)| key).filter(|key| *key != "le").collect();
        let unit = units.get(&name).cloned().unwrap_or_default();
        let shown = if kind == "counter" { format!("{name}_total") } else { name };
        format!("{shown} {kind} {} {unit}", keys.join(","))
    };
    about("# TYPE ").into_iter().map(metric).collect()
}

/// The same of the table.
fn documented() -> BTreeSet<String> {
    let table = include_str!("../../../docs/metrics.md");
    let rows = table.lines().filter(|line| line.starts_with("| `thinly_"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`');
        format!("{name} {} {} {}", cells[2], cells[3].replace(' ', ""), cells[4])
    })
    .collect()
}

#[test]
fn the_table_has_every_metric_that_is_served_and_no_other() {
    let served = metrics_of(&served());
    assert!(served.len() > 20);
    assert_eq!(served, documented());
}

#[test]
fn every_number_is_served_under_its_own_name() {
    let text = served();
    let pool = "{pool=\"p\",device_class=\"c\"}";
    let named = [
        ("data_used_bytes", 1),
        ("data_bytes", 2),
        ("metadata_used_bytes", 3),
        ("metadata_bytes", 4),
        ("headroom_bytes", 5),
        ("promised_bytes", 6),
        ("snapshots_taken", 7),
        ("snapshots_taken_limit", (1 << 24) - 1),
        ("volumes", 8),
        ("snapshots", 9),
        ("tombstones", 10),
        ("reaping_bytes", 13),
        ("reap_discarded_bytes_total", 14),
        ("orphans", 11),
        ("up", 1),
        ("handle_poisoned", 1),
        ("handle_recoveries_total", 3),
    ];
    for (name, value) in named {
        let line = format!("thinly_pool_{name}{pool} {value}\n");
        assert!(text.contains(&line), "no {line} in {text}");
    }
    for line in [
        "thinly_pool_health{pool=\"p\",device_class=\"c\",health=\"needs_check\"} 1\n",
        "thinly_pool_health{pool=\"p\",device_class=\"c\",health=\"rw\"} 0\n",
        "name=\"a\\\"b\",kind=\"volume\"} 9223372036854775807\n",
        "thinly_csi_rpcs_total{rpc=\"Probe\",code=\"NotFound\"} 1\n",
        "thinly_csi_rpc_duration_seconds_count{rpc=\"Probe\"} 1\n",
        "thinly_pool_freeze_duration_seconds_bucket{le=\"+Inf\",pool=\"p\",device_class=\"c\"} 0\n",
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
    // What cannot be known is left out, not told as zero.
    assert_eq!(text.matches("thinly_volume_mapped_bytes{").count(), 1);
    let closed: Vec<&str> = text.lines().filter(|line| line.contains("pool=\"q\"")).collect();
    let up = "thinly_pool_up{pool=\"q\",device_class=\"d\"} 0";
    assert!(closed.len() == 2 && closed[0] == up, "{closed:?}");
}

/// The names of metrics in a text, a histogram's by its own name.
fn named_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let metrics = words.filter(|word| {
        ["thinly_pool_", "thinly_volume_", "thinly_csi_"].iter().any(|own| word.starts_with(own))
    });
    let of_histogram = |word: &str| word.strip_suffix("_bucket").unwrap_or(word).to_owned();
    metrics.map(of_histogram).collect()
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_are_served() {
    let served: BTreeSet<String> =
        documented().iter().filter_map(|row| row.split(' ').next().map(str::to_owned)).collect();
    for (file, text) in [
        ("thinly-rules.yaml", include_str!("../../../deploy/monitoring/thinly-rules.yaml")),
        (
            "thinly-rules-test.yaml",
            include_str!("../../../deploy/monitoring/thinly-rules-test.yaml"),
        ),
        ("thinly-dashboard.json", include_str!("../../../deploy/monitoring/thinly-dashboard.json")),
    ] {
        let asked = named_in(text);
        assert!(asked.len() > 10, "{file}: {asked:?}");
        let unknown: Vec<_> = asked.difference(&served).collect();
        assert!(unknown.is_empty(), "{file} asks for {unknown:?}");
    }
}

#[test]
fn every_alert_is_tried() {
    let names = |text: &str, before: &str| -> BTreeSet<String> {
        let parts = text.split(before).skip(1);
        parts.map(|rest| rest.chars().take_while(char::is_ascii_alphanumeric).collect()).collect()
    };
    let rules = include_str!("../../../deploy/monitoring/thinly-rules.yaml");
    let tests = include_str!("../../../deploy/monitoring/thinly-rules-test.yaml");
    let alerts = names(rules, "- alert: ");
    assert!(alerts.len() > 15);
    let untried: Vec<_> = alerts.iter().filter(|alert| !tests.contains(alert.as_str())).collect();
    assert!(untried.is_empty(), "no test names {untried:?}");
}
