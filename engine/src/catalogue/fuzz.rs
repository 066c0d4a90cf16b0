//! Records and checkpoints from arbitrary bytes.
#![forbid(unsafe_code)]
#![allow(clippy::missing_panics_doc, reason = "a broken promise is told by a panic")]

use std::collections::BTreeSet;

use uuid::Uuid;

use super::fixture::empty_catalogue;
use super::{Catalogue, Record};
use crate::fuzzing::pieces;

/// Input: records, each behind its length. Those that decode are applied one after the other.
pub fn record(data: &[u8]) -> bool {
    let mut state = empty();
    let mut applied = 0;
    for piece in pieces(data) {
        let Ok(record) = Record::decode(piece) else { continue };
        let encoded = record.encode();
        let again = Record::decode(&encoded);
        assert!(again.is_ok_and(|again| again == record), "{record:?} is not read as written");
        let before = state.clone();
        match state.apply(record.clone()) {
            Ok(()) => applied += 1,
            Err(error) => assert_eq!(state, before, "{error}: a refusal must change nothing"),
        }
        state.assert_consistent();
    }
    state.assert_survives_a_checkpoint();
    applied > 0
}

/// Input: the records of a journal, each behind its length.
pub fn checkpoint(data: &[u8]) -> bool {
    let Ok(state) = Catalogue::replay(pieces(data)) else { return false };
    state.assert_consistent();
    state.assert_survives_a_checkpoint();
    true
}

fn empty() -> Catalogue {
    empty_catalogue(Uuid::from_u128(1))
}

impl Catalogue {
    /// Every index says what the volumes say, and no thin id is two things.
    pub(super) fn assert_consistent(&self) {
        assert_eq!(self.names.len(), self.volumes.len());
        let with_id = self.volumes.values().filter(|volume| volume.thin.id().is_some());
        assert_eq!(self.owners.len(), with_id.count());
        for (id, owner) in &self.owners {
            assert_eq!(self.volumes[owner].thin.id(), Some(*id));
            assert!(!self.tombstones.contains_key(id), "{id} is alive and dead");
            assert!(!self.orphans.contains(id), "{id} is alive and an orphan");
        }
        for (name, uuid) in &self.names {
            assert_eq!(&self.volumes[uuid].name, name);
        }
        self.assert_promises_are_true();
        for id in &self.orphans {
            assert!(!self.tombstones.contains_key(id), "{id} is an orphan and dead");
        }
    }

    /// What is known beside the volumes agrees with them.
    fn assert_promises_are_true(&self) {
        let real = self.volumes.values().filter(|volume| !volume.is_snapshot());
        let sum: u128 = real.map(|volume| u128::from(volume.size.get())).sum();
        assert_eq!(self.volumes_bytes, sum);
        let in_groups = self.volumes.values().filter(|volume| volume.group().is_some()).count();
        assert_eq!(self.groups.values().map(BTreeSet::len).sum::<usize>(), in_groups);
        for (group, members) in &self.groups {
            assert!(!members.is_empty(), "group {group} is empty");
            for member in members {
                assert_eq!(self.volumes[member].group().map(|tag| tag.uuid), Some(*group));
            }
        }
        assert!(self.received.keys().all(|uuid| self.volumes.contains_key(uuid)));
        assert_eq!(self.keys.len(), self.provisions.len());
        for (key, uuid) in &self.keys {
            assert_eq!(&self.provisions[uuid].key, key);
            assert!(self.has_object(*uuid), "{key} is the name of nothing");
        }
    }

    /// The records of a checkpoint add up to this state again.
    pub(super) fn assert_survives_a_checkpoint(&self) {
        let encoded: Vec<Vec<u8>> = self.checkpoint().iter().map(Record::encode).collect();
        let again = Self::replay(encoded.iter().map(Vec::as_slice));
        assert!(again.as_ref().is_ok_and(|again| again == self), "{again:?} is not {self:?}");
    }
}

#[cfg(test)]
pub(crate) fn record_seeds() -> Vec<(&'static str, Vec<u8>)> {
    vec![("golden", joined(&super::golden::records())), ("life", joined(&life()))]
}

