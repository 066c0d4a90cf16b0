//! `thinly adopt`.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::catalogue::{ApplyError, ClusterAccess, ObjectKind, Provision, ProvisionKey};
use thinly_engine::layout::{Carried, Window, carried};
use thinly_engine::pool::{Engine, Pool, PoolError, VolumeAccess, VolumeState, VolumeView};

use crate::adoption::{Adoption, Wish, decide, describe};
use crate::args::Adopt;
use crate::cluster_name::{ClaimName, ClusterName, ClusterNameError};
use crate::console::Console;
use crate::context::Context;
use crate::failure::Failure;
use crate::json::AdoptionJson;
use crate::manifest::{Manifest, Subject, VolumeFacts};
use crate::session::change;
use crate::volume_command::{find, is_snapshot};

pub(crate) fn run(context: Context<'_>, arguments: &Adopt) -> Result<(), Failure> {
    let console = context.console;
    let path = &arguments.volume;
    if arguments.access.map(ClusterAccess::from) == Some(ClusterAccess::Block)
        && arguments.fs_type.is_some()
    {
        return Err(Failure::Usage("--fs-type is for --access mount".to_owned()));
    }
    let volumes = Engine::new()?.volumes(&path.pool)?;
    let view = find(&volumes, &path.pool, &path.volume)?;
    let node = if is_snapshot(view) {
        refuse_flags_of_volumes(arguments)?;
        String::new()
    } else {
        node_of(console, arguments)?
    };
    if let Some(manifest) = known(arguments, view, &node)? {
        // The driver may be running, and holds the pool then: so far this only read.
        return answer(console, arguments, view, &manifest, false);
    }
    let name = name_of(arguments, view)?;
    let operation = |pool: &Pool| {
        let view = pool.volume(&path.volume)?;
        // Somebody may have been faster.
        if let Some(manifest) = known(arguments, &view, &node)? {
            return Ok((view, manifest, false));
        }
        let manifest = adopt(pool, arguments, &view, name, node)?;
        Ok((view, manifest, true))
    };
    change(context, &path.pool, operation, |(view, manifest, adopted)| {
        answer(console, arguments, view, manifest, *adopted)
    })
}

fn answer(
    console: Console<'_>,
    arguments: &Adopt,
    view: &VolumeView,
    manifest: &Manifest,
    adopted: bool,
) -> Result<(), Failure> {
    if adopted && view.device.is_some() {
        console.hint(&format!(
            "{path} is active; run `thinly volume deactivate {path}` before a pod uses it",
            path = arguments.volume
        ));
    }
    let yaml = manifest.to_yaml().map_err(|error| Failure::Output(io::Error::other(error)))?;
    console.answer(&AdoptionJson::new(view.handle, adopted, manifest), || yaml)
}

