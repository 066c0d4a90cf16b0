//! Power cuts while one of three disks is evacuated under a writer.
//!
//! The three are slices of the one disk that is logged, so that one log has the order of all their
//! writes. The writer numbers its rounds and sets a mark after each flush; at every moment each of its
//! blocks must hold the round that was marked, or a later one.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use nix::libc;
use thinly_engine::aligned::AlignedBuffer;
use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::catalogue::{PoolName, VolumeName};
use thinly_engine::dm::{
    Control, DeviceReference, Dm, DmName, DmUuid, LinearTable, TableLine, Target,
};
use thinly_engine::layout::wipe_labels;
use thinly_engine::pool::{CreatePool, Engine, EvacuateDevice, Pool, VolumeAccess};
use thinly_engine::units::{BlockSize, Bytes, Sectors};
use uuid::Uuid;

use super::generator::Chance;
use super::recorder::Recorder;
use super::replay::spread;
use super::report::Report;
use super::{DATA_BYTES, DISK_BYTES};
use crate::disks::Disks;
use crate::log_writes::{DiskImage, WriteLog, boundaries};

const SLICES: u64 = 3;
const SLICE_BYTES: u64 = 42 << 20;
const VOLUME: &str = "v";
const VOLUME_BYTES: u64 = 24 << 20;
/// What the writer writes at a time.
const CHUNK_BYTES: usize = 64 << 10;
const CHUNKS: u64 = VOLUME_BYTES / CHUNK_BYTES as u64;

const BEGIN: &str = "evacuation";
const WRITTEN: &str = "written:";

/// Records an evacuation, and opens the pool at so many moments of it. The content of both disks is
/// lost.
pub fn evacuate_and_cut(disk: &Path, log: &Path, opens: usize) -> Result<Report> {
    let name = format!("cut{}", &Uuid::new_v4().simple().to_string()[..12]);
    let recorder = Recorder::new(disk, log)?;
    let done = record(&recorder, &name);
    let finished = recorder.finish();
    done?;
    finished?;
    for slice in Slices::over(disk)?.nodes() {
        // From here on the replayed copies are the pool.
        wipe_labels(&BlockDevice::open(slice, Access::Exclusive)?)?;
    }
    judge(log, &name, opens)
}

fn record(recorder: &Recorder, name: &str) -> Result<()> {
    let slices = Slices::over(&recorder.node)?;
    let engine = Engine::new()?;
    engine.create_pool(&CreatePool {
        name: PoolName::new(name)?,
        devices: slices.nodes().to_vec(),
        metadata_device: None,
        data_size: Some(Bytes::new(DATA_BYTES)),
        block_size: BlockSize::DEFAULT,
        metadata_size: None,
        force: true,
        raw: true,
    })?;
    let pool = engine.attach(name)?;
    let volume = VolumeName::new(VOLUME)?;
    pool.create_volume(&volume, Bytes::new(VOLUME_BYTES))?;
    let node = activate(&pool)?;
    let mut writer = Writer::open(&node)?;
    for chunk in 0..CHUNKS {
        writer.write(chunk, 1)?;
    }
    writer.flush()?;
    for chunk in 0..CHUNKS {
        recorder.note(&format!("{WRITTEN}{chunk}:1"))?;
    }
    recorder.note(BEGIN)?;
    let stop = AtomicBool::new(false);
    let evacuated = thread::scope(|scope| {
        let beside = scope.spawn(|| writer.go_on(recorder, &stop));
        let evacuated = evacuate(&pool, &slices.nodes()[0]);
        stop.store(true, Ordering::Relaxed);
        beside.join().map_err(|_| anyhow!("the writer panicked")).flatten()?;
        evacuated
    });
    drop(writer);
    pool.deactivate(&volume)?;
    pool.release()?;
    engine.close_pool(name)?;
    evacuated
}

fn evacuate(pool: &Pool, device: &Path) -> Result<()> {
    let request = EvacuateDevice { device: device.to_owned(), ..EvacuateDevice::default() };
    pool.evacuate(&request, &mut |_, _| {})?;
    Ok(())
}

fn activate(pool: &Pool) -> Result<PathBuf> {
    let view = pool.activate(&VolumeName::new(VOLUME)?, VolumeAccess::ReadWrite)?;
    view.device.context("no device")
}

fn judge(log: &Path, name: &str, opens: usize) -> Result<Report> {
    let log = WriteLog::open(log)?;
    let entries = log.entries();
    let marked = |text: &str| entries.iter().position(|entry| entry.mark.as_deref() == Some(text));
    let begin = marked(BEGIN).context("the log has no beginning")?;
    let mut moments = boundaries(entries);
    moments.retain(|moment| moment.durable > begin);
    let mut image = DiskImage::new(DISK_BYTES)?;
    let (mut applied, mut rounds) = (0, vec![0_u64; usize::try_from(CHUNKS)?]);
    let mut report = Report::default();
    let mut chance = Chance::new(7);
    for (index, moment) in spread(moments, opens).iter().enumerate() {
        for entry in entries.get(applied..moment.durable).unwrap_or_default() {
            image.apply(&log, entry)?;
            let mark = entry.mark.as_deref().and_then(|mark| mark.strip_prefix(WRITTEN));
            if let Some((chunk, round)) = mark.and_then(|mark| mark.split_once(':')) {
                *rounds.get_mut(chunk.parse::<usize>()?).context("a chunk")? = round.parse()?;
                report.acknowledged += 1;
            }
        }
        applied = moment.durable;
        let mut overwritten = Vec::new();
        for entry in entries.get(moment.pending.clone()).unwrap_or_default() {
            let is_there = match index % 3 {
                0 => false,
                1 => true,
                _ => chance.below(2) == 0,
            };
            if is_there {
                overwritten.extend(image.apply(&log, entry)?);
            }
        }
        report.replayed += 1;
        match open_and_go_on(&image, name, &rounds) {
            Ok(()) => report.opened += 1,
            Err(error) => report.note(&format!("cut at entry {applied}"), &error.into()),
        }
        image.restore(overwritten);
    }
    Ok(report)
}

