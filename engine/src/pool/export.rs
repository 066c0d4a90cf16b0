//! A pool on its way to another machine: closed, and marked so on every device, so that nobody opens it by
//! mistake or by habit; and taken in there, under another name if its own is taken.
//!
//! Crash argument: the pool is closed and its journal is whole before a label changes, and a label changes in nothing
//! but its state and its name. One label that says `exported` makes the pool an exported one, so whatever a crash leaves
//! of either is not opened by anybody, and asking again for one or the other finishes it. A new name is in the
//! journal before it is in a label; an import that goes on takes the journal's.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::sync::Arc;

use super::close::{close, take_down};
use super::error::PoolError;
use super::located::Located;
use super::open::{amend, is_open};
use super::stack::Stack;
use crate::block_device::{Access, BlockDevice};
use crate::catalogue::{Catalogue, PoolName, Record};
use crate::dm::Dm;
use crate::layout::{
    FoundDevice, Label, LabelState, System, read_labels, scan_labels, write_labels,
};

/// How a pool is taken in.
#[derive(Debug, Clone, Default)]
pub struct ImportPool {
    /// Look for it on these devices only, where any is named.
    pub devices: Vec<PathBuf>,
    /// What it is called from now on; its own name when not given.
    pub name: Option<PoolName>,
}

/// Closes a pool if it is open, and marks its devices. Refused while a volume is in use or a device is missing.
pub(super) fn export(dm: &Arc<dyn Dm>, located: &Located) -> Result<(), PoolError> {
    located.require_whole()?;
    let (catalogue, _) = located.read_catalogue()?;
    located.require_complete(&catalogue)?;
    if is_open(&**dm, located)? {
        close(dm, located)?;
    } else {
        take_down(&**dm, located)?;
    }
    // A pool that was open may have gained or lost a device until it was closed.
    let (catalogue, _) = located.read_catalogue()?;
    located.require_complete(&catalogue)?;
    mark(located, &catalogue, LabelState::Exported)
}

/// Makes an exported pool one of this machine again. It stays closed.
pub(super) fn import(
    dm: &Arc<dyn Dm>,
    located: &Located,
    name: Option<&PoolName>,
) -> Result<(), PoolError> {
    located.require_whole()?;
    if !located.is_exported() {
        return Err(PoolError::NotExported { pool: located.found.name.clone() });
    }
    let (mut catalogue, _) = located.read_catalogue()?;
    located.require_complete(&catalogue)?;
    let name = name.unwrap_or(&catalogue.pool().name).clone();
    refuse_taken_name(located, &name)?;
    take_down(&**dm, located)?;
    if name != catalogue.pool().name {
        let mut stack = Stack::new(Arc::clone(dm));
        let (names, segments) = (&located.names, located.journal_segments()?);
        let journal =
            stack.linear(located, &names.journal, &names.role_uuid("journal")?, &segments)?;
        catalogue = amend(dm, located, journal, Record::PoolRenamed { name })?;
    }
    mark(located, &catalogue, LabelState::Live)
}

fn refuse_taken_name(located: &Located, name: &PoolName) -> Result<(), PoolError> {
    let scan = scan_labels(&System::default())?;
    let mut others = scan.pools.iter().filter(|pool| pool.uuid != located.uuid());
    match others.find(|pool| pool.name == name.as_str()) {
        Some(other) => Err(PoolError::ImportNameTaken {
            pool: name.clone(),
            uuid: located.uuid(),
            other: other.uuid,
        }),
        None => Ok(()),
    }
}

/// Rewrites the labels of all members: their state, and the name that the catalogue has.
fn mark(located: &Located, catalogue: &Catalogue, state: LabelState) -> Result<(), PoolError> {
    // The claim on every disk at once, before anything is written.
    let mut disks = Vec::new();
    for known in catalogue.devices() {
        if let Some(found) = located.disk(known.uuid) {
            let disk = BlockDevice::open(&found.path, Access::Exclusive)?;
            let label = current(&disk, found, located)?;
            disks.push((disk, label));
        }
    }
    for (disk, label) in &disks {
        let pool_name = catalogue.pool().name.as_str().to_owned();
        write_labels(disk, &Label { pool_name, state, ..label.next() })?;
    }
    Ok(())
}

/// The label as it is under the claim: since the scan the journal may have moved.
fn current(disk: &BlockDevice, found: &FoundDevice, located: &Located) -> Result<Label, PoolError> {
    let read = read_labels(disk)?;
    let own = read.label().filter(|label| label.device_uuid == found.label.device_uuid);
    own.cloned().ok_or_else(|| PoolError::BadLabels {
        pool: located.found.name.clone(),
        problem: format!("{} is no device of it any more", found.path.display()),
    })
}
