//! Views made from the catalogue and what the kernel says.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::kernel::ThinDevice;
use super::view::{Usage, VolumeState, VolumeView};
use crate::catalogue::{
    Catalogue, ObjectId, PoolIdentity, Provision, Received, ThinState, Volume, VolumeKind,
    VolumeName,
};
use crate::dm::PoolUsage;
use crate::plan::link_path;
use crate::units::{BlockSize, Bytes, METADATA_BLOCK_BYTES, ThinId};

/// What the catalogue knows beside a volume's own record.
#[derive(Debug)]
pub(super) struct Known {
    origin_name: Option<VolumeName>,
    provision: Option<Provision>,
    group_provision: Option<Provision>,
    received: Option<Received>,
}

/// What is known of a volume beside its own record.
pub(super) fn known(catalogue: &Catalogue, volume: &Volume) -> Known {
    let group = volume.group().and_then(|group| catalogue.provision(group.uuid));
    Known {
        origin_name: origin_name(catalogue, volume),
        provision: catalogue.provision(volume.uuid).cloned(),
        group_provision: group.cloned(),
        received: catalogue.received(volume.uuid).cloned(),
    }
}

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
    known: Known,
    device: Option<ThinDevice>,
    mapped_bytes: Option<Bytes>,
) -> VolumeView {
    let Known { origin_name, provision, group_provision, received } = known;
    let is_incoming = received.as_ref().is_some_and(|received| received.incoming.is_some());
    let device = device.filter(|device| device.live);
    let state = match (volume.thin, &device) {
        (ThinState::Lost(_), _) => VolumeState::Lost,
        _ if is_incoming => VolumeState::Receiving,
        (ThinState::Pending, _) => VolumeState::Pending,
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
        provision,
        group_provision,
        received,
        content: volume.content.clone(),
    }
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
            volume_view(catalogue.pool(), volume, known(catalogue, volume), device, mapped)
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
