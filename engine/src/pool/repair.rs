//! Repair of a closed pool's dm-thin metadata: rebuilt onto the spare region, looked at there, then swapped in by one
//! record of the journal. The damaged metadata is never written to; it becomes the spare.
//!
//! Crash argument: until the record is durable the pool is what it was, and what is on the spare region is nobody's.
//! After it, the labels still name the old places; only a salvage believes them, and the next open mends them.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::claim::claim;
use super::error::PoolError;
use super::kernel::node_of;
use super::located::{Located, linear_segments};
use super::open::{amend, is_open, require_superblock};
use super::segmented::Segmented;
use super::stack::{Stack, remove};
use crate::aligned::AlignedBuffer;
use crate::block_device::{Access, BlockDevice};
use crate::catalogue::{Catalogue, Record, ThinState, VolumeName};
use crate::dm::Dm;
use crate::layout::{
    FoundDevice, Label, LabelCopy, LabelState, Role, Segment, read_labels, write_label_copy,
    write_labels,
};
use crate::metadata::{
    DeviceDetails, MetadataError, SuperblockState, check_closed, first_damage, list_devices,
    read_superblock, set_transaction_id,
};
use crate::plan::ForeignPool;
use crate::units::{DataBlocks, ThinId};

/// The program that rebuilds metadata, of Debian's thin-provisioning-tools.
const TOOL: &str = "thin_repair";

/// The length of a superblock.
const METADATA_BLOCK: usize = 4096;

/// What a repair may do.
#[derive(Debug, Clone, Copy, Default)]
pub struct RepairRequest {
    /// Whether anything is written; without it the pool is only looked at.
    pub apply: bool,
    /// Whether volumes may be lost whose thin ids are not in the repaired metadata.
    pub accept_loss: bool,
    /// Whether leaked blocks alone are worth a repair.
    pub leaks: bool,
}

/// What a repair found, and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairReport {
    /// The first damage in the metadata.
    pub damage: Option<String>,
    /// Whether the kernel wants the metadata checked before it writes again.
    pub needs_check: bool,
    /// The version of `thin_repair`; `None` when it is not installed.
    pub tool: Option<String>,
    /// Data blocks that nothing uses and the space map counts, before the repair. The kernel leaves one behind where
    /// a disk refuses the copy or the zeros that a new block begins with (`process_prepared_mapping`, dm-thin.c).
    pub leaked_data_blocks: DataBlocks,
    /// Whether the repaired metadata was swapped in.
    pub swapped: bool,
    /// Thin devices in the repaired metadata; before the repair, in the damaged one, if it can be read.
    pub device_count: Option<usize>,
    /// Volumes whose thin ids are not among them.
    pub lost: Vec<VolumeName>,
}

impl RepairReport {
    /// Whether there is anything to repair.
    pub const fn is_needed(&self) -> bool {
        self.damage.is_some() || self.needs_check
    }

    fn is_wanted(&self, request: RepairRequest) -> bool {
        let gives_back = request.leaks && self.leaked_data_blocks > DataBlocks::ZERO;
        request.apply && (self.is_needed() || gives_back)
    }
}

/// Looks at a closed pool's metadata, and repairs it when asked to.
pub(super) fn repair(
    dm: &Arc<dyn Dm>,
    located: &Located,
    request: RepairRequest,
) -> Result<RepairReport, PoolError> {
    located.require_live()?;
    if is_open(&**dm, located)? {
        return Err(PoolError::RepairOpen { pool: located.found.name.clone() });
    }
    let (catalogue, _) = located.read_catalogue()?;
    located.require_complete(&catalogue)?;
    let mut report = examine(located, &catalogue)?;
    if report.is_wanted(request) {
        if report.tool.is_none() {
            return Err(PoolError::NoRepairTool { pool: located.found.name.clone() });
        }
        let repaired =
            rebuild_and_swap(dm, located, &catalogue, request.accept_loss, &|from, to| {
                run_tool(located, &catalogue, from, to)
            })?;
        report = RepairReport { swapped: true, ..repaired.into_report(report) };
    }
    Ok(report)
}

