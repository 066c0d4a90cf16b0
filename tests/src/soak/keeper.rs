//! The one who looks after the pool as a whole while others work on its volumes.
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use thinly_engine::metadata::Severity;
use thinly_engine::pool::{Engine, PoolError};

use super::op::{Op, POLICIES};
use super::perform::is_for_library;
use super::refusal::Refusal;
use super::stage::{Holder, Stage, judge_refusal};
use crate::power_cut::generator::Chance;
use crate::sh;

const MIB: u64 = 1 << 20;
const WHO: &str = "keeper";
/// A file in a filesystem, to be there after a trim.
const KEPT: &str = "what is kept";

/// Picks what it does by chance.
#[derive(Debug)]
pub(super) struct Keeper {
    chance: Chance,
    files: u64,
}

impl Keeper {
    pub(super) const fn new(seed: u64) -> Self {
        Self { chance: Chance::new(seed ^ 0x6b65_6570), files: 0 }
    }

    /// Does one thing. What a person would not do on a pool that fails is left to calm rounds.
    pub(super) fn step(&mut self, stage: &Stage, is_calm: bool) -> Result<()> {
        let _open = stage.enter();
        match self.chance.below(24) {
            0..3 => Self::change(stage, &Op::Reap),
            3 => Self::change(stage, &Op::Tend),
            4..6 => {
                let by = (1 + self.chance.below(4)) * MIB;
                Self::change(stage, &Op::Grow { by, metadata_by: 0 })
            }
            6 => Self::change(stage, &Op::Grow { by: 0, metadata_by: MIB }),
            7 => self.join(stage),
            8 | 9 if is_calm => self.evacuate(stage),
            10 | 11 if is_calm => self.trim(stage),
            12..14 => {
                let choice = usize::try_from(self.chance.below(POLICIES.len() as u64))?;
                Self::change(stage, &Op::Policy { choice })
            }
            14 if stage.is_library() => self.receive(stage),
            15..17 => check(stage),
            17 => look(stage),
            _ => self.read_only(stage),
        }
    }

    fn change(stage: &Stage, op: &Op) -> Result<()> {
        if is_for_library(op) && !stage.is_library() {
            return Ok(());
        }
        let done = stage.perform(WHO, op);
        done.map(drop).or_else(|refusal| judge_refusal(op, op.takes_space(), &refusal))
    }

    fn join(&mut self, stage: &Stage) -> Result<()> {
        let Some((_, free)) = members(stage)? else { return Ok(()) };
        let Some(device) = self.chance.pick(&free).cloned() else { return Ok(()) };
        // Sometimes as a reserve alone.
        let by = self.chance.below(2) * 8 * MIB;
        Self::change(stage, &Op::Join { device, by })
    }

    fn evacuate(&mut self, stage: &Stage) -> Result<()> {
        let Some((members, free)) = members(stage)? else { return Ok(()) };
        let Some(device) = self.chance.pick(&members).cloned() else { return Ok(()) };
        let onto = self.chance.pick(&free).filter(|_| members.len() < 3).cloned();
        if members.len() < 2 && onto.is_none() {
            return Ok(());
        }
        Self::change(stage, &Op::Evacuate { device, onto })
    }

    /// What is answered without the claim, by the library or by the program.
    fn read_only(&mut self, stage: &Stage) -> Result<()> {
        let choice = self.chance.below(6);
        if self.chance.below(2) == 0 && choice < 3 {
            let verb: &[&str] = match choice {
                0 => &["pool", "show"],
                1 => &["usage"],
                _ => &["volume", "list"],
            };
            let arguments: Vec<String> =
                verb.iter().copied().chain([stage.pool.as_str()]).map(str::to_owned).collect();
            let asked = stage.attempt(WHO, &format!("thinly {}", verb.join(" ")), &verb, || {
                stage.command(&arguments)
            });
            return asked.map(drop).or_else(|refusal| judge_refusal(&verb, false, &refusal));
        }
        self.files += 1;
        let file = stage.drives.directory().join(format!("copy{}", self.files));
        let (engine, pool) = (&stage.engine, stage.pool.as_str());
        let kind = ["usage", "map", "backup", "metadata copy", "views", "volumes"]
            [usize::try_from(choice)?];
        let asked = stage.attempt(WHO, kind, &kind, || Ok(ask(engine, pool, kind, &file)?));
        let _ = fs::remove_file(&file);
        asked.or_else(|refusal| judge_refusal(&kind, false, &refusal))
    }

