//! Opening a pool: from its labels to a handle that may change it.
//!
//! A journal that was just read is an [`UnreconciledPool`]: it cannot change anything. Its only way
//! on is [`UnreconciledPool::reconcile`], which compares it with the pool's own device tree.
//!
//! Recovery order: inactive tables are cleared first, because a resume would swap them in; then
//! linears are resumed, then the pool, then thins; only then is anything compared or written.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, RwLock};

use super::capacity::Capacity;
use super::claim::claim;
use super::error::PoolError;
use super::handle::{Pool, State};
use super::journal_move::follow_labels;
use super::kernel::node_of;
use super::located::{Located, linear_segments};
use super::locks::Locks;
use super::metadata_margin::MetadataMargin;
use super::mounts::MountTable;
use super::reaper::Reaper;
use super::relocate::finish_moves;
use super::repair::mend_labels;
use super::settle::{settle_all, settle_linears, thins};
use super::stack::Stack;
use crate::block_device::{Access, BlockDevice, DeviceNumber};
use crate::catalogue::{Catalogue, Epoch, IdAllocator, Record};
use crate::dm::{Dm, ThinPoolStatus};
use crate::durations::DurationCells;
use crate::journal::{CopyState, Journal, Loaded, Media, Options, Position, Tail as JournalTail};
use crate::layout::Role;
use crate::metadata::{DeviceDetails, MetadataError, Superblock, list_devices, settled_superblock};
use crate::plan::{
    Finding, KernelView, PoolGeometry, Tail, needs_device_tree, pool_table, reconcile,
};
use crate::units::ThinId;

/// How often the device tree of a live pool is read while it moves.
const TREE_ATTEMPTS: u32 = 50;

/// A pool whose journal was read under the claim and compared with nothing yet.
struct UnreconciledPool<'a> {
    dm: Arc<dyn Dm>,
    located: &'a Located,
    media: Arc<dyn Media>,
    catalogue: Catalogue,
    position: Position,
}

/// Brings a closed pool up, or completes what a crash left of one, and reconciles it.
pub(super) fn open(dm: &Arc<dyn Dm>, located: &Located) -> Result<Pool, PoolError> {
    located.require_live()?;
    if is_open(&**dm, located)? {
        return Err(PoolError::AlreadyOpen { pool: located.found.name.clone() });
    }
    let mut stack = Stack::new(Arc::clone(dm));
    settle_linears(&**dm, located)?;
    let names = &located.names;
    let uuid = names.role_uuid("journal")?;
    let segments = located.journal_segments()?;
    let number = stack.linear(located, &names.journal, &uuid, &segments)?;
    let unreconciled = UnreconciledPool::read(dm, located, number)?;
    let catalogue = &unreconciled.catalogue;
    located.require_complete(catalogue)?;
    mend_labels(located, catalogue)?;
    let metadata_segments = linear_segments(catalogue, Role::Metadata)?;
    let metadata_uuid = names.role_uuid("meta")?;
    let metadata = stack.linear(located, &names.metadata, &metadata_uuid, &metadata_segments)?;
    let reader = BlockDevice::open(&node_of(metadata), Access::ReadOnly)?;
    let superblock = require_superblock(&reader, catalogue, located)?;
    let view = unreconciled.view_of_closed(&reader, &superblock)?;
    // Decided before the pool is loaded: a pool that is not ours is left untouched.
    reconcile(catalogue, unreconciled.tail(), &view)?;
    let data_segments = linear_segments(catalogue, Role::Data)?;
    let data_uuid = names.role_uuid("data")?;
    let data = stack.linear(located, &names.data, &data_uuid, &data_segments)?;
    let table = pool_table(&PoolGeometry::of(catalogue, metadata, data));
    let pool = stack.device(&names.pool_device, &names.role_uuid("pool")?, &table)?;
    let mut pool = unreconciled.reconcile(&view, pool, reader, superblock.time)?;
    if let Some(block) = superblock.held_root {
        pool.release_stale_root(block);
    }
    stack.keep();
    Ok(pool)
}

