//! After each round: the pool comes back, and everything that was acknowledged is there.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail, ensure};
use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::catalogue::VolumeKind;
use thinly_engine::dm::Dm;
use thinly_engine::metadata::{Severity, list_devices, settled_superblock};
use thinly_engine::plan::{DeviceNames, Finding, Health};
use thinly_engine::pool::{Pool, PoolError, RepairRequest, VolumeAccess, VolumeView};
use thinly_engine::units::ThinId;

use super::fault::BALLAST;
use super::op::Volumes;
use super::perform::volume;
use super::stage::Stage;
use super::volume::Volume;
use super::worker::{Doubt, Worker};
use crate::sh;

/// What the pool says that it has.
type Listed = BTreeMap<String, VolumeView>;

/// Nobody else works on the pool meanwhile. Afterwards it is open, and nobody holds it.
pub(super) fn judge(stage: &Stage, workers: &mut [Worker]) -> Result<()> {
    let pool = return_to_service(stage)?;
    judge_findings(&pool)?;
    remove_extras(&pool)?;
    // What the kernel has in core is on disk from here on, so that what is read now stays.
    let names = DeviceNames::new(pool.identity().uuid)?;
    stage.control.status(&names.pool_device, true)?;
    let listed: Listed =
        pool.volumes()?.into_iter().map(|view| (view.name.to_string(), view)).collect();
    for worker in &mut *workers {
        judge_worker(stage, &pool, &listed, worker)?;
    }
    let known: usize = workers.iter().map(|worker| worker.volumes.len()).sum();
    let strange: Vec<_> = listed
        .keys()
        .filter(|name| !workers.iter().any(|worker| worker.volumes.contains_key(*name)))
        .collect();
    ensure!(strange.is_empty(), "there are volumes that nobody has: {strange:?}");
    ensure!(known == listed.len(), "{known} are known, {} listed", listed.len());
    let reaped = pool.reap(&mut |_| {})?;
    ensure!(reaped.waiting == 0, "{} deleted ones are not freed: leaked", reaped.waiting);
    judge_ids(stage, &pool, &names)?;
    pool.release()?;
    judge_check(stage)?;
    stage.tally().rounds += 1;
    Ok(())
}

/// What a person does at most: close, repair if told to, open.
fn return_to_service(stage: &Stage) -> Result<Pool> {
    stage.drives.heal()?;
    match stage.engine.attach(&stage.pool) {
        Ok(pool) if pool.view()?.health == Some(Health::Writable) => return Ok(pool),
        Ok(pool) => {
            let view = pool.view()?;
            stage.step("judge", &format!("{:?}: {:?}", view.health, view.problems));
            ensure!(!view.problems.is_empty(), "a degraded pool that says nothing: {view:?}");
        }
        Err(error) => stage.step("judge", &format!("cannot attach: {error}")),
    }
    let closed = stage.engine.close_pool(&stage.pool);
    closed
        .or_else(
            |error| if matches!(error, PoolError::NotOpen { .. }) { Ok(()) } else { Err(error) },
        )
        .context("closing a pool whose disk had failed")?;
    let repair = RepairRequest { apply: true, accept_loss: false, leaks: false };
    let report = stage.engine.repair(&stage.pool, repair).context("repairing it")?;
    stage.step("judge", &format!("repair: {report:?}"));
    stage.tally().done("repair");
    stage.engine.open_pool(&stage.pool, &[]).context("opening it after the repair")
}

fn judge_findings(pool: &Pool) -> Result<()> {
    for finding in pool.findings() {
        if let Finding::Lost { .. } | Finding::Orphan { .. } = finding {
            bail!("recovery says: {finding}");
        }
    }
    let view = pool.view()?;
    ensure!(view.orphans.is_empty(), "orphans: {:?}", view.orphans);
    Ok(())
}

/// What the faults and the keeper made, and a fault kept them from deleting.
fn remove_extras(pool: &Pool) -> Result<()> {
    for view in pool.volumes()? {
        let name = view.name.as_str();
        if name == BALLAST || name.starts_with("fs") || name.starts_with("in") {
            pool.delete(&view.name).with_context(|| format!("deleting {name}"))?;
        }
    }
    Ok(())
}

fn judge_worker(stage: &Stage, pool: &Pool, listed: &Listed, worker: &mut Worker) -> Result<()> {
    for doubt in std::mem::take(&mut worker.doubts) {
        let found = resolve(stage, pool, listed, &doubt)?;
        worker.volumes.extend(found);
    }
    for (name, volume) in &mut worker.volumes {
        is_as_listed(listed, name, volume)?;
        read(stage, pool, name, volume).with_context(|| format!("{name} was not kept"))?;
    }
    Ok(())
}

/// An unanswered change was wholly made or not at all.
fn resolve(stage: &Stage, pool: &Pool, listed: &Listed, doubt: &Doubt) -> Result<Volumes> {
    let mut reasons = Vec::new();
    for (part, other) in [(&doubt.before, &doubt.after), (&doubt.after, &doubt.before)] {
        let mut found = part.clone();
        let mut absent = other.keys().filter(|name| !part.contains_key(*name));
        let compared = match absent.find(|name| listed.contains_key(*name)) {
            Some(name) => Err(anyhow!("{name} is there")),
            None => found.iter_mut().try_for_each(|(name, volume)| {
                is_as_listed(listed, name, volume)?;
                read(stage, pool, name, volume)
            }),
        };
        match compared {
            Ok(()) => return Ok(found),
            Err(error) => reasons.push(format!("{error:#}")),
        }
    }
    bail!("{} was neither done nor not begun: {reasons:?}", doubt.what)
}

