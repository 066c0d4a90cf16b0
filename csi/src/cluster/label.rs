//! Which snapshots this node's sidecar is to take.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use thinly_cluster::objects::VolumeSnapshotContent;
use thinly_engine::catalogue::ObjectKind;
use uuid::Uuid;

use super::{Place, place_of};

/// The label by which the sidecar of a node knows what is its own.
pub(super) const MANAGED_BY: &str = "snapshot.storage.kubernetes.io/managed-by";

/// The longest value that a label may have. The names of nodes may be longer.
const LABEL_MAX: usize = 63;

/// A snapshot of our driver that nobody manages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) name: String,
    version: String,
    /// What tells where it is: the volume that it is made of, or itself.
    source: Option<(ObjectKind, String)>,
}

impl Content {
    /// `None` when it is another driver's, or somebody manages it: a label that is there is never
    /// changed, whatever it says.
    pub(super) fn of(object: &VolumeSnapshotContent, driver: &str) -> Option<Self> {
        let metadata = &object.metadata;
        let is_managed =
            metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(MANAGED_BY));
        if object.spec.driver != driver || is_managed {
            return None;
        }
        let source = &object.spec.source;
        let of = |kind, handle: &Option<String>| Some((kind, handle.clone()?));
        Some(Self {
            name: metadata.name.clone()?,
            version: metadata.resource_version.clone()?,
            source: of(ObjectKind::Volume, &source.volume_handle)
                .or_else(|| of(ObjectKind::Snapshot, &source.snapshot_handle)),
        })
    }

    /// Whether it is this node's.
    pub(super) fn is_ours(&self, pools: &[Uuid]) -> bool {
        let place = self.source.as_ref().map(|(kind, handle)| place_of(handle, *kind, pools));
        place == Some(Place::Here)
    }

    /// What makes it this node's, unless it has changed meanwhile.
    pub(super) fn patch(&self, node: &str) -> Value {
        json!({"metadata": {"resourceVersion": self.version, "labels": {MANAGED_BY: node}}})
    }
}

/// Whether a node's name can be a label. Where it cannot, the sidecar cannot ask for it either.
pub(super) fn is_label(node: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = node.as_bytes();
    bytes.len() <= LABEL_MAX
        && bytes.iter().copied().all(is_inner)
        && is_end(bytes.first())
        && is_end(bytes.last())
}

#[cfg(test)]
mod tests {
    use serde_json::from_value;

    use super::*;

    const POOL: Uuid = Uuid::from_u128(0xa0 << 120);

    fn handle(pool: Uuid, kind: ObjectKind) -> String {
        thinly_engine::catalogue::ObjectId::new(pool, kind, Uuid::from_u128(1)).to_string()
    }

    fn content(source: &Value, labels: &Value) -> Option<Content> {
        let object = from_value(json!({
            "metadata": {"name": "c", "resourceVersion": "7", "labels": labels},
            "spec": {"driver": "thinly.dev", "source": source, "deletionPolicy": "Delete"},
        }));
        Content::of(&object.unwrap(), "thinly.dev")
    }

    #[test]
    fn a_source_in_a_pool_of_this_node_makes_it_ours() {
        let other = Uuid::from_u128(0xb0 << 120);
        let (volume, snapshot) = (ObjectKind::Volume, ObjectKind::Snapshot);
        for (source, is_ours) in [
            (json!({"volumeHandle": handle(POOL, volume)}), true),
            (json!({"snapshotHandle": handle(POOL, snapshot)}), true),
            (json!({"volumeHandle": handle(other, volume)}), false),
            (json!({"snapshotHandle": handle(other, snapshot)}), false),
            (json!({"snapshotHandle": handle(POOL, volume)}), false),
            (json!({"volumeHandle": "made-up"}), false),
            (json!({}), false),
        ] {
            let content = content(&source, &Value::Null).unwrap();
            assert_eq!(content.is_ours(&[Uuid::nil(), POOL]), is_ours, "{source}");
            assert!(!content.is_ours(&[]), "{source}");
        }
    }

    #[test]
    fn what_somebody_manages_and_what_is_another_drivers_is_left_alone() {
        let source = json!({"volumeHandle": handle(POOL, ObjectKind::Volume)});
        assert!(content(&source, &json!({"a": "b"})).is_some());
        for managed_by in ["n1", "n2", ""] {
            assert_eq!(content(&source, &json!({MANAGED_BY: managed_by})), None, "{managed_by:?}");
        }
        let other = json!({
            "metadata": {"name": "c", "resourceVersion": "7"},
            "spec": {"driver": "other.example", "source": source},
        });
        assert_eq!(Content::of(&from_value(other).unwrap(), "thinly.dev"), None);
    }

    #[test]
    fn the_patch_holds_the_version_that_was_looked_at() {
        let patch = content(&json!({}), &Value::Null).unwrap().patch("n1");
        let wanted = json!({"metadata": {"resourceVersion": "7", "labels": {MANAGED_BY: "n1"}}});
        assert_eq!(patch, wanted);
    }

    #[test]
    fn not_every_name_of_a_node_can_be_a_label() {
        for good in ["n1", "ip-10-0-0-1.eu.example", &"n".repeat(63)] {
            assert!(is_label(good), "{good}");
        }
        for bad in ["", "n1.", "-n1", "n/1", &"n".repeat(64)] {
            assert!(!is_label(bad), "{bad}");
        }
    }
}
