//! `CreateVolume`: blank, from a snapshot, from a volume.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use thinly_csi_wire::volume_content_source::{SnapshotSource, Type as Source, VolumeSource};
use thinly_csi_wire::{CreateVolumeRequest, CreateVolumeResponse, VolumeContentSource};
use thinly_engine::catalogue::{ClusterAccess, Provision, Volume, VolumeKind};
use thinly_engine::pool::Pool;
use thinly_engine::units::Bytes;
use tonic::Status;

use crate::ObjectKind;
use crate::driver::{Driver, Found, id_of, not_found};
use crate::limits::{is_mutable_key, mutable_key};
use crate::names::{OrFailure, key, with_free_name};
use crate::observe::made;
use crate::pools::Class;
use crate::request::{
    Access, Capacity, Parameters, check_mutable, check_required, filesystem_bytes_min,
    is_satisfied_by,
};

/// Under which attribute the source of a copy is kept: its record keeps only the uuid.
const SOURCE: &str = "source";
/// In front of a parameter's name among a volume's attributes.
const PARAMETER: &str = "parameters.";

/// The parameters that a volume was made with.
pub(super) fn parameters_of(attributes: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let parameter = |(key, value): (&String, &String)| {
        Some((key.strip_prefix(PARAMETER)?.to_owned(), value.clone()))
    };
    attributes.iter().filter_map(parameter).collect()
}

/// The identifier of the source, if one is named.
pub(super) fn source_id(request: &CreateVolumeRequest) -> Result<Option<String>, Status> {
    let Some(source) = &request.volume_content_source else { return Ok(None) };
    let (field, id) = match &source.r#type {
        Some(Source::Snapshot(SnapshotSource { snapshot_id })) => ("snapshot_id", snapshot_id),
        Some(Source::Volume(VolumeSource { volume_id })) => ("volume_id", volume_id),
        None => {
            return Err(Status::invalid_argument(
                "volume_content_source names neither a snapshot nor a volume",
            ));
        }
    };
    check_required(field, id)?;
    Ok(Some(id.clone()))
}

/// A request, read.
struct Asked {
    capacity: Capacity,
    class: Option<String>,
    least: Bytes,
    source: Option<(String, ObjectKind)>,
    attributes: BTreeMap<String, String>,
}

pub(super) fn create(
    driver: &Driver,
    request: &CreateVolumeRequest,
) -> Result<CreateVolumeResponse, Status> {
    let asked = read(request)?;
    if !is_satisfied_by(request.accessibility_requirements.as_ref(), &driver.segments()) {
        return Err(Status::resource_exhausted(format!(
            "the volume must be elsewhere than on node {}, whose disks are all there is here",
            driver.identity.node_id
        )));
    }
    let key = key(ObjectKind::Volume, &request.name)?;
    for class in driver.classes().iter() {
        let pool = class.pool()?;
        if let Some(volume) = pool.by_key(&key).and_then(|uuid| pool.volume_record(uuid)) {
            return existing(driver, class, &pool, &volume, &asked);
        }
    }
    let source = find_source(driver, asked.source.as_ref())?;
    let class = choose_class(driver, asked.class.as_deref(), source.as_ref())?;
    let pool = class.pool()?;
    let floor = source.as_ref().map_or(asked.least, |source| source.volume.size);
    let size = asked.capacity.pick(floor)?;
    let provision = || {
        Provision::new(key.clone(), asked.attributes.clone())
            .map_err(|error| Status::invalid_argument(error.to_string()))
    };
    let volume = with_free_name(&request.name, |name| match &source {
        None => pool.provision_volume(name, size, provision()?).or_failure(),
        Some(source) => {
            pool.provision_clone(&source.volume.name, name, Some(size), provision()?).or_failure()
        }
    })?;
    made(&id_of(class.uuid, &volume));
    Ok(response(driver, &class, &volume, &asked.attributes))
}

