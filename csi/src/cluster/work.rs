//! What is asked of the cluster for one object, and what is changed of it.
#![forbid(unsafe_code)]

use std::fmt::Debug;
use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;
use thinly_cluster::ClusterError;
use thinly_cluster::objects::{
    PersistentVolume, PersistentVolumeClaim, StorageClass, VolumeSnapshot, VolumeSnapshotContent,
};
use tokio::time::timeout;
use uuid::Uuid;

use super::agenda::{Outcome, Part, Subject};
use super::label::{Content, is_label};
use super::metrics::{Change, ClusterMetrics};
use super::pin::{self, Claim, Finding, Source};
use super::{LocalPools, Settings};

/// Everything that one object takes has to be over by then.
const WORK_MAX: Duration = Duration::from_secs(10);
/// How often an object that somebody else changes meanwhile is looked at anew, before it waits.
const ATTEMPTS: usize = 3;
/// Who changes objects, as the cluster records it.
const MANAGER: &str = "thinly-csi";

/// Asks and changes.
#[derive(Debug)]
pub(super) struct Worker<'a> {
    pub(super) client: RedactedClient,
    pub(super) settings: &'a Settings,
    pub(super) pools: &'a LocalPools,
    pub(super) metrics: &'a ClusterMetrics,
}

/// A client, of which nothing is to be printed.
#[derive(Clone)]
pub(super) struct RedactedClient(pub(super) Client);

impl Debug for RedactedClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

/// How a patch ended.
enum Patched<K> {
    Done,
    /// Somebody else changed it; this is how it is now.
    Changed(K),
    Ended(Outcome),
}

/// What is known of a source, or how the work ended without.
type Found = Result<Finding, Outcome>;

