//! Copies that share blocks: snapshots, groups of them, clones, rollback.
#![forbid(unsafe_code)]

use std::borrow::Borrow;
use std::collections::HashSet;
use std::sync::atomic::Ordering;

use uuid::Uuid;

use super::error::PoolError;
use super::handle::Pool;
use super::kernel::ThinDevice;
use super::metadata_margin::Copied;
use super::stacking::first_stacked;
use super::view::VolumeView;
use super::volumes::{check_size, now, suspended_elsewhere};
use crate::block_device::DeviceNumber;
use crate::catalogue::{GroupTag, Provision, SnapshotMember, Volume, VolumeKind, VolumeName};
use crate::dm::PoolUsage;
use crate::dm::process::lock_memory;
use crate::plan::{CloneRequest, Operation, SnapshotRequest, clone, rollback, snapshot};
use crate::units::Bytes;

/// Free space that a freeze may need for what is still dirty after the filesystems were flushed.
const FREEZE_ROOM: Bytes = Bytes::new(16 << 20);

impl Pool {
    /// Takes a snapshot. An origin in use is frozen for the one message that makes it.
    pub fn snapshot(
        &self,
        origin: &VolumeName,
        name: &VolumeName,
    ) -> Result<VolumeView, PoolError> {
        self.take(None, &[(origin.clone(), name.clone())], None)?;
        self.volume_just_made(name)
    }

    /// Takes snapshots of several origins at one instant: all of them, or none.
    pub fn snapshot_group(
        &self,
        group: &VolumeName,
        members: &[(VolumeName, VolumeName)],
    ) -> Result<Vec<VolumeView>, PoolError> {
        let tag = GroupTag { uuid: Uuid::new_v4(), name: group.clone() };
        self.take(Some(tag), members, None)?;
        members.iter().map(|(_, name)| self.volume_just_made(name)).collect()
    }

    /// Takes snapshots and gives their identities, in order. A provision is that of the group, or
    /// where there is none, that of the first.
    pub(super) fn take(
        &self,
        group: Option<GroupTag>,
        members: &[(VolumeName, VolumeName)],
        provision: Option<Provision>,
    ) -> Result<Vec<Uuid>, PoolError> {
        let mut origins: Vec<VolumeName> =
            members.iter().map(|(origin, _)| origin.clone()).collect();
        origins.sort();
        origins.dedup();
        let (_lock, volumes) = self.lock_all(&origins)?;
        self.refuse_taken(members.iter().map(|(_, name)| name))?;
        self.check_provision(provision.as_ref())?;
        // Each origin once, also when it has several members: a pending one gets one thin id.
        let mut origins = Vec::with_capacity(volumes.len());
        for origin in &volumes {
            self.refuse_receiving(origin)?;
            origins.push((origin, self.ready_id(origin)?, self.frozen_by_us_only(origin)?));
        }
        let active: Vec<&ThinDevice> =
            origins.iter().filter_map(|(_, _, active)| active.as_ref()).collect();
        let devices: Vec<(VolumeName, DeviceNumber)> = origins
            .iter()
            .filter_map(|(origin, _, active)| Some((origin.name.clone(), active.as_ref()?.number)))
            .collect();
        if let Some((upper, lower)) = first_stacked(&devices) {
            return Err(PoolError::StackedMembers { upper, lower });
        }
        let copied = origins.iter().map(|(origin, _, _)| copied(origin, false)).collect::<Vec<_>>();
        self.prepare_copy(&active, &copied, Bytes::ZERO)?;
        self.with_ids(members.len(), |ids| {
            let members = members.iter().zip(ids).filter_map(|((origin, name), id)| {
                let of = origins.iter().find(|(volume, _, _)| &volume.name == origin)?;
                let member = SnapshotMember {
                    uuid: Uuid::new_v4(),
                    name: name.clone(),
                    origin: of.0.uuid,
                    thin_id: *id,
                };
                Some((member, of.1, of.2.is_some()))
            });
            let members: Vec<_> = members.collect();
            let uuids: Vec<Uuid> = members.iter().map(|(member, _, _)| member.uuid).collect();
            let of = group.as_ref().map(|tag| tag.uuid).or_else(|| uuids.first().copied());
            let provisions = of.zip(provision).into_iter().collect();
            let request = SnapshotRequest { group, created_at: now(), members };
            self.execute(&snapshot(&request).provisioned(provisions))?;
            Ok(uuids)
        })
    }

    /// Makes a writable copy of a volume or snapshot, of the same size or larger.
    pub fn clone_volume(
        &self,
        source: &VolumeName,
        name: &VolumeName,
        size: Option<Bytes>,
    ) -> Result<VolumeView, PoolError> {
        self.make_clone(source, name, size, None)?;
        self.volume_just_made(name)
    }

    /// Makes a copy, with or without a provision, and gives its identity.
    pub(super) fn make_clone(
        &self,
        source: &VolumeName,
        name: &VolumeName,
        size: Option<Bytes>,
        provision: Option<Provision>,
    ) -> Result<Uuid, PoolError> {
        let (_lock, volume) = self.lock_one(source)?;
        let size = size.unwrap_or(volume.size);
        check_size(size)?;
        if size < volume.size {
            let (current, requested) = (volume.size, size);
            return Err(PoolError::Shrink { name: source.clone(), current, requested });
        }
        self.refuse_receiving(&volume)?;
        self.refuse_taken([name])?;
        self.check_provision(provision.as_ref())?;
        let source_id = self.ready_id(&volume)?;
        let _pin = self.locks.pin(source_id);
        let active = self.frozen_by_us_only(&volume)?;
        let source_active = active.is_some();
        self.prepare_copy(active.as_slice(), &[copied(&volume, true)], size)?;
        let uuid = Uuid::new_v4();
        self.with_ids(1, |ids| {
            let request = CloneRequest {
                uuid,
                name: name.clone(),
                size,
                created_at: now(),
                source: volume.uuid,
                source_id,
                source_active,
                thin_id: ids[0],
            };
            let provisions = provision.map(|provision| (uuid, provision));
            self.execute(&clone(&request).provisioned(provisions.into_iter().collect()))
        })?;
        Ok(uuid)
    }

