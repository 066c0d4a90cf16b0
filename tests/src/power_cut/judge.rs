//! Reads the pool at every moment of a log, and compares it with what must be there.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use thinly_engine::catalogue::{Catalogue, ThinState, Volume};
use thinly_engine::layout::Role;
use thinly_engine::metadata::{list_devices, mapped_data_block};
use thinly_engine::plan::{Finding, KernelView, Tail, needs_device_tree, reconcile};
use thinly_engine::units::{DataBlocks, ThinId};

use super::closed_pool::{ClosedPool, LabelReader};
use super::content;
use super::model::{CHUNK_BYTES, Model, ModelVolume};
use super::replay::{Part, Replay, spread};
use super::report::{Fault, Report};
use super::state::State;
use super::stream::match_half;
use super::{DATA_BYTES, DISK_BYTES};
use crate::command::sh;
use crate::log_writes::{DiskImage, WriteLog};

/// How thorough to be.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// At most so many moments.
    pub moments: usize,
    /// At each of them so many chance parts of what is pending, beside none of it and all of it.
    pub parts: u64,
    /// At so many of them `thin_check` looks at the metadata, too.
    pub checks: usize,
}

/// Judges the disks that a log says a power cut may have left. Temporary files go into `directory`,
/// whose filesystem must be able to read past its cache.
pub fn judge_all(log: &Path, directory: &Path, effort: Effort) -> Result<Report> {
    let log = WriteLog::open(log)?;
    let mut judge = Judge {
        labels: LabelReader::new(directory, DISK_BYTES)?,
        directory,
        report: Report::default(),
    };
    let mut replay = Replay::new(&log)?;
    let moments = spread(replay.boundaries(), effort.moments);
    let mut epochs = BTreeSet::new();
    let checks_every = moments.len().div_ceil(effort.checks.max(1));
    for (index, moment) in moments.iter().enumerate() {
        replay.advance(moment)?;
        let mut parts = vec![Part::Nothing];
        if !moment.pending.is_empty() {
            parts.push(Part::Everything);
            let seed = u64::try_from(moment.durable)? << 8;
            parts.extend((0..effort.parts).map(|part| Part::Some(seed | part)));
        }
        for part in parts {
            let is_checked = part == Part::Nothing && (index + 1).is_multiple_of(checks_every);
            let seen = replay.with_part(moment, part, |image, state| {
                let place = format!("entry {}, {part:?}, {}", moment.durable, doing(state));
                judge.look(&place, image, state, part, is_checked)
            })?;
            if let Some(Seen { metadata, journal_epoch }) = seen {
                replay.untorn = metadata;
                epochs.insert(journal_epoch);
            }
        }
    }
    replay.state.require_end()?;
    judge.report.regions = epochs.len();
    judge.report.acknowledged = replay.state.acknowledged;
    Ok(judge.report)
}

pub(super) fn doing(state: &State) -> String {
    let done = state.acknowledged;
    match &state.in_flight {
        Some(op) => format!("after {done} answers, during {op:?}"),
        None => format!("after {done} answers"),
    }
}

/// What a look at one disk shows beside its verdict.
struct Seen {
    metadata: Vec<Range<u64>>,
    journal_epoch: u64,
}

struct Judge<'a> {
    labels: LabelReader,
    directory: &'a Path,
    report: Report,
}

