//! The state as records, and records as the state.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use thiserror::Error;
use uuid::Uuid;

use super::apply::check_first_epoch;
use super::apply_error::ApplyError;
use super::policy::PoolPolicy;
use super::provision::Provision;
use super::received::Received;
use super::record::{PoolDevice, PoolIdentity, Record, RecordError};
use super::state::{Catalogue, Epoch};
use super::volume::{TombstoneReason, Volume};
use crate::layout::Segment;
use crate::units::ThinId;

/// A journal whose records do not add up to a state.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// A record does not decode.
    #[error("record {index}: {source}")]
    Record {
        /// Its place in the journal.
        index: usize,
        /// Why.
        source: RecordError,
    },
    /// A record contradicts those before it.
    #[error("record {index} contradicts those before it: {source}")]
    Apply {
        /// Its place in the journal.
        index: usize,
        /// Why.
        source: ApplyError,
    },
    /// There is no record at all.
    #[error("the journal holds no record; use `thinly pool restore` or `thinly pool salvage`")]
    Empty,
}

/// The state as it stood at one moment. Taking it copies a pointer for each volume, so that those
/// who wait for the state's lock do not wait for a checkpoint; turning it into records needs no lock.
#[derive(Debug)]
pub struct Frozen {
    pool: PoolIdentity,
    devices: Vec<PoolDevice>,
    segments: Vec<Segment>,
    volumes: Vec<Arc<Volume>>,
    provisions: Vec<(Uuid, Arc<Provision>)>,
    received: Vec<(Uuid, Arc<Received>)>,
    tombstones: BTreeMap<ThinId, TombstoneReason>,
    orphans: BTreeSet<ThinId>,
    policy: PoolPolicy,
    epoch: Epoch,
}

impl Frozen {
    /// The records that rebuild this state, in order. The epoch comes last, so that "the last
    /// record is `Released`" means the same in a checkpoint as in the log after it.
    pub fn records(mut self) -> impl Iterator<Item = Record> {
        // The order is no part of the state, but equal states are to give equal bytes.
        self.volumes.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        self.provisions.sort_unstable_by(|(_, a), (_, b)| a.key.cmp(&b.key));
        self.received.sort_unstable_by_key(|(uuid, _)| *uuid);
        let segments = (!self.segments.is_empty()).then_some(Record::SegmentsAdded(self.segments));
        // A pool that has none is read by releases that know none.
        let policy =
            (self.policy != PoolPolicy::default()).then_some(Record::PolicySet(self.policy));
        let volume = |volume: Arc<Volume>| Record::Checkpointed(Arc::unwrap_or_clone(volume));
        let provision = |(uuid, provision)| Record::Provisioned {
            made: None,
            provisions: vec![(uuid, Arc::unwrap_or_clone(provision))],
        };
        let received = |(uuid, received): (Uuid, Arc<Received>)| {
            Record::received(None, uuid, Arc::unwrap_or_clone(received))
        };
        let tombstone = |(thin_id, reason)| Record::Tombstoned { thin_id, reason };
        let last = match self.epoch {
            Epoch::Opened { epoch, from, to } => Record::Opened { epoch, from, to },
            Epoch::Released { epoch, transaction_id } => Record::Released { epoch, transaction_id },
        };
        std::iter::once(Record::PoolCreated(self.pool))
            .chain(self.devices.into_iter().map(Record::DeviceAdded))
            .chain(segments)
            .chain(policy)
            .chain(self.volumes.into_iter().map(volume))
            .chain(self.provisions.into_iter().map(provision))
            .chain(self.received.into_iter().map(received))
            .chain(self.tombstones.into_iter().map(tombstone))
            .chain(self.orphans.into_iter().map(|thin_id| Record::Orphaned { thin_id }))
            .chain(std::iter::once(last))
    }
}

impl Catalogue {
    /// This state, to be written while it changes.
    pub fn freeze(&self) -> Frozen {
        let provision =
            |(uuid, provision): (&Uuid, &Arc<Provision>)| (*uuid, Arc::clone(provision));
        let received = |(uuid, received): (&Uuid, &Arc<Received>)| (*uuid, Arc::clone(received));
        Frozen {
            pool: self.pool.clone(),
            devices: self.devices.clone(),
            segments: self.segments.clone(),
            volumes: self.volumes.values().cloned().collect(),
            provisions: self.provisions.iter().map(provision).collect(),
            received: self.received.iter().map(received).collect(),
            tombstones: self.tombstones.clone(),
            orphans: self.orphans.clone(),
            policy: self.policy,
            epoch: self.epoch,
        }
    }

    /// The records that rebuild this state, in order; see [`Frozen::records`].
    pub fn checkpoint(&self) -> Vec<Record> {
        self.freeze().records().collect()
    }

