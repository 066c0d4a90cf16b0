//! Does the operations on a real pool.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Barrier;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use nix::libc;
use thinly_engine::aligned::AlignedBuffer;
use thinly_engine::catalogue::{PoolName, VolumeName};
use thinly_engine::dm::block::discard;
use thinly_engine::pool::{CreatePool, Engine, GrowPool, Pool, VolumeAccess};
use thinly_engine::units::{BlockSize, Bytes};

use super::DATA_BYTES;
use super::content::pattern;
use super::op::Op;
use super::stream::{begin, identity};

/// The engine, and the pool while it has a writer.
pub(super) struct Performer {
    engine: Engine,
    disk: PathBuf,
    name: String,
    pool: Option<Pool>,
}

impl Performer {
    pub(super) fn new(disk: PathBuf) -> Result<Self> {
        Ok(Self { engine: Engine::new()?, disk, name: String::new(), pool: None })
    }

    /// Does one operation; on return it is acknowledged.
    pub(super) fn perform(&mut self, op: &Op) -> Result<()> {
        match op {
            Op::CreatePool { name } => self.create(name),
            Op::Release => {
                self.take()?.release()?;
                self.attach()
            }
            Op::Abandon => {
                drop(self.take()?);
                self.attach()
            }
            Op::Close => {
                self.take()?.release()?;
                Ok(self.engine.close_pool(&self.name)?)
            }
            Op::Open => {
                self.pool = Some(self.engine.open_pool(&self.name, &[])?);
                Ok(())
            }
            other => perform_open(self.pool.as_ref().context("no pool is open")?, other),
        }
    }

    fn create(&mut self, name: &str) -> Result<()> {
        self.engine.create_pool(&CreatePool {
            name: PoolName::new(name)?,
            devices: vec![self.disk.clone()],
            metadata_device: None,
            block_size: BlockSize::DEFAULT,
            metadata_size: None,
            data_size: Some(Bytes::new(DATA_BYTES)),
            force: false,
            raw: false,
        })?;
        name.clone_into(&mut self.name);
        self.attach()
    }

    fn attach(&mut self) -> Result<()> {
        self.pool = Some(self.engine.attach(&self.name)?);
        Ok(())
    }

    fn take(&mut self) -> Result<Pool> {
        self.pool.take().context("no pool is open")
    }
}

impl Drop for Performer {
    fn drop(&mut self) {
        // After a failure nothing may stay on the disk that is recorded.
        drop(self.pool.take());
        if !self.name.is_empty() {
            let _ = self.engine.close_pool(&self.name);
        }
    }
}

fn volume(name: &str) -> Result<VolumeName> {
    Ok(VolumeName::new(name)?)
}

/// An operation on a pool that is open.
fn perform_open(pool: &Pool, op: &Op) -> Result<()> {
    match op {
        Op::Create { name, size } => {
            pool.create_volume(&volume(name)?, Bytes::new(*size))?;
        }
        Op::Activate { name, writable } => {
            let access = if *writable { VolumeAccess::ReadWrite } else { VolumeAccess::ReadOnly };
            pool.activate(&volume(name)?, access)?;
        }
        Op::Write { name, offset, length, number, synced } => {
            let file = device(pool, name)?;
            file.write_all_at(
                &AlignedBuffer::padded(&pattern(*number, *offset, *length)?, 512),
                *offset,
            )?;
            if *synced {
                file.sync_data()?;
            }
        }
        Op::Discard { name, offset, length } => {
            discard(&device(pool, name)?, Bytes::new(*offset), Bytes::new(*length))?;
        }
        Op::Snapshot { origin, name } => {
            pool.snapshot(&volume(origin)?, &volume(name)?)?;
        }
        Op::Group { name, members } => {
            let pairs: Result<Vec<_>> = members
                .iter()
                .map(|(origin, member)| Ok((volume(origin)?, volume(member)?)))
                .collect();
            pool.snapshot_group(&volume(name)?, &pairs?)?;
        }
        Op::Clone { source, name, size } => {
            pool.clone_volume(&volume(source)?, &volume(name)?, Some(Bytes::new(*size)))?;
        }
        Op::Rollback { name, to } => {
            pool.rollback(&volume(name)?, &volume(to)?)?;
        }
        Op::Resize { name, size } => {
            pool.resize(&volume(name)?, Bytes::new(*size))?;
        }
        Op::Rename { from, to } => {
            pool.rename(&volume(from)?, &volume(to)?)?;
        }
        Op::Deactivate { name } => {
            pool.deactivate(&volume(name)?)?;
        }
        Op::Delete { name } => pool.delete(&volume(name)?)?,
        Op::Grow { by } => {
            pool.grow(&GrowPool { by: Some(Bytes::new(*by)), ..GrowPool::default() })?;
        }
        Op::Reap => {
            let report = pool.reap(&mut |_| {})?;
            ensure!(report.waiting == 0, "{} deleted ones wait", report.waiting);
        }
        Op::BeginReceive { name, size, stream, resume } => {
            begin(pool, (name, *size), stream, *resume)?;
        }
        Op::NoteReceived { name, source, durable } => {
            device(pool, name)?.sync_data()?;
            pool.note_received(&volume(name)?, identity(*source), Bytes::new(*durable))?;
        }
        Op::FinishReceive { name, source, .. } => {
            device(pool, name)?.sync_data()?;
            pool.finish_receive(&volume(name)?, identity(*source))?;
        }
        Op::Beside { ops } => perform_beside(pool, ops)?,
        other => anyhow::bail!("{other:?} is no operation on an open pool"),
    }
    Ok(())
}

/// Several operations, all begun at one moment.
fn perform_beside(pool: &Pool, ops: &[Op]) -> Result<()> {
    let begin = Barrier::new(ops.len());
    thread::scope(|scope| {
        let each = |op| {
            let begin = &begin;
            scope.spawn(move || {
                begin.wait();
                perform_open(pool, op).with_context(|| format!("{op:?}"))
            })
        };
        let all: Vec<_> = ops.iter().map(each).collect();
        all.into_iter().try_for_each(|one| one.join().map_err(|_| anyhow!("a thread died"))?)
    })
}

/// The device of a volume, past the page cache: what is not synced is in the disk's cache only.
fn device(pool: &Pool, name: &str) -> Result<File> {
    let node = pool.volume(&volume(name)?)?.device.context("the volume is not active")?;
    Ok(File::options().read(true).write(true).custom_flags(libc::O_DIRECT).open(node)?)
}
