//! Streams from other pools: begin one, note how far it came, end it with a snapshot.
//!
//! Who receives holds no claim while the bytes come: it asks for these three changes, each durable by
//! itself, and writes to the volume's device in between. From the first to the last the catalogue
//! says that the volume is receiving, and everything else that would use it is refused.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use uuid::Uuid;

use super::activate::VolumeAccess;
use super::diff::{Asked, diff};
use super::error::PoolError;
use super::handle::Pool;
use super::located::Located;
use super::locks::lock;
use super::receive_error::ReceiveError;
use super::snapshots::copied;
use super::view::VolumeView;
use super::volumes::{check_size, now};
use crate::catalogue::{Arrived, Incoming, Received, Record, SnapshotMember, Volume, VolumeName};
use crate::plan::{Operation, SnapshotRequest, resize, snapshot};
use crate::units::{Bytes, DataBlocks};

/// A stream that is to be taken.
#[derive(Debug, Clone)]
pub struct ReceiveRequest {
    /// The volume here: a new one for a whole snapshot, the one that has its base for a difference.
    pub name: VolumeName,
    /// The snapshot's size.
    pub size: Bytes,
    /// The snapshot's identity in the pool that it comes from.
    pub source: Uuid,
    /// What the stream is a difference to.
    pub base: Option<Uuid>,
    /// What the snapshot is to be called here. A stream that is gone on with keeps its name.
    pub snapshot: VolumeName,
    /// Where the stream begins.
    pub start: Bytes,
    /// Whether it goes on with one that broke.
    pub resume: bool,
}

/// A volume that a stream may be written to.
#[derive(Debug, Clone)]
pub struct Receiving {
    /// Its device.
    pub device: PathBuf,
    /// The block size of its pool.
    pub block_bytes: Bytes,
    /// All before it was on disk when the last stream broke.
    pub durable: Bytes,
    /// What the snapshot will be called.
    pub snapshot: VolumeName,
}

impl Pool {
    /// Makes a volume ready for a stream: a new one, or one that is proven to hold the base and
    /// nothing else. Repeating it with `resume` is harmless.
    pub fn begin_receive(&self, request: &ReceiveRequest) -> Result<Receiving, PoolError> {
        check_size(request.size)?;
        if !request.resume && request.start > Bytes::ZERO {
            return Err(self.gap(&request.name, request.start, Bytes::ZERO));
        }
        self.refuse_full()?;
        if request.base.is_none() && !request.resume {
            self.begin_whole(request)?;
        }
        let (_lock, volume) = self.lock_one(&request.name)?;
        if request.base.is_some() && !request.resume {
            self.begin_difference(request, &volume)?;
        }
        let incoming = self.check_incoming(request, &volume)?;
        self.grow_to(&volume, request.size)?;
        let volume = self.find(&request.name)?;
        let view = self.activate_locked(&volume, VolumeAccess::ReadWrite)?;
        let device =
            view.device.ok_or_else(|| PoolError::VolumeInactive { name: request.name.clone() })?;
        let block_bytes = self.identity.block_size.bytes();
        let Incoming { durable, name: snapshot, .. } = incoming;
        Ok(Receiving { device, block_bytes, durable, snapshot })
    }

    /// A write to a full pool hangs for a minute before it fails.
    fn refuse_full(&self) -> Result<(), PoolError> {
        match self.health()?.1 {
            Some(usage) if usage.free_data_blocks() == DataBlocks::ZERO => {
                Err(ReceiveError::Full { pool: self.identity.name.clone() }.into())
            }
            _ => Ok(()),
        }
    }

    /// The volume and the fact that it is half there are one record.
    fn begin_whole(&self, request: &ReceiveRequest) -> Result<(), PoolError> {
        let (uuid, name) = (Uuid::new_v4(), request.name.clone());
        self.refuse_taken([&name, &request.snapshot])?;
        self.admit(Operation::Create)?;
        let made = Record::VolumeCreated { uuid, name, size: request.size, created_at: now() };
        let received = Received { last: None, incoming: Some(incoming_of(request)) };
        self.commit(Record::received(Some(made), uuid, received))
    }

