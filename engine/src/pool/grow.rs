//! Giving a pool more data and metadata, while it is used.
//!
//! Order: what cannot be is refused before a byte is written; new devices are cleared and labelled
//! `joining`; one record makes them members and gives the extents to their roles; the linears are
//! stretched, then the pool over them; the labels repeat what the catalogue says.
//!
//! Crash argument: before the record is durable the pool is what it was, and a device labelled
//! `joining` that the catalogue does not name is nobody's. After it the catalogue is longer than
//! what the kernel has, and whoever opens or attaches next stretches the devices first: tables are
//! made from the catalogue, so no later table is ever shorter than one that held data. Extents that
//! were given and not stretched to hold nothing.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use uuid::Uuid;

use super::error::PoolError;
use super::growth_error::GrowthError;
use super::handle::Pool;
use super::located::{Located, linear_segments};
use super::locks::lock;
use super::members::{Joining, Member};
use super::repair::mend_labels;
use super::stretch::stretch_linear;
use crate::block_device::{Access, BlockDevice};
use crate::catalogue::{Catalogue, PoolDevice, Record};
use crate::dm::PoolUsage;
use crate::dm::process::SignalGuard;
use crate::layout::{
    DeviceFacts, ExtentError, ExtentMap, Growth, GrowthRequest, LABEL_SEGMENTS_MAX, Label,
    LabelState, Role, Segment, System, plan_growth, wipe_labels, write_labels,
};
use crate::plan::{Operation, PoolGeometry, admit, pool_table};
use crate::units::{BlockSize, Bytes, METADATA_BLOCK_BYTES};

/// How a pool is to grow.
#[derive(Debug, Clone, Default)]
pub struct GrowPool {
    /// Devices that join.
    pub devices: Vec<PathBuf>,
    /// More data: all that the new devices hold when `None`.
    pub by: Option<Bytes>,
    /// More metadata than the data asks for.
    pub metadata_by: Bytes,
    /// Whether what is on the devices may be overwritten. Never overrides a mount or a user.
    pub force: bool,
    /// Whether whole disks are used without a partition table.
    pub raw: bool,
}

/// What a growth gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grown {
    /// More data.
    pub data: Bytes,
    /// More metadata.
    pub metadata: Bytes,
    /// What no role has yet.
    pub free: Bytes,
}

impl Pool {
    /// Grows the pool. Its volumes notice a pause of some milliseconds.
    pub fn grow(&self, request: &GrowPool) -> Result<Grown, PoolError> {
        let _only_one = lock(&self.growing);
        self.refuse_if_poisoned()?;
        admit(self.health()?.0, Operation::Grow)?;
        if request.devices.is_empty()
            && request.by.unwrap_or(Bytes::ZERO) == Bytes::ZERO
            && request.metadata_by == Bytes::ZERO
        {
            return Err(GrowthError::NothingToGrow.into());
        }
        let name = self.identity.name.as_str();
        let joining = Joining { pool: name, force: request.force, raw: request.raw };
        let members = joining.look_at(&request.devices)?;
        self.refuse_longer_blocks(&members)?;
        let devices = self.numbered(&members);
        let growth = self.plan_growth(&devices, request)?;
        if growth.segments.is_empty() && devices.is_empty() {
            let has = lock(&self.state).catalogue.length_of(Role::Metadata);
            return Err(GrowthError::MetadataLimit { has }.into());
        }
        let nodes = joining.prepare(&members)?;
        self.join(&devices, &nodes)?;
        let located = self.locate()?;
        let granted = self.grant(&located, devices, &growth);
        if granted.is_err() {
            self.forget_strangers(&located);
        }
        granted
    }

    /// Extends the pool by what its devices still hold, leaving `keep_free` of it.
    pub(super) fn extend(&self, by: Bytes, keep_free: Bytes) -> Result<Grown, PoolError> {
        let _only_one = lock(&self.growing);
        self.refuse_if_poisoned()?;
        admit(self.health()?.0, Operation::Grow)?;
        let (data, metadata) = (Some(by), Bytes::ZERO);
        let request = GrowthRequest { data, metadata, data_devices: &[], keep_free };
        let growth = self.plan(&[], &request)?;
        let located = self.locate()?;
        self.grant(&located, Vec::new(), &growth)
    }

    /// Extends only the metadata, by what its devices still hold.
    pub(super) fn extend_metadata(&self, metadata: Bytes) -> Result<Grown, PoolError> {
        let request = GrowPool { metadata_by: metadata, ..GrowPool::default() };
        self.grow(&request)
    }

