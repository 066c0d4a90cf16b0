//! One record, applied whole or refused whole.
#![forbid(unsafe_code)]

use std::sync::Arc;

use uuid::Uuid;

use super::apply_error::ApplyError;
use super::name::VolumeName;
use super::record::{Record, SnapshotMember};
use super::state::{Catalogue, Epoch};
use super::volume::{Content, GroupTag, ThinState, Timestamp, TombstoneReason, Volume, VolumeKind};
use crate::layout::Role;
use crate::units::{Bytes, ThinId};

/// No writer comes near this number, and adding to it cannot overflow.
const EPOCH_MAX: u64 = 1 << 62;

impl Catalogue {
    /// Checks a record without applying it.
    pub fn check(&self, record: &Record) -> Result<(), ApplyError> {
        match record {
            Record::PoolCreated(_) => Err(ApplyError::Identity),
            Record::DeviceAdded(_) | Record::SegmentsAdded(_) | Record::PoolRenamed { .. } => {
                Ok(())
            }
            Record::MetadataSwapped => self.check_spare(),
            Record::Opened { epoch, .. } => check_epoch(self.epoch.number() + 1, *epoch),
            Record::Released { epoch, .. } => check_epoch(self.epoch.number(), *epoch),
            Record::VolumeCreated { uuid, name, .. } => self.check_new(*uuid, name),
            Record::VolumeReady { uuid, thin_id, .. } => {
                self.check_pending(*uuid)?;
                self.check_free(*thin_id)
            }
            Record::SnapshotsCreated { members, .. } => self.check_members(members),
            Record::CloneCreated { uuid, name, size, source, thin_id, .. } => {
                self.check_new(*uuid, name)?;
                self.check_free(*thin_id)?;
                self.check_growth(*source, *size)
            }
            Record::Resized { uuid, size } => self.check_growth(*uuid, *size),
            Record::Renamed { uuid, name } => {
                self.expect(*uuid)?;
                self.check_name(name)
            }
            Record::RolledBack { uuid, thin_id, .. } => {
                self.expect(*uuid)?;
                self.check_free(*thin_id)
            }
            Record::Deleted { uuid }
            | Record::DeletedToErase { uuid }
            | Record::Lost { uuid }
            | Record::Found { uuid }
            | Record::ContentChanged { uuid, .. } => self.expect(*uuid).map(drop),
            Record::Tombstoned { thin_id, .. } => self.check_not_owned(*thin_id),
            Record::Orphaned { thin_id } => self.check_free(*thin_id),
            Record::Reaped { thin_id } => {
                if self.tombstones.contains_key(thin_id) || self.orphans.contains(thin_id) {
                    Ok(())
                } else {
                    Err(ApplyError::NotDead { id: *thin_id })
                }
            }
            Record::Checkpointed(volume) => {
                self.check_new(volume.uuid, &volume.name)?;
                volume.thin.id().map_or(Ok(()), |id| self.check_free(id))
            }
            Record::Provisioned { made, provisions } => {
                self.check_provisioned(made.as_deref(), provisions)
            }
            Record::Received { made, uuid, .. } => self.check_received(made.as_deref(), *uuid),
            Record::Unprovisioned { uuid } if self.has_object(*uuid) => Ok(()),
            Record::Unprovisioned { uuid } => Err(ApplyError::NoVolume { uuid: *uuid }),
            Record::Grown { devices, segments } => Ok(self.grown(devices, segments).map(drop)?),
            Record::PolicySet(policy) => Ok(policy.check()?),
            Record::Relocated { role, segments } => {
                Ok(self.relocated(*role, segments).map(drop)?)
            }
            Record::DeviceRemoved { uuid } => self.check_unused(*uuid),
        }
    }

    /// Applies a record, or refuses it and changes nothing.
    pub fn apply(&mut self, record: Record) -> Result<(), ApplyError> {
        self.check(&record)?;
        match record {
            Record::PoolCreated(_) => {}
            Record::DeviceAdded(device) => self.devices.push(device),
            Record::SegmentsAdded(segments) => self.segments.extend(segments),
            Record::MetadataSwapped => self.swap_metadata(),
            Record::Opened { epoch, from, to } => self.epoch = Epoch::Opened { epoch, from, to },
            Record::Released { epoch, transaction_id } => {
                self.epoch = Epoch::Released { epoch, transaction_id };
            }
            Record::Reaped { thin_id } => {
                self.tombstones.remove(&thin_id);
                self.orphans.remove(&thin_id);
            }
            Record::Tombstoned { thin_id, reason } => {
                self.orphans.remove(&thin_id);
                self.tombstones.insert(thin_id, reason);
            }
            Record::Orphaned { thin_id } => {
                self.orphans.insert(thin_id);
            }
            Record::SnapshotsCreated { group, created_at, members } => {
                for member in members {
                    self.insert_snapshot(member, created_at, group.clone());
                }
            }
            Record::Provisioned { made, provisions } => {
                if let Some(record) = made {
                    self.apply(*record)?;
                }
                for (uuid, provision) in provisions {
                    self.attach(uuid, provision);
                }
            }
            Record::Unprovisioned { uuid } => self.detach(uuid),
            Record::Grown { devices, segments } => {
                let map = self.grown(&devices, &segments)?;
                self.segments = map.all_segments().to_vec();
                self.devices.extend(devices);
            }
            Record::PolicySet(policy) => self.policy = policy,
            Record::Relocated { role, segments } => {
                let map = self.relocated(role, &segments)?;
                self.segments = map.all_segments().to_vec();
            }
            Record::DeviceRemoved { uuid } => self.devices.retain(|device| device.uuid != uuid),
            Record::PoolRenamed { name } => self.pool.name = name,
            Record::Received { made, uuid, received } => {
                if let Some(record) = made {
                    self.apply(*record)?;
                }
                self.set_received(uuid, received);
            }
            volume_change => self.apply_to_volume(volume_change),
        }
        Ok(())
    }

