//! The handles that a cluster keeps: `v1.<pool>.<kind>.<uuid>`.
//!
//! A cluster stores them for years and hands them back as opaque text, also to another release of
//! the driver, so they carry a version and are read strictly. They hold no name: names change.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use uuid::Uuid;

use super::volume::Volume;

/// What a cluster calls the driver that serves the handles, unless it was told otherwise.
pub const DRIVER_NAME: &str = "thinly.dev";

/// The topology key whose value is the node that has the object, unless it was told otherwise.
pub const TOPOLOGY_KEY: &str = "topology.thinly.dev/node";

/// The version in front of every identifier.
const VERSION: &str = "v1";

/// How many hexadecimal digits of the pool's uuid an identifier carries.
const POOL_DIGITS: usize = 8;

/// What an identifier names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// A volume.
    Volume,
    /// A snapshot.
    Snapshot,
    /// A group of snapshots.
    Group,
}

impl ObjectKind {
    const ALL: [Self; 3] = [Self::Volume, Self::Snapshot, Self::Group];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Volume => "vol",
            Self::Snapshot => "snap",
            Self::Group => "group",
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Volume => "volume",
            Self::Snapshot => "snapshot",
            Self::Group => "group snapshot",
        })
    }
}

/// Text that is no identifier of ours. To a cluster that means: there is no such object.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is no identifier of a Thinly object (v1.POOL.KIND.UUID); no object has it")]
pub struct ObjectIdError {
    /// The text.
    pub text: String,
}

/// The identifier of a volume, a snapshot or a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// The first 32 bits of the pool's uuid: they tell which pool to ask.
    pool: u32,
    /// What it names.
    kind: ObjectKind,
    /// The object's uuid in the pool's catalogue.
    uuid: Uuid,
}

impl ObjectId {
    /// The identifier of an object in a pool.
    pub fn new(pool: Uuid, kind: ObjectKind, uuid: Uuid) -> Self {
        Self { pool: pool.as_fields().0, kind, uuid }
    }

    /// The identifier of a volume or snapshot in a pool.
    pub fn of(pool: Uuid, volume: &Volume) -> Self {
        let kind = if volume.is_snapshot() { ObjectKind::Snapshot } else { ObjectKind::Volume };
        Self::new(pool, kind, volume.uuid)
    }

    /// The identifier of another object of the same pool.
    #[must_use]
    pub const fn beside(self, kind: ObjectKind, uuid: Uuid) -> Self {
        Self { pool: self.pool, kind, uuid }
    }

    /// Whether the object may be in this pool.
    pub fn is_in(self, pool: Uuid) -> bool {
        self.pool == pool.as_fields().0
    }

    /// What it names.
    pub const fn kind(self) -> ObjectKind {
        self.kind
    }

    /// The object's uuid in the pool's catalogue.
    pub const fn uuid(self) -> Uuid {
        self.uuid
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}.{:08x}.{}.{}", self.pool, self.kind.as_str(), self.uuid)
    }
}

impl FromStr for ObjectId {
    type Err = ObjectIdError;

    fn from_str(text: &str) -> Result<Self, ObjectIdError> {
        let parse = || {
            let mut parts = text.split('.');
            let (version, pool) = (parts.next()?, parts.next()?);
            let (kind, uuid) = (parts.next()?, parts.next()?);
            if version != VERSION || pool.len() != POOL_DIGITS || parts.next().is_some() {
                return None;
            }
            let id = Self {
                pool: u32::from_str_radix(pool, 16).ok()?,
                kind: *ObjectKind::ALL.iter().find(|known| known.as_str() == kind)?,
                uuid: Uuid::try_parse(uuid).ok()?,
            };
            // One object, one text: another spelling of the same numbers is refused.
            (id.to_string() == text).then_some(id)
        };
        parse().ok_or_else(|| ObjectIdError { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_identifier_is_read_as_it_was_written(pool: u128, kind in 0_usize..3, uuid: u128) {
            let pool = Uuid::from_u128(pool);
            let id = ObjectId::new(pool, ObjectKind::ALL[kind], Uuid::from_u128(uuid));
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert!(id.is_in(pool));
        }

        #[test]
        fn any_other_text_is_refused(text in "[v0-9a-f.-]{0,60}") {
            if let Ok(id) = text.parse::<ObjectId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn an_identifier_stays_as_it_is_for_ever() {
        let uuid = Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
        let id = ObjectId::new(uuid, ObjectKind::Snapshot, uuid);
        assert_eq!(id.to_string(), "v1.00112233.snap.00112233-4455-6677-8899-aabbccddeeff");
    }

    #[test]
    fn what_is_almost_one_is_refused_in_words() {
        let uuid = "00112233-4455-6677-8899-aabbccddeeff";
        for text in [
            String::new(),
            format!("v2.00112233.vol.{uuid}"),
            format!("v1.0011223.vol.{uuid}"),
            format!("v1.+0112233.vol.{uuid}"),
            format!("v1.00112233.disk.{uuid}"),
            format!("v1.00112233.vol.{}", uuid.to_uppercase()),
            format!("v1.00112233.vol.{{{uuid}}}"),
            format!("v1.00112233.vol.{uuid}.x"),
            format!("v1.00112233.vol.{}", uuid.replace('-', "")),
        ] {
            let refused = text.parse::<ObjectId>().unwrap_err();
            assert!(refused.to_string().contains("no object has it"), "{text}");
        }
    }
}
