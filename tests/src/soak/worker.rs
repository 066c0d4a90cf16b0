//! One who works on volumes of its own: does it, and keeps what must be there.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use anyhow::{Context, Result, anyhow};
use nix::libc;
use thinly_engine::aligned::AlignedBuffer;
use thinly_engine::dm::block::discard;
use thinly_engine::units::Bytes;

use super::choice::Action;
use super::op::{Op, Volumes};
use super::perform::is_for_library;
use super::refusal::Refusal;
use super::stage::{Stage, judge_refusal};
use crate::power_cut::content;
use crate::power_cut::generator::Chance;

/// Chances to find something that can be done.
const TRIES: usize = 60;

/// A change of which nobody knows whether it was made.
#[derive(Debug)]
pub(super) struct Doubt {
    pub(super) what: String,
    pub(super) before: Volumes,
    pub(super) after: Volumes,
}

/// One of several who work at once.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) who: String,
    pub(super) volumes: Volumes,
    pub(super) doubts: Vec<Doubt>,
    pub(super) chance: Chance,
    pub(super) names: u64,
    generation: u64,
}

impl Worker {
    pub(super) fn new(index: usize, seed: u64) -> Self {
        let mixed = seed.wrapping_mul(0x9e37_79b9).wrapping_add(u64::try_from(index).unwrap_or(0));
        Self {
            who: format!("w{index}"),
            volumes: Volumes::new(),
            doubts: Vec::new(),
            chance: Chance::new(mixed),
            names: 0,
            generation: 0,
        }
    }

    /// Does one thing.
    pub(super) fn step(&mut self, stage: &Stage) -> Result<()> {
        let generation = stage.enter();
        if *generation != self.generation {
            self.generation = *generation;
            self.volumes.values_mut().for_each(|volume| volume.device = None);
        }
        let is_library = stage.is_library();
        let fits = |action: &Action| match action {
            Action::Change(op) => is_library || !is_for_library(op),
            Action::Send { .. } => !is_library,
            _ => true,
        };
        let picked = (0..TRIES).find_map(|_| self.attempt().filter(fits));
        match picked {
            None => Ok(()),
            Some(Action::Change(op)) => self.change(stage, &op),
            Some(Action::Write { name, offset, length, is_synced, is_zeros }) => {
                self.write(stage, &name, (offset, length), is_synced, is_zeros)
            }
            Some(Action::Discard { name, offset, length }) => {
                self.discard(stage, &name, offset, length)
            }
            Some(Action::Read { name }) => self.read(stage, &name),
            Some(Action::Diff { from, to }) => {
                super::compare::diff(stage, &self.who, &self.volumes, from.as_deref(), &to)
            }
            Some(Action::Send { snapshot }) => {
                if !super::compare::send(stage, &self.who, &self.volumes, &snapshot)? {
                    self.doubt(&Op::Deactivate { name: snapshot });
                }
                Ok(())
            }
            Some(Action::Wrong { op, kind }) => self.wrong(stage, &op, kind),
        }
    }

    fn change(&mut self, stage: &Stage, op: &Op) -> Result<()> {
        match stage.perform(&self.who, op) {
            Ok(device) => {
                op.apply(&mut self.volumes);
                if let (Op::Activate { name, writable }, Some(volume)) =
                    (op, op.names().first().and_then(|name| self.volumes.get_mut(name)))
                {
                    let device = device.ok_or_else(|| anyhow!("{name} has no device"))?;
                    volume.device = Some((device, *writable));
                }
                Ok(())
            }
            Err(refusal) => {
                judge_refusal(op, op.takes_space(), &refusal)?;
                self.doubt(op);
                Ok(())
            }
        }
    }

    /// Leaves alone what the change was about until somebody has looked.
    fn doubt(&mut self, op: &Op) {
        let mut after = self.volumes.clone();
        op.apply(&mut after);
        let names = op.names();
        let part = |volumes: &Volumes| {
            let known = names.iter().filter_map(|name| {
                let volume = volumes.get(name)?.clone();
                Some((name.clone(), super::volume::Volume { device: None, ..volume }))
            });
            known.collect::<Volumes>()
        };
        let (before, after) = (part(&self.volumes), part(&after));
        for name in &names {
            self.volumes.remove(name);
        }
        self.doubts.push(Doubt { what: format!("{op:?}"), before, after });
    }

