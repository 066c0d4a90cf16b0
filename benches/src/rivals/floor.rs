//! The rival: the same effects in the kernel by bare ioctls, without any bookkeeping.
//!
//! It works on a pool of the same make that no writer claims, and remembers nothing: what was made
//! is known only to the caller. This is the least that any program can pay.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::fcntl::OFlag;
use thinly_engine::aligned::AlignedBuffer;
use thinly_engine::block_device::{Access, BlockDevice, DeviceNumber};
use thinly_engine::dm::{Control, Dm, DmName, PoolMessage, SuspendOptions, ThinPoolStatus};
use thinly_engine::metadata::prove_devices;
use thinly_engine::plan::{DeviceNames, thin_table};
use thinly_engine::units::{Bytes, ThinId};
use uuid::Uuid;

/// Where the stand-in for a journal lies: at the end of the data, where no block is allocated
/// before all others are.
const RECORDS_BYTES: u64 = 16 << 20;

/// One record takes one block, as in the journal.
const RECORD_BYTES: usize = 4096;

/// A pool that takes bare ioctls.
#[derive(Debug)]
pub struct Floor {
    control: Control,
    names: DeviceNames,
    pool: DeviceNumber,
    metadata: BlockDevice,
    /// Where records go, opened with `O_DSYNC`: the plain way to a durable write.
    records: File,
    /// The same place, written as the engine writes.
    data: BlockDevice,
    records_offset: u64,
    record: AlignedBuffer,
    records_written: AtomicU64,
    next_id: AtomicU32,
}

/// How long a bare snapshot took, by parts.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotTimes {
    /// From before the suspend to after the resume.
    pub window: Duration,
    /// That, the status, the reads that prove the snapshot, and one durable write.
    pub whole: Duration,
}

impl Floor {
    /// Takes an open pool that has no volumes and no writer.
    pub fn new(pool: Uuid) -> Result<Self> {
        let control = Control::open()?;
        let names = DeviceNames::new(pool)?;
        let open = |name: &DmName, access| -> Result<BlockDevice> {
            Ok(BlockDevice::open(&node(control.info(name)?.number), access)?)
        };
        let metadata = open(&names.metadata, Access::ReadOnly)?;
        let data_node = node(control.info(&names.data)?.number);
        let data = BlockDevice::open(&data_node, Access::ReadWrite)?;
        ensure!(data.size().get() > 4 * RECORDS_BYTES, "the disk of the bare pool is too short");
        let records_offset = data.size().get() - RECORDS_BYTES;
        data.zero_range(records_offset, RECORDS_BYTES)?;
        let flags = (OFlag::O_DIRECT | OFlag::O_DSYNC).bits();
        let records = OpenOptions::new().write(true).custom_flags(flags).open(data_node)?;
        let pool = control.info(&names.pool_device)?.number;
        let mut record = AlignedBuffer::zeroed(RECORD_BYTES);
        record.fill(0x5a);
        let (records_written, next_id) = (AtomicU64::new(0), AtomicU32::new(0));
        Ok(Self {
            control,
            names,
            pool,
            metadata,
            records,
            data,
            records_offset,
            record,
            records_written,
            next_id,
        })
    }

    /// An id that was not used yet.
    pub fn take_id(&self) -> Result<ThinId> {
        Ok(self.take_ids(1)?[0])
    }

    /// Ids that were not used yet.
    pub fn take_ids(&self, count: u32) -> Result<Vec<ThinId>> {
        let first = self.next_id.fetch_add(count, Ordering::Relaxed);
        let ids: Result<Vec<ThinId>, _> = (first..first + count).map(ThinId::new).collect();
        ids.context("no thin ids are left")
    }

    /// Makes a thin. The kernel commits before it answers, and throws the commit's result away: only
    /// the status shows that one was lost, so nobody can leave it out who promises durability.
    pub fn create_thin(&self, id: ThinId) -> Result<()> {
        self.send(PoolMessage::CreateThin(id))?;
        self.check_status()
    }

    /// Frees a thin; committed and looked at as a new one.
    pub fn delete(&self, id: ThinId) -> Result<()> {
        self.send(PoolMessage::Delete(id))?;
        self.check_status()
    }

    /// Makes the device of a thin.
    pub fn activate(&self, id: ThinId, size: Bytes) -> Result<PathBuf> {
        let name = self.names.thin(id)?;
        let uuid = self.names.volume_uuid(Uuid::from_u128(u128::from(id.get())))?;
        let number = self.control.create(&name, &uuid)?.number;
        self.control.load(&name, &thin_table(self.pool, id, size.to_sectors_exact()?), false)?;
        self.control.resume(&name)?;
        Ok(node(number))
    }