fn examine(located: &Located, catalogue: &Catalogue) -> Result<RepairReport, PoolError> {
    let metadata = Segmented::open(located, &linear_segments(catalogue, Role::Metadata)?)?;
    let mut report = RepairReport {
        damage: None,
        needs_check: false,
        tool: tool_version(),
        leaked_data_blocks: DataBlocks::ZERO,
        swapped: false,
        device_count: None,
        lost: Vec::new(),
    };
    match read_superblock(&metadata) {
        Ok(SuperblockState::Valid(superblock)) => {
            report.needs_check = superblock.needs_check;
            report.damage = first_damage(&metadata)?.map(|damage| damage.to_string());
            match list_devices(&metadata, &superblock) {
                Ok(devices) => {
                    report.lost = lost(catalogue, &devices);
                    report.device_count = Some(devices.len());
                }
                Err(damage) => note_damage(&mut report, damage)?,
            }
        }
        Ok(SuperblockState::Blank) => report.damage = Some("the superblock is blank".to_owned()),
        Err(damage) => note_damage(&mut report, damage)?,
    }
    if report.damage.is_none() {
        report.leaked_data_blocks = check_closed(&metadata, &mut |_, _| {})?.leaked_data_blocks();
    }
    Ok(report)
}

/// Damage is what a repair is for; a disk that cannot be read is not.
fn note_damage(report: &mut RepairReport, error: MetadataError) -> Result<(), PoolError> {
    match error {
        MetadataError::Node { .. } | MetadataError::Superblock { .. } => {
            report.damage.get_or_insert_with(|| error.to_string());
            Ok(())
        }
        error => Err(error.into()),
    }
}

fn lost(catalogue: &Catalogue, devices: &BTreeMap<ThinId, DeviceDetails>) -> Vec<VolumeName> {
    let missing = catalogue
        .volumes()
        .filter(|volume| matches!(volume.thin, ThinState::Ready(id) if !devices.contains_key(&id)));
    missing.map(|volume| volume.name.clone()).collect()
}

/// What the metadata on the spare region holds.
pub(super) struct Rebuilt {
    pub(super) device_count: usize,
    pub(super) lost: Vec<VolumeName>,
}

impl Rebuilt {
    fn into_report(self, report: RepairReport) -> RepairReport {
        RepairReport { device_count: Some(self.device_count), lost: self.lost, ..report }
    }
}

/// Has the spare region written, from the metadata region or not, looks at it, and swaps it in.
pub(super) fn rebuild_and_swap(
    dm: &Arc<dyn Dm>,
    located: &Located,
    catalogue: &Catalogue,
    accept_loss: bool,
    write: &dyn Fn(&Path, &Path) -> Result<(), PoolError>,
) -> Result<Rebuilt, PoolError> {
    catalogue.check(&Record::MetadataSwapped)?;
    let names = &located.names;
    // A crash may have left linears over the old places; no later open may find them.
    for name in [&names.pool_device, &names.data, &names.metadata, &names.spare, &names.journal] {
        remove(&**dm, name)?;
    }
    let mut stack = Stack::new(Arc::clone(dm));
    let journal_uuid = names.role_uuid("journal")?;
    let journal =
        stack.linear(located, &names.journal, &journal_uuid, &located.journal_segments()?)?;
    let claimed = claim(located, &node_of(journal))?;
    let damaged = linear_segments(catalogue, Role::Metadata)?;
    let damaged = stack.linear(located, &names.metadata, &names.role_uuid("meta")?, &damaged)?;
    let spare = linear_segments(catalogue, Role::MetadataSpare)?;
    let spare = stack.linear(located, &names.spare, &names.role_uuid("spare")?, &spare)?;
    write(&node_of(damaged), &node_of(spare))?;

    let repaired = BlockDevice::open(&node_of(spare), Access::ReadOnly)?;
    let superblock = require_superblock(&repaired, catalogue, located)?;
    let (epoch, found) = (catalogue.epoch(), superblock.transaction_id);
    if !epoch.accepts(found) {
        let (expected, epoch) = (epoch.expected(), epoch.number());
        return Err(ForeignPool { found, expected, epoch }.into());
    }
    if let Some(damage) = first_damage(&repaired)? {
        return Err(damage.into());
    }
    let devices = list_devices(&repaired, &superblock)?;
    drop(repaired);
    let rebuilt = Rebuilt { device_count: devices.len(), lost: lost(catalogue, &devices) };
    if !rebuilt.lost.is_empty() && !accept_loss {
        let names: Vec<String> = rebuilt.lost.iter().map(ToString::to_string).collect();
        let (pool, volumes) = (located.found.name.clone(), names.join(", "));
        return Err(PoolError::RepairLoses { pool, volumes });
    }
    // The claim changes hands inside this process; a writer that came in between would have read the old journal and
    // must find it unchanged, so the record goes through a new claim that reads it again.
    drop(claimed);
    let swapped = amend(dm, located, journal, Record::MetadataSwapped)?;
    drop(stack);
    mend_labels(located, &swapped)?;
    Ok(rebuilt)
}