/// Takes the claim of a pool that is in the kernel, and reconciles it.
pub(super) fn attach(dm: &Arc<dyn Dm>, located: &Located) -> Result<Pool, PoolError> {
    located.require_live()?;
    let names = &located.names;
    if !is_open(&**dm, located)? {
        return Err(PoolError::NotOpen { pool: located.found.name.clone() });
    }
    let journal = dm.info(&names.journal)?.number;
    let unreconciled = UnreconciledPool::read(dm, located, journal)?;
    located.require_complete(&unreconciled.catalogue)?;
    if unreconciled.is_unclean() || any_held_up(&**dm, located)? {
        finish_moves(&**dm, located, &unreconciled.catalogue)?;
        settle_all(&**dm, located)?;
        // A flush commits: what a message that said no left in core shows in the device tree now,
        // and the transaction id that is read next is on disk.
        dm.status(&names.pool_device, true)?;
    }
    let metadata = dm.info(&names.metadata)?.number;
    let reader = BlockDevice::open(&node_of(metadata), Access::ReadOnly)?;
    let superblock = require_superblock(&reader, &unreconciled.catalogue, located)?;
    let pool = dm.info(&names.pool_device)?.number;
    let view = unreconciled.view_of_live(&reader)?;
    let pool = unreconciled.reconcile(&view, pool, reader, superblock.time)?;
    pool.stretch_if_short(located)?;
    Ok(pool)
}

