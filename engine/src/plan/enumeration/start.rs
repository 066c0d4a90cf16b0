//! Where every enumeration begins.
#![forbid(unsafe_code)]

use crate::catalogue::fixture::empty_catalogue;
use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::kernel::{Device, Kernel, Metadata, Thin};
use super::ledger::Ledger;
use super::operation::{A, B, C, Kind, PENDING, SIZE, SNAPSHOT, length};
use super::promises::Promises;
use super::run::Run;
use super::world::{Handle, Notes, Phase, World};
use crate::catalogue::{
    Catalogue, IdAllocator, Record, SnapshotMember, Timestamp, TombstoneReason, VolumeName,
};
use crate::plan::Health;
use crate::units::{Sectors, ThinId, TransactionId};

/// Who made what is there at the beginning.
const BEGINNING: u8 = 100;
/// The slot of a handle's release.
pub(super) const RELEASE: u8 = 101;
/// The slot of the reaper that runs after recovery.
pub(super) const LAST_REAPER: u8 = 102;

/// What is special about a beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setting {
    /// Nothing: ids enough, nothing foreign.
    Plain,
    /// Somebody else made thins in the pool: one with the next id, one in our own transaction that
    /// it holds; and a repair may lose a volume.
    Foreign,
    /// One thin id is left, and only after the reaper has freed it.
    Scarce,
}

pub(super) fn id(number: u32) -> ThinId {
    ThinId::new(number).unwrap()
}

pub(super) fn volume_name(name: &str) -> VolumeName {
    VolumeName::new(name).unwrap()
}

/// Volumes A to C with ids 0, 1 and 3, a snapshot of B with id 2, a tombstone with id 4.
fn catalogue() -> Catalogue {
    let mut catalogue = empty_catalogue(Uuid::from_u128(99));
    let mut add = |record| catalogue.apply(record).unwrap();
    let volumes = [(A, "a", Some(0)), (B, "b", Some(1)), (C, "c", Some(3)), (PENDING, "p", None)];
    for (uuid, name, thin_id) in volumes {
        let name = volume_name(name);
        add(Record::VolumeCreated { uuid, name, size: SIZE, created_at: Timestamp(0) });
        if let Some(number) = thin_id {
            add(Record::VolumeReady { uuid, thin_id: id(number), touched: uuid != B });
        }
    }
    let member =
        SnapshotMember { uuid: SNAPSHOT, name: volume_name("s"), origin: B, thin_id: id(2) };
    let (group, created_at) = (None, Timestamp(0));
    add(Record::SnapshotsCreated { group, created_at, members: vec![member] });
    add(Record::Tombstoned { thin_id: id(4), reason: TombstoneReason::Deleted });
    catalogue
}

/// A and C are active; the table of C is older than its size.
fn kernel() -> Kernel {
    let thin = Thin { stamp: TransactionId::ZERO, maker: BEGINNING };
    let thins = (0..=4).map(|number| (id(number), thin)).collect();
    let disk = Metadata { thins, transaction_id: TransactionId::ZERO };
    let active = |length| Device { live: Some(length), ..Device::default() };
    let devices = BTreeMap::from([(id(0), active(length(SIZE))), (id(3), active(Sectors::new(1)))]);
    let core = disk.clone();
    Kernel { disk, core, health: Health::Writable, lagging: false, devices }
}

/// The beginning of an enumeration of some operations.
pub(super) fn world(setting: Setting, kinds: &[Kind], misfortunes: u8) -> World {
    let catalogue = catalogue();
    let mut kernel = kernel();
    let mut promises = Promises::default();
    promises.wanted = (0..4).map(|number| (id(number), BEGINNING)).collect();
    if setting == Setting::Foreign {
        for (number, stamp) in [(5, 0), (9, 1)] {
            let thin = Thin { stamp: TransactionId::new(stamp), maker: BEGINNING };
            kernel.core.thins.insert(id(number), thin);
            promises.wanted.insert(id(number), BEGINNING);
        }
        promises.foreign = BTreeSet::from([id(5), id(9)]);
        kernel.commit();
        let held = Device { live: Some(length(SIZE)), foreign: true, ..Device::default() };
        kernel.devices.insert(id(9), held);
    }
    let limit = id(if setting == Setting::Scarce { 4 } else { 8 });
    let ids = IdAllocator::new(&catalogue, limit);
    let runs = (0..).zip(kinds).map(|(slot, kind)| Run::new(slot, *kind)).collect();
    World {
        ledger: Ledger::new(catalogue),
        kernel,
        handle: Handle::new(ids),
        phase: Phase::Running { runs, last: None },
        promises,
        misfortunes,
        limit,
        may_vanish: setting == Setting::Foreign,
        notes: Notes::default(),
    }
}