    fn check_spare(&self) -> Result<(), ApplyError> {
        let length = |role| {
            let of_role = self.segments.iter().filter(|segment| segment.role == role);
            of_role.map(|segment| segment.count.get()).sum::<u64>()
        };
        let (has, needed) = (length(Role::MetadataSpare), length(Role::Metadata));
        if needed > 0 && has >= needed { Ok(()) } else { Err(ApplyError::NoSpare { has, needed }) }
    }

    fn swap_metadata(&mut self) {
        for segment in &mut self.segments {
            segment.role = match segment.role {
                Role::Metadata => Role::MetadataSpare,
                Role::MetadataSpare => Role::Metadata,
                other => other,
            };
        }
    }

    fn apply_to_volume(&mut self, record: Record) {
        match record {
            Record::VolumeCreated { uuid, name, size, created_at } => {
                self.insert(Volume::blank(uuid, name, size, created_at));
            }
            Record::CloneCreated { uuid, name, size, created_at, source, thin_id } => {
                let content = self.content_of(source);
                let kind = VolumeKind::Clone { source };
                let thin = ThinState::Ready(thin_id);
                self.insert(Volume { uuid, name, size, created_at, kind, thin, content });
            }
            Record::Checkpointed(volume) => self.insert(volume),
            Record::VolumeReady { uuid, thin_id, touched } => {
                self.set_thin(uuid, thin_id);
                if touched {
                    self.change(uuid, |volume| volume.content = Content::Touched);
                }
            }
            Record::Resized { uuid, size } => {
                self.volumes_bytes += u128::from(self.growth_of(&record).get());
                self.change(uuid, |volume| volume.size = size);
            }
            Record::Renamed { uuid, name } => self.rename(uuid, name),
            Record::RolledBack { uuid, snapshot, thin_id } => {
                self.bury(uuid, TombstoneReason::RolledBack);
                self.set_thin(uuid, thin_id);
                let content = self.content_of(snapshot);
                self.change(uuid, |volume| volume.content = content);
                self.drop_incoming(uuid);
            }
            Record::Deleted { uuid } => {
                self.bury(uuid, TombstoneReason::Deleted);
                self.remove(uuid);
            }
            Record::DeletedToErase { uuid } => {
                self.bury(uuid, TombstoneReason::ToErase);
                self.remove(uuid);
            }
            Record::Lost { uuid } => self.change(uuid, |volume| {
                volume.thin = volume.thin.id().map_or(ThinState::Pending, ThinState::Lost);
            }),
            Record::Found { uuid } => self.change(uuid, |volume| {
                volume.thin = volume.thin.id().map_or(ThinState::Pending, ThinState::Ready);
            }),
            Record::ContentChanged { uuid, content } => {
                self.change(uuid, |volume| volume.content = content);
            }
            // The others are no changes of a volume: `apply` has dealt with them.
            _ => {}
        }
    }

    fn insert(&mut self, volume: Volume) {
        self.names.insert(volume.name.clone(), volume.uuid);
        if let Some(id) = volume.thin.id() {
            self.owners.insert(id, volume.uuid);
        }
        if let Some(group) = volume.group() {
            self.groups.entry(group.uuid).or_default().insert(volume.uuid);
        }
        if !volume.is_snapshot() {
            self.volumes_bytes += u128::from(volume.size.get());
        }
        self.volumes.insert(volume.uuid, Arc::new(volume));
    }

    fn remove(&mut self, uuid: Uuid) {
        let Some(volume) = self.volumes.remove(&uuid) else { return };
        self.names.remove(&volume.name);
        self.received.remove(&uuid);
        if !volume.is_snapshot() {
            self.volumes_bytes -= u128::from(volume.size.get());
        }
        if let Some(group) = volume.group().map(|tag| tag.uuid) {
            if let Some(members) = self.groups.get_mut(&group) {
                members.remove(&uuid);
                if members.is_empty() {
                    self.groups.remove(&group);
                }
            }
            self.detach_if_gone(group);
        }
        self.detach_if_gone(uuid);
    }