/// Whether a growth died between a table and its resume; of a pool whose metadata is full, no epoch
/// tells of it.
fn any_held_up(dm: &dyn Dm, located: &Located) -> Result<bool, PoolError> {
    let names = &located.names;
    for name in [&names.metadata, &names.data, &names.pool_device] {
        let info = dm.info(name)?;
        if info.suspended || info.inactive_table {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Appends a record to the journal of a closed pool, whose linear `journal` is.
pub(super) fn amend(
    dm: &Arc<dyn Dm>,
    located: &Located,
    journal: DeviceNumber,
    record: Record,
) -> Result<Catalogue, PoolError> {
    UnreconciledPool::read(dm, located, journal)?.amend(record)
}

/// Whether the thin-pool is live in the kernel.
pub(super) fn is_open(dm: &dyn Dm, located: &Located) -> Result<bool, PoolError> {
    match dm.info(&located.names.pool_device) {
        Ok(info) => Ok(info.live_table),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Reads the superblock and refuses what the kernel would format or misread.
pub(super) fn require_superblock(
    metadata: &dyn crate::metadata::BlockSource,
    catalogue: &Catalogue,
    located: &Located,
) -> Result<Superblock, PoolError> {
    let pool = located.found.name.clone();
    let superblock = match settled_superblock(metadata) {
        Ok(superblock) => superblock,
        Err(MetadataError::Blank { .. }) => return Err(PoolError::BlankMetadata { pool }),
        Err(error) => return Err(error.into()),
    };
    let expected = catalogue.pool().block_size;
    if superblock.data_block_size != expected {
        return Err(PoolError::BlockSizeMismatch {
            pool,
            found: superblock.data_block_size.sectors().get(),
            expected: expected.sectors().get(),
        });
    }
    Ok(superblock)
}

impl<'a> UnreconciledPool<'a> {
    /// Claims the journal and reads it.
    fn read(
        dm: &Arc<dyn Dm>,
        located: &'a Located,
        journal: DeviceNumber,
    ) -> Result<Self, PoolError> {
        let linear = Arc::new(claim(located, &node_of(journal))?);
        if follow_labels(&**dm, located)? {
            linear.measure()?;
        }
        let media = located.journal_of_linear(&linear)?;
        let Loaded { payloads, position } = crate::journal::load(&*media, located.uuid())?;
        let catalogue = Catalogue::replay(payloads.iter().map(Vec::as_slice))?;
        Ok(Self { dm: Arc::clone(dm), located, media, catalogue, position })
    }

    /// Makes one record durable without bringing the pool up; gives the catalogue with it.
    fn amend(mut self, record: Record) -> Result<Catalogue, PoolError> {
        self.catalogue.check(&record)?;
        let journal = Journal::resume(self.media, &self.position, Options::default())?;
        if journal.needs_checkpoint() {
            let records = self.catalogue.checkpoint();
            journal.begin_checkpoint()?.write(records.iter().map(Record::encode))?;
        }
        journal.commit(record.encode())?;
        self.catalogue.apply(record)?;
        Ok(self.catalogue)
    }

    const fn tail(&self) -> Tail {
        match self.position.tail {
            JournalTail::Clean => Tail::Clean,
            JournalTail::Damaged { .. } => Tail::Damaged,
        }
    }

    fn is_unclean(&self) -> bool {
        matches!(self.catalogue.epoch(), Epoch::Opened { .. }) || self.tail() == Tail::Damaged
    }

    /// Thin ids that somebody may use through a dm device. One without a live table is what an
    /// activation left that never got to its resume: nobody ever had it.
    fn loaded(&self) -> Result<BTreeSet<ThinId>, PoolError> {
        let names = &self.located.names;
        let mut loaded = BTreeSet::new();
        for device in thins(&*self.dm, self.located)? {
            let Some(id) = names.thin_id_of(&device.name) else { continue };
            match self.dm.info(&device.name) {
                Ok(info) if info.live_table || info.open_count > 0 => drop(loaded.insert(id)),
                Ok(_) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(loaded)
    }

    /// What a pool that is not loaded says: nothing moves, so one read is enough.
    fn view_of_closed(
        &self,
        metadata: &BlockDevice,
        superblock: &Superblock,
    ) -> Result<KernelView, PoolError> {
        let transaction_id = superblock.transaction_id;
        if !needs_device_tree(&self.catalogue, self.tail()) {
            return Ok(KernelView { transaction_id, devices: None, loaded: BTreeSet::new() });
        }
        let devices = Some(list_devices(metadata, superblock)?);
        Ok(KernelView { transaction_id, devices, loaded: self.loaded()? })
    }

    /// What a live pool says. Its tree is read between two equal superblocks: the kernel recycles
    /// a block only after the commit that frees it, and a commit writes a new superblock.
    fn view_of_live(&self, metadata: &BlockDevice) -> Result<KernelView, PoolError> {
        let lines = self.dm.status(&self.located.names.pool_device, false)?;
        let text = lines.first().map_or("", |line| line.text.as_str());
        let transaction_id = match text.parse()? {
            ThinPoolStatus::Working(usage) => usage.transaction_id,
            _ => self.catalogue.epoch().expected(),
        };
        if !needs_device_tree(&self.catalogue, self.tail()) {
            return Ok(KernelView { transaction_id, devices: None, loaded: BTreeSet::new() });
        }
        let devices = Some(stable_tree(self.located, metadata)?);
        Ok(KernelView { transaction_id, devices, loaded: self.loaded()? })
    }

    /// Compares journal and pool, makes the outcome durable, and hands out the handle.
    fn reconcile(
        self,
        view: &KernelView,
        kernel_number: DeviceNumber,
        metadata: BlockDevice,
        time: u32,
    ) -> Result<Pool, PoolError> {
        let outcome = reconcile(&self.catalogue, self.tail(), view)?;
        let mut findings = damaged_copies(&self.position);
        findings.extend(outcome.findings.iter().cloned());
        let journal = Journal::resume(self.media, &self.position, Options::default())?;
        let checkpoint_first = journal.needs_checkpoint();
        let mut catalogue = self.catalogue;
        let records = outcome.settle(&mut catalogue, checkpoint_first)?;
        let ids = IdAllocator::new(&catalogue, ThinId::MAX);
        let pool = Pool {
            dm: self.dm,
            names: self.located.names.clone(),
            identity: catalogue.pool().clone(),
            kernel_number,
            metadata,
            journal,
            state: Mutex::new(State {
                catalogue,
                ids,
                capacity: Capacity::default(),
                margin: MetadataMargin::default(),
            }),
            locks: Locks::default(),
            reaper: Reaper::default(),
            growing: Mutex::new(()),
            leaving: Mutex::default(),
            geometry: RwLock::new(()),
            findings,
            snapshot_time: AtomicU32::new(time),
            proven: Mutex::new(HashMap::new()),
            announced: Mutex::new(false),
            freezes: DurationCells::default(),
            memory_locked: AtomicBool::new(false),
            mounts: MountTable::default(),
            poison: Mutex::new(None),
        };
        if checkpoint_first {
            pool.checkpoint()?;
        }
        for record in records {
            pool.commit(record)?;
        }
        Ok(pool)
    }
}

/// The journal's copies that could not be read.
pub(super) fn damaged_copies(position: &Position) -> Vec<Finding> {
    position
        .copies
        .iter()
        .filter_map(|copy| match &copy.state {
            CopyState::Damaged(error) => {
                let (medium, why) = (copy.medium.clone(), error.to_string());
                Some(Finding::DamagedCopy { medium, why })
            }
            CopyState::Good | CopyState::Behind => None,
        })
        .collect()
}

/// The device tree of a pool that others may be writing to.
fn stable_tree(
    located: &Located,
    metadata: &BlockDevice,
) -> Result<BTreeMap<ThinId, DeviceDetails>, PoolError> {
    for _ in 0..TREE_ATTEMPTS {
        let before = settled_superblock(metadata)?;
        let tree = list_devices(metadata, &before);
        if settled_superblock(metadata)? == before {
            return Ok(tree?);
        }
    }
    Err(PoolError::MovingTree { pool: located.found.name.clone(), attempts: TREE_ATTEMPTS })
}