    fn wrong(&self, stage: &Stage, op: &Op, kind: &str) -> Result<()> {
        match stage.perform(&self.who, op) {
            Err(refusal) if refusal.is_excused || refusal.kind == kind => Ok(()),
            // A full pool, or one that admits nothing, says that first.
            Err(refusal) if op.takes_space() && refusal.is_for_want_of_space() => Ok(()),
            other => Err(anyhow!("{op:?} should be refused as {kind}: {other:?}")),
        }
    }

    fn file(&self, name: &str) -> io::Result<File> {
        let device = self.volumes.get(name).and_then(|volume| volume.device.as_ref());
        let (device, is_writable) = device.ok_or(io::ErrorKind::NotFound)?;
        let mut options = File::options();
        options.read(true).write(*is_writable).custom_flags(libc::O_DIRECT).open(device)
    }

    fn write(
        &mut self,
        stage: &Stage,
        name: &str,
        (offset, length): (u64, u64),
        is_synced: bool,
        is_zeros: bool,
    ) -> Result<()> {
        let number = if is_zeros { 0 } else { stage.number() };
        let bytes = AlignedBuffer::padded(&content::pattern(number, offset, length)?, 512);
        let what = format!("write {number} to {name} at {offset}, {length}");
        let outcome = stage.attempt(&self.who, "write", &what, || {
            let file = self.file(name).map_err(|error| io_refusal(&error))?;
            file.write_all_at(&bytes, offset).map_err(|error| io_refusal(&error))?;
            if is_synced { file.sync_data().map_err(|error| io_refusal(&error)) } else { Ok(()) }
        });
        let Some(volume) = self.volumes.get_mut(name) else { return Ok(()) };
        match outcome {
            Ok(()) => volume.wrote(offset, length, number, is_synced),
            Err(refusal) => {
                volume.failed(offset, length, number);
                judge_refusal(&what, true, &refusal)?;
            }
        }
        Ok(())
    }

    fn discard(&mut self, stage: &Stage, name: &str, offset: u64, length: u64) -> Result<()> {
        let what = format!("discard of {name} at {offset}, {length}");
        let outcome = stage.attempt(&self.who, "discard", &what, || {
            let file = self.file(name).map_err(|error| io_refusal(&error))?;
            let done = discard(&file, Bytes::new(offset), Bytes::new(length));
            done.map_err(|error| Refusal::new("internal", &error.to_string()))
        });
        let Some(volume) = self.volumes.get_mut(name) else { return Ok(()) };
        match outcome {
            Ok(()) => volume.wrote(offset, length, 0, false),
            Err(refusal) => {
                volume.failed(offset, length, 0);
                judge_refusal(&what, false, &refusal)?;
            }
        }
        Ok(())
    }

    fn read(&self, stage: &Stage, name: &str) -> Result<()> {
        let Some(volume) = self.volumes.get(name) else { return Ok(()) };
        let Some((device, _)) = &volume.device else { return Ok(()) };
        let (device, mut copy) = (device.clone(), volume.clone());
        let mut wrong = Ok(());
        let outcome = stage.attempt(&self.who, "read", &format!("read of {name}"), || {
            readable(copy.read_back(&device), &mut wrong)
        });
        wrong.with_context(|| format!("{name} has lost what was written"))?;
        outcome.or_else(|refusal| judge_refusal(&name, false, &refusal))
    }
}

/// A device that cannot be read is a refusal; one that holds something else is put into `wrong`.
pub(super) fn readable(read: Result<()>, wrong: &mut Result<()>) -> Result<(), Refusal> {
    let Err(error) = read else { return Ok(()) };
    if error.chain().any(<dyn std::error::Error>::is::<io::Error>) {
        return Err(Refusal::new("internal", &format!("{error:#}")));
    }
    *wrong = Err(error);
    Ok(())
}

fn io_refusal(error: &io::Error) -> Refusal {
    let kind = if error.kind() == io::ErrorKind::StorageFull { "no_space" } else { "internal" };
    Refusal::new(kind, &error.to_string())
}
