//! An API server for tests: objects in memory, lists, watches and merge patches over HTTP on the
//! loopback, and failures on demand.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]
#![allow(clippy::missing_panics_doc, reason = "it is for tests")]

mod requests;
mod serving;
mod store;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use requests::{Fault, Seen};
use store::Store;

/// Nothing that a test waits for takes that long.
const PATIENCE: Duration = Duration::from_mins(1);

/// The kinds that it serves, as `group/version/plural`.
const KINDS: [&str; 7] = [
    "/v1/persistentvolumes",
    "/v1/persistentvolumeclaims",
    "storage.k8s.io/v1/storageclasses",
    "snapshot.storage.k8s.io/v1/volumesnapshots",
    "snapshot.storage.k8s.io/v1/volumesnapshotcontents",
    // Two versions of one kind, as a cluster that is being upgraded has them.
    "groupsnapshot.storage.k8s.io/v1/volumegroupsnapshotcontents",
    "groupsnapshot.storage.k8s.io/v1beta2/volumegroupsnapshotcontents",
];

/// The server.
#[derive(Debug)]
pub struct FakeCluster {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    store: Mutex<Store>,
    /// Told of every change of the store, requests included.
    changed: tokio::sync::watch::Sender<u64>,
}

impl Shared {
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        let done = change(&mut self.lock());
        self.changed.send_modify(|count| *count += 1);
        done
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

impl FakeCluster {
    /// A server that serves.
    pub async fn start() -> Self {
        let fake = Self::silent().await;
        fake.serve().await;
        fake
    }

    /// A server that has its address and refuses connections.
    pub async fn silent() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let store = Mutex::new(Store::of_kinds(&KINDS));
        let shared = Shared { store, changed: tokio::sync::watch::Sender::new(0) };
        Self { address, shared: Arc::new(shared), serving: Mutex::new(None) }
    }

    /// Takes connections from now on.
    pub async fn serve(&self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let served = tokio::spawn(serving::serve(listener, Arc::clone(&self.shared)));
        *self.serving.lock().unwrap() = Some(served);
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Writes a kubeconfig with two contexts: `here`, which is this server by the token in a file,
    /// and `elsewhere`, which is nothing. The current one is `here`.
    pub fn kubeconfig(&self, directory: &Path, token: &str) -> PathBuf {
        let token_file = directory.join("token");
        std::fs::write(&token_file, token).unwrap();
        let config = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "here", "cluster": {"server": self.url()}},
                {"name": "elsewhere", "cluster": {"server": "http://127.0.0.1:1"}},
            ],
            "users": [{"name": "me", "user": {"tokenFile": token_file}}],
            "contexts": [
                {"name": "here", "context": {"cluster": "here", "user": "me"}},
                {"name": "elsewhere", "context": {"cluster": "elsewhere", "user": "me"}},
            ],
            "current-context": "here",
        });
        let path = directory.join("kubeconfig");
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }

    /// Only who shows this token is answered.
    pub fn require_token(&self, token: &str) {
        self.shared.with(|store| store.token = Some(token.to_owned()));
    }

    /// Does not know these kinds: their definitions are not installed.
    pub fn forget_kinds(&self, group: &str) {
        self.shared.with(|store| store.forget_kinds(group));
    }

    /// Puts an object there, or another one in its place.
    pub fn put(&self, plural: &str, object: Value) {
        self.shared.with(|store| store.put(plural, object));
    }

    /// Takes an object away.
    pub fn remove(&self, plural: &str, namespace: &str, name: &str) {
        self.shared.with(|store| store.remove(plural, namespace, name));
    }

    /// An object as it is.
    pub fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        self.shared.lock().get(plural, namespace, name).cloned()
    }

    /// Fails requests from now on; see [`Fault`].
    pub fn fail(&self, fault: Fault) {
        self.shared.with(|store| store.faults.push(fault));
    }

    /// Fails no more.
    pub fn heal(&self) {
        self.shared.with(|store| store.faults.clear());
    }

    /// Ends all watches that are open, as a server does after some minutes.
    pub fn end_watches(&self) {
        self.shared.with(|store| store.watch_generation += 1);
    }

    /// Forgets what has changed so far: a watch that begins before now is told `410 Gone`.
    pub fn forget_history(&self) {
        self.shared.with(Store::forget_history);
    }

    /// Tells all watches the newest version, without an object.
    pub fn bookmark(&self) {
        self.shared.with(Store::bookmark);
    }

    /// Makes the objects of lists come in pages of this many at most.
    pub fn page(&self, most: usize) {
        self.shared.with(|store| store.page_max = most);
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.lock().seen.clone()
    }

    /// The requests so far of one method whose path has these words.
    pub fn count(&self, method: &str, part: &str) -> usize {
        self.seen().iter().filter(|seen| seen.method == method && seen.path.contains(part)).count()
    }

    /// Waits until this is so.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let mut changes = self.shared.changes();
        let waiting = async {
            while !is_so(self) {
                changes.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(waited.is_ok(), "{what} did not happen; seen: {:#?}", self.seen());
    }
}

impl Drop for FakeCluster {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.lock().unwrap_or_else(PoisonError::into_inner).take() {
            serving.abort();
        }
    }
}