/// Rewrites labels that place a role elsewhere than the catalogue does, or of which a crash left one copy behind the
/// other. A crash among them leaves some as they were: the next open goes on.
pub(super) fn mend_labels(located: &Located, catalogue: &Catalogue) -> Result<(), PoolError> {
    for found in &located.found.devices {
        let device = found.label.device_uuid;
        let all = catalogue.segments().iter().copied();
        let mut expected: Vec<Segment> = all.filter(|segment| segment.device == device).collect();
        let mut labelled = found.label.segments.clone();
        expected.sort_by_key(|segment| segment.device_start);
        labelled.sort_by_key(|segment| segment.device_start);
        let is_member = catalogue.devices().iter().any(|known| known.uuid == device);
        if !is_member {
            // On its way in or out, or left behind: what it says counts for nothing.
            continue;
        }
        let joined = found.label.state == LabelState::Joining;
        if expected == labelled && !joined {
            // The copy that counts is right: a disk that does not take the other one is no reason to stay closed.
            let _ = found.torn.as_ref().map(|(copy, _)| mend_copy(found, *copy));
            continue;
        }
        let disk = BlockDevice::open(&found.path, Access::ReadWrite)?;
        // As it is now: since the scan a copy of the journal may have come or gone.
        let current = read_labels(&disk)?.label().map_or_else(|| found.label.next(), Label::next);
        let state = if joined { LabelState::Live } else { current.state };
        write_labels(&disk, &Label { segments: expected, state, ..current })?;
    }
    Ok(())
}

/// Writes one copy of a label as the other one is now. Not both: it is the only one there is.
fn mend_copy(found: &FoundDevice, copy: LabelCopy) -> Result<(), PoolError> {
    let disk = BlockDevice::open(&found.path, Access::ReadWrite)?;
    match read_labels(&disk)?.label() {
        Some(label) => Ok(write_label_copy(&disk, label, copy)?),
        None => Ok(()),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a repair is no hot path, and the tool is the field's own"
)]
fn command() -> Command {
    Command::new(TOOL)
}

fn tool_version() -> Option<String> {
    let output = command().arg("--version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

fn run_tool(
    located: &Located,
    catalogue: &Catalogue,
    from: &Path,
    to: &Path,
) -> Result<(), PoolError> {
    let mut command = command();
    command.arg("--input").arg(from).arg("--output").arg(to).stdin(Stdio::null());
    let source = BlockDevice::open(from, Access::ReadOnly)?;
    let is_lost = !matches!(read_superblock(&source), Ok(SuperblockState::Valid(_)));
    drop(source);
    if is_lost {
        // What only the superblock knows; the catalogue repeats it.
        let data = super::located::length_of(&linear_segments(catalogue, Role::Data)?);
        let block = catalogue.pool().block_size.sectors();
        command.arg("--data-block-size").arg(block.get().to_string());
        command.arg("--nr-data-blocks").arg((data.get() / block.get()).to_string());
    }
    let failed = |problem: String| {
        let pool = located.found.name.clone();
        PoolError::RepairFailed { pool, tool: TOOL, problem }
    };
    let output = command.output().map_err(|error: io::Error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    if is_lost {
        // The tool invents one that is larger than all it saw; the journal knows what was agreed.
        let repaired = BlockDevice::open(to, Access::ReadWrite)?;
        let mut superblock = AlignedBuffer::zeroed(METADATA_BLOCK);
        repaired.read_at(0, &mut superblock)?;
        set_transaction_id(&mut superblock, catalogue.epoch().expected());
        repaired.write_at(0, &superblock)?;
    }
    Ok(())
}
