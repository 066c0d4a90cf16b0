//! The numbers that monitoring asks for, cheap enough to be asked every few seconds.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use uuid::Uuid;

use super::capacity::Headroom;
use super::error::PoolError;
use super::handle::{Pool, SNAPSHOT_TIME_MAX};
use super::inspect::tree;
use super::locks::lock;
use super::report::usage;
use super::view::Usage;
use crate::plan::{Condition, Health, PoolFacts, conditions};
use crate::units::Bytes;

/// A pool in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gauges {
    /// The kernel's view of its condition.
    pub health: Health,
    /// How full it is; `None` when the kernel gave it up.
    pub usage: Option<Usage>,
    /// What it can still promise; `None` like the usage.
    pub headroom: Option<Headroom>,
    /// What the sizes of volumes and clones add up to.
    pub promised: Bytes,
    /// How many of its 2^24 snapshots it has made.
    pub snapshot_time: u32,
    /// Volumes in the catalogue.
    pub volumes: usize,
    /// Snapshots in the catalogue.
    pub snapshots: usize,
    /// Thin ids that wait to be reaped.
    pub tombstones: usize,
    /// Thin ids that belong to nobody.
    pub orphans: usize,
}

impl Pool {
    /// This pool in numbers: one ioctl, however many volumes there are, and no read of a disk. A
    /// poisoned handle answers as well.
    pub fn gauges(&self) -> Result<Gauges, PoolError> {
        let (health, status) = self.health()?;
        let headroom = status.as_ref().map(|status| self.headroom_of(health, status));
        let state = lock(&self.state);
        let catalogue = &state.catalogue;
        let snapshots = catalogue.volumes().filter(|volume| volume.is_snapshot()).count();
        Ok(Gauges {
            health,
            usage: status.as_ref().map(|status| usage(status, self.identity.block_size)),
            headroom,
            promised: catalogue.volumes_bytes(),
            snapshot_time: self.snapshot_time.load(Ordering::Relaxed),
            volumes: catalogue.volume_count() - snapshots,
            snapshots,
            tombstones: catalogue.tombstones().len(),
            orphans: catalogue.orphans().len(),
        })
    }

    /// What is wrong with the pool as far as one ioctl tells, the worst first: cheap enough to ask
    /// after every event.
    pub fn conditions(&self) -> Result<Vec<Condition>, PoolError> {
        let (health, status) = self.health()?;
        let usage = status.as_ref().map(|status| usage(status, self.identity.block_size));
        let parts = |of: fn(&Usage) -> (Bytes, Bytes)| usage.as_ref().map(of);
        let time = self.snapshot_time.load(Ordering::Relaxed);
        Ok(conditions(&PoolFacts {
            health: Some(health),
            doubt: self.poisoned(),
            data: parts(|usage| (usage.used_data, usage.total_data)),
            metadata: parts(|usage| (usage.used_metadata, usage.total_metadata)),
            snapshot_time: Some((time, SNAPSHOT_TIME_MAX)),
            orphans: lock(&self.state).catalogue.orphans().len(),
            ..PoolFacts::default()
        }))
    }

    /// What volumes and snapshots map, as of the pool's last commit: read from the metadata device,
    /// about one block of 4 KiB for a hundred of them, and no ioctl. `None` while it cannot be read.
    pub fn committed_bytes(&self) -> Option<HashMap<Uuid, Bytes>> {
        let tree = tree(&self.metadata)?;
        let state = lock(&self.state);
        let mapped = state.catalogue.volumes().filter_map(|volume| {
            let blocks = match volume.thin.id() {
                Some(id) => tree.get(&id)?.mapped_blocks,
                None => return Some((volume.uuid, Bytes::ZERO)),
            };
            Some((volume.uuid, self.identity.block_size.length_of(blocks)))
        });
        Some(mapped.collect())
    }
}
