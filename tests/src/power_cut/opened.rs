//! Lets the engine and the kernel open the pool on disks that a power cut may have left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use nix::libc;
use thinly_engine::aligned::AlignedBuffer;
use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::catalogue::{Catalogue, Volume};
use thinly_engine::dm::{Control, Dm};
use thinly_engine::metadata::{list_devices, settled_superblock};
use thinly_engine::plan::{DeviceNames, Finding};
use thinly_engine::pool::{Engine, Pool, VolumeAccess};
use thinly_engine::units::ThinId;

use super::DISK_BYTES;
use super::content;
use super::judge::{doing, match_one};
use super::model::{Model, ModelVolume};
use super::replay::{Part, Replay, spread};
use super::report::{Fault, Report};
use super::state::State;
use super::stream::{end_or_give_up, go_on, incoming_of};
use crate::command::sh;
use crate::disks::Disks;
use crate::log_writes::{DiskImage, WriteLog};

/// How much of a volume is read at a time.
const STEP_BYTES: usize = 1 << 20;

/// `thin_check` looks at the metadata of one pool in so many: copying it takes as long as all else.
const CHECKED_EVERY: usize = 5;

/// Opens the pool at so many moments of the log, as they come after its creation.
pub fn open_some(log: &Path, count: usize) -> Result<Report> {
    let log = WriteLog::open(log)?;
    let mut replay = Replay::new(&log)?;
    let mut report = Report::default();
    let (mut state, mut seen, mut moments) = (State::default(), 0, Vec::new());
    for moment in replay.boundaries() {
        for entry in log.entries().get(seen..moment.durable).unwrap_or_default() {
            state.see(entry)?;
        }
        seen = moment.durable;
        if state.model.pool.is_some() {
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
            let is_checked = index % CHECKED_EVERY == 0;
            let allowed = state.allowed_with_pending();
            if let Err(fault) = open_one(image, &allowed, is_checked, &mut report) {
                report.note(&place, &fault);
            }
        })?;
    }
    report.acknowledged = state.acknowledged;
    Ok(report)
}

/// Opens, compares, frees what is to be freed, closes, and may have the metadata checked.
fn open_one(
    image: &DiskImage,
    allowed: &[Model],
    is_checked: bool,
    report: &mut Report,
) -> Result<(), Fault> {
    let disks = Disks::new(&[DISK_BYTES])?;
    image.write_to(&File::options().write(true).open(&disks[0])?)?;
    let name = allowed.iter().find_map(|model| model.pool.clone()).context("no pool yet")?;
    let engine = Engine::new()?;
    let pool = engine.open_pool(&name, &[]).map_err(|error| anyhow!("cannot open: {error}"))?;
    report.opened += 1;
    judge_open(&pool, allowed, report)?;
    judge_kernel(&pool)?;
    pool.release()?;
    engine.close_pool(&name)?;
    if is_checked {
        let file = disks.dir().join("metadata");
        engine.copy_metadata(&name, &file, &mut |_, _| {})?;
        sh(&format!("thin_check {}", file.display()))?;
        report.checked += 1;
    }
    Ok(())
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
    let catalogue = pool.catalogue();
    let nodes: BTreeMap<String, PathBuf> = at_once(&catalogue, |volume| {
        if let Some(incoming) = incoming_of(&catalogue, volume) {
            return Ok((volume.name.to_string(), go_on(pool, volume, incoming)?.device));
        }
        let access =
            if volume.is_snapshot() { VolumeAccess::ReadOnly } else { VolumeAccess::ReadWrite };
        let node = pool.activate(&volume.name, access)?.device.context("no device")?;
        Ok((volume.name.to_string(), node))
    })?;
    match_one(allowed, &catalogue, |volume, model| {
        content_of(&nodes[volume.name.as_str()], volume, model)
    })?;
    let _: Vec<_> = at_once(&catalogue, |volume| Ok(pool.deactivate(&volume.name)?))?;
    end_or_give_up(pool, &catalogue)?;
    let reaped = pool.reap(&mut |_| {})?;
    if reaped.waiting > 0 {
        return Err(Fault::Leaked(anyhow!("{} deleted ones are not freed", reaped.waiting)));
    }
    Ok(())
}

/// Does something with every volume, all beside each other: activations share the kernel's waits.
fn at_once<T: Send, C: FromIterator<T>>(
    catalogue: &Catalogue,
    act: impl Fn(&Volume) -> Result<T> + Sync,
) -> Result<C> {
    let act = &act;
    thread::scope(|scope| {
        let all: Vec<_> =
            catalogue.volumes().map(|volume| scope.spawn(move || act(volume))).collect();
        all.into_iter().map(|one| one.join().map_err(|_| anyhow!("a thread died"))?).collect()
    })
}

/// Reads all of a volume through its device.
fn content_of(node: &Path, volume: &Volume, model: &ModelVolume) -> Result<()> {
    let file = File::options().read(true).custom_flags(libc::O_DIRECT).open(node)?;
    let size = volume.size.get();
    ensure!(size.is_multiple_of(u64::try_from(STEP_BYTES)?), "an odd size");
    let mut buffer = AlignedBuffer::zeroed(STEP_BYTES);
    for offset in (0..size).step_by(STEP_BYTES) {
        file.read_exact_at(&mut buffer, offset)?;
        content::check(model, offset, &buffer)?;
    }
    Ok(())
}

/// No device of the pool holds its users back, and every thin id has a name.
fn judge_kernel(pool: &Pool) -> Result<(), Fault> {
    let names = DeviceNames::new(pool.identity().uuid)?;
    let control = Control::open()?;
    for device in control.list(&names.name_prefix(), &names.uuid_prefix())? {
        if control.info(&device.name)?.suspended {
            return Err(Fault::Suspended(anyhow!("{} is suspended", device.name)));
        }
    }
    // A status with a flush commits first, so that the disk shows what the kernel has.
    control.status(&names.pool_device, true)?;
    let number = control.info(&names.metadata)?.number.minor;
    let node = PathBuf::from(format!("/dev/dm-{number}"));
    let metadata = BlockDevice::open(&node, Access::ReadOnly)?;
    let superblock = settled_superblock(&metadata)?;
    let held: BTreeSet<ThinId> = list_devices(&metadata, &superblock)?.into_keys().collect();
    let owned: BTreeSet<ThinId> = pool.catalogue().owned_ids().collect();
    if owned == held {
        return Ok(());
    }
    Err(Fault::Leaked(anyhow!("named are {owned:?}, in the pool are {held:?}")))
}
