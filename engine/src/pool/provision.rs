//! For orchestrators: objects that are made together with what was asked for, and found again by it.
#![forbid(unsafe_code)]

use uuid::Uuid;

use super::error::PoolError;
use super::handle::Pool;
use super::locks::lock;
use super::view::VolumeView;
use crate::catalogue::{
    ApplyError, Content, GroupTag, Provision, ProvisionKey, Record, Volume, VolumeName,
};
use crate::units::Bytes;

impl Pool {
    /// [`Pool::create_volume`], with what was asked for beside it: one journal write for both.
    pub fn provision_volume(
        &self,
        name: &VolumeName,
        size: Bytes,
        provision: Provision,
    ) -> Result<Volume, PoolError> {
        let uuid = self.make_volume(name, size, Some(provision))?;
        self.just_made(uuid, name)
    }

    /// [`Pool::clone_volume`], with what was asked for beside it.
    pub fn provision_clone(
        &self,
        source: &VolumeName,
        name: &VolumeName,
        size: Option<Bytes>,
        provision: Provision,
    ) -> Result<Volume, PoolError> {
        let uuid = self.make_clone(source, name, size, Some(provision))?;
        self.just_made(uuid, name)
    }

    /// [`Pool::snapshot`], with what was asked for beside it.
    pub fn provision_snapshot(
        &self,
        origin: &VolumeName,
        name: &VolumeName,
        provision: Provision,
    ) -> Result<Volume, PoolError> {
        let uuids = self.take(None, &[(origin.clone(), name.clone())], Some(provision))?;
        let uuid = uuids.first().copied().unwrap_or_default();
        self.just_made(uuid, name)
    }

    /// [`Pool::snapshot_group`], with what was asked for beside the group. Gives the group's
    /// identity, and its members in the order asked for.
    pub fn provision_group(
        &self,
        group: &VolumeName,
        members: &[(VolumeName, VolumeName)],
        provision: Provision,
    ) -> Result<(Uuid, Vec<Volume>), PoolError> {
        let tag = GroupTag { uuid: Uuid::new_v4(), name: group.clone() };
        let uuid = tag.uuid;
        let uuids = self.take(Some(tag), members, Some(provision))?;
        let made = uuids.iter().zip(members);
        let volumes = made.map(|(uuid, (_, name))| self.just_made(*uuid, name));
        Ok((uuid, volumes.collect::<Result<_, _>>()?))
    }

    /// Puts what was asked for beside a volume, snapshot or group that is there, in the place of
    /// what it had: to adopt an object, or to change its attributes.
    pub fn set_provision(&self, uuid: Uuid, provision: Provision) -> Result<(), PoolError> {
        self.commit(Record::Provisioned { made: None, provisions: vec![(uuid, provision)] })
    }

    /// Makes an orchestrator forget an object, which stays. Repeating it is harmless.
    pub fn clear_provision(&self, uuid: Uuid) -> Result<(), PoolError> {
        self.commit(Record::Unprovisioned { uuid })
    }

    /// [`Pool::clear_provision`] for a volume or snapshot that nobody can be using: refused while it
    /// has a device. Repeating it is harmless.
    pub fn forget(&self, name: &VolumeName) -> Result<VolumeView, PoolError> {
        let (_lock, volume) = self.lock_one(name)?;
        self.refuse_active(&volume)?;
        if self.provision_of(volume.uuid).is_some() {
            self.clear_provision(volume.uuid)?;
        }
        self.volume(name)
    }

    /// [`Pool::forget`] for a group of snapshots: refused while one of them has a device.
    pub fn forget_group(&self, group: Uuid) -> Result<Vec<VolumeView>, PoolError> {
        let names: Vec<VolumeName> = self
            .group_records(group)
            .map(|(_, members)| members.into_iter().map(|member| member.name).collect())
            .unwrap_or_default();
        let (_lock, members) = self.lock_all(&names)?;
        members.iter().try_for_each(|member| self.refuse_active(member))?;
        if self.provision_of(group).is_some() {
            self.clear_provision(group)?;
        }
        names.iter().map(|name| self.volume(name)).collect()
    }

    fn refuse_active(&self, volume: &Volume) -> Result<(), PoolError> {
        match self.thin_device(volume)? {
            Some(device) if device.live => {
                Err(PoolError::VolumeActive { name: volume.name.clone() })
            }
            _ => Ok(()),
        }
    }

    /// What was asked for when this volume, snapshot or group was made.
    pub fn provision_of(&self, uuid: Uuid) -> Option<Provision> {
        lock(&self.state).catalogue.provision(uuid).cloned()
    }

    /// The volume, snapshot or group that the orchestrator knows by this name.
    pub fn by_key(&self, key: &ProvisionKey) -> Option<Uuid> {
        lock(&self.state).catalogue.by_key(key)
    }

    /// What the catalogue says of one volume or snapshot; the kernel is not asked.
    pub fn volume_record(&self, uuid: Uuid) -> Option<Volume> {
        lock(&self.state).catalogue.volume(uuid).cloned()
    }

    /// What the catalogue says of the volume or snapshot of this name; the kernel is not asked.
    pub fn volume_record_named(&self, name: &VolumeName) -> Option<Volume> {
        self.find(name).ok()
    }

    /// What the catalogue says of a group: its tag, and those of its members that are there, by
    /// identity. `None` when none is.
    pub fn group_records(&self, group: Uuid) -> Option<(GroupTag, Vec<Volume>)> {
        let members: Vec<Volume> =
            lock(&self.state).catalogue.group_members(group).cloned().collect();
        let tag = members.first()?.group()?.clone();
        Some((tag, members))
    }

    /// What the catalogue says of all volumes and snapshots, by identity: an order that names and
    /// renames do not change.
    pub fn volume_records(&self) -> Vec<Volume> {
        let mut volumes: Vec<Volume> = lock(&self.state).catalogue.volumes().cloned().collect();
        volumes.sort_unstable_by_key(|volume| volume.uuid);
        volumes
    }

    /// Deletes several volumes or snapshots. Refused as a whole while one of them is in use; a crash
    /// may leave some of them, and asking again for those that are left ends it.
    pub fn delete_many(&self, names: &[VolumeName]) -> Result<(), PoolError> {
        let mut names = names.to_vec();
        names.sort_unstable();
        names.dedup();
        let (_lock, volumes) = self.lock_all(&names)?;
        self.refuse_deletion()?;
        self.refuse_open(&volumes)?;
        for volume in &volumes {
            self.remove_device(volume)?;
        }
        volumes.iter().try_for_each(|volume| self.commit(Record::Deleted { uuid: volume.uuid }))
    }

    /// Records what is known of a volume's content: before and after a mkfs.
    pub fn set_content(&self, name: &VolumeName, content: Content) -> Result<(), PoolError> {
        let (_lock, volume) = self.lock_one(name)?;
        self.commit(Record::ContentChanged { uuid: volume.uuid, content })
    }

    /// Refuses early what the record would be refused for, before anything is asked of the kernel.
    pub(super) fn check_provision(&self, provision: Option<&Provision>) -> Result<(), PoolError> {
        let Some(provision) = provision else { return Ok(()) };
        provision.check()?;
        if self.by_key(&provision.key).is_some() {
            return Err(ApplyError::KeyTaken { key: provision.key.clone() }.into());
        }
        Ok(())
    }

    fn just_made(&self, uuid: Uuid, name: &VolumeName) -> Result<Volume, PoolError> {
        self.volume_record(uuid).ok_or_else(|| PoolError::NoVolume {
            pool: self.identity.name.clone(),
            name: name.clone(),
        })
    }
}