fn is_as_listed(listed: &Listed, name: &str, volume: &Volume) -> Result<()> {
    let view = listed.get(name).ok_or_else(|| anyhow!("{name} is not there: lost"))?;
    let size = view.virtual_bytes.get();
    ensure!(size == volume.content.size, "{name} has {size} bytes, not {}", volume.content.size);
    let is_snapshot = matches!(view.kind, VolumeKind::Snapshot { .. });
    ensure!(is_snapshot == volume.is_snapshot(), "{name} is {:?}", view.kind);
    Ok(())
}

/// Reads it back, and leaves it inactive.
fn read(stage: &Stage, pool: &Pool, name: &str, kept: &mut Volume) -> Result<()> {
    let id = volume(name).map_err(|refusal| anyhow!("{refusal}"))?;
    kept.device = None;
    pool.deactivate(&id)?;
    let view = pool.activate(&id, VolumeAccess::ReadOnly)?;
    let device = view.device.context("an active volume without a device")?;
    let outcome = kept.read_back(&device);
    pool.deactivate(&id)?;
    stage.tally().read_back += 1;
    outcome
}

/// No device of the pool holds its users back, and every thin id has a name.
fn judge_ids(stage: &Stage, pool: &Pool, names: &DeviceNames) -> Result<()> {
    for device in stage.control.list(&names.name_prefix(), &names.uuid_prefix())? {
        let info = stage.control.info(&device.name)?;
        ensure!(!info.suspended, "{} is suspended", device.name);
    }
    stage.control.status(&names.pool_device, true)?;
    let number = stage.control.info(&names.metadata)?.number.minor;
    let node = PathBuf::from(format!("/dev/dm-{number}"));
    let metadata = BlockDevice::open(&node, Access::ReadOnly)?;
    let superblock = settled_superblock(&metadata)?;
    let held: BTreeSet<ThinId> = list_devices(&metadata, &superblock)?.into_keys().collect();
    let owned: BTreeSet<ThinId> = pool.catalogue().owned_ids().collect();
    ensure!(owned == held, "leaked: named are {owned:?}, in the pool are {held:?}");
    Ok(())
}

/// Neither the metadata nor the catalogue against it has anything worth more than a note.
pub(super) fn judge_check(stage: &Stage) -> Result<()> {
    let check = stage.engine.check(&stage.pool, &mut |_, _| {})?;
    stage.tally().done("check");
    let metadata = check.metadata.findings.iter().filter(|it| it.severity() > Severity::Note);
    let metadata: Vec<_> = metadata.collect();
    let catalogue: Vec<_> =
        check.catalogue.iter().filter(|it| it.severity() > Severity::Note).collect();
    ensure!(
        metadata.is_empty() && catalogue.is_empty(),
        "the check finds {metadata:?} and {catalogue:?}"
    );
    Ok(())
}

/// A block whose first copy or write a disk refused is nobody's: the kernel does not give it back. Only after such a
/// fault may there be any, and a repair frees them all.
pub(super) fn give_leaked_back(stage: &Stage) -> Result<()> {
    let pool = stage.pool.as_str();
    stage.engine.close_pool(pool)?;
    let repair = RepairRequest { apply: true, accept_loss: false, leaks: true };
    let report = stage.engine.repair(pool, repair).context("giving leaked blocks back")?;
    ensure!(!report.is_needed() && report.lost.is_empty(), "the disk was data's: {report:?}");
    stage.tally().given_back += report.leaked_data_blocks.get();
    judge_check(stage)?;
    stage.engine.open_pool(pool, &[]).context("opening after leaked blocks")?.release()?;
    Ok(())
}

/// On a closed pool: Debian's tool finds nothing, nor does ours, and the ways back change nothing.
pub(super) fn judge_closed(stage: &Stage, with_ways_back: bool) -> Result<()> {
    let pool = stage.pool.as_str();
    stage.engine.close_pool(pool)?;
    stage.tally().done("close");
    let file = stage.drives.directory().join("metadata");
    stage.engine.copy_metadata(pool, &file, &mut |_, _| {})?;
    let checked = sh(&format!("thin_check {0} 2>&1", file.display()));
    checked.context("thin_check finds fault")?;
    stage.tally().checked += 1;
    judge_check(stage)?;
    if with_ways_back {
        let backup = stage.engine.backup(pool)?;
        stage.engine.restore(pool, &backup, None).context("restoring the backup of now")?;
        stage.tally().done("restore");
        let looked = stage.engine.repair(pool, RepairRequest::default())?;
        ensure!(!looked.is_needed() && !looked.swapped, "a sound pool is repaired: {looked:?}");
        stage.tally().done("look for repair");
        stage.engine.restore_metadata(pool, &file, false, &mut |_, _| {})?;
        stage.tally().done("restore metadata");
        let refused = stage.engine.salvage(pool);
        ensure!(refused.is_err(), "a sound pool was salvaged");
        stage.tally().refused("salvage of a sound pool");
    }
    fs::remove_file(&file)?;
    stage.engine.open_pool(pool, &[]).context("opening it again")?.release()?;
    stage.tally().done("open");
    Ok(())
}