    /// The device of an active thin.
    pub fn device(&self, id: ThinId) -> Result<PathBuf> {
        Ok(node(self.control.info(&self.names.thin(id)?)?.number))
    }

    /// Removes the device of a thin. Something that scans all block devices may hold one for a
    /// moment; the engine waits for that, so this does as well.
    pub fn deactivate(&self, id: ThinId) -> Result<()> {
        const TRIES: u32 = 10;
        let name = self.names.thin(id)?;
        for _ in 1..TRIES {
            match self.control.remove(&name) {
                Err(error) if error.is_busy() => thread::sleep(Duration::from_millis(50)),
                removed => return Ok(removed?),
            }
        }
        Ok(self.control.remove(&name)?)
    }

    /// Takes a snapshot of an active origin, and does what nobody can leave out who must not lose
    /// it, in the only safe order: read on disk that it is there, then record it durably.
    pub fn snapshot(&self, origin: ThinId, id: ThinId) -> Result<SnapshotTimes> {
        self.snapshot_group(&[(origin, id)])
    }

    /// The same for several origins at one instant: each pair is an origin and the new id.
    pub fn snapshot_group(&self, members: &[(ThinId, ThinId)]) -> Result<SnapshotTimes> {
        let began = Instant::now();
        let names = members.iter().map(|(origin, _)| self.names.thin(*origin));
        let names: Vec<DmName> = names.collect::<Result<_, _>>()?;
        for name in &names {
            self.control.suspend(name, SuspendOptions::default())?;
        }
        let mut made = Ok(());
        for (origin, id) in members {
            made = made.and_then(|()| self.create_snap(*origin, *id));
        }
        for name in &names {
            self.control.resume(name)?;
        }
        let window = began.elapsed();
        made?;
        self.keep(&members.iter().map(|(_, id)| *id).collect::<Vec<_>>())?;
        Ok(SnapshotTimes { window, whole: began.elapsed() })
    }

    /// Takes a snapshot of an origin that has no device: there is nothing to freeze.
    pub fn snapshot_inactive(&self, origin: ThinId, id: ThinId) -> Result<()> {
        self.create_snap(origin, id)?;
        self.keep(&[id])
    }

    fn create_snap(&self, origin: ThinId, id: ThinId) -> Result<()> {
        self.send(PoolMessage::CreateSnap { id, origin })
    }

    /// Looks on disk that new ids are there, and writes that down.
    fn keep(&self, ids: &[ThinId]) -> Result<()> {
        self.check_status()?;
        let proof = prove_devices(&self.metadata, ids)?;
        self.write_record()?;
        let lost = ids.iter().find(|id| !proof.details.contains_key(id));
        ensure!(lost.is_none(), "the kernel lost a bare snapshot: {lost:?}");
        Ok(())
    }

    /// One durable write of a block that was never written before, as long as there are any.
    pub fn write_record(&self) -> Result<()> {
        Ok(self.records.write_all_at(&self.record, self.next_record())?)
    }

    /// The same as the engine's journal does it, by a write and a flush.
    pub fn write_record_and_flush(&self) -> Result<()> {
        Ok(self.data.write_at(self.next_record(), &self.record)?)
    }

    fn next_record(&self) -> u64 {
        let records = RECORDS_BYTES / RECORD_BYTES as u64;
        let written = self.records_written.fetch_add(1, Ordering::Relaxed);
        self.records_offset + written % records * RECORD_BYTES as u64
    }

    /// The dm names of its devices.
    pub(crate) fn names(&self) -> &DeviceNames {
        &self.names
    }

    /// The pool's device, as a thin's table names it.
    pub(crate) fn pool(&self) -> DeviceNumber {
        self.pool
    }

    fn check_status(&self) -> Result<()> {
        let status = self.control.status(&self.names.pool_device, false)?;
        let status = status.first().context("the bare pool has no status")?.thin_pool()?;
        let serves = matches!(&status, ThinPoolStatus::Working(usage) if usage.takes_messages());
        ensure!(serves, "the bare pool went out of service: {status:?}");
        Ok(())
    }

    fn send(&self, message: PoolMessage) -> Result<()> {
        Ok(self.control.pool_message(&self.names.pool_device, &message)?)
    }
}

/// The node of a dm device.
pub(crate) fn node(number: DeviceNumber) -> PathBuf {
    Path::new("/dev").join(format!("dm-{}", number.minor))
}