#[cfg(test)]
pub(crate) fn checkpoint_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let fresh = empty();
    let used = used();
    let with_log: Vec<Record> = fresh.checkpoint().into_iter().chain(life()).collect();
    vec![
        ("fresh", joined(&fresh.checkpoint())),
        ("used", joined(&used.checkpoint())),
        ("with-log", joined(&with_log)),
    ]
}

/// A catalogue with a volume, a group of snapshots, a clone, a tombstone and an orphan.
#[cfg(test)]
pub(crate) fn used() -> Catalogue {
    let mut state = empty();
    for record in life() {
        state.apply(record).unwrap();
    }
    state
}

/// What becomes of a volume, its snapshots and its clone.
#[cfg(test)]
fn life() -> Vec<Record> {
    use super::{GroupTag, SnapshotMember, Timestamp, TombstoneReason, VolumeName};
    use crate::units::{Bytes, ThinId, TransactionId};

    let [uuid, other, snapshot, twin, clone] = [10, 11, 12, 13, 14].map(Uuid::from_u128);
    let name = |text| VolumeName::new(text).unwrap();
    let id = |id| ThinId::new(id).unwrap();
    let (size, created_at) = (Bytes::new(1 << 30), Timestamp(2));
    let created = |uuid, text| Record::VolumeCreated { uuid, name: name(text), size, created_at };
    let ready = |uuid, thin_id| Record::VolumeReady { uuid, thin_id, touched: true };
    let member = |uuid, text, origin, thin_id| SnapshotMember {
        uuid,
        name: name(text),
        origin,
        thin_id: id(thin_id),
    };
    let group = Some(GroupTag { uuid: Uuid::from_u128(9), name: name("nightly") });
    let members = vec![member(snapshot, "a@1", uuid, 2), member(twin, "b@1", other, 3)];
    let zero = TransactionId::ZERO;
    let one = TransactionId::new(1);
    vec![
        Record::Opened { epoch: 1, from: zero, to: one },
        created(uuid, "a"),
        created(other, "b"),
        ready(uuid, id(0)),
        ready(other, id(1)),
        Record::SnapshotsCreated { group, created_at, members },
        Record::CloneCreated {
            uuid: clone,
            name: name("c"),
            size,
            created_at,
            source: snapshot,
            thin_id: id(4),
        },
        Record::Resized { uuid: clone, size: Bytes::new(2 << 30) },
        Record::Renamed { uuid: clone, name: name("d") },
        Record::RolledBack { uuid, snapshot, thin_id: id(5) },
        Record::Deleted { uuid: twin },
        Record::Reaped { thin_id: id(0) },
        Record::Lost { uuid: other },
        Record::Orphaned { thin_id: id(7) },
        Record::Tombstoned { thin_id: id(8), reason: TombstoneReason::UnknownFate },
        provisioned(Some(created(Uuid::from_u128(15), "e")), Uuid::from_u128(15), "volume e"),
        provisioned(None, Uuid::from_u128(9), "group nightly"),
        provisioned(None, clone, "volume d"),
        Record::Unprovisioned { uuid: clone },
        received(Some(created(Uuid::from_u128(16), "f")), Uuid::from_u128(16)),
        Record::Released { epoch: 1, transaction_id: one },
    ]
}

/// A record that keeps a key and an attribute beside an object.
#[cfg(test)]
fn provisioned(made: Option<Record>, uuid: Uuid, key: &str) -> Record {
    use super::{Provision, ProvisionKey};

    let attributes = [("fs".to_owned(), "ext4".to_owned())].into();
    let provision = Provision { key: ProvisionKey::new(key).unwrap(), attributes };
    Record::Provisioned { made: made.map(Box::new), provisions: vec![(uuid, provision)] }
}

/// A record of a volume that a stream is on its way to.
#[cfg(test)]
fn received(made: Option<Record>, uuid: Uuid) -> Record {
    use super::{Incoming, Received, VolumeName};
    use crate::units::Bytes;

    let name = VolumeName::new("f@1").unwrap();
    let incoming = Incoming { source: uuid, base: None, name, durable: Bytes::new(1 << 20) };
    Record::received(made, uuid, Received { last: None, incoming: Some(incoming) })
}

#[cfg(test)]
fn joined(records: &[Record]) -> Vec<u8> {
    let encoded: Vec<Vec<u8>> = records.iter().map(Record::encode).collect();
    crate::fuzzing::join_pieces(&encoded)
}
