//! What a cluster knows, by itself or by its group.
#![forbid(unsafe_code)]

use thinly_engine::catalogue::{ObjectId, ObjectKind};
use thinly_engine::pool::VolumeView;

use crate::args::VolumePath;
use crate::audit::group_of;
use crate::failure::Failure;

/// Refuses to delete under a cluster's feet what it keeps a handle of.
pub(crate) fn refuse_known(path: &VolumePath, view: &VolumeView) -> Result<(), Failure> {
    let (path, handle, object, forget) = match known_group(path, view) {
        _ if view.provision.is_some() => {
            let object = match view.handle.kind() {
                ObjectKind::Snapshot => "VolumeSnapshot",
                _ => "claim",
            };
            (path.to_string(), view.handle, object, path.to_string())
        }
        Some(group) => (path.to_string(), group.handle, "VolumeGroupSnapshot", group.forget),
        None => return Ok(()),
    };
    Err(Failure::KnownToCluster { path, handle, object, forget })
}

/// The group by which a snapshot is known.
pub(crate) struct KnownGroup {
    pub(crate) name: String,
    pub(crate) handle: ObjectId,
    /// What to hand to `thinly forget`.
    pub(crate) forget: String,
}

/// The group by which a cluster knows a snapshot, if it does.
pub(crate) fn known_group(path: &VolumePath, view: &VolumeView) -> Option<KnownGroup> {
    let tag = group_of(view).filter(|_| view.group_provision.is_some())?;
    Some(KnownGroup {
        name: tag.name.to_string(),
        handle: view.handle.beside(ObjectKind::Group, tag.uuid),
        forget: format!("{}/{} --group", path.pool, tag.name),
    })
}
