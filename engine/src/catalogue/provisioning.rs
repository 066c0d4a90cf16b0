//! Provisions beside the objects that they belong to.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

use super::apply_error::ApplyError;
use super::provision::Provision;
use super::record::Record;
use super::state::Catalogue;

impl Catalogue {
    /// Whether a creation and the provisions of what it makes can be applied together.
    pub(super) fn check_provisioned(
        &self,
        made: Option<&Record>,
        provisions: &[(Uuid, Provision)],
    ) -> Result<(), ApplyError> {
        let new = self.check_made(made)?;
        let (mut objects, mut keys) = (HashSet::new(), HashSet::new());
        for (uuid, provision) in provisions {
            provision.check()?;
            if !self.has_object(*uuid) && !new.contains(uuid) {
                return Err(ApplyError::NoVolume { uuid: *uuid });
            }
            if !objects.insert(*uuid) {
                return Err(ApplyError::UuidTaken { uuid: *uuid });
            }
            let holder = self.by_key(&provision.key);
            if holder.is_some_and(|holder| holder != *uuid) || !keys.insert(&provision.key) {
                return Err(ApplyError::KeyTaken { key: provision.key.clone() });
            }
        }
        Ok(())
    }

    /// What a creation inside of another record makes, if it can be applied.
    pub(super) fn check_made(&self, made: Option<&Record>) -> Result<HashSet<Uuid>, ApplyError> {
        let Some(record) = made else { return Ok(HashSet::new()) };
        let new = created(record)?;
        self.check(record)?;
        Ok(new)
    }

    /// Whether a volume, a snapshot or a group of snapshots is there.
    pub(super) fn has_object(&self, uuid: Uuid) -> bool {
        self.volumes.contains_key(&uuid) || self.groups.contains_key(&uuid)
    }

    /// Puts a provision in the place of what the object had.
    pub(super) fn attach(&mut self, uuid: Uuid, provision: Provision) {
        self.detach(uuid);
        self.keys.insert(provision.key.clone(), uuid);
        self.provisions.insert(uuid, Arc::new(provision));
    }

    pub(super) fn detach(&mut self, uuid: Uuid) {
        if let Some(provision) = self.provisions.remove(&uuid) {
            self.keys.remove(&provision.key);
        }
    }

    /// Drops the provision of what is gone.
    pub(super) fn detach_if_gone(&mut self, uuid: Uuid) {
        if !self.has_object(uuid) {
            self.detach(uuid);
        }
    }
}

