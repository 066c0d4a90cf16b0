//! Whether a pool's metadata lasts, whatever its users write: asked before every copy.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::error::PoolError;
use super::handle::Pool;
use super::inspect::tree;
use super::locks::lock;
use crate::catalogue::{Catalogue, VolumeKind};
use crate::dm::PoolUsage;
use crate::metadata::DeviceDetails;
use crate::plan::{WritableTree, copy_potential, metadata_potential};
use crate::units::{Bytes, DataBlocks, METADATA_BLOCK_BYTES, MetadataBlocks, ThinId};

/// What was free beyond the worst case when that was last worked out, less what every copy since may
/// have added to it: as long as some is left, a copy needs no look at the device tree.
///
/// What volumes write meanwhile moves nothing: a block that was free counts as much as one that is
/// mapped, and metadata that was used up for it was counted before.
#[derive(Debug, Default)]
pub(super) struct MetadataMargin(Option<u64>);

impl MetadataMargin {
    /// To be worked out anew: the pool grew, or something was freed.
    pub(super) const fn forget(&mut self) {
        self.0 = None;
    }

    fn take(&mut self, blocks: u64) -> bool {
        let left = self.0.and_then(|left| left.checked_sub(blocks));
        self.0 = left.or(self.0);
        left.is_some()
    }
}

/// A copy that is about to be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Copied {
    /// Of what.
    pub(super) source: Uuid,
    /// How long that is.
    pub(super) size: Bytes,
    /// Whether the copy can be written.
    pub(super) writable: bool,
}

/// The worst case of a pool, and what there is for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataOutlook {
    /// What the volumes may still come to need.
    pub potential: Bytes,
    /// What is free.
    pub free: Bytes,
}

impl MetadataOutlook {
    /// Whether the metadata lasts.
    pub fn lasts(&self) -> bool {
        self.free >= self.potential
    }
}

/// Works the worst case out from the catalogue and the device tree, as it would be with `copies`.
pub(super) fn outlook(
    catalogue: &Catalogue,
    devices: &BTreeMap<ThinId, DeviceDetails>,
    usage: &PoolUsage,
    copies: &[Copied],
) -> MetadataOutlook {
    let mapped = |id: Option<ThinId>| {
        id.and_then(|id| devices.get(&id)).map_or(DataBlocks::ZERO, |details| details.mapped_blocks)
    };
    let mut relatives: HashMap<Uuid, usize> = HashMap::new();
    let mut relate = |uuid| *relatives.entry(uuid).or_default() += 1;
    for volume in catalogue.volumes() {
        match volume.kind {
            VolumeKind::Blank => {}
            VolumeKind::Snapshot { origin, .. } => relate(origin),
            VolumeKind::Clone { source } => {
                // Whatever the source was taken of shares with the clone as well.
                [Some(source), origin_of(catalogue, source), Some(volume.uuid), Some(volume.uuid)]
                    .into_iter()
                    .flatten()
                    .for_each(&mut relate);
            }
        }
    }
    for copy in copies {
        relate(copy.source);
        origin_of(catalogue, copy.source).into_iter().for_each(&mut relate);
    }
    let writable = catalogue.volumes().filter(|volume| !volume.is_snapshot());
    let trees = writable.map(|volume| WritableTree {
        mapped: mapped(volume.thin.id()),
        relatives: relatives.get(&volume.uuid).copied().unwrap_or_default(),
    });
    let clones = copies.iter().filter(|copy| copy.writable);
    let sources = clones.filter_map(|copy| catalogue.volume(copy.source));
    let clones =
        sources.map(|source| WritableTree { mapped: mapped(source.thin.id()), relatives: 2 });
    let potential = metadata_potential(trees.chain(clones), usage.free_data_blocks());
    let bytes =
        |blocks: MetadataBlocks| Bytes::new(blocks.get().saturating_mul(METADATA_BLOCK_BYTES));
    MetadataOutlook { potential: bytes(potential), free: bytes(usage.free_metadata_blocks()) }
}

/// What a snapshot was taken of.
fn origin_of(catalogue: &Catalogue, snapshot: Uuid) -> Option<Uuid> {
    match catalogue.volume(snapshot)?.kind {
        VolumeKind::Snapshot { origin, .. } => Some(origin),
        VolumeKind::Blank | VolumeKind::Clone { .. } => None,
    }
}

impl Pool {
    /// Refuses copies whose worst case the metadata would not outlast.
    pub(super) fn refuse_beyond_metadata(
        &self,
        usage: &PoolUsage,
        copies: &[Copied],
    ) -> Result<(), PoolError> {
        // No device maps more than is in use in the whole pool.
        let used = usage.used_data_blocks.get();
        let cost = |copy: &Copied| {
            let blocks = self.identity.block_size.blocks_ceil(copy.size).get().min(used);
            let once = copy_potential(DataBlocks::new(blocks));
            if copy.writable { once.saturating_mul(2) } else { once }
        };
        let added = copies.iter().map(cost).fold(0, u64::saturating_add);
        {
            let mut state = lock(&self.state);
            if state.catalogue.policy().overcommit_metadata || state.margin.take(added) {
                return Ok(());
            }
        }
        // It cannot be read while commits move it without a pause; the kernel says no by itself then.
        let Some(devices) = tree(&self.metadata) else { return Ok(()) };
        let mut state = lock(&self.state);
        let MetadataOutlook { potential, free } =
            outlook(&state.catalogue, &devices, usage, copies);
        let Some(left) = free.checked_sub(potential) else {
            return Err(PoolError::MetadataMayRunOut { potential, free });
        };
        state.margin = MetadataMargin(Some(left.get() / METADATA_BLOCK_BYTES));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_margin_is_used_up_and_then_worked_out_anew() {
        let mut margin = MetadataMargin::default();
        assert!(!margin.take(0), "nothing is known yet");
        margin.0 = Some(10);
        assert!(margin.take(4) && margin.take(6));
        assert!(!margin.take(1));
        margin.0 = Some(10);
        assert!(!margin.take(11), "and what is left stays");
        assert!(margin.take(10));
        margin.forget();
        assert!(!margin.take(0));
    }
}
