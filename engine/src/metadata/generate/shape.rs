//! What a generated pool looks like.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::super::reference_counts::ENTRIES_PER_BITMAP;
use super::random::Random;
use crate::units::{BlockSize, ThinId, TransactionId};

/// How full the nodes of mappings are: a tree that grew by splitting has them between half full
/// and full (126 to 252).
const NODE_ENTRIES: usize = 200;
/// Fewer than the nodes of the other trees hold, which are written full (126 and more).
const OTHER_ENTRIES: u64 = 100;
/// Nodes above the leaves, roots and index blocks: a few of each.
const SPARE_BLOCKS: u64 = 64;
/// How long a run of data blocks can be that a volume gets when it is first written.
const RUN_BLOCKS_MAX: u64 = 16;
/// The first device's id where no pool asks for another.
const FIRST_ID: u32 = 1;

/// The pool whose metadata an image is to replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InPool {
    /// The id of the first device; the others follow it.
    pub first_id: ThinId,
    /// The pool's transaction id.
    pub transaction_id: TransactionId,
    /// How long the pool's data blocks are.
    pub block_size: BlockSize,
}

/// Where a volume changes between two snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// In one run of virtual blocks.
    Clustered,
    /// In blocks all over the volume.
    Random,
}

/// What a generated pool looks like; equal shapes give equal images.
#[derive(Debug, Clone)]
pub struct Shape {
    /// How many volumes there are.
    pub volume_count: u32,
    /// The fewest blocks that a volume maps.
    pub mappings_min: u64,
    /// The most blocks that a volume maps; how many it is, is picked between the two.
    pub mappings_max: u64,
    /// How many snapshots each volume has; all before the last one are states of it, one after
    /// the other.
    pub snapshots_each: u32,
    /// How many blocks change after each snapshot.
    pub changed_blocks: u64,
    /// Where they are.
    pub spread: Spread,
    /// How many entries a node of mappings has; at least 84 and at most 252.
    pub node_entries: usize,
    /// How many data blocks in a row a volume can have got when it was first written; 1 is a volume
    /// that was written in blocks here and there.
    pub run_blocks_max: u64,
    /// What the picks come from.
    pub seed: u64,
    /// The pool that it is for; without one it stands for itself.
    pub pool: Option<InPool>,
}

impl Shape {
    /// One volume of `mappings` blocks.
    pub const fn one_volume(mappings: u64) -> Self {
        Self {
            volume_count: 1,
            mappings_min: mappings,
            mappings_max: mappings,
            snapshots_each: 0,
            changed_blocks: 0,
            spread: Spread::Clustered,
            node_entries: NODE_ENTRIES,
            run_blocks_max: RUN_BLOCKS_MAX,
            seed: 1,
            pool: None,
        }
    }

    /// One volume of `mappings` blocks with `snapshots`, a thousandth changed after each.
    pub const fn snapshots(mappings: u64, snapshots: u32, spread: Spread) -> Self {
        let changed_blocks = mappings / 1000;
        let volume = Self::one_volume(mappings);
        Self { snapshots_each: snapshots, changed_blocks, spread, ..volume }
    }

    /// Many volumes of 1 to `mappings_max` blocks.
    pub const fn small_volumes(volumes: u32, mappings_max: u64) -> Self {
        let volume = Self::one_volume(mappings_max);
        Self { volume_count: volumes, mappings_min: 1, ..volume }
    }

    /// The id of a device, which are counted from 0.
    pub(super) fn id(&self, number: u32) -> ThinId {
        let first = self.pool.map_or(FIRST_ID, |pool| pool.first_id.get());
        ThinId::new(first.saturating_add(number)).unwrap_or(ThinId::MAX)
    }

    /// The transaction id that a pool with so many devices has.
    pub(super) fn transaction_id(&self, devices: u64) -> TransactionId {
        self.pool.map_or(TransactionId::new(devices), |pool| pool.transaction_id)
    }

    /// How long a data block is.
    pub(super) fn block_size(&self) -> BlockSize {
        self.pool.map_or(BlockSize::DEFAULT, |pool| pool.block_size)
    }

    /// Which blocks change after a snapshot.
    pub(super) fn changed_keys(&self, random: &mut Random, mapped: u64) -> BTreeSet<u64> {
        let count = self.changed_blocks.min(mapped);
        match self.spread {
            Spread::Random => random.pick(count, mapped),
            Spread::Clustered => {
                let first = random.below(mapped - count + 1);
                (first..first + count).collect()
            }
        }
    }

    /// As many data blocks as it can take, and a tenth more that stay free.
    pub(super) fn data_blocks_bound(&self) -> u64 {
        let each = self.mappings_max + u64::from(self.snapshots_each) * self.changed_blocks;
        let all = u64::from(self.volume_count) * each;
        all + all / 10 + 1
    }

    /// As many metadata blocks as it can take.
    pub(super) fn metadata_blocks_bound(&self) -> u64 {
        let (volumes, snapshots) = (u64::from(self.volume_count), u64::from(self.snapshots_each));
        let mut each = 0;
        let mut nodes = self.mappings_max;
        loop {
            nodes = nodes.div_ceil(self.node_entries as u64).max(1);
            each += nodes + snapshots * nodes.min(self.changed_blocks);
            if nodes == 1 {
                break;
            }
        }
        let trees = volumes * (each + 1);
        let devices = volumes * (1 + snapshots);
        let counted = self.data_blocks_bound() + trees;
        let others = 2 * devices / OTHER_ENTRIES
            + counted / OTHER_ENTRIES
            + counted.div_ceil(ENTRIES_PER_BITMAP);
        let all = trees + others;
        all + all / 100 + SPARE_BLOCKS
    }
}
