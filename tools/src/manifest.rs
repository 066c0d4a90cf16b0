//! What a cluster is told of a volume or snapshot: the object that is applied there.
//!
//! Field names are those of Kubernetes.
#![forbid(unsafe_code)]

use serde::Serialize;
use thinly_engine::catalogue::{ClusterAccess, ObjectId};
use thinly_engine::units::Bytes;

use crate::cluster_name::{ClaimName, ClusterName};

/// An object for a cluster.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the fields are those of Kubernetes")]
pub struct Manifest {
    pub api_version: &'static str,
    pub kind: &'static str,
    pub metadata: Metadata,
    pub spec: Spec,
}

/// What an object is called.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the fields are those of Kubernetes")]
pub struct Metadata {
    pub name: String,
}

/// What an object is.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Spec {
    /// Of a `PersistentVolume`.
    Volume(Box<VolumeSpec>),
    /// Of a `VolumeSnapshotContent`.
    Snapshot(SnapshotSpec),
}

/// The specification of a `PersistentVolume`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the fields are those of Kubernetes")]
pub struct VolumeSpec {
    pub capacity: Capacity,
    pub volume_mode: &'static str,
    pub access_modes: [&'static str; 1],
    pub persistent_volume_reclaim_policy: &'static str,
    pub storage_class_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim_ref: Option<Reference>,
    pub csi: CsiSource,
    pub node_affinity: NodeAffinity,
}

/// How large a volume is, in bytes.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the fields are those of Kubernetes")]
pub struct Capacity {
    pub storage: String,
}

/// Another object of the cluster.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the fields are those of Kubernetes")]
pub struct Reference {
    pub api_version: &'static str,
    pub kind: &'static str,
    pub namespace: String,
    pub name: String,
}

/// Which volume of which driver.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the fields are those of Kubernetes")]
pub struct CsiSource {
    pub driver: String,
    pub volume_handle: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fs_type: Option<String>,
}

/// The one node that has the disks.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the fields are those of Kubernetes")]
pub struct NodeAffinity {
    pub required: NodeSelector,
}

/// Which nodes.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the fields are those of Kubernetes")]
pub struct NodeSelector {
    pub node_selector_terms: [NodeSelectorTerm; 1],
}

/// A condition on nodes.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the fields are those of Kubernetes")]
pub struct NodeSelectorTerm {
    pub match_expressions: [NodeExpression; 1],
}

/// A condition on one label.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the fields are those of Kubernetes")]
pub struct NodeExpression {
    pub key: String,
    pub operator: &'static str,
    pub values: [String; 1],
}

/// The specification of a `VolumeSnapshotContent`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the fields are those of Kubernetes")]
pub struct SnapshotSpec {
    pub deletion_policy: &'static str,
    pub driver: String,
    pub source: SnapshotSource,
    pub volume_snapshot_ref: Reference,
}

/// Which snapshot.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the fields are those of Kubernetes")]
pub struct SnapshotSource {
    pub snapshot_handle: String,
}

/// What is the same for volumes and snapshots.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct Subject {
    pub name: ClusterName,
    pub handle: ObjectId,
    pub driver: String,
    pub claim: Option<ClaimName>,
}

/// What a volume has besides.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct VolumeFacts {
    pub size: Bytes,
    pub access: ClusterAccess,
    pub filesystem: Option<String>,
    pub storage_class: Option<ClusterName>,
    pub topology_key: String,
    pub node: String,
}

impl Manifest {
    /// The object as `kubectl apply -f -` takes it.
    pub fn to_yaml(&self) -> Result<String, serde_yaml_ng::Error> {
        Ok(serde_yaml_ng::to_string(self)?.lines().map(quoted).collect())
    }

    /// The `PersistentVolume` of a volume. Deleting it or its claim leaves the volume as it is.
    #[must_use]
    pub fn of_volume(subject: Subject, facts: VolumeFacts) -> Self {
        let volume_mode = match facts.access {
            ClusterAccess::Block => "Block",
            ClusterAccess::Mount => "Filesystem",
        };
        let on_this_node =
            NodeExpression { key: facts.topology_key, operator: "In", values: [facts.node] };
        let spec = VolumeSpec {
            capacity: Capacity { storage: facts.size.to_string() },
            volume_mode,
            access_modes: ["ReadWriteOnce"],
            persistent_volume_reclaim_policy: "Retain",
            storage_class_name: facts
                .storage_class
                .map(|name| name.to_string())
                .unwrap_or_default(),
            claim_ref: subject.claim.map(|claim| reference("v1", "PersistentVolumeClaim", &claim)),
            csi: CsiSource {
                driver: subject.driver,
                volume_handle: subject.handle.to_string(),
                fs_type: facts.filesystem,
            },
            node_affinity: NodeAffinity {
                required: NodeSelector {
                    node_selector_terms: [NodeSelectorTerm { match_expressions: [on_this_node] }],
                },
            },
        };
        Self {
            api_version: "v1",
            kind: "PersistentVolume",
            metadata: Metadata { name: subject.name.to_string() },
            spec: Spec::Volume(Box::new(spec)),
        }
    }

    /// The `VolumeSnapshotContent` of a snapshot. It must name the `VolumeSnapshot` that it is for.
    #[must_use]
    pub fn of_snapshot(subject: Subject, claim: &ClaimName) -> Self {
        let spec = SnapshotSpec {
            deletion_policy: "Retain",
            driver: subject.driver,
            source: SnapshotSource { snapshot_handle: subject.handle.to_string() },
            volume_snapshot_ref: reference(SNAPSHOT_API, "VolumeSnapshot", claim),
        };
        Self {
            api_version: SNAPSHOT_API,
            kind: "VolumeSnapshotContent",
            metadata: Metadata { name: subject.name.to_string() },
            spec: Spec::Snapshot(spec),
        }
    }
}

/// Words that the YAML 1.1 of a cluster's tools takes for true or false, and the writer here does not.
const TRUTH_WORDS: [&str; 6] = ["y", "yes", "on", "n", "no", "off"];

/// A line of YAML whose value is a text for every reader.
fn quoted(line: &str) -> String {
    let value_at = line.rfind(' ').map_or(0, |space| space + 1);
    let (before, value) = line.split_at(value_at);
    if TRUTH_WORDS.contains(&value.to_ascii_lowercase().as_str()) {
        return format!("{before}'{value}'\n");
    }
    format!("{line}\n")
}

const SNAPSHOT_API: &str = "snapshot.storage.k8s.io/v1";

fn reference(api_version: &'static str, kind: &'static str, claim: &ClaimName) -> Reference {
    let (namespace, name) = (claim.namespace.to_string(), claim.name.to_string());
    Reference { api_version, kind, namespace, name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_means_true_or_false_elsewhere_is_quoted() {
        for (line, wanted) in [
            ("  name: no", "  name: 'no'\n"),
            ("  - Y", "  - 'Y'\n"),
            ("name: off", "name: 'off'\n"),
            ("name: 'true'", "name: 'true'\n"),
            ("name: none", "name: none\n"),
            ("  no:", "  no:\n"),
        ] {
            assert_eq!(quoted(line), wanted);
        }
    }
}
