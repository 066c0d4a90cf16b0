//! What a driver on each node does in its cluster, because the stock sidecars do not: it labels
//! snapshots so that the sidecar of the right node takes them, and sends claims that are filled
//! from a snapshot or volume to the node where that is. `docs/kubernetes-controller.md` says why.
//!
//! * `label`, `pin`: what is to be done with an object (pure);
//! * `agenda`: what is due when (pure);
//! * `watching`: lists and watches, and what they say;
//! * `work`: the questions and patches;
//! * [`Controller`]: all of it together.
//!
//! Calls of the driver never wait for any of this.
#![forbid(unsafe_code)]

mod agenda;
mod back_off;
mod controller;
mod label;
mod metrics;
mod pin;
mod watching;
mod work;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thinly_engine::catalogue::{ObjectId, ObjectKind};
use uuid::Uuid;

pub use controller::Controller;
pub use metrics::ClusterMetrics;

/// Who acts, and how fast.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The driver's name in the cluster.
    pub driver_name: String,
    /// This node's name in the cluster.
    pub node: String,
    /// How fast.
    pub pace: Pace,
}

/// How long it is until something is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// At first; it doubles each time.
    pub first: Duration,
    /// At most.
    pub longest: Duration,
    /// Between two looks at which pools are open.
    pub look: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { first: seconds(1), longest: seconds(60), look: seconds(3) }
    }
}

/// The pools of this node, as they are at the moment of asking.
#[derive(Clone)]
pub struct LocalPools(Arc<dyn Fn() -> Vec<Uuid> + Send + Sync>);

impl LocalPools {
    /// What a function tells.
    pub fn new(tell: impl Fn() -> Vec<Uuid> + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    fn list(&self) -> Vec<Uuid> {
        (self.0)()
    }
}

impl fmt::Debug for LocalPools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LocalPools").field(&self.list()).finish()
    }
}

/// Where what a handle names is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a pool of this node.
    Here,
    /// In a pool that this node does not have, or not yet.
    Elsewhere,
    /// Nowhere: it is no handle of such an object.
    Nowhere,
}

/// Where an object of this kind is. Whether it still exists is not asked: the node that had it is
/// the one that can say that it is gone.
fn place_of(handle: &str, kind: ObjectKind, pools: &[Uuid]) -> Place {
    match handle.parse::<ObjectId>() {
        Ok(id) if id.kind() != kind => Place::Nowhere,
        Ok(id) if pools.iter().any(|pool| id.is_in(*pool)) => Place::Here,
        Ok(_) => Place::Elsewhere,
        Err(_) => Place::Nowhere,
    }
}
