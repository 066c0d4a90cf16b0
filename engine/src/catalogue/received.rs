//! What a volume holds of another pool's snapshots, and what is still on its way to it.
#![forbid(unsafe_code)]

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::apply_error::ApplyError;
use super::name::VolumeName;
use super::record::Record;
use super::state::Catalogue;
use crate::units::Bytes;

/// What a volume received; kept with it until it is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// The last snapshot that arrived whole; `None` before the first one has.
    pub last: Option<Arrived>,
    /// The stream that is being applied. Until it ends the volume is a mixture and nobody may use it.
    pub incoming: Option<Incoming>,
}

/// A snapshot of another pool that arrived whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    /// Its identity in the pool that it comes from.
    pub source: Uuid,
    /// The identity of the snapshot that was made of it here.
    pub snapshot: Uuid,
}

/// A stream that is being applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incoming {
    /// The identity of the snapshot that comes, in the pool that it comes from.
    pub source: Uuid,
    /// The snapshot that the stream is a difference to.
    pub base: Option<Uuid>,
    /// What the snapshot is to be called here.
    pub name: VolumeName,
    /// All that the stream says of the volume's bytes before this one is on disk.
    pub durable: Bytes,
}

impl Catalogue {
    /// What a volume received from another pool.
    pub fn received(&self, uuid: Uuid) -> Option<&Received> {
        self.received.get(&uuid).map(Arc::as_ref)
    }

    /// Whether a creation and what it says of a volume's origin can be applied together.
    pub(super) fn check_received(
        &self,
        made: Option<&Record>,
        uuid: Uuid,
    ) -> Result<(), ApplyError> {
        let new = self.check_made(made)?;
        if self.volume(uuid).is_none() && !new.contains(&uuid) {
            return Err(ApplyError::NoVolume { uuid });
        }
        Ok(())
    }

    pub(super) fn set_received(&mut self, uuid: Uuid, received: Received) {
        self.received.insert(uuid, Arc::new(received));
    }

    /// A volume that went back to a snapshot is whole again, whatever was on its way.
    pub(super) fn drop_incoming(&mut self, uuid: Uuid) {
        if let Some(received) = self.received.get_mut(&uuid) {
            Arc::make_mut(received).incoming = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SnapshotMember, Timestamp};
    use super::*;
    use crate::catalogue::fixture::empty_catalogue;
    use crate::units::ThinId;

    const VOLUME: Uuid = Uuid::from_u128(10);
    const SNAPSHOT: Uuid = Uuid::from_u128(11);
    const SOURCE: Uuid = Uuid::from_u128(90);

    fn name(text: &str) -> VolumeName {
        VolumeName::new(text).unwrap()
    }

    fn incoming(durable: u64) -> Received {
        let durable = Bytes::new(durable);
        let incoming = Incoming { source: SOURCE, base: None, name: name("v@1"), durable };
        Received { last: None, incoming: Some(incoming) }
    }

    fn begun() -> Catalogue {
        let mut state = empty_catalogue(Uuid::from_u128(1));
        let made = Record::VolumeCreated {
            uuid: VOLUME,
            name: name("v"),
            size: Bytes::new(9),
            created_at: Timestamp(0),
        };
        assert_eq!(
            state.growth_of(&Record::received(Some(made.clone()), VOLUME, incoming(0))),
            Bytes::new(9)
        );
        state.apply(Record::received(Some(made), VOLUME, incoming(0))).unwrap();
        state
    }

    fn arrived() -> Catalogue {
        let mut state = begun();
        let thin_id = |n| ThinId::new(n).unwrap();
        state
            .apply(Record::VolumeReady { uuid: VOLUME, thin_id: thin_id(1), touched: true })
            .unwrap();
        let member = SnapshotMember {
            uuid: SNAPSHOT,
            name: name("v@1"),
            origin: VOLUME,
            thin_id: thin_id(2),
        };
        let members = vec![member];
        let made = Record::SnapshotsCreated { group: None, created_at: Timestamp(1), members };
        let last = Some(Arrived { source: SOURCE, snapshot: SNAPSHOT });
        let whole = Received { last, incoming: None };
        state.apply(Record::received(Some(made), VOLUME, whole)).unwrap();
        state
    }

    #[test]
    fn what_arrives_is_kept_through_checkpoints_and_goes_with_its_volume() {
        let mut state = begun();
        state.apply(Record::received(None, VOLUME, incoming(4))).unwrap();
        assert_eq!(state.received(VOLUME), Some(&incoming(4)));
        state.assert_survives_a_checkpoint();
        let mut state = arrived();
        assert!(state.volume(SNAPSHOT).is_some());
        state.assert_survives_a_checkpoint();
        state.apply(Record::Deleted { uuid: VOLUME }).unwrap();
        assert_eq!(state.received(VOLUME), None);
        state.assert_consistent();
    }

    #[test]
    fn a_record_for_nobody_or_with_a_taken_name_changes_nothing() {
        let mut state = begun();
        let before = state.clone();
        let made = Record::VolumeCreated {
            uuid: SNAPSHOT,
            name: name("v"),
            size: Bytes::new(9),
            created_at: Timestamp(0),
        };
        assert!(state.apply(Record::received(Some(made), SNAPSHOT, incoming(0))).is_err());
        assert!(state.apply(Record::received(None, SNAPSHOT, incoming(0))).is_err());
        let gone = Record::Deleted { uuid: VOLUME };
        assert!(state.apply(Record::received(Some(gone), VOLUME, incoming(0))).is_err());
        assert_eq!(state, before);
    }

    #[test]
    fn a_rollback_ends_what_was_on_its_way() {
        let mut state = arrived();
        let last = state.received(VOLUME).unwrap().last;
        let both = Received { last, ..incoming(3) };
        state.apply(Record::received(None, VOLUME, both)).unwrap();
        let thin_id = ThinId::new(3).unwrap();
        state.apply(Record::RolledBack { uuid: VOLUME, snapshot: SNAPSHOT, thin_id }).unwrap();
        assert_eq!(state.received(VOLUME), Some(&Received { last, incoming: None }));
    }
}
