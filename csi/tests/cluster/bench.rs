//! A controller of the node n1 that runs, and what it looks at.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use thinly_cluster::Access;
use thinly_cluster::fake::FakeCluster;
use thinly_csi::cluster::{ClusterMetrics, Controller, LocalPools, Pace, Settings};
use thinly_csi::{ObjectId, ObjectKind};
use tokio::task::JoinHandle;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;
use uuid::Uuid;

pub(crate) const DRIVER: &str = "thinly.dev";
pub(crate) const TOKEN: &str = "the token of n1";
pub(crate) const CONTENTS: &str = "volumesnapshotcontents";
pub(crate) const CLAIMS: &str = "persistentvolumeclaims";
pub(crate) const MANAGED_BY: &str = "snapshot.storage.kubernetes.io/managed-by";
pub(crate) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

const POOL: Uuid = Uuid::from_u128(0xa0 << 120);
const OTHER_POOL: Uuid = Uuid::from_u128(0xb0 << 120);

/// A handle in a pool of n1.
pub(crate) fn here(kind: ObjectKind) -> String {
    ObjectId::new(POOL, kind, Uuid::from_u128(1)).to_string()
}

/// A handle in a pool of another node.
pub(crate) fn elsewhere(kind: ObjectKind) -> String {
    ObjectId::new(OTHER_POOL, kind, Uuid::from_u128(1)).to_string()
}

/// A VolumeSnapshotContent.
pub(crate) fn content(name: &str, source: &Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"driver": DRIVER, "source": source}})
}

/// What is logged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// How many lines have these words.
    pub(crate) fn lines(&self, words: &str) -> usize {
        let log = self.0.lock().unwrap();
        String::from_utf8_lossy(&log).lines().filter(|line| line.contains(words)).count()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// An API server and a controller.
pub(crate) struct Bench {
    pub(crate) fake: FakeCluster,
    pub(crate) log: Log,
    pools: Arc<Mutex<Vec<Uuid>>>,
    registry: Registry,
    metrics: ClusterMetrics,
    directory: tempfile::TempDir,
    running: Option<JoinHandle<()>>,
    _logging: DefaultGuard,
}

impl Bench {
    /// A server that serves, and no controller yet.
    pub(crate) async fn new() -> Self {
        let bench = Self::silent().await;
        bench.fake.serve().await;
        bench
    }

    /// A server that refuses connections.
    pub(crate) async fn silent() -> Self {
        let log = Log::default();
        let subscriber =
            tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
        let (mut registry, metrics) = (Registry::default(), ClusterMetrics::default());
        metrics.register(&mut registry);
        Self {
            fake: FakeCluster::silent().await,
            // Of this thread, and with it of everything that runs in this test.
            _logging: tracing::subscriber::set_default(subscriber),
            pools: Arc::new(Mutex::new(vec![POOL])),
            directory: tempfile::tempdir().unwrap(),
            running: None,
            log,
            registry,
            metrics,
        }
    }

    /// The same with a controller.
    pub(crate) async fn started() -> Self {
        let mut bench = Self::new().await;
        bench.start("n1");
        bench
    }

    pub(crate) fn start(&mut self, node: &str) {
        let kubeconfig = Some(self.fake.kubeconfig(self.directory.path(), TOKEN));
        let pools = Arc::clone(&self.pools);
        let milliseconds = Duration::from_millis;
        let controller = Controller {
            access: Access::Person { kubeconfig, context: None },
            settings: Settings {
                driver_name: DRIVER.to_owned(),
                node: node.to_owned(),
                pace: Pace {
                    first: milliseconds(5),
                    longest: milliseconds(20),
                    look: milliseconds(5),
                },
            },
            pools: LocalPools::new(move || pools.lock().unwrap().clone()),
            metrics: self.metrics.clone(),
        };
        self.running = Some(tokio::spawn(controller.run(std::future::pending())));
    }

    pub(crate) fn set_pools(&self, are_there: bool) {
        *self.pools.lock().unwrap() = if are_there { vec![POOL] } else { Vec::new() };
    }

    /// The label of a content.
    pub(crate) fn label(&self, name: &str) -> Option<String> {
        let object = self.fake.get(CONTENTS, "", name)?;
        object["metadata"]["labels"][MANAGED_BY].as_str().map(str::to_owned)
    }

    /// The node that a claim was sent to.
    pub(crate) fn node(&self, name: &str) -> Option<String> {
        let object = self.fake.get(CLAIMS, "shop", name)?;
        object["metadata"]["annotations"][SELECTED_NODE].as_str().map(str::to_owned)
    }

    pub(crate) async fn until_labelled(&self, name: &str) {
        self.fake.until(name, |_| self.label(name).as_deref() == Some("n1")).await;
    }

    pub(crate) async fn until_pinned(&self, name: &str) {
        self.fake.until(name, |_| self.node(name).as_deref() == Some("n1")).await;
    }

    /// Waits until a metric stands there like this.
    pub(crate) async fn until_metric(&self, line: &str) {
        let line = format!("thinly_csi_cluster_{line}\n");
        let has = || {
            let mut text = String::new();
            encode(&mut text, &self.registry).unwrap();
            text.contains(&line)
        };
        let waiting = async {
            while !has() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_mins(1), waiting).await.is_ok(), "no {line}");
    }

    /// The patches so far, as the last words of their paths.
    pub(crate) fn patched(&self) -> Vec<String> {
        let seen = self.fake.seen();
        let patches = seen.iter().filter(|seen| seen.method == "PATCH");
        patches.map(|seen| seen.path.rsplit('/').next().unwrap().to_owned()).collect()
    }

    /// How often all objects of a kind were listed.
    pub(crate) fn lists(&self, plural: &str) -> usize {
        let seen = self.fake.seen();
        let is_list = |path: &str| path.ends_with(plural);
        seen.iter().filter(|seen| seen.method == "GET" && is_list(&seen.path)).count()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
        }
    }
}