fn read(request: &CreateVolumeRequest) -> Result<Asked, Status> {
    let accesses = Access::read_all(&request.volume_capabilities)?;
    let parameters = Parameters::read(&request.parameters)?;
    check_mutable(&request.mutable_parameters)?;
    let capacity = Capacity::read(request.capacity_range.as_ref())?;
    let source = source_id(request)?.map(|id| {
        let snapshot = matches!(
            request.volume_content_source.as_ref().and_then(|source| source.r#type.as_ref()),
            Some(Source::Snapshot(_))
        );
        (id, if snapshot { ObjectKind::Snapshot } else { ObjectKind::Volume })
    });
    let is_block = accesses.iter().all(Access::is_block);
    let filesystem = accesses.iter().find_map(Access::filesystem);
    let least = match filesystem {
        Some(filesystem) => filesystem_bytes_min(filesystem),
        None => Bytes::ZERO,
    };
    let mut attributes: BTreeMap<String, String> = request
        .parameters
        .iter()
        .map(|(key, value)| (format!("{PARAMETER}{key}"), value.clone()))
        .collect();
    let mutable = request.mutable_parameters.iter();
    attributes.extend(mutable.map(|(key, value)| (mutable_key(key), value.clone())));
    let access = if is_block { ClusterAccess::Block } else { ClusterAccess::Mount };
    attributes.insert(ClusterAccess::ATTRIBUTE.to_owned(), access.to_string());
    if let Some((id, _)) = &source {
        attributes.insert(SOURCE.to_owned(), id.clone());
    }
    Ok(Asked { capacity, class: parameters.device_class, least, source, attributes })
}

fn find_source(
    driver: &Driver,
    source: Option<&(String, ObjectKind)>,
) -> Result<Option<Found>, Status> {
    let Some((id, kind)) = source else { return Ok(None) };
    if driver.is_elsewhere(id, *kind) {
        // The one code that lets the scheduler try another node.
        return Err(Status::resource_exhausted(format!(
            "the source {id:?} is not on node {}; its copy can only be made where it is",
            driver.identity.node_id
        )));
    }
    driver.find(id, *kind)?.map(Some).ok_or_else(|| not_found(id, *kind))
}

fn choose_class(
    driver: &Driver,
    named: Option<&str>,
    source: Option<&Found>,
) -> Result<Arc<Class>, Status> {
    let Some(source) = source else { return driver.classes().choose(named) };
    match named {
        Some(name) if name != source.class.config.name => Err(Status::invalid_argument(format!(
            "the source is in device class {:?}, and a copy shares its blocks: it cannot be in {name:?}",
            source.class.config.name
        ))),
        _ => Ok(Arc::clone(&source.class)),
    }
}

/// The same name again: the same volume if it is what is asked for.
fn existing(
    driver: &Driver,
    class: &Class,
    pool: &Pool,
    volume: &Volume,
    asked: &Asked,
) -> Result<CreateVolumeResponse, Status> {
    let differs = |what: String| {
        Err(Status::already_exists(format!(
            "a volume of this name exists and differs in {what}; use another name"
        )))
    };
    let attributes = pool.provision_of(volume.uuid).map(|it| it.attributes).unwrap_or_default();
    // Limits may have been changed since, and a copy of the first request must not undo that.
    let keys = attributes.keys().chain(asked.attributes.keys()).filter(|key| !is_mutable_key(key));
    if let Some(key) =
        keys.into_iter().find(|key| attributes.get(*key) != asked.attributes.get(*key))
    {
        return differs(key.clone());
    }
    if !asked.capacity.admits(volume.size) {
        return differs(format!("capacity ({} bytes)", volume.size));
    }
    Ok(response(driver, class, volume, &attributes))
}

fn response(
    driver: &Driver,
    class: &Class,
    volume: &Volume,
    attributes: &BTreeMap<String, String>,
) -> CreateVolumeResponse {
    CreateVolumeResponse { volume: Some(message(driver, class, volume, attributes)) }
}

/// A volume as the cluster sees it.
pub(super) fn message(
    driver: &Driver,
    class: &Class,
    volume: &Volume,
    attributes: &BTreeMap<String, String>,
) -> thinly_csi_wire::Volume {
    thinly_csi_wire::Volume {
        capacity_bytes: i64::try_from(volume.size.get()).unwrap_or(i64::MAX),
        volume_id: id_of(class.uuid, volume).to_string(),
        volume_context: BTreeMap::new(),
        content_source: attributes.get(SOURCE).and_then(|id| content_source(volume, id)),
        accessible_topology: vec![driver.topology()],
    }
}

fn content_source(volume: &Volume, id: &str) -> Option<VolumeContentSource> {
    if !matches!(volume.kind, VolumeKind::Clone { .. }) {
        return None;
    }
    let source = match id.parse::<crate::ObjectId>().ok()?.kind() {
        ObjectKind::Snapshot => Source::Snapshot(SnapshotSource { snapshot_id: id.to_owned() }),
        _ => Source::Volume(VolumeSource { volume_id: id.to_owned() }),
    };
    Some(VolumeContentSource { r#type: Some(source) })
}
