//! Views made from the catalogue and what the kernel says.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::kernel::ThinDevice;
use super::view::{Usage, VolumeState, VolumeView};
use crate::catalogue::{
    Catalogue, ObjectId, PoolIdentity, Provision, ThinState, Volume, VolumeKind, VolumeName,
};
use crate::dm::PoolUsage;
use crate::plan::link_path;
use crate::units::{BlockSize, Bytes, METADATA_BLOCK_BYTES, ThinId};

/// The present name of what a volume was copied from.
pub(super) fn origin_name(catalogue: &Catalogue, volume: &Volume) -> Option<VolumeName> {
    let origin = match &volume.kind {
        VolumeKind::Blank => return None,
        VolumeKind::Clone { source } => *source,
        VolumeKind::Snapshot { origin, .. } => *origin,
    };
    catalogue.volume(origin).map(|origin| origin.name.clone())
}

pub(super) fn volume_view(
    pool: &PoolIdentity,
    volume: &Volume,
    origin_name: Option<VolumeName>,
    device: Option<ThinDevice>,
    mapped_bytes: Option<Bytes>,
) -> VolumeView {
    let device = device.filter(|device| device.live);
    let state = match (volume.thin, &device) {
        (ThinState::Pending, _) => VolumeState::Pending,
        (ThinState::Lost(_), _) => VolumeState::Lost,
        (ThinState::Ready(_), Some(device)) if device.suspended => VolumeState::Suspended,
        (ThinState::Ready(_), Some(_)) => VolumeState::Active,
        (ThinState::Ready(_), None) => VolumeState::Inactive,
    };
    let link = link_path(pool.name.as_str(), volume.name.as_str(), volume.uuid);
    VolumeView {
        name: volume.name.clone(),
        uuid: volume.uuid,
        thin_id: volume.thin.id(),
        virtual_bytes: volume.size,
        mapped_bytes,
        state,
        kind: volume.kind.clone(),
        origin_name,
        created_at: volume.created_at,
        device: device.as_ref().map(ThinDevice::node),
        link: device.as_ref().filter(|_| link.is_symlink()).map(|_| link),
        open_count: device.as_ref().map(|device| device.open_count),
        read_only: device.is_some_and(|device| device.read_only),
        handle: ObjectId::of(pool.uuid, volume),
        provision: None,
        group_provision: None,
        content: volume.content.clone(),
    }
}

/// What orchestrators asked for, of a volume or snapshot and of its group.
pub(super) fn provisions(
    catalogue: &Catalogue,
    volume: &Volume,
) -> (Option<Provision>, Option<Provision>) {
    let group = volume.group().and_then(|group| catalogue.provision(group.uuid));
    (catalogue.provision(volume.uuid).cloned(), group.cloned())
}

/// All volumes of a pool, by name.
pub(super) fn volume_views(
    catalogue: &Catalogue,
    mut devices: BTreeMap<ThinId, ThinDevice>,
    mapped: impl Fn(ThinId) -> Option<Bytes>,
) -> Vec<VolumeView> {
    catalogue
        .volumes()
        .map(|volume| {
            let device = volume.thin.id().and_then(|id| devices.remove(&id));
            let mapped = volume.thin.id().map_or(Some(Bytes::ZERO), &mapped);
            let origin = origin_name(catalogue, volume);
            let (provision, group_provision) = provisions(catalogue, volume);
            let view = volume_view(catalogue.pool(), volume, origin, device, mapped);
            VolumeView { provision, group_provision, ..view }
        })
        .collect()
}

/// The kernel counts its commit reserve as used metadata (`__set_metadata_reserve` in
/// dm-thin-metadata.c: the smaller of 4096 blocks and a tenth). Nothing else may use it, so it is
/// no room: a pool that the kernel takes for full is shown as full.
pub(super) fn usage(status: &PoolUsage, block_size: BlockSize) -> Usage {
    let total = status.total_metadata_blocks.get();
    let reserve = (total / 10).min(4096);
    let used = status.used_metadata_blocks.get().saturating_sub(reserve);
    let metadata = |blocks: u64| Bytes::new(blocks.saturating_mul(METADATA_BLOCK_BYTES));
    Usage {
        used_data: block_size.length_of(status.used_data_blocks),
        total_data: block_size.length_of(status.total_data_blocks),
        used_metadata: metadata(used),
        total_metadata: metadata(total - reserve),
    }
}