/// Opens what a cut left, reads it, and lets the evacuation go on.
fn open_and_go_on(image: &DiskImage, name: &str, rounds: &[u64]) -> Result<()> {
    let disks = Disks::new(&[DISK_BYTES])?;
    image.write_to(&File::options().write(true).open(&disks[0])?)?;
    let slices = Slices::over(&disks[0])?;
    let engine = Engine::new()?;
    let pool = engine.open_pool(name, &[])?;
    let judged = (|| -> Result<()> {
        let node = activate(&pool)?;
        read_back(&node, rounds)?;
        if pool.catalogue().devices().len() == usize::try_from(SLICES)? {
            evacuate(&pool, &slices.nodes()[0])?;
            read_back(&node, rounds)?;
        }
        ensure!(pool.view()?.problems.is_empty(), "{:?}", pool.view()?.problems);
        pool.deactivate(&VolumeName::new(VOLUME)?)?;
        Ok(())
    })();
    pool.release()?;
    engine.close_pool(name)?;
    judged
}

/// Every sector must hold what was marked, or what was written later.
fn read_back(node: &Path, rounds: &[u64]) -> Result<()> {
    let disk = BlockDevice::open(node, Access::ReadOnly)?;
    let mut buffer = AlignedBuffer::zeroed(CHUNK_BYTES);
    for (chunk, marked) in (0_u64..).zip(rounds) {
        disk.read_at(chunk * CHUNK_BYTES as u64, &mut buffer)?;
        for words in buffer.chunks_exact(16) {
            let (number, round) = words.split_at(8);
            let number = u64::from_le_bytes(number.try_into()?);
            let round = u64::from_le_bytes(round.try_into()?);
            ensure!(
                number == chunk && round >= *marked,
                "chunk {chunk} was written in round {marked} and holds round {round} of chunk {number}"
            );
        }
    }
    Ok(())
}

struct Writer {
    file: File,
    buffer: AlignedBuffer,
}

impl Writer {
    fn open(node: &Path) -> Result<Self> {
        let file =
            File::options().read(true).write(true).custom_flags(libc::O_DIRECT).open(node)?;
        Ok(Self { file, buffer: AlignedBuffer::zeroed(CHUNK_BYTES) })
    }

    fn write(&mut self, chunk: u64, round: u64) -> Result<()> {
        for words in self.buffer.chunks_exact_mut(16) {
            words[..8].copy_from_slice(&chunk.to_le_bytes());
            words[8..].copy_from_slice(&round.to_le_bytes());
        }
        Ok(self.file.write_all_at(&self.buffer, chunk * CHUNK_BYTES as u64)?)
    }

    fn flush(&self) -> Result<()> {
        Ok(self.file.sync_data()?)
    }

    fn go_on(&mut self, recorder: &Recorder, stop: &AtomicBool) -> Result<()> {
        let mut chance = Chance::new(1);
        let mut round = 1;
        while !stop.load(Ordering::Relaxed) {
            round += 1;
            let chunk = chance.below(CHUNKS);
            self.write(chunk, round)?;
            self.flush()?;
            recorder.note(&format!("{WRITTEN}{chunk}:{round}"))?;
        }
        Ok(())
    }
}

/// Parts of a disk as disks of their own.
struct Slices {
    control: Control,
    names: Vec<DmName>,
    nodes: Vec<PathBuf>,
}

impl Slices {
    fn over(disk: &Path) -> Result<Self> {
        let number = BlockDevice::open(disk, Access::ReadOnly)?.number().context("no disk")?;
        let control = Control::open()?;
        let mut own = Self { control, names: Vec::new(), nodes: Vec::new() };
        let length = Bytes::new(SLICE_BYTES).to_sectors_exact()?;
        for slice in 0..SLICES {
            let label = format!("slice-{}", Uuid::new_v4().simple());
            let name = DmName::new(&*label)?;
            own.control.create(&name, &DmUuid::new(&*label)?)?;
            own.names.push(name.clone());
            let offset = Sectors::new(slice * length.get());
            let target =
                Target::Linear(LinearTable { device: DeviceReference::from(number), offset });
            own.control.load(
                &name,
                &[TableLine { start: Sectors::ZERO, length, target }],
                false,
            )?;
            let info = own.control.resume(&name)?;
            own.nodes.push(PathBuf::from(format!("/dev/dm-{}", info.number.minor)));
        }
        Ok(own)
    }

    fn nodes(&self) -> &[PathBuf] {
        &self.nodes
    }
}

impl Drop for Slices {
    fn drop(&mut self) {
        for name in &self.names {
            for _ in 0..50 {
                if self.control.remove(name).is_ok() {
                    break;
                }
                thread::sleep(std::time::Duration::from_millis(100));
            }
        }
    }
}
