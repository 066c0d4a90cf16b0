//! Which claims are to be provisioned on this node.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use thinly_cluster::objects::{
    DataSource, PersistentVolume, PersistentVolumeClaim, Reference, SNAPSHOTS, StorageClass,
    VolumeSnapshot, VolumeSnapshotContent,
};
use thinly_engine::catalogue::ObjectKind;
use uuid::Uuid;

use super::{Place, place_of};

/// Where the scheduler writes the node that a claim is to be provisioned on.
pub(super) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// A claim that waits for a node, and is filled from something that may be on one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) class: String,
    pub(super) source: Source,
    /// Of this claim: another one of its name is another claim.
    pub(super) uid: String,
    version: String,
}

/// What it is filled from, in its own namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A snapshot.
    Snapshot(String),
    /// Another claim.
    Claim(String),
}

/// How a claim stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It wants a node.
    Wants(Claim),
    /// It has one, and no volume yet.
    Chosen,
    /// It is none of ours: bound, ending, or filled from nothing.
    Out,
}

/// How a claim stands. Of its class only the name is known.
pub(super) fn standing(claim: &PersistentVolumeClaim) -> Standing {
    let (metadata, spec) = (&claim.metadata, &claim.spec);
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    let has_volume = spec.volume_name.as_ref().is_some_and(|name| !name.is_empty());
    // A claim that was made just now has no phase yet.
    let is_pending = matches!(phase, None | Some("" | "Pending"));
    if !is_pending || has_volume || metadata.deletion_timestamp.is_some() {
        return Standing::Out;
    }
    let is_chosen = metadata.annotations.as_ref().is_some_and(|it| it.contains_key(SELECTED_NODE));
    let wants = || {
        Some(Claim {
            namespace: metadata.namespace.clone()?,
            name: metadata.name.clone()?,
            class: spec.storage_class_name.clone().filter(|class| !class.is_empty())?,
            source: source_of(claim)?,
            uid: metadata.uid.clone()?,
            version: metadata.resource_version.clone()?,
        })
    };
    match wants() {
        Some(_) if is_chosen => Standing::Chosen,
        Some(claim) => Standing::Wants(claim),
        None => Standing::Out,
    }
}

fn source_of(claim: &PersistentVolumeClaim) -> Option<Source> {
    let spec = &claim.spec;
    let DataSource { api_group, kind, name, namespace } =
        spec.data_source_ref.as_ref().or(spec.data_source.as_ref())?;
    let is_other = |namespace: &String| Some(namespace) != claim.metadata.namespace.as_ref();
    if namespace.as_ref().is_some_and(|it| !it.is_empty() && is_other(it)) {
        return None;
    }
    match (api_group.as_deref().unwrap_or_default(), kind.as_str()) {
        (SNAPSHOTS, "VolumeSnapshot") => Some(Source::Snapshot(name.clone())),
        ("", "PersistentVolumeClaim") => Some(Source::Claim(name.clone())),
        _ => None,
    }
}

/// Whether volumes of a class are made by this driver, where their first pod is put.
pub(super) fn is_ours(class: &StorageClass, driver: &str) -> bool {
    class.provisioner == driver
        && class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
}

/// What is known of where a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// In a pool of this node.
    Here,
    /// Not on this node; that does not change.
    NotHere,
    /// It has no handle yet.
    NotYet,
}

fn finding(handle: Option<&str>, kind: ObjectKind, pools: &[Uuid]) -> Finding {
    match handle.map(|handle| place_of(handle, kind, pools)) {
        None => Finding::NotYet,
        Some(Place::Here) => Finding::Here,
        Some(Place::Elsewhere | Place::Nowhere) => Finding::NotHere,
    }
}

/// Whether a reference is to the object with this name and identity.
fn is_to(reference: &Reference, metadata: &kube::core::ObjectMeta) -> bool {
    reference.namespace == metadata.namespace
        && reference.name == metadata.name
        // Somebody who tells a snapshot by hand need not know the uid.
        && reference.uid.as_ref().is_none_or(|uid| uid.is_empty() || Some(uid) == metadata.uid.as_ref())
}

/// Where a snapshot is. What it names must name it as well: a namespace must not reach the
/// snapshots of another.
pub(super) fn find_snapshot(
    snapshot: &VolumeSnapshot,
    content: &VolumeSnapshotContent,
    driver: &str,
    pools: &[Uuid],
) -> Finding {
    if content.spec.driver != driver {
        return Finding::NotHere;
    }
    if !is_to(&content.spec.volume_snapshot_ref, &snapshot.metadata) {
        return Finding::NotYet;
    }
    finding(content.handle_of(driver), ObjectKind::Snapshot, pools)
}

/// Where a claim's volume is. What it names must name it as well.
pub(super) fn find_volume(
    claim: &PersistentVolumeClaim,
    volume: &PersistentVolume,
    driver: &str,
    pools: &[Uuid],
) -> Finding {
    let is_bound =
        volume.spec.claim_ref.as_ref().is_some_and(|claimed| is_to(claimed, &claim.metadata));
    match volume.handle_of(driver) {
        None => Finding::NotHere,
        Some(_) if !is_bound => Finding::NotYet,
        handle => finding(handle, ObjectKind::Volume, pools),
    }
}

impl Claim {
    /// What sends it to a node, unless it has changed meanwhile.
    pub(super) fn patch(&self, node: &str) -> Value {
        let annotations = json!({SELECTED_NODE: node});
        json!({"metadata": {"resourceVersion": self.version, "annotations": annotations}})
    }
}

#[cfg(test)]
#[path = "pin_tests.rs"]
mod tests;
