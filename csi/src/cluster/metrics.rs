//! The controller in numbers.
#![forbid(unsafe_code)]

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::agenda::Part;

type Label = (&'static str, &'static str);

/// How a change of an object ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    Done,
    /// Somebody else was faster; it is looked at anew.
    Conflict,
    Failed,
}

impl Change {
    const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Conflict => "conflict",
            Self::Failed => "failed",
        }
    }
}

/// The controller's numbers.
#[derive(Debug, Clone, Default)]
pub struct ClusterMetrics {
    up: Family<[Label; 1], Gauge>,
    failing: Family<[Label; 1], Gauge>,
    changes: Family<[Label; 2], Counter>,
}

impl ClusterMetrics {
    /// Has them served.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "thinly_csi_cluster_up",
            "1 while the cluster tells of changes to these objects",
            self.up.clone(),
        );
        registry.register(
            "thinly_csi_cluster_failing",
            "Objects whose last label or node could not be set",
            self.failing.clone(),
        );
        registry.register(
            "thinly_csi_cluster_changes",
            "Labels and nodes that were set, by outcome",
            self.changes.clone(),
        );
        for part in Part::ALL {
            self.set_up(part, false);
            self.set_failing(part, 0);
            for change in [Change::Done, Change::Conflict, Change::Failed] {
                let _shown_from_the_start = self.changes.get_or_create(&labels(part, change));
            }
        }
    }

    pub(super) fn set_up(&self, part: Part, is_up: bool) {
        self.up.get_or_create(&[("objects", part.name())]).set(is_up.into());
    }

    pub(super) fn set_failing(&self, part: Part, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.failing.get_or_create(&[("duty", part.duty())]).set(count);
    }

    pub(super) fn count(&self, part: Part, change: Change) {
        self.changes.get_or_create(&labels(part, change)).inc();
    }
}

const fn labels(part: Part, change: Change) -> [Label; 2] {
    [("duty", part.duty()), ("outcome", change.name())]
}