/// A snapshot's `VolumeSnapshotContent` says nothing of how its copies are used.
fn refuse_flags_of_volumes(arguments: &Adopt) -> Result<(), Failure> {
    let given = [
        ("--access", arguments.access.is_some()),
        ("--fs-type", arguments.fs_type.is_some()),
        ("--storage-class", arguments.storage_class.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(Failure::Usage(format!(
            "{flag} is for volumes, and {} is a snapshot",
            arguments.volume
        ))),
        None => Ok(()),
    }
}

/// Makes it known, and makes what the cluster is told.
fn adopt(
    pool: &Pool,
    arguments: &Adopt,
    view: &VolumeView,
    name: ClusterName,
    node: String,
) -> Result<Manifest, Failure> {
    let kind = view.handle.kind();
    let key = ProvisionKey::of(kind, name.as_str()).map_err(PoolError::from)?;
    if pool.by_key(&key).is_some() {
        // Before anything is recorded of the content.
        return Err(PoolError::from(ApplyError::KeyTaken { key }).into());
    }
    if kind == ObjectKind::Snapshot {
        let provision = Provision::new(key, BTreeMap::new()).map_err(PoolError::from)?;
        pool.set_provision(view.uuid, provision)?;
        return Ok(snapshot_manifest(arguments, view, name));
    }
    let carried = look(pool, view)?;
    let Adoption { access, filesystem, content } =
        decide(&view.content, &carried, wish_of(arguments))
            .map_err(|problem| not_adoptable(arguments, problem))?;
    // The content first: were the two cut apart, the driver would not know the volume yet.
    if content != view.content {
        pool.set_content(&view.name, content)?;
    }
    let mut attributes =
        BTreeMap::from([(ClusterAccess::ATTRIBUTE.to_owned(), access.to_string())]);
    if let Some(filesystem) = &filesystem {
        attributes.insert(Provision::FILESYSTEM_ATTRIBUTE.to_owned(), filesystem.clone());
    }
    let provision = Provision::new(key, attributes).map_err(PoolError::from)?;
    pool.set_provision(view.uuid, provision)?;
    Ok(volume_manifest(arguments, view, name, (access, filesystem), node))
}

/// What a cluster is told of what it knows already; `None` when it does not know it.
fn known(arguments: &Adopt, view: &VolumeView, node: &str) -> Result<Option<Manifest>, Failure> {
    let name = || {
        let kept = view.provision.as_ref().map(|kept| &kept.key);
        match kept.and_then(|key| key.name_in_cluster(view.handle.kind())) {
            Some(kept) if arguments.pv_name.is_none() => kept.parse().map_err(unfit),
            _ => name_of(arguments, view),
        }
    };
    if is_snapshot(view) {
        let is_known = view.provision.is_some() || view.group_provision.is_some();
        return is_known.then(|| Ok(snapshot_manifest(arguments, view, name()?))).transpose();
    }
    let Some(kept) = &view.provision else { return Ok(None) };
    let seen = match (&view.device, view.state) {
        (Some(device), VolumeState::Active) => Some(on_device(device)?),
        _ => None,
    };
    let used = describe(kept, &view.content, seen.as_ref(), wish_of(arguments))
        .map_err(|problem| not_adoptable(arguments, problem))?;
    Ok(Some(volume_manifest(arguments, view, name()?, used, node.to_owned())))
}

#[allow(clippy::needless_pass_by_value, reason = "it stands where an error is turned into another")]
fn unfit(error: ClusterNameError) -> Failure {
    Failure::Usage(format!("{error}; choose one with --pv-name"))
}

fn wish_of(arguments: &Adopt) -> Wish {
    Wish { access: arguments.access.map(ClusterAccess::from), filesystem: arguments.fs_type }
}

fn not_adoptable(arguments: &Adopt, problem: String) -> Failure {
    Failure::NotAdoptable { path: arguments.volume.to_string(), problem }
}

fn name_of(arguments: &Adopt, view: &VolumeView) -> Result<ClusterName, Failure> {
    match &arguments.pv_name {
        Some(name) => Ok(name.clone()),
        None => ClusterName::of(&view.name).map_err(unfit),
    }
}

/// The node that a volume is on. A snapshot has none of its own.
pub(crate) fn node_of(console: Console<'_>, arguments: &Adopt) -> Result<String, Failure> {
    if let Some(node) = &arguments.node {
        return Ok(node.clone());
    }
    console.hint(
        "the node is taken to have this machine's host name; say --node NAME if the cluster calls \
         it otherwise",
    );
    let host = nix::unistd::gethostname()
        .map_err(|error| Failure::System { action: "read the host name", source: error.into() })?;
    host.into_string().map_err(|host| {
        Failure::Usage(format!("the host name {} is no text; give --node", host.display()))
    })
}

/// What a volume carries. An inactive one gets a device that refuses writes for that moment.
fn look(pool: &Pool, view: &VolumeView) -> Result<Carried, Failure> {
    match (view.state, &view.device) {
        (VolumeState::Pending, _) => Ok(Carried::Nothing),
        (VolumeState::Active, Some(device)) => Ok(on_device(device)?),
        _ => {
            let active = pool.activate(&view.name, VolumeAccess::ReadOnly)?;
            let seen = active.device.as_deref().map_or(Ok(Carried::Nothing), on_device);
            pool.deactivate(&view.name)?;
            Ok(seen?)
        }
    }
}

fn on_device(device: &Path) -> Result<Carried, PoolError> {
    Ok(carried(&Window::read(&BlockDevice::open_any(device, Access::ReadOnly)?)?))
}

fn subject(arguments: &Adopt, view: &VolumeView, name: ClusterName) -> Subject {
    Subject {
        name,
        handle: view.handle,
        driver: arguments.driver_name.clone(),
        claim: arguments.claim.clone(),
    }
}

fn volume_manifest(
    arguments: &Adopt,
    view: &VolumeView,
    name: ClusterName,
    (access, filesystem): (ClusterAccess, Option<String>),
    node: String,
) -> Manifest {
    let facts = VolumeFacts {
        size: view.virtual_bytes,
        access,
        filesystem,
        storage_class: arguments.storage_class.clone(),
        topology_key: arguments.topology_key.clone(),
        node,
    };
    Manifest::of_volume(subject(arguments, view, name), facts)
}

fn snapshot_manifest(arguments: &Adopt, view: &VolumeView, name: ClusterName) -> Manifest {
    let claim = arguments.claim.clone().unwrap_or_else(|| ClaimName::in_default(name.clone()));
    Manifest::of_snapshot(subject(arguments, view, name), &claim)
}