    fn begin_difference(&self, request: &ReceiveRequest, volume: &Volume) -> Result<(), PoolError> {
        self.refuse_receiving(volume)?;
        self.refuse_taken([&request.snapshot])?;
        let last = self.check_base(request, volume)?;
        if request.size < volume.size {
            let (current, requested) = (volume.size, request.size);
            return Err(PoolError::Shrink { name: volume.name.clone(), current, requested });
        }
        if self.thin_device(volume)?.is_some() {
            return Err(PoolError::VolumeActive { name: volume.name.clone() });
        }
        self.admit(Operation::Activate)?;
        self.check_unchanged(volume, last)?;
        let received = Received { last: Some(last), incoming: Some(incoming_of(request)) };
        self.commit(Record::received(None, volume.uuid, received))
    }

    fn check_base(&self, request: &ReceiveRequest, volume: &Volume) -> Result<Arrived, PoolError> {
        let last = self.received_by(volume).and_then(|received| received.last);
        let (pool, name) = (self.identity.name.clone(), volume.name.clone());
        let Some(base) = request.base else {
            return Err(PoolError::VolumeExists { pool, name });
        };
        match last {
            Some(last) if last.source == base => Ok(last),
            other => {
                let held = other.map_or_else(
                    || "nothing that was received".to_owned(),
                    |last| format!("snapshot {}", last.source),
                );
                Err(ReceiveError::WrongBase { pool, name, base, held }.into())
            }
        }
    }

    /// Compares the volume with the snapshot that arrived last, by their mappings. Nobody can write
    /// meanwhile: it has no device, and its lock is held.
    fn check_unchanged(&self, volume: &Volume, last: Arrived) -> Result<(), PoolError> {
        let (pool, name) = (self.identity.name.clone(), volume.name.clone());
        let Some(held) = self.volume_record(last.snapshot) else {
            return Err(ReceiveError::SnapshotGone { pool, name }.into());
        };
        let located = Located::find(&self.identity.uuid.to_string())?;
        let (from, to) = (Asked::Uuid(last.snapshot), Asked::Uuid(volume.uuid));
        let mut found = diff(&*self.dm, &located, Some(from), to)?;
        match found.ranges.next().transpose()? {
            None => Ok(()),
            Some(_) => Err(ReceiveError::Changed { pool, name, snapshot: held.name }.into()),
        }
    }

    /// What is on its way, if it is what the request says.
    fn check_incoming(
        &self,
        request: &ReceiveRequest,
        volume: &Volume,
    ) -> Result<Incoming, PoolError> {
        let (pool, name) = (self.identity.name.clone(), volume.name.clone());
        let Some(incoming) = self.received_by(volume).and_then(|received| received.incoming) else {
            return Err(ReceiveError::NotUnderWay { pool, name }.into());
        };
        if (incoming.source, incoming.base) != (request.source, request.base) {
            let told = |source: Uuid, base: Option<Uuid>| {
                base.map_or_else(|| source.to_string(), |base| format!("{source} since {base}"))
            };
            let expected = told(incoming.source, incoming.base);
            let found = told(request.source, request.base);
            return Err(ReceiveError::OtherStream { pool, name, expected, found }.into());
        }
        if request.start > incoming.durable {
            return Err(self.gap(&request.name, request.start, incoming.durable));
        }
        Ok(incoming)
    }

    /// The sender's volume grew: so does this one, also when a crash came between.
    fn grow_to(&self, volume: &Volume, size: Bytes) -> Result<(), PoolError> {
        if size <= volume.size {
            return Ok(());
        }
        self.admit(Operation::Resize)?;
        let length = size.to_sectors_exact()?;
        let device = self.thin_device(volume)?.filter(|device| device.live);
        let active = device.map(|device| (device.id, length, device.read_only));
        self.execute(&resize(volume.uuid, size, active))
    }

