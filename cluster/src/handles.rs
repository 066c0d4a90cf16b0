//! Every handle that a cluster keeps for a driver.
#![forbid(unsafe_code)]

use std::fmt::Debug;

use kube::api::ListParams;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::access::Access;
use crate::error::ClusterError;
use crate::objects::{
    GROUP_SNAPSHOT_VERSIONS, PersistentVolume, VolumeGroupSnapshotContent, VolumeSnapshotContent,
};

/// How many objects are asked for at once.
const PAGE: u32 = 500;
/// How often a list is begun anew when the cluster has forgotten where it was.
const ATTEMPTS: usize = 3;

/// A handle and the object that keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The object, as kubectl takes it: its kind, a slash, its name.
    pub object: String,
    /// The handle, as it stands there.
    pub handle: String,
}

/// Asks a cluster for every handle that it keeps for a driver. Waits for the answers.
pub fn read(access: &Access, driver: &str) -> Result<Vec<Kept>, ClusterError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| ClusterError::Access { reason: format!("starting to ask: {error}") })?;
    runtime.block_on(async {
        let (client, address) = access.connect().await?;
        all(&client, driver).await.map_err(|error| error.at(&address))
    })
}

/// The same, with a client.
pub async fn all(client: &Client, driver: &str) -> Result<Vec<Kept>, ClusterError> {
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let mut kept =
        page_by_page(&volumes, &(), |volume| volume.handle_of(driver).map(str::to_owned))
            .await?
            .ok_or_else(no_volumes)?;
    let contents: Api<VolumeSnapshotContent> = Api::all(client.clone());
    let snapshots =
        page_by_page(&contents, &(), |content| content.handle_of(driver).map(str::to_owned));
    kept.extend(snapshots.await?.unwrap_or_default());
    for version in GROUP_SNAPSHOT_VERSIONS {
        let contents: Api<VolumeGroupSnapshotContent> = Api::all_with(client.clone(), &version);
        let groups = page_by_page(&contents, &version, |content| {
            content.handle_of(driver).map(str::to_owned)
        });
        if let Some(groups) = groups.await? {
            kept.extend(groups);
            break;
        }
    }
    Ok(kept)
}

/// Snapshots need not be known to a cluster, volumes are.
fn no_volumes() -> ClusterError {
    let reason = "what answers knows none; is it the address of a cluster?".to_owned();
    ClusterError::Call { action: "listing persistentvolumes".to_owned(), reason }
}

/// What is kept of all objects of a kind; `None` when the cluster does not know the kind.
async fn page_by_page<K>(
    api: &Api<K>,
    kind: &K::DynamicType,
    keep: impl Fn(&K) -> Option<String>,
) -> Result<Option<Vec<Kept>>, ClusterError>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let (mut kept, mut attempt) = (Vec::new(), 1);
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = match api.list(&page).await {
            Ok(list) => list,
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
            Err(kube::Error::Api(status)) if status.code == 410 && attempt < ATTEMPTS => {
                attempt += 1;
                kept.clear();
                page.continue_token = None;
                continue;
            }
            Err(error) => {
                return Err(ClusterError::of_call(format!("listing {}", K::plural(kind)), &error));
            }
        };
        for object in &list.items {
            let name = object.meta().name.as_deref().unwrap_or_default();
            let named = || format!("{}/{name}", K::kind(kind));
            kept.extend(keep(object).map(|handle| Kept { object: named(), handle }));
        }
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page.continue_token = Some(token),
            None => return Ok(Some(kept)),
        }
    }
}
