//! Lets the engine and the kernel open the pool on disks that a power cut may have left.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use nix::libc;
use thinly_engine::aligned::AlignedBuffer;
use thinly_engine::catalogue::Volume;
use thinly_engine::dm::{Control, Dm};
use thinly_engine::metadata::{ImageFile, SuperblockState, list_devices, read_superblock};
use thinly_engine::plan::{DeviceNames, Finding};
use thinly_engine::pool::{Engine, Pool, VolumeAccess};
use thinly_engine::units::ThinId;

use super::DISK_BYTES;
use super::content;
use super::judge::{doing, match_one};
use super::model::{Model, ModelVolume};
use super::replay::{Part, Replay, spread};
use super::report::{Fault, Report};
use crate::command::sh;
use crate::disks::Disks;
use crate::log_writes::{DiskImage, WriteLog};

/// How much of a volume is read at a time.
const STEP_BYTES: usize = 1 << 20;

/// Opens the pool at so many moments of the log, as they come after its creation.
pub fn open_some(log: &Path, count: usize) -> Result<Report> {
    let log = WriteLog::open(log)?;
    let mut replay = Replay::new(&log)?;
    let mut report = Report::default();
    let mut walk = Replay::new(&log)?;
    let mut moments = Vec::new();
    for moment in walk.boundaries() {
        walk.advance(&moment)?;
        if walk.state.model.pool.is_some() {
            moments.push(moment);
        }
    }
    for (index, moment) in spread(moments, count).iter().enumerate() {
        replay.advance(moment)?;
        let part = match index % 3 {
            0 => Part::Nothing,
            1 => Part::Everything,
            _ => Part::Some(u64::try_from(index)?),
        };
        replay.with_part(moment, part, |image, state| {
            let place = format!("open at entry {}, {part:?}, {}", moment.durable, doing(state));
            if let Err(fault) = open_one(image, &state.allowed_with_pending(), &mut report) {
                report.note(&place, &fault);
            }
        })?;
    }
    report.acknowledged = walk.state.acknowledged;
    Ok(report)
}

/// Opens, compares, frees what is to be freed, closes, and has the metadata checked.
fn open_one(image: &DiskImage, allowed: &[Model], report: &mut Report) -> Result<(), Fault> {
    let disks = Disks::new(&[DISK_BYTES])?;
    image.write_to(&File::options().write(true).open(&disks[0])?)?;
    let name = allowed.iter().find_map(|model| model.pool.clone()).context("no pool yet")?;
    let engine = Engine::new()?;
    let pool = engine.open_pool(&name, &[]).map_err(|error| anyhow!("cannot open: {error}"))?;
    report.opened += 1;
    judge_open(&pool, allowed, report)?;
    require_running(&pool)?;
    pool.release()?;
    engine.close_pool(&name)?;
    let file = disks.dir().join("metadata");
    engine.copy_metadata(&name, &file, &mut |_, _| {})?;
    sh(&format!("thin_check {}", file.display()))?;
    report.checked += 1;
    require_named(&engine, &name, &file)
}

fn judge_open(pool: &Pool, allowed: &[Model], report: &mut Report) -> Result<(), Fault> {
    let is_torn = pool.findings().contains(&Finding::DamagedTail);
    for finding in pool.findings() {
        match finding {
            Finding::Lost { .. } => return Err(anyhow!("recovery says: {finding}").into()),
            Finding::Orphan { .. } if !is_torn => {
                return Err(Fault::Leaked(anyhow!("recovery says: {finding}")));
            }
            // A person looks at it, and then lets it go.
            Finding::Orphan { id, .. } => {
                report.kept += 1;
                pool.bury_orphan(*id)?;
            }
            _ => {}
        }
    }
    match_one(allowed, &pool.catalogue(), |volume, model| content_of(pool, volume, model))?;
    let reaped = pool.reap(&mut |_| {})?;
    if reaped.waiting > 0 {
        return Err(Fault::Leaked(anyhow!("{} deleted ones are not freed", reaped.waiting)));
    }
    Ok(())
}

/// Reads all of a volume through its device.
fn content_of(pool: &Pool, volume: &Volume, model: &ModelVolume) -> Result<()> {
    let access =
        if volume.is_snapshot() { VolumeAccess::ReadOnly } else { VolumeAccess::ReadWrite };
    let node = pool.activate(&volume.name, access)?.device.context("no device")?;
    let file = File::options().read(true).custom_flags(libc::O_DIRECT).open(node)?;
    let size = volume.size.get();
    ensure!(size.is_multiple_of(u64::try_from(STEP_BYTES)?), "an odd size");
    let mut buffer = AlignedBuffer::zeroed(STEP_BYTES);
    for offset in (0..size).step_by(STEP_BYTES) {
        file.read_exact_at(&mut buffer, offset)?;
        content::check(model, offset, &buffer)?;
    }
    drop(file);
    pool.deactivate(&volume.name)?;
    Ok(())
}

fn require_running(pool: &Pool) -> Result<(), Fault> {
    let names = DeviceNames::new(pool.identity().uuid)?;
    let control = Control::open()?;
    for device in control.list(&names.name_prefix(), &names.uuid_prefix())? {
        if control.info(&device.name)?.suspended {
            return Err(Fault::Suspended(anyhow!("{} is suspended", device.name)));
        }
    }
    Ok(())
}

/// Every thin id has a name, and every name its thin id.
fn require_named(engine: &Engine, name: &str, metadata: &Path) -> Result<(), Fault> {
    let image = ImageFile::open(metadata)?;
    let SuperblockState::Valid(superblock) = read_superblock(&image)? else {
        return Err(anyhow!("the metadata is blank").into());
    };
    let held: BTreeSet<ThinId> = list_devices(&image, &superblock)?.into_keys().collect();
    let volumes = engine.volumes(name)?;
    let named: BTreeSet<ThinId> = volumes.iter().filter_map(|volume| volume.thin_id).collect();
    if named == held {
        return Ok(());
    }
    Err(Fault::Leaked(anyhow!("named are {named:?}, in the pool are {held:?}")))
}