    /// Notes that all before `durable` is on disk, which the caller has seen to.
    pub fn note_received(
        &self,
        name: &VolumeName,
        source: Uuid,
        durable: Bytes,
    ) -> Result<(), PoolError> {
        let (_lock, volume) = self.lock_one(name)?;
        let (received, incoming) = self.incoming_of(&volume, source)?;
        let incoming = Some(Incoming { durable: durable.max(incoming.durable), ..incoming });
        self.commit(Record::received(None, volume.uuid, Received { incoming, ..received }))
    }

    /// Ends a stream of which all is on disk: the snapshot, and the fact that it arrived, are one record.
    pub fn finish_receive(&self, name: &VolumeName, source: Uuid) -> Result<VolumeView, PoolError> {
        let (_lock, volume) = self.lock_one(name)?;
        let (_, incoming) = self.incoming_of(&volume, source)?;
        self.refuse_taken([&incoming.name])?;
        // Whoever writes has it open: then this is refused.
        self.remove_device(&volume)?;
        let id = self.ready_id(&volume)?;
        let copies = [copied(&volume, false)];
        self.prepare_copy::<super::kernel::ThinDevice>(&[], &copies, Bytes::ZERO)?;
        self.with_ids(1, |ids| {
            let (uuid, name) = (Uuid::new_v4(), incoming.name.clone());
            let member = SnapshotMember { uuid, name, origin: volume.uuid, thin_id: ids[0] };
            let members = vec![(member, id, false)];
            let request = SnapshotRequest { group: None, created_at: now(), members };
            let last = Some(Arrived { source, snapshot: uuid });
            let received = Received { last, incoming: None };
            self.execute(&snapshot(&request).received(volume.uuid, received))
        })?;
        self.volume_just_made(&incoming.name)
    }

    fn incoming_of(
        &self,
        volume: &Volume,
        source: Uuid,
    ) -> Result<(Received, Incoming), PoolError> {
        let (pool, name) = (self.identity.name.clone(), volume.name.clone());
        let received = self.received_by(volume);
        let incoming = received.as_ref().and_then(|received| received.incoming.clone());
        match received.zip(incoming) {
            Some((received, incoming)) if incoming.source == source => Ok((received, incoming)),
            Some((_, incoming)) => {
                let (expected, found) = (incoming.source.to_string(), source.to_string());
                Err(ReceiveError::OtherStream { pool, name, expected, found }.into())
            }
            None => Err(ReceiveError::NotUnderWay { pool, name }.into()),
        }
    }

    fn received_by(&self, volume: &Volume) -> Option<Received> {
        lock(&self.state).catalogue.received(volume.uuid).cloned()
    }

    /// Refuses what would use a volume that is half one snapshot and half another.
    pub(super) fn refuse_receiving(&self, volume: &Volume) -> Result<(), PoolError> {
        let Some(Received { last, incoming: Some(_) }) = self.received_by(volume) else {
            return Ok(());
        };
        let (pool, name) = (self.identity.name.clone(), volume.name.clone());
        let way_out = match last.and_then(|last| self.volume_record(last.snapshot)) {
            Some(last) => format!("`thinly snapshot rollback {pool}/{name} --to {}`", last.name),
            None => format!("`thinly volume delete {pool}/{name}`"),
        };
        Err(ReceiveError::UnderWay { pool, name, way_out }.into())
    }

    fn gap(&self, name: &VolumeName, start: Bytes, durable: Bytes) -> PoolError {
        let (pool, name) = (self.identity.name.clone(), name.clone());
        ReceiveError::Gap { pool, name, start, durable }.into()
    }
}

fn incoming_of(request: &ReceiveRequest) -> Incoming {
    Incoming {
        source: request.source,
        base: request.base,
        name: request.snapshot.clone(),
        durable: Bytes::ZERO,
    }
}