    fn insert_snapshot(&mut self, member: SnapshotMember, at: Timestamp, group: Option<GroupTag>) {
        let Some(origin) = self.volumes.get(&member.origin) else { return };
        let snapshot = Volume {
            uuid: member.uuid,
            name: member.name,
            size: origin.size,
            created_at: at,
            kind: VolumeKind::Snapshot {
                origin: origin.uuid,
                origin_name: origin.name.clone(),
                group,
            },
            thin: ThinState::Ready(member.thin_id),
            content: origin.content.clone(),
        };
        self.insert(snapshot);
    }

    fn set_thin(&mut self, uuid: Uuid, id: ThinId) {
        self.owners.insert(id, uuid);
        self.change(uuid, |volume| volume.thin = ThinState::Ready(id));
    }

    fn rename(&mut self, uuid: Uuid, name: VolumeName) {
        if let Some(volume) = self.volumes.get_mut(&uuid) {
            self.names.remove(&volume.name);
            self.names.insert(name.clone(), uuid);
            Arc::make_mut(volume).name = name;
        }
    }

    /// Turns a volume's thin id, if it has one, into a tombstone.
    fn bury(&mut self, uuid: Uuid, reason: TombstoneReason) {
        if let Some(id) = self.volumes.get(&uuid).and_then(|volume| volume.thin.id()) {
            self.owners.remove(&id);
            self.tombstones.insert(id, reason);
        }
    }

    fn change(&mut self, uuid: Uuid, change: impl FnOnce(&mut Volume)) {
        if let Some(volume) = self.volumes.get_mut(&uuid) {
            change(Arc::make_mut(volume));
        }
    }

    fn content_of(&self, uuid: Uuid) -> Content {
        self.volumes.get(&uuid).map_or(Content::Touched, |volume| volume.content.clone())
    }

    fn expect(&self, uuid: Uuid) -> Result<&Volume, ApplyError> {
        self.volume(uuid).ok_or(ApplyError::NoVolume { uuid })
    }

    fn check_name(&self, name: &VolumeName) -> Result<(), ApplyError> {
        if self.names.contains_key(name) {
            return Err(ApplyError::NameTaken { name: name.clone() });
        }
        Ok(())
    }

    fn check_new(&self, uuid: Uuid, name: &VolumeName) -> Result<(), ApplyError> {
        self.check_name(name)?;
        if self.volumes.contains_key(&uuid) {
            return Err(ApplyError::UuidTaken { uuid });
        }
        Ok(())
    }

    fn check_free(&self, id: ThinId) -> Result<(), ApplyError> {
        if self.knows(id) { Err(ApplyError::IdTaken { id }) } else { Ok(()) }
    }

    fn check_not_owned(&self, id: ThinId) -> Result<(), ApplyError> {
        if self.owners.contains_key(&id) { Err(ApplyError::IdTaken { id }) } else { Ok(()) }
    }

    fn check_pending(&self, uuid: Uuid) -> Result<(), ApplyError> {
        match self.expect(uuid)?.thin {
            ThinState::Pending => Ok(()),
            ThinState::Ready(_) => Err(ApplyError::WrongState { uuid, state: "ready" }),
            ThinState::Lost(_) => Err(ApplyError::WrongState { uuid, state: "lost" }),
        }
    }

    fn check_growth(&self, uuid: Uuid, requested: Bytes) -> Result<(), ApplyError> {
        let current = self.expect(uuid)?.size;
        if requested < current {
            return Err(ApplyError::Shrink { uuid, current, requested });
        }
        Ok(())
    }

    fn check_members(&self, members: &[SnapshotMember]) -> Result<(), ApplyError> {
        for (index, member) in members.iter().enumerate() {
            self.expect(member.origin)?;
            self.check_new(member.uuid, &member.name)?;
            self.check_free(member.thin_id)?;
            for earlier in &members[..index] {
                if earlier.name == member.name {
                    return Err(ApplyError::NameTaken { name: member.name.clone() });
                }
                if earlier.uuid == member.uuid {
                    return Err(ApplyError::UuidTaken { uuid: member.uuid });
                }
                if earlier.thin_id == member.thin_id {
                    return Err(ApplyError::IdTaken { id: member.thin_id });
                }
            }
        }
        Ok(())
    }
}

/// Whether a checkpoint may say that writers have come this far.
pub(super) fn check_first_epoch(found: u64) -> Result<(), ApplyError> {
    check_epoch(found.min(EPOCH_MAX), found)
}

fn check_epoch(expected: u64, found: u64) -> Result<(), ApplyError> {
    if expected == found && found <= EPOCH_MAX {
        Ok(())
    } else {
        Err(ApplyError::EpochOrder { expected, found })
    }
}
