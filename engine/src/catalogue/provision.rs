//! What an orchestrator asked for, kept beside what was made of it.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::apply_error::ApplyError;
use super::handle::ObjectKind;
use super::name::{NameError, check_text, name_type};

name_type! {
    /// The name that the orchestrator knows the object by: unique in the pool, any text without
    /// control characters.
    ProvisionKey, |key| check_text("orchestrator's", key, ProvisionKey::BYTES_MAX)
}

impl ProvisionKey {
    /// The longest key, in bytes: room for a kind in front of what a CSI name may be.
    pub const BYTES_MAX: usize = 192;

    /// The key of an object that a cluster calls `name`. Kinds have names of their own.
    pub fn of(kind: ObjectKind, name: &str) -> Result<Self, NameError> {
        Self::new(&format!("{}{name}", prefix(kind)))
    }

    /// What the cluster calls the object; `None` when the key is of another kind, or no cluster's.
    pub fn name_in_cluster(&self, kind: ObjectKind) -> Option<&str> {
        self.as_str().strip_prefix(prefix(kind))
    }
}

const fn prefix(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Volume => "volume/",
        ObjectKind::Snapshot => "snapshot/",
        ObjectKind::Group => "group/",
    }
}

/// How a cluster uses a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterAccess {
    /// As a device.
    Block,
    /// As a filesystem that is mounted.
    Mount,
}

impl ClusterAccess {
    /// Under which attribute of a provision it is kept.
    pub const ATTRIBUTE: &str = "access";

    /// The attribute's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Mount => "mount",
        }
    }
}

impl fmt::Display for ClusterAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an orchestrator asked for when it had an object made, kept beside the object so that a
/// repeated request is recognised after any crash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provision {
    /// The orchestrator's name for the object.
    pub key: ProvisionKey,
    /// The request, as the driver wants to read it again.
    pub attributes: BTreeMap<String, String>,
}

impl Provision {
    /// The longest attributes, keys and values together: what CSI allows a map of a request (4 KiB)
    /// and room for what a driver adds.
    pub const ATTRIBUTE_BYTES_MAX: usize = 5 * 1024;

    /// Under which attribute the filesystem is kept that a volume was adopted with.
    pub const FILESYSTEM_ATTRIBUTE: &str = "filesystem";

    /// A provision whose attributes are not too long.
    pub fn new(
        key: ProvisionKey,
        attributes: BTreeMap<String, String>,
    ) -> Result<Self, ApplyError> {
        let provision = Self { key, attributes };
        provision.check()?;
        Ok(provision)
    }

    /// How the cluster uses the volume; `None` when that was not kept.
    pub fn access(&self) -> Option<ClusterAccess> {
        let kept = self.attributes.get(ClusterAccess::ATTRIBUTE)?;
        [ClusterAccess::Block, ClusterAccess::Mount].into_iter().find(|one| one.as_str() == kept)
    }

    /// Refuses attributes that are too long.
    pub(crate) fn check(&self) -> Result<(), ApplyError> {
        let lengths = self.attributes.iter().map(|(name, value)| name.len() + value.len());
        let bytes = lengths.fold(0, usize::saturating_add);
        if bytes > Self::ATTRIBUTE_BYTES_MAX {
            return Err(ApplyError::AttributesTooLong { key: self.key.clone(), bytes });
        }
        Ok(())
    }
}

/// How the record inside of a [`Record::Provisioned`] is stored: as a record of its own, whose kind
/// is seen before it is read. Only a creation may stand there, so no bytes from a disk can nest
/// records in each other and use up the stack.
pub(super) mod made {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use super::super::record::Record;

    /// The numbers of `VolumeCreated`, `SnapshotsCreated` and `CloneCreated`, behind the version.
    const CREATIONS: [u8; 3] = [5, 7, 8];

    #[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
    pub(in super::super) fn serialize<S: Serializer>(
        made: &Option<Box<Record>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        made.as_ref().map(|record| record.encode()).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Box<Record>>, D::Error> {
        let Some(bytes) = Option::<Vec<u8>>::deserialize(deserializer)? else { return Ok(None) };
        if !bytes.get(1).is_some_and(|kind| CREATIONS.contains(kind)) {
            return Err(de::Error::custom("the record inside creates nothing"));
        }
        Record::decode(&bytes).map(|record| Some(Box::new(record))).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{RECORD_VERSION, Record};
    use super::*;

    #[test]
    fn keys_are_any_text_of_some_length_without_control_characters() {
        for good in ["a", "ns/pvc 0815", " x ", "\u{fc}", &"x".repeat(192)] {
            assert_eq!(ProvisionKey::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "a\nb", "\u{7f}", &"x".repeat(193)] {
            let error = ProvisionKey::new(bad).unwrap_err().to_string();
            assert!(error.contains("orchestrator's name"), "{error}");
        }
    }

    #[test]
    fn kinds_have_keys_of_their_own_and_give_their_names_back() {
        let kinds = [ObjectKind::Volume, ObjectKind::Snapshot, ObjectKind::Group];
        let keys = kinds.map(|kind| ProvisionKey::of(kind, "pvc-1").unwrap());
        // They are in journals: no release may spell them in another way.
        assert_eq!(
            keys.each_ref().map(ProvisionKey::as_str),
            ["volume/pvc-1", "snapshot/pvc-1", "group/pvc-1"]
        );
        for (at, key) in keys.iter().enumerate() {
            let names = kinds.map(|kind| key.name_in_cluster(kind));
            assert_eq!(names[at], Some("pvc-1"));
            assert_eq!(names.iter().flatten().count(), 1, "{key}");
        }
        assert!(ProvisionKey::of(ObjectKind::Volume, "a\nb").is_err());
    }

    #[test]
    fn the_access_is_read_as_it_was_kept() {
        let kept = |value: &str| {
            let attributes =
                BTreeMap::from([(ClusterAccess::ATTRIBUTE.to_owned(), value.to_owned())]);
            Provision::new(ProvisionKey::new("k").unwrap(), attributes).unwrap().access()
        };
        assert_eq!(kept("block"), Some(ClusterAccess::Block));
        assert_eq!(kept("mount"), Some(ClusterAccess::Mount));
        assert_eq!(kept("Mount"), None);
    }

    #[test]
    fn attributes_have_a_limit() {
        let key = || ProvisionKey::new("k").unwrap();
        let of = |length| BTreeMap::from([("n".to_owned(), "v".repeat(length))]);
        Provision::new(key(), of(Provision::ATTRIBUTE_BYTES_MAX - 1)).unwrap();
        let error = Provision::new(key(), of(Provision::ATTRIBUTE_BYTES_MAX)).unwrap_err();
        assert!(error.to_string().contains("5121 bytes"), "{error}");
    }

    /// Were the inner record read before its kind is known, this would overflow the stack.
    #[test]
    fn provisions_in_provisions_are_refused_however_deep() {
        let mut bytes = Record::Provisioned { made: None, provisions: Vec::new() }.encode();
        for _ in 0..4 {
            let inner = postcard::to_allocvec(&Some(&bytes)).unwrap();
            bytes = [&[RECORD_VERSION, bytes[1]][..], &inner, &[0]].concat();
            let error = Record::decode(&bytes).unwrap_err();
            assert!(error.to_string().contains("does not decode"), "{error}");
        }
    }
}