impl Judge<'_> {
    /// Judges one disk and counts it.
    fn look(
        &mut self,
        place: &str,
        image: &DiskImage,
        state: &State,
        part: Part,
        is_checked: bool,
    ) -> Option<Seen> {
        self.report.replayed += 1;
        match self.judge(image, state, part, is_checked) {
            Ok(seen) => seen,
            Err(fault) => {
                self.report.note(place, &fault);
                None
            }
        }
    }

    fn judge(
        &mut self,
        image: &DiskImage,
        state: &State,
        part: Part,
        is_checked: bool,
    ) -> Result<Option<Seen>, Fault> {
        let is_durable = part == Part::Nothing;
        let allowed = if is_durable { state.allowed() } else { state.allowed_with_pending() };
        let Some(pool) = ClosedPool::read(image, &mut self.labels)? else {
            if allowed.iter().all(|model| model.pool.is_some()) {
                return Err(anyhow::anyhow!("no label says that there is a pool").into());
            }
            return Ok(None);
        };
        if is_durable && pool.tail == Tail::Damaged {
            return Err(anyhow::anyhow!("the journal's last durable write is torn").into());
        }
        let catalogue = self.recover(&pool)?;
        match_one(&allowed, &catalogue, |volume, model| content_of(&pool, volume, model))?;
        if is_durable && state.is_quiet() && state.model.is_reaped {
            let (dead, kept) = (catalogue.tombstones(), catalogue.orphans());
            if !dead.is_empty() || !kept.is_empty() {
                let error = anyhow::anyhow!("after a reaping there are {dead:?} and {kept:?}");
                return Err(Fault::Leaked(error));
            }
        }
        if is_checked {
            self.check_metadata(&pool)?;
        }
        Ok(Some(Seen {
            metadata: pool.metadata.places().to_vec(),
            journal_epoch: pool.journal_epoch,
        }))
    }

    /// What the catalogue is after recovery; every thin id must then be spoken for.
    fn recover(&mut self, pool: &ClosedPool<'_>) -> Result<Catalogue, Fault> {
        let mut catalogue = pool.catalogue.clone();
        let tree = list_devices(&pool.metadata, &pool.superblock)?;
        let view = KernelView {
            transaction_id: pool.superblock.transaction_id,
            devices: needs_device_tree(&catalogue, pool.tail).then(|| tree.clone()),
            loaded: BTreeSet::new(),
        };
        let outcome = reconcile(&catalogue, pool.tail, &view)?;
        for finding in &outcome.findings {
            match finding {
                Finding::Lost { .. } | Finding::Found { .. } => {
                    return Err(anyhow::anyhow!("recovery says: {finding}").into());
                }
                // Nothing may be freed on the strength of a frame that may have been there.
                Finding::Orphan { .. } if pool.tail == Tail::Damaged => self.report.kept += 1,
                Finding::Orphan { .. } => {
                    return Err(Fault::Leaked(anyhow::anyhow!("recovery says: {finding}")));
                }
                _ => {}
            }
        }
        for record in outcome.records {
            catalogue.apply(record)?;
        }
        if let Some(id) = tree.keys().find(|id| !catalogue.knows(**id)) {
            return Err(Fault::Leaked(anyhow::anyhow!("nobody speaks for thin id {id}")));
        }
        if let Some(id) = catalogue.owned_ids().find(|id| !tree.contains_key(id)) {
            return Err(anyhow::anyhow!("thin id {id} of a volume is not in the pool").into());
        }
        Ok(catalogue)
    }

    fn check_metadata(&mut self, pool: &ClosedPool<'_>) -> Result<()> {
        let file = tempfile::NamedTempFile::new_in(self.directory)?;
        pool.metadata.write_to(file.as_file())?;
        sh(&format!("PATH=$PATH:/usr/sbin:/sbin thin_check {}", file.path().display()))?;
        self.report.checked += 1;
        Ok(())
    }
}

/// The catalogue and what its volumes hold must be what one of the models says.
pub(super) fn match_one(
    allowed: &[Model],
    catalogue: &Catalogue,
    mut check: impl FnMut(&Volume, &ModelVolume) -> Result<()>,
) -> Result<()> {
    let mut refusals = Vec::new();
    for model in allowed {
        match match_model(model, catalogue, &mut check) {
            Ok(()) => return Ok(()),
            Err(error) => refusals.push(format!("{error:#}")),
        }
    }
    bail!("{}", refusals.join("; otherwise: "));
}

fn match_model(
    model: &Model,
    catalogue: &Catalogue,
    check: &mut impl FnMut(&Volume, &ModelVolume) -> Result<()>,
) -> Result<()> {
    let (data, due) = (catalogue.length_of(Role::Data).get(), DATA_BYTES + model.grown_bytes);
    ensure!(data == due, "the pool has {data} bytes of data, not {due}");
    let found: BTreeSet<&str> = catalogue.volumes().map(|volume| volume.name.as_str()).collect();
    let due: BTreeSet<&str> = model.volumes.keys().map(String::as_str).collect();
    if let Some(name) = due.difference(&found).next() {
        bail!("{name} is missing");
    }
    if let Some(name) = found.difference(&due).next() {
        bail!("{name} must be gone");
    }
    for volume in catalogue.volumes() {
        let name = volume.name.as_str();
        let due = &model.volumes[name];
        let size = volume.size.get();
        ensure!(size == due.size, "{name} has {size} bytes, not {}", due.size);
        match_half(catalogue, volume, due.half.as_ref())?;
        ensure!(volume.is_snapshot() == due.origin.is_some(), "{name} is of another kind");
        check(volume, due).with_context(|| format!("the content of {name}"))?;
    }
    Ok(())
}

/// Compares all of a volume with its model, through the mappings.
fn content_of(pool: &ClosedPool<'_>, volume: &Volume, model: &ModelVolume) -> Result<()> {
    let block_bytes = pool.catalogue.pool().block_size.bytes().get();
    for block in 0..volume.size.get().div_ceil(block_bytes) {
        let offset = block * block_bytes;
        let mapped = match volume.thin {
            ThinState::Ready(id) => mapping(pool, id, block)?,
            ThinState::Pending => None,
            ThinState::Lost(id) => bail!("thin id {id} is lost"),
        };
        let length = usize::try_from(block_bytes)?;
        match mapped {
            Some(place) => content::check(model, offset, pool.data.bytes(place, length)?)?,
            None if model.chunks.range(chunks(offset, block_bytes)).next().is_none() => {}
            None => content::check(model, offset, &vec![0; length])?,
        }
    }
    Ok(())
}

fn chunks(offset: u64, length: u64) -> Range<u64> {
    offset / CHUNK_BYTES..(offset + length) / CHUNK_BYTES
}

fn mapping(pool: &ClosedPool<'_>, id: ThinId, block: u64) -> Result<Option<u64>> {
    let mapped = mapped_data_block(&pool.metadata, &pool.superblock, id, block)?;
    let block_size = pool.catalogue.pool().block_size;
    Ok(mapped.map(|block| block_size.length_of(DataBlocks::new(block)).get()))
}