/// What a creation makes.
fn created(record: &Record) -> Result<HashSet<Uuid>, ApplyError> {
    match record {
        Record::VolumeCreated { uuid, .. } | Record::CloneCreated { uuid, .. } => {
            Ok(HashSet::from([*uuid]))
        }
        Record::SnapshotsCreated { group, members, .. } => {
            let group = group.as_ref().filter(|_| !members.is_empty()).map(|tag| tag.uuid);
            Ok(members.iter().map(|member| member.uuid).chain(group).collect())
        }
        _ => Err(ApplyError::NotACreation),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{
        GroupTag, ProvisionKey, SnapshotMember, Timestamp, TombstoneReason, VolumeName,
    };
    use super::*;
    use crate::catalogue::fixture::empty_catalogue;
    use crate::units::{Bytes, ThinId};

    const VOLUME: Uuid = Uuid::from_u128(10);
    const OTHER: Uuid = Uuid::from_u128(11);
    const GROUP: Uuid = Uuid::from_u128(20);

    fn provision(key: &str) -> Provision {
        let attributes = BTreeMap::from([("fs".to_owned(), "ext4".to_owned())]);
        Provision::new(ProvisionKey::new(key).unwrap(), attributes).unwrap()
    }

    fn created(uuid: Uuid, size: u64) -> Record {
        Record::VolumeCreated {
            uuid,
            name: VolumeName::new(&format!("v{}", uuid.as_u128())).unwrap(),
            size: Bytes::new(size),
            created_at: Timestamp(0),
        }
    }

    fn provisioned(made: Option<Record>, uuid: Uuid, key: &str) -> Record {
        Record::Provisioned { made: made.map(Box::new), provisions: vec![(uuid, provision(key))] }
    }

    fn with_volumes() -> Catalogue {
        let mut state = empty_catalogue(Uuid::from_u128(1));
        state.apply(provisioned(Some(created(VOLUME, 7)), VOLUME, "a")).unwrap();
        state.apply(created(OTHER, 9)).unwrap();
        state
    }

    fn snapshots(state: &mut Catalogue, key: &str) -> Result<(), ApplyError> {
        let member = |n: u8, origin| SnapshotMember {
            uuid: Uuid::from_u128(u128::from(n)),
            name: VolumeName::new(&format!("s{n}")).unwrap(),
            origin,
            thin_id: ThinId::new(n.into()).unwrap(),
        };
        let group = Some(GroupTag { uuid: GROUP, name: VolumeName::new("g").unwrap() });
        let members = vec![member(30, VOLUME), member(31, OTHER)];
        let made = Record::SnapshotsCreated { group, created_at: Timestamp(0), members };
        state.apply(provisioned(Some(made), GROUP, key))
    }

    #[test]
    fn a_key_leads_to_its_volume_until_that_is_gone() {
        let mut state = with_volumes();
        let key = ProvisionKey::new("a").unwrap();
        assert_eq!(state.by_key(&key), Some(VOLUME));
        assert_eq!(state.provision(VOLUME), Some(&provision("a")));
        let taken = state.apply(provisioned(None, OTHER, "a"));
        assert_eq!(taken, Err(ApplyError::KeyTaken { key: key.clone() }));
        state.apply(Record::Deleted { uuid: VOLUME }).unwrap();
        assert_eq!(state.by_key(&key), None);
        state.apply(provisioned(None, OTHER, "a")).unwrap();
        state.apply(provisioned(None, OTHER, "b")).unwrap();
        assert_eq!(state.by_key(&key), None, "the key that was replaced is free");
        state.apply(Record::Unprovisioned { uuid: OTHER }).unwrap();
        assert_eq!(state.provisions().count(), 0);
        assert!(state.volume(OTHER).is_some());
        state.assert_consistent();
    }

    #[test]
    fn a_refused_key_makes_no_volume() {
        let mut state = with_volumes();
        let before = state.clone();
        let new = Uuid::from_u128(12);
        assert!(state.apply(provisioned(Some(created(new, 1)), new, "a")).is_err());
        assert!(state.apply(provisioned(Some(created(new, 1)), Uuid::from_u128(13), "c")).is_err());
        let gone = Record::Deleted { uuid: OTHER };
        assert_eq!(
            state.apply(provisioned(Some(gone), VOLUME, "c")),
            Err(ApplyError::NotACreation)
        );
        assert_eq!(state, before);
    }

    #[test]
    fn a_group_keeps_its_provision_until_its_last_member_is_gone() {
        let mut state = with_volumes();
        assert!(snapshots(&mut state, "a").is_err());
        assert_eq!(state.group_members(GROUP).count(), 0);
        snapshots(&mut state, "g").unwrap();
        state.assert_survives_a_checkpoint();
        let [first, last] = [30, 31].map(|n| Record::Deleted { uuid: Uuid::from_u128(n) });
        state.apply(first).unwrap();
        assert_eq!(state.group_members(GROUP).count(), 1);
        assert_eq!(state.provision(GROUP), Some(&provision("g")));
        state.apply(last).unwrap();
        assert_eq!(state.provision(GROUP), None);
        state.assert_consistent();
    }

    #[test]
    fn sizes_are_added_up_without_snapshots() {
        let mut state = with_volumes();
        let reason = TombstoneReason::UnknownFate;
        snapshots(&mut state, "g").unwrap();
        assert_eq!(state.volumes_bytes(), Bytes::new(16));
        let grown = Record::Resized { uuid: VOLUME, size: Bytes::new(10) };
        assert_eq!(state.growth_of(&grown), Bytes::new(3));
        state.apply(grown).unwrap();
        let snapshot = Record::Resized { uuid: Uuid::from_u128(30), size: Bytes::new(90) };
        assert_eq!(state.growth_of(&snapshot), Bytes::ZERO);
        state.apply(snapshot).unwrap();
        assert_eq!(state.volumes_bytes(), Bytes::new(19));
        let new = provisioned(Some(created(Uuid::from_u128(12), 5)), Uuid::from_u128(12), "n");
        assert_eq!(state.growth_of(&new), Bytes::new(5));
        let id = ThinId::new(99).unwrap();
        assert_eq!(state.growth_of(&Record::Tombstoned { thin_id: id, reason }), Bytes::ZERO);
        state.apply(Record::Deleted { uuid: OTHER }).unwrap();
        assert_eq!(state.volumes_bytes(), Bytes::new(10));
    }
}
