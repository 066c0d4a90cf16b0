//! The limits of a volume, from its record to the cgroups of the pods that use it.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use thinly_engine::layout::{MountEntry, System};
use tonic::Status;

use crate::driver::{Driver, Found};
use crate::failure::{OrStatus, chain};
use crate::host::pod_cgroup::{limit, pod_of};
use crate::request::io_max;

/// In front of a mutable parameter's name among a volume's attributes.
const PREFIX: &str = "mutable.";

/// Under which attribute a mutable parameter is kept.
pub(crate) fn mutable_key(key: &str) -> String {
    format!("{PREFIX}{key}")
}

/// Whether an attribute is a mutable parameter.
pub(crate) fn is_mutable_key(attribute: &str) -> bool {
    attribute.starts_with(PREFIX)
}

/// The mutable parameters of a volume, as they are now.
pub(crate) fn mutable_of(attributes: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mutable = |(key, value): (&String, &String)| {
        Some((key.strip_prefix(PREFIX)?.to_owned(), value.clone()))
    };
    attributes.iter().filter_map(mutable).collect()
}

/// Applies a volume's limits to every pod that it is published to. A pod that has no cgroup where
/// kubelet puts them cannot be limited; that is told in the log and is no failure.
pub(crate) fn apply(driver: &Driver, found: &Found) -> Result<(), Status> {
    let attributes = found.pool.provision_of(found.volume.uuid).map(|it| it.attributes);
    let Some(limits) = io_max(&mutable_of(&attributes.unwrap_or_default())) else { return Ok(()) };
    let view = found.pool.volume(&found.volume.name).or_status()?;
    let Some(node) = view.device else { return Ok(()) };
    let Some(number) = System::default().node_number(&node) else { return Ok(()) };
    let shows = |mount: &MountEntry| {
        mount.is_on(&System::default(), number) || crate::node::shows_node(mount, &node)
    };
    for mount in crate::node::all_mounts()?.iter().filter(|mount| shows(mount)) {
        let Some(pod) = pod_of(driver.kubelet.path(), &mount.mount_point) else { continue };
        match limit(pod, number, &limits) {
            Ok(true) => {
                tracing::info!(volume = %found.id(), %pod, limits, "limited");
            }
            Ok(false) => {
                tracing::warn!(volume = %found.id(), %pod, "the pod has no cgroup to limit");
            }
            Err(error) => return Err(Status::internal(chain(&error))),
        }
    }
    Ok(())
}