    /// Puts a volume back to a snapshot of it. The volume keeps its name, identity and size; it
    /// must not be active. What it held is freed later.
    pub fn rollback(&self, name: &VolumeName, to: &VolumeName) -> Result<VolumeView, PoolError> {
        let (_lock, volumes) = self.lock_all(&[name.clone(), to.clone()])?;
        let [volume, source] = volumes.as_slice() else {
            return Err(PoolError::NotASnapshot {
                pool: self.identity.name.clone(),
                name: to.clone(),
            });
        };
        self.check_rollback(volume, source)?;
        let source_id = self.ready_id(source)?;
        let _pin = self.locks.pin(source_id);
        let source_active = self.frozen_by_us_only(source)?;
        if source_active.is_some() {
            return Err(PoolError::VolumeActive { name: to.clone() });
        }
        self.admit(Operation::Rollback)?;
        self.count_snapshots(1)?;
        self.with_ids(1, |ids| {
            self.execute(&rollback(volume.uuid, source.uuid, source_id, ids[0]))
        })?;
        self.volume(name)
    }

    fn check_rollback(&self, volume: &Volume, source: &Volume) -> Result<(), PoolError> {
        if !source.is_snapshot() || volume.uuid == source.uuid {
            return Err(PoolError::NotASnapshot {
                pool: self.identity.name.clone(),
                name: source.name.clone(),
            });
        }
        // What is on another volume is no earlier state of this one, and what is on this one would
        // be gone.
        if !matches!(source.kind, VolumeKind::Snapshot { origin, .. } if origin == volume.uuid) {
            return Err(PoolError::NotItsSnapshot {
                pool: self.identity.name.clone(),
                name: volume.name.clone(),
                snapshot: source.name.clone(),
            });
        }
        if source.size > volume.size {
            return Err(PoolError::Shrink {
                name: source.name.clone(),
                current: source.size,
                requested: volume.size,
            });
        }
        if let Some(device) = self.thin_device(volume)? {
            if device.open_count > 0 {
                return Err(PoolError::VolumeInUse {
                    name: volume.name.clone(),
                    device: device.node(),
                    count: device.open_count,
                });
            }
            return Err(PoolError::VolumeActive { name: volume.name.clone() });
        }
        Ok(())
    }

    /// Asks the kernel, not the catalogue, whether an origin is active. One that somebody else
    /// suspended is theirs to resume.
    fn frozen_by_us_only(&self, volume: &Volume) -> Result<Option<ThinDevice>, PoolError> {
        match self.thin_device(&self.find(&volume.name)?)? {
            Some(device) if device.suspended => Err(suspended_elsewhere(&volume.name, &device)),
            Some(device) if device.live => Ok(Some(device)),
            _ => Ok(None),
        }
    }

    pub(super) fn refuse_taken<'a>(
        &self,
        names: impl IntoIterator<Item = &'a VolumeName>,
    ) -> Result<(), PoolError> {
        let mut seen = HashSet::new();
        for name in names {
            if !seen.insert(name) || self.find(name).is_ok() {
                let pool = self.identity.name.clone();
                return Err(PoolError::VolumeExists { pool, name: name.clone() });
            }
        }
        Ok(())
    }

    /// Checks that the pool can take the copies, which promise `growth` more, and makes ready for the freeze of active origins:
    /// what their filesystems have in memory is written now, so that the freeze finds little left.
    pub(super) fn prepare_copy<D: Borrow<ThinDevice>>(
        &self,
        active: &[D],
        copies: &[Copied],
        growth: Bytes,
    ) -> Result<(), PoolError> {
        let frozen = !active.is_empty();
        let usage = self.admit(if frozen {
            Operation::SnapshotActive
        } else {
            Operation::SnapshotInactive
        })?;
        if frozen {
            self.refuse_without_room(usage.as_ref())?;
        }
        self.refuse_without_headroom(growth)?;
        if let Some(usage) = &usage {
            self.refuse_beyond_metadata(usage, copies)?;
        }
        self.count_snapshots(copies.len())?;
        if !frozen {
            return Ok(());
        }
        let open = active.iter().map(Borrow::borrow).filter(|device| device.open_count > 0);
        self.mounts.sync_filesystems(&open.map(|device| device.number).collect::<Vec<_>>());
        if !self.memory_locked.swap(true, Ordering::Relaxed) {
            // Without the privilege or the limit the freeze still works: only swapping on the
            // frozen device itself could then hold it up.
            let _ = lock_memory();
        }
        Ok(())
    }

    fn refuse_without_room(&self, usage: Option<&PoolUsage>) -> Result<(), PoolError> {
        let free = usage.map_or(Bytes::ZERO, |usage| {
            self.identity.block_size.length_of(usage.free_data_blocks())
        });
        if free < FREEZE_ROOM {
            return Err(PoolError::NoRoomToFreeze { free, needed: FREEZE_ROOM });
        }
        Ok(())
    }
}

pub(super) const fn copied(source: &Volume, writable: bool) -> Copied {
    Copied { source: source.uuid, size: source.size, writable }
}