impl Worker<'_> {
    /// Does what is to be done with an object.
    pub(super) async fn work(&self, subject: Subject) -> Outcome {
        let part = match subject {
            Subject::Content(_) => Part::Contents,
            Subject::Claim(_) => Part::Claims,
        };
        let work = async {
            match subject {
                Subject::Content(content) => self.label(content).await,
                Subject::Claim(claim) => self.pin(claim).await,
            }
        };
        let outcome = timeout(WORK_MAX, work).await.unwrap_or_else(|_| {
            Outcome::Trouble(format!("the cluster did not answer within {WORK_MAX:?}"))
        });
        match outcome {
            Outcome::Done => self.metrics.count(part, Change::Done),
            Outcome::Trouble(_) => self.metrics.count(part, Change::Failed),
            _ => {}
        }
        outcome
    }

    async fn label(&self, mut content: Content) -> Outcome {
        let api: Api<VolumeSnapshotContent> = Api::all(self.client.0.clone());
        for _ in 0..ATTEMPTS {
            if !content.is_ours(&self.pools.list()) {
                return Outcome::NotOurs;
            }
            if !is_label(&self.settings.node) {
                // Said once, when the controller begins.
                return Outcome::NotOurs;
            }
            let patch = content.patch(&self.settings.node);
            match self.patch(&api, Part::Contents, &content.name, &patch).await {
                Patched::Done => {
                    let node = &self.settings.node;
                    tracing::info!(content = content.name, node, "the snapshot is this node's");
                    return Outcome::Done;
                }
                Patched::Changed(object) => {
                    match Content::of(&object, &self.settings.driver_name) {
                        Some(fresh) => content = fresh,
                        None => return Outcome::Gone,
                    }
                }
                Patched::Ended(outcome) => return outcome,
            }
        }
        Outcome::NotYet
    }

    async fn pin(&self, mut claim: Claim) -> Outcome {
        let api: Api<PersistentVolumeClaim> =
            Api::namespaced(self.client.0.clone(), &claim.namespace);
        for _ in 0..ATTEMPTS {
            match self.find(&claim).await {
                Ok(Finding::Here) => {}
                Ok(Finding::NotHere) => return Outcome::NotOurs,
                Ok(Finding::NotYet) => return Outcome::NotYet,
                Err(outcome) => return outcome,
            }
            let patch = claim.patch(&self.settings.node);
            match self.patch(&api, Part::Claims, &claim.name, &patch).await {
                Patched::Done => {
                    let name = format!("{}/{}", claim.namespace, claim.name);
                    let node = &self.settings.node;
                    tracing::info!(claim = name, node, "its source is here, so is the claim");
                    return Outcome::Done;
                }
                Patched::Changed(object) => match pin::standing(&object) {
                    pin::Standing::Wants(fresh) if fresh.uid == claim.uid => claim = fresh,
                    // The watch tells of it.
                    _ => return Outcome::NotOurs,
                },
                Patched::Ended(outcome) => return outcome,
            }
        }
        Outcome::NotYet
    }

    /// Where a claim's source is.
    async fn find(&self, claim: &Claim) -> Found {
        let classes: Api<StorageClass> = Api::all(self.client.0.clone());
        let driver = &self.settings.driver_name;
        match get(&classes, &claim.class).await? {
            None => return Ok(Finding::NotYet),
            Some(class) if !pin::is_ours(&class, driver) => return Ok(Finding::NotHere),
            Some(_) => {}
        }
        match &claim.source {
            Source::Snapshot(name) => self.find_snapshot(&claim.namespace, name).await,
            Source::Claim(name) => self.find_volume(&claim.namespace, name).await,
        }
    }

    async fn find_snapshot(&self, namespace: &str, name: &str) -> Found {
        let Some(snapshot) = get(&self.namespaced::<VolumeSnapshot>(namespace), name).await? else {
            return Ok(Finding::NotYet);
        };
        let status = snapshot.status.as_ref();
        let bound = status.and_then(|it| it.bound_volume_snapshot_content_name.as_deref());
        let Some(bound) = bound.filter(|name| !name.is_empty()) else { return Ok(Finding::NotYet) };
        let contents: Api<VolumeSnapshotContent> = Api::all(self.client.0.clone());
        let Some(content) = get(&contents, bound).await? else { return Ok(Finding::NotYet) };
        let (driver, pools) = (&self.settings.driver_name, self.pools.list());
        Ok(pin::find_snapshot(&snapshot, &content, driver, &pools))
    }

    async fn find_volume(&self, namespace: &str, name: &str) -> Found {
        let claims = self.namespaced::<PersistentVolumeClaim>(namespace);
        let Some(claim) = get(&claims, name).await? else { return Ok(Finding::NotYet) };
        let bound = claim.spec.volume_name.as_deref();
        let Some(bound) = bound.filter(|name| !name.is_empty()) else { return Ok(Finding::NotYet) };
        let volumes: Api<PersistentVolume> = Api::all(self.client.0.clone());
        let Some(volume) = get(&volumes, bound).await? else { return Ok(Finding::NotYet) };
        let (driver, pools): (_, Vec<Uuid>) = (&self.settings.driver_name, self.pools.list());
        Ok(pin::find_volume(&claim, &volume, driver, &pools))
    }

    fn namespaced<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.0.clone(), namespace)
    }

    /// Changes an object that is still as it was looked at.
    async fn patch<K>(&self, api: &Api<K>, part: Part, name: &str, patch: &Value) -> Patched<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let manager = Some(MANAGER.to_owned());
        let params = PatchParams { field_manager: manager, ..PatchParams::default() };
        let Err(error) = api.patch(name, &params, &Patch::Merge(patch)).await else {
            return Patched::Done;
        };
        match error {
            // If it is gone, the watch tells so. A server that is just coming up says the same.
            kube::Error::Api(status) if status.code == 404 => Patched::Ended(Outcome::NotYet),
            kube::Error::Api(status) if status.code == 409 => {
                self.metrics.count(part, Change::Conflict);
                match get(api, name).await {
                    Ok(Some(object)) => Patched::Changed(object),
                    Ok(None) => Patched::Ended(Outcome::NotYet),
                    Err(outcome) => Patched::Ended(outcome),
                }
            }
            error => {
                let action = format!("patching {}", part.name());
                let error = ClusterError::of_call(action, &error);
                Patched::Ended(Outcome::Trouble(error.to_string()))
            }
        }
    }
}

/// An object, if it is there. Kinds that the cluster does not know have none.
async fn get<K>(api: &Api<K>, name: &str) -> Result<Option<K>, Outcome>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    api.get_opt(name).await.map_err(|error| {
        let action = format!("reading {}", K::plural(&()));
        Outcome::Trouble(ClusterError::of_call(action, &error).to_string())
    })
}