    /// The record, the tables, the labels.
    fn grant(
        &self,
        located: &Located,
        devices: Vec<PoolDevice>,
        growth: &Growth,
    ) -> Result<Grown, PoolError> {
        for device in &devices {
            if located.disk(device.uuid).is_none() {
                return Err(PoolError::BadLabels {
                    pool: self.identity.name.to_string(),
                    problem: format!("the new device {} is not found by its label", device.uuid),
                });
            }
        }
        self.announce_growth()?;
        self.commit(Record::Grown { devices, segments: growth.segments.clone() })?;
        self.stretch(located)?;
        mend_labels(located, &self.catalogue())?;
        let map = lock(&self.state).catalogue.extent_map()?;
        let free = map.free_extents_total().checked_bytes(map.extent_bytes());
        let free = free.unwrap_or(Bytes::ZERO);
        Ok(Grown { data: growth.data, metadata: growth.metadata, free })
    }

    /// A pool whose metadata is full takes no message, so there is no epoch to begin: whoever
    /// attaches next looks for a suspended device whatever the journal says.
    pub(super) fn announce_growth(&self) -> Result<(), PoolError> {
        if self.health()?.0.serves_messages() { self.announce(Operation::Grow) } else { Ok(()) }
    }

    pub(super) fn locate(&self) -> Result<Located, PoolError> {
        Located::find(&self.identity.uuid.to_string())
    }

    /// Volumes inherit the longest logical block of what is below: a filesystem made for shorter
    /// ones could not be mounted on it any more.
    fn refuse_longer_blocks(&self, members: &[Member]) -> Result<(), PoolError> {
        if members.is_empty() {
            return Ok(());
        }
        let system = System::default();
        let mut allowed = 0;
        for found in &self.locate()?.found.devices {
            let facts = DeviceFacts::read(&system, &found.path)?;
            allowed = allowed.max(facts.logical_block_bytes);
        }
        for member in members {
            let has = member.facts.logical_block_bytes;
            if has > allowed {
                let path = member.facts.path.clone();
                return Err(GrowthError::LogicalBlock { path, has, allowed }.into());
            }
        }
        Ok(())
    }

    fn numbered(&self, members: &[Member]) -> Vec<PoolDevice> {
        let state = lock(&self.state);
        let next = state.catalogue.devices().iter().map(|device| device.index + 1).max();
        (next.unwrap_or(0)..)
            .zip(members)
            .map(|(index, member)| PoolDevice {
                uuid: member.offer.uuid,
                index,
                size: member.offer.usable_bytes,
            })
            .collect()
    }

    fn plan_growth(&self, devices: &[PoolDevice], request: &GrowPool) -> Result<Growth, PoolError> {
        let new: Vec<Uuid> = devices.iter().map(|device| device.uuid).collect();
        let data = if new.is_empty() { request.by.or(Some(Bytes::ZERO)) } else { request.by };
        let asked = GrowthRequest {
            data,
            metadata: request.metadata_by,
            data_devices: &new,
            keep_free: Bytes::ZERO,
        };
        match self.plan(devices, &asked) {
            // More than the new devices hold: the others may have room.
            Err(PoolError::Growth(GrowthError::NoExtents { .. }))
                if data.is_some() && !new.is_empty() =>
            {
                self.plan(devices, &GrowthRequest { data_devices: &[], ..asked })
            }
            planned => planned,
        }
    }

    /// Plans over the catalogue's map and the devices that are about to join.
    fn plan(
        &self,
        devices: &[PoolDevice],
        request: &GrowthRequest<'_>,
    ) -> Result<Growth, PoolError> {
        let leaving = lock(&self.leaving).clone();
        let state = lock(&self.state);
        let mut map = state.catalogue.extent_map_with(devices)?;
        for device in leaving {
            map.close_device(device);
        }
        plan(map, state.catalogue.pool().block_size, request)
    }