    /// Half a filesystem is given back, and what is kept in it stays.
    fn trim(&mut self, stage: &Stage) -> Result<()> {
        self.files += 1;
        let name = format!("fs{}", self.files);
        let size = 32 * MIB;
        let mut device = None;
        for op in [
            Op::Create { name: name.clone(), size },
            Op::Activate { name: name.clone(), writable: true },
        ] {
            match stage.perform(WHO, &op) {
                Ok(made) => device = made,
                Err(refusal) => {
                    judge_refusal(&op, true, &refusal)?;
                    let _ =
                        stage.perform(WHO, &Op::Delete { name: name.clone(), is_snapshot: false });
                    return Ok(());
                }
            }
        }
        let device = device.context("no device")?.display().to_string();
        let place = stage.drives.directory().join(&name).display().to_string();
        // In a full pool there is no filesystem to be had; that is no fault of anybody.
        let made = sh(&format!(
            "mkfs.ext4 -q -O ^has_journal {device}; mkdir {place}; mount {device} {place}
             echo '{KEPT}' >{place}/kept; dd if=/dev/urandom of={place}/gone bs=1M count=8 status=none
             sync -f {place}; rm {place}/gone; sync -f {place}"
        ));
        let outcome = made.and_then(|_| {
            Self::change(stage, &Op::Trim { name: name.clone() })?;
            let kept = sh(&format!("echo 3 >/proc/sys/vm/drop_caches; cat {place}/kept"))?;
            ensure!(kept == KEPT, "{name} keeps {kept:?}");
            Ok(())
        });
        let _ = sh(&format!("umount {place}; rmdir {place}"));
        Self::change(stage, &Op::Delete { name, is_snapshot: false })?;
        match outcome {
            Err(error) if format!("{error:#}").contains("No space left") => Ok(()),
            other => other,
        }
    }

    /// A stream of nothing, by the steps that `thinly receive` takes.
    fn receive(&mut self, stage: &Stage) -> Result<()> {
        let Holder::Library(pool) = &*stage.holder() else { return Ok(()) };
        let pool = std::sync::Arc::clone(pool);
        self.files += 1;
        let name = format!("in{}", self.files);
        let outcome = stage.attempt(WHO, "receive by its steps", &name, || {
            let (volume, arrived) =
                (super::perform::volume(&name)?, super::perform::volume(&format!("{name}-s"))?);
            let source = uuid::Uuid::new_v4();
            let size = thinly_engine::units::Bytes::new(MIB);
            pool.begin_receive(&thinly_engine::pool::ReceiveRequest {
                name: volume.clone(),
                size,
                source,
                base: None,
                snapshot: arrived.clone(),
                start: thinly_engine::units::Bytes::ZERO,
                resume: false,
            })?;
            pool.note_received(&volume, source, size)?;
            pool.finish_receive(&volume, source)?;
            pool.delete_many(&[arrived, volume])?;
            Ok(())
        });
        drop(pool);
        outcome.or_else(|refusal| judge_refusal(&name, true, &refusal))
    }
}

/// One question that writes nothing.
fn ask(engine: &Engine, pool: &str, kind: &str, file: &std::path::Path) -> Result<(), PoolError> {
    match kind {
        "usage" => {
            engine.usage(pool, &[], &mut |_, _| {})?;
        }
        "map" => {
            engine.map(pool, 100, 8, &mut |_, _| {})?;
        }
        "backup" => {
            engine.backup(pool)?;
        }
        "metadata copy" => {
            engine.copy_metadata(pool, file, &mut |_, _| {})?;
        }
        "views" => {
            engine.pools()?;
            engine.view(pool)?;
        }
        _ => {
            engine.volumes(pool)?;
        }
    }
    Ok(())
}

/// The pool's metadata, and the catalogue against it, while others work.
fn check(stage: &Stage) -> Result<()> {
    let mut found = Vec::new();
    let outcome = stage.attempt(WHO, "check", &"check", || {
        let check = stage.engine.check(&stage.pool, &mut |_, _| {})?;
        let metadata = check.metadata.findings.iter();
        let metadata = metadata.filter(|finding| finding.severity() > Severity::Note);
        found.extend(metadata.map(|finding| format!("{finding:?}")));
        let catalogue = check.catalogue.iter();
        let catalogue = catalogue.filter(|finding| finding.severity() > Severity::Note);
        found.extend(catalogue.map(|finding| format!("{finding:?}")));
        Ok(())
    });
    if let Err(refusal) = &outcome {
        return judge_refusal(&"check", false, refusal);
    }
    // What a fault is doing to the pool at this moment is looked at when it is over.
    if stage.is_faulty() {
        return Ok(());
    }
    ensure!(found.is_empty(), "the check of the open pool finds {found:?}");
    Ok(())
}

/// What a handle tells of itself.
fn look(stage: &Stage) -> Result<()> {
    let pool = match &*stage.holder() {
        Holder::Library(pool) => std::sync::Arc::clone(pool),
        _ => return Ok(()),
    };
    let outcome = stage.attempt(WHO, "a handle's own numbers", &"look", || {
        pool.gauges()?;
        pool.conditions()?;
        pool.headroom()?;
        pool.committed_bytes();
        pool.counters();
        pool.view()?;
        pool.volumes()?;
        Ok::<(), Refusal>(())
    });
    drop(pool);
    outcome.or_else(|refusal| judge_refusal(&"look", false, &refusal))
}

/// Which drives are the pool's, and which are free; nothing when it cannot be told.
pub(super) fn members(stage: &Stage) -> Result<Option<(Vec<PathBuf>, Vec<PathBuf>)>> {
    let view = match stage.engine.view(&stage.pool) {
        Ok(view) => view,
        Err(error) => {
            let mut refusal = Refusal::from(error);
            refusal.is_excused = stage.is_faulty();
            judge_refusal(&"view", false, &refusal)?;
            return Ok(None);
        }
    };
    let paths: Vec<PathBuf> = view
        .devices
        .iter()
        .filter_map(|device| device.path.as_ref().and_then(|path| path.canonicalize().ok()))
        .collect();
    Ok(Some(stage.drives.nodes().iter().cloned().partition(|node| paths.contains(node))))
}
