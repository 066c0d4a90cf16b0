//! Making a pool. Everything that can refuse does so before the first byte is written.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::claim::claim;
use super::error::PoolError;
use super::kernel::node_of;
use super::located::{Located, linear_segments};
use super::members::Joining;
use super::stack::Stack;
use super::unfinished::refuse_taken_name;
use super::volumes::now;
use crate::block_device::{Access, BlockDevice};
use crate::catalogue::{Catalogue, PoolDevice, PoolIdentity, PoolName, Record};
use crate::dm::Dm;
use crate::journal::Journal;
use crate::layout::{
    DeviceOffer, FoundPool, Label, LabelState, LinearSegment, PoolOptions, PoolPlan, Role, System,
    plan_pool, scan_labels, wipe_labels, write_labels,
};
use crate::plan::{Health, PoolGeometry, pool_table};
use crate::units::{BlockSize, Bytes};

/// A pool to be made.
#[derive(Debug, Clone)]
pub struct CreatePool {
    /// Its name.
    pub name: PoolName,
    /// The disks, partitions or logical volumes for data (and metadata, unless it has its own).
    pub devices: Vec<PathBuf>,
    /// A faster device for metadata and journal.
    pub metadata_device: Option<PathBuf>,
    /// The data block size, fixed for life.
    pub block_size: BlockSize,
    /// The metadata's length; by formula when `None`.
    pub metadata_size: Option<Bytes>,
    /// How much data it has to begin with; all that fits when `None`.
    pub data_size: Option<Bytes>,
    /// Whether what is on the devices may be overwritten. Never overrides a mount or a user.
    pub force: bool,
    /// Whether whole disks are used without a partition table.
    pub raw: bool,
}

/// Makes a pool and leaves it open in the kernel.
pub(super) fn create(dm: &Arc<dyn Dm>, request: &CreatePool) -> Result<(), PoolError> {
    refuse_taken_name(&**dm, request)?;
    let mut paths: Vec<PathBuf> = request.devices.clone();
    paths.extend(request.metadata_device.clone());
    let joining = Joining { pool: request.name.as_str(), force: request.force, raw: request.raw };
    let mut members = joining.look_at(&paths)?;
    if request.metadata_device.is_some()
        && let Some(last) = members.last_mut()
    {
        last.offer.is_metadata_device = true;
    }
    let offers: Vec<DeviceOffer> = members.iter().map(|member| member.offer).collect();
    let options = PoolOptions {
        block_size: request.block_size,
        metadata_bytes: request.metadata_size,
        data_bytes: request.data_size,
        ..PoolOptions::default()
    };
    let plan = plan_pool(&offers, &options)?;
    let identity = PoolIdentity {
        uuid: Uuid::new_v4(),
        name: request.name.clone(),
        created_at: now(),
        block_size: request.block_size,
        extent: plan.map.extent_bytes(),
        discard_passdown: members.iter().all(|member| member.facts.discards),
    };
    let nodes = joining.prepare(&members)?;
    let made = make_pool(dm, &identity, &plan, &nodes);
    if made.is_err() {
        // Nothing of worth can be on them: the pool never reached its first volume.
        for node in &nodes {
            let _ = BlockDevice::open(node, Access::Exclusive).map(|disk| wipe_labels(&disk));
        }
    }
    made
}

fn make_pool(
    dm: &Arc<dyn Dm>,
    identity: &PoolIdentity,
    plan: &PoolPlan,
    nodes: &[PathBuf],
) -> Result<(), PoolError> {
    let created_at = identity.created_at.0 / 1000;
    let labels = |state| plan.labels(identity.uuid, identity.name.as_str(), state, created_at);
    write_all(&labels(LabelState::Creating), nodes)?;
    let catalogue = first_catalogue(identity, &labels(LabelState::Creating), plan)?;
    let scan = scan_labels(&System::default())?;
    let found = scan.pools.into_iter().find(|pool: &FoundPool| pool.uuid == identity.uuid);
    let Some(found) = found else {
        return Err(PoolError::NoPool { pool: identity.name.to_string() });
    };
    let located = Located::new(found)?;
    let mut stack = Stack::new(Arc::clone(dm));
    load_pool(dm, &mut stack, &located, &catalogue)?;
    // The journal is durable: from here on the pool exists. The generation tells a whole set of
    // labels from one that a crash left half-rewritten.
    let mut live = labels(LabelState::Live);
    for label in &mut live {
        label.generation = 2;
    }
    write_all(&live, nodes)?;
    stack.keep();
    Ok(())
}

fn write_all(labels: &[Label], nodes: &[PathBuf]) -> Result<(), PoolError> {
    for (label, node) in labels.iter().zip(nodes) {
        let disk = BlockDevice::open(node, Access::ReadWrite)?;
        write_labels(&disk, label)?;
    }
    Ok(())
}

fn first_catalogue(
    identity: &PoolIdentity,
    labels: &[Label],
    plan: &PoolPlan,
) -> Result<Catalogue, PoolError> {
    let mut catalogue = Catalogue::new(identity.clone());
    for label in labels {
        catalogue.apply(Record::DeviceAdded(PoolDevice {
            uuid: label.device_uuid,
            index: label.device_index,
            size: label.device_bytes,
        }))?;
    }
    catalogue.apply(Record::SegmentsAdded(plan.map.all_segments().to_vec()))?;
    Ok(catalogue)
}

/// Brings the devices up for the first time: only here may the kernel find a blank metadata head
/// and format it.
fn load_pool(
    dm: &Arc<dyn Dm>,
    stack: &mut Stack,
    located: &Located,
    catalogue: &Catalogue,
) -> Result<(), PoolError> {
    let names = &located.names;
    let journal_segments = located.journal_segments()?;
    let uuid = names.role_uuid("journal")?;
    let journal = stack.linear(located, &names.journal, &uuid, &journal_segments)?;
    let linear = Arc::new(claim(located, &node_of(journal))?);
    let media = located.journal_of_linear(&linear)?;
    let linear = |stack: &mut Stack, role, name, tag| -> Result<_, PoolError> {
        let segments: Vec<LinearSegment> = linear_segments(catalogue, role)?;
        stack.linear(located, name, &names.role_uuid(tag)?, &segments)
    };
    let metadata = linear(stack, Role::Metadata, &names.metadata, "meta")?;
    let data = linear(stack, Role::Data, &names.data, "data")?;
    blank_head(&node_of(metadata))?;
    let table = pool_table(&PoolGeometry::of(catalogue, metadata, data));
    stack.device(&names.pool_device, &names.role_uuid("pool")?, &table)?;
    let status = dm.status(&names.pool_device, true)?;
    let text = status.first().map_or("", |line| line.text.as_str());
    let health = Health::of(&text.parse()?);
    if health != Health::Writable {
        return Err(PoolError::WentDegraded {
            health,
            operation: "creating the pool",
            advice: health.advice(),
        });
    }
    let records = catalogue.checkpoint();
    Ok(Journal::format(&*media, located.uuid(), records.iter().map(Record::encode))?)
}

/// The kernel formats metadata whose first 4 KiB are zero; anything else it would try to read.
fn blank_head(metadata: &Path) -> Result<(), PoolError> {
    let device = BlockDevice::open(metadata, Access::ReadWrite)?;
    Ok(device.zero_range(0, 64 << 10)?)
}