    /// Labels new devices: from here on they are found as this pool's, and are nobody's until the
    /// catalogue names them.
    fn join(&self, devices: &[PoolDevice], nodes: &[PathBuf]) -> Result<(), PoolError> {
        let written = devices.iter().zip(nodes).try_for_each(|(device, node)| {
            let label = Label {
                pool_uuid: self.identity.uuid,
                pool_name: self.identity.name.to_string(),
                device_uuid: device.uuid,
                device_index: device.index,
                state: LabelState::Joining,
                generation: 1,
                extent_bytes: self.identity.extent,
                device_bytes: device.size,
                created_at: self.identity.created_at.0 / 1000,
                block_size: self.identity.block_size,
                placements: Vec::new(),
                segments: Vec::new(),
            };
            Ok(write_labels(&BlockDevice::open(node, Access::Exclusive)?, &label)?)
        });
        if written.is_err() {
            for node in nodes {
                let _ = BlockDevice::open(node, Access::Exclusive).map(|disk| wipe_labels(&disk));
            }
        }
        written
    }

    /// Takes the labels off devices that did not join after all.
    fn forget_strangers(&self, located: &Located) {
        // In doubt the record may be durable, and its device must stay a member.
        if self.poisoned().is_some() {
            return;
        }
        for (_, path) in located.strangers(&self.catalogue()) {
            let _ = BlockDevice::open(&path, Access::Exclusive).map(|disk| wipe_labels(&disk));
        }
    }

    /// Makes the kernel's devices as long as the catalogue says: the linears first, then the pool,
    /// which looks at its devices' lengths when it is resumed (`pool_preresume`, dm-thin.c).
    pub(super) fn stretch(&self, located: &Located) -> Result<(), PoolError> {
        let _alone = self.geometry.write();
        let (names, dm) = (&self.names, &self.dm);
        let (tables, geometry) = {
            let state = lock(&self.state);
            let of = |role| linear_segments(&state.catalogue, role);
            let tables = [(&names.metadata, of(Role::Metadata)?), (&names.data, of(Role::Data)?)];
            let (metadata, data) = (dm.info(&names.metadata)?, dm.info(&names.data)?);
            (tables, PoolGeometry::of(&state.catalogue, metadata.number, data.number))
        };
        // Nothing may end this thread while a device is suspended.
        let _signals = SignalGuard::block().ok();
        for (name, segments) in tables {
            stretch_linear(dm, located, name, &segments)?;
        }
        dm.load(&names.pool_device, &pool_table(&geometry), false)?;
        self.reload(&names.pool_device)?;
        self.metadata.measure()?;
        lock(&self.state).margin.forget();
        let expected = geometry.block_size.blocks_floor(geometry.data_length.to_bytes());
        let (_, usage) = self.health()?;
        match usage {
            Some(usage) if usage.total_data_blocks != expected => Err(GrowthError::NotStretched {
                expected: geometry.block_size.length_of(expected),
                found: geometry.block_size.length_of(usage.total_data_blocks),
            }
            .into()),
            _ => Ok(()),
        }
    }

    /// Ends a growth that a crash cut off: the kernel has less than the catalogue.
    pub(super) fn stretch_if_short(&self, located: &Located) -> Result<(), PoolError> {
        let Some(usage) = self.health()?.1 else { return Ok(()) };
        if is_short(&lock(&self.state).catalogue, &usage) {
            self.stretch(located)?;
        }
        Ok(())
    }
}

/// Whether the kernel's pool is shorter than the catalogue's.
fn is_short(catalogue: &Catalogue, usage: &PoolUsage) -> bool {
    let data = catalogue.pool().block_size.blocks_floor(catalogue.length_of(Role::Data));
    let metadata = catalogue.length_of(Role::Metadata).get() / METADATA_BLOCK_BYTES;
    usage.total_data_blocks < data || usage.total_metadata_blocks.get() < metadata
}

/// Plans over a map, and refuses what a label could not repeat.
fn plan(
    mut map: ExtentMap,
    block_size: BlockSize,
    request: &GrowthRequest<'_>,
) -> Result<Growth, PoolError> {
    let free = map.free_extents_total().checked_bytes(map.extent_bytes()).unwrap_or(Bytes::ZERO);
    let growth = plan_growth(&map, block_size, request).map_err(|error| match error {
        ExtentError::NoRoom { .. } => {
            PoolError::from(GrowthError::NoExtents { problem: error.to_string(), free })
        }
        other => other.into(),
    })?;
    map.insert(&growth.segments)?;
    for space in map.devices() {
        let on: Vec<Segment> = map.segments_on(space.device);
        if on.len() > LABEL_SEGMENTS_MAX {
            let (device, limit) = (space.device, LABEL_SEGMENTS_MAX);
            return Err(GrowthError::LabelFull { device, limit }.into());
        }
    }
    Ok(growth)
}
