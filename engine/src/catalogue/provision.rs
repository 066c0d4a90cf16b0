//! What an orchestrator asked for, kept beside what was made of it.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::apply_error::ApplyError;
use super::name::{NameError, check_text, name_type};

name_type! {
    /// The name that the orchestrator knows the object by: unique in the pool, any text without
    /// control characters.
    ProvisionKey, |key| check_text("orchestrator's", key, ProvisionKey::BYTES_MAX)
}

impl ProvisionKey {
    /// The longest key, in bytes: room for a kind in front of what a CSI name may be.
    pub const BYTES_MAX: usize = 192;
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

    /// A provision whose attributes are not too long.
    pub fn new(
        key: ProvisionKey,
        attributes: BTreeMap<String, String>,
    ) -> Result<Self, ApplyError> {
        let provision = Self { key, attributes };
        provision.check()?;
        Ok(provision)
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