    /// Rebuilds the state from a checkpoint and the log after it.
    pub fn replay<'a>(payloads: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, ReplayError> {
        let mut state: Option<Self> = None;
        for (index, payload) in payloads.into_iter().enumerate() {
            let record =
                Record::decode(payload).map_err(|source| ReplayError::Record { index, source })?;
            let applied = match (&mut state, record) {
                (None, Record::PoolCreated(pool)) => {
                    state = Some(Self::new(pool));
                    Ok(())
                }
                (None, _) => Err(ApplyError::Identity),
                (Some(state), record) => state.replay_one(record),
            };
            applied.map_err(|source| ReplayError::Apply { index, source })?;
        }
        state.ok_or(ReplayError::Empty)
    }

    /// A checkpoint carries the epoch as it stood; only there may the number jump.
    fn replay_one(&mut self, record: Record) -> Result<(), ApplyError> {
        let fresh = self.epoch.number() == 0;
        match record {
            Record::Opened { epoch, from, to } if fresh => {
                check_first_epoch(epoch)?;
                self.epoch = Epoch::Opened { epoch, from, to };
                Ok(())
            }
            Record::Released { epoch, transaction_id } if fresh => {
                check_first_epoch(epoch)?;
                self.epoch = Epoch::Released { epoch, transaction_id };
                Ok(())
            }
            record => self.apply(record),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::super::record::SnapshotMember;
    use super::super::{
        Arrived, GroupTag, Incoming, Provision, ProvisionKey, ThinState, Timestamp,
        TombstoneReason, VolumeName,
    };
    use super::*;
    use crate::catalogue::fixture::empty_catalogue;
    use crate::units::{Bytes, ThinId, TransactionId};

    fn empty() -> Catalogue {
        empty_catalogue(Uuid::from_u128(1))
    }

    fn name(n: u8) -> VolumeName {
        VolumeName::new(&format!("v{n}")).unwrap()
    }

    fn uuid(n: u8) -> Uuid {
        Uuid::from_u128(u128::from(n) + 100)
    }

    fn id(n: u8) -> ThinId {
        ThinId::new(u32::from(n)).unwrap()
    }

    /// A creation, a provision of what is there, or the end of one: over few keys.
    fn any_provision() -> impl Strategy<Value = Record> {
        let n = 0_u8..6;
        let provision = |key: u8| Provision {
            key: ProvisionKey::new(&format!("k{key}")).unwrap(),
            attributes: BTreeMap::from([("n".to_owned(), key.to_string())]),
        };
        let group = |n| Uuid::from_u128(u128::from(n % 2) + 200);
        let made = prop_oneof![
            (n.clone(), n.clone(), 1_u64..9).prop_map(|(u, v, size)| Record::VolumeCreated {
                uuid: uuid(u),
                name: name(v),
                size: Bytes::new(size),
                created_at: Timestamp(0)
            }),
            (n.clone(), n.clone(), n.clone(), n.clone()).prop_map(move |(u, v, origin, g)| {
                let member = |by: u8| SnapshotMember {
                    uuid: uuid(u + by),
                    name: name(v + by),
                    origin: uuid(origin),
                    thin_id: id(u + by),
                };
                let group = Some(GroupTag { uuid: group(g), name: name(g) });
                let members = vec![member(0), member(1)];
                Record::SnapshotsCreated { group, created_at: Timestamp(0), members }
            }),
        ];
        let objects = || prop_oneof![n.clone().prop_map(uuid), n.clone().prop_map(group)];
        let provisions = prop::collection::vec((objects(), n.clone().prop_map(provision)), 0..3);
        prop_oneof![
            3 => (prop::option::of(made.prop_map(Box::new)), provisions)
                .prop_map(|(made, provisions)| Record::Provisioned { made, provisions }),
            1 => objects().prop_map(|uuid| Record::Unprovisioned { uuid }),
        ]
    }

    /// A volume that begins to receive, or one that has.
    fn any_received() -> impl Strategy<Value = Record> {
        let n = 0_u8..6;
        let made = (n.clone(), n.clone()).prop_map(|(u, v)| Record::VolumeCreated {
            uuid: uuid(u),
            name: name(v),
            size: Bytes::new(4),
            created_at: Timestamp(0),
        });
        let incoming = n.clone().prop_map(|n| Incoming {
            source: uuid(n),
            base: None,
            name: name(n),
            durable: Bytes::new(n.into()),
        });
        let last = n.clone().prop_map(|n| Arrived { source: uuid(n), snapshot: uuid(n) });
        let received = (prop::option::of(last), prop::option::of(incoming))
            .prop_map(|(last, incoming)| Received { last, incoming });
        (prop::option::of(made), n, received)
            .prop_map(|(made, u, received)| Record::received(made, uuid(u), received))
    }

    /// Records over few names and ids, so that many of them clash.
    fn any_record() -> impl Strategy<Value = Record> {
        prop_oneof![
            4 => any_provision(),
            2 => any_received(),
            8 => any_change(),
        ]
    }

    fn any_change() -> impl Strategy<Value = Record> {
        let n = 0_u8..6;
        prop_oneof![
            (n.clone(), n.clone(), 1_u64..9).prop_map(|(u, v, size)| Record::VolumeCreated {
                uuid: uuid(u),
                name: name(v),
                size: Bytes::new(size),
                created_at: Timestamp(0)
            }),
            (n.clone(), 1_u64..20)
                .prop_map(|(u, size)| Record::Resized { uuid: uuid(u), size: Bytes::new(size) }),
            (n.clone(), n.clone()).prop_map(|(u, i)| Record::VolumeReady {
                uuid: uuid(u),
                thin_id: id(i),
                touched: false
            }),
            (n.clone(), n.clone(), n.clone(), n.clone()).prop_map(|(u, v, s, i)| {
                Record::CloneCreated {
                    uuid: uuid(u),
                    name: name(v),
                    size: Bytes::new(9),
                    created_at: Timestamp(0),
                    source: uuid(s),
                    thin_id: id(i),
                }
            }),
            (n.clone(), n.clone())
                .prop_map(|(u, v)| Record::Renamed { uuid: uuid(u), name: name(v) }),
            (n.clone(), n.clone(), n.clone()).prop_map(|(u, s, i)| Record::RolledBack {
                uuid: uuid(u),
                snapshot: uuid(s),
                thin_id: id(i)
            }),
            n.clone().prop_map(|u| Record::Deleted { uuid: uuid(u) }),
            n.clone().prop_map(|u| Record::DeletedToErase { uuid: uuid(u) }),
            n.clone().prop_map(|i| Record::Tombstoned {
                thin_id: id(i),
                reason: TombstoneReason::UnknownFate
            }),
            n.clone().prop_map(|i| Record::Reaped { thin_id: id(i) }),
            n.clone().prop_map(|i| Record::Orphaned { thin_id: id(i) }),
            n.clone().prop_map(|u| Record::Lost { uuid: uuid(u) }),
            n.prop_map(|u| Record::Found { uuid: uuid(u) }),
            (1_u64..5).prop_map(|epoch| Record::Opened {
                epoch,
                from: TransactionId::new(epoch - 1),
                to: TransactionId::new(epoch)
            }),
        ]
    }

    proptest! {
        #[test]
        fn any_sequence_keeps_the_indexes_true_and_survives_a_checkpoint(
            records in prop::collection::vec(any_record(), 0..60)
        ) {
            let mut state = empty();
            for record in records {
                let before = state.clone();
                if state.apply(record).is_err() {
                    prop_assert_eq!(&state, &before, "a refusal must change nothing");
                }
                state.assert_consistent();
            }
            state.assert_survives_a_checkpoint();
        }
    }

    #[test]
    fn a_deleted_volume_leaves_its_id_as_a_tombstone_until_reaped() {
        let mut state = empty();
        let created = Record::VolumeCreated {
            uuid: uuid(0),
            name: name(0),
            size: Bytes::new(1),
            created_at: Timestamp(0),
        };
        state.apply(created).unwrap();
        state.apply(Record::VolumeReady { uuid: uuid(0), thin_id: id(3), touched: true }).unwrap();
        assert_eq!(state.volume(uuid(0)).unwrap().thin, ThinState::Ready(id(3)));
        state.apply(Record::Deleted { uuid: uuid(0) }).unwrap();
        assert!(state.knows(id(3)));
        state.apply(Record::Reaped { thin_id: id(3) }).unwrap();
        assert!(!state.knows(id(3)));
    }

    #[test]
    fn two_members_of_a_group_cannot_be_one_snapshot() {
        let mut state = empty();
        let (created_at, size) = (Timestamp(0), Bytes::new(1));
        let created = Record::VolumeCreated { uuid: uuid(0), name: name(0), size, created_at };
        state.apply(created).unwrap();
        let member =
            |n| SnapshotMember { uuid: uuid(1), name: name(n), origin: uuid(0), thin_id: id(n) };
        let members = vec![member(1), member(2)];
        let twice = state.apply(Record::SnapshotsCreated { group: None, created_at, members });
        assert_eq!(twice, Err(ApplyError::UuidTaken { uuid: uuid(1) }));
    }

    #[test]
    fn an_epoch_that_cannot_be_counted_on_from_is_refused() {
        let last = TransactionId::new(1);
        let records = [
            empty().checkpoint().remove(0),
            Record::Released { epoch: u64::MAX, transaction_id: last },
        ];
        let encoded = records.map(|record| record.encode());
        let error = Catalogue::replay(encoded.iter().map(Vec::as_slice)).unwrap_err();
        let source = ApplyError::EpochOrder { expected: 1 << 62, found: u64::MAX };
        assert!(matches!(&error, ReplayError::Apply { source: s, .. } if *s == source), "{error}");
    }

    #[test]
    fn a_volume_never_shrinks() {
        let mut state = empty();
        let created = Record::VolumeCreated {
            uuid: uuid(0),
            name: name(0),
            size: Bytes::new(9),
            created_at: Timestamp(0),
        };
        state.apply(created).unwrap();
        let shrunk = state.apply(Record::Resized { uuid: uuid(0), size: Bytes::new(8) });
        assert!(matches!(shrunk, Err(ApplyError::Shrink { .. })));
    }
}
