//! Differences and streams, held against what the snapshots must hold.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use thinly_engine::pool::{ByteRange, PoolError};

use super::op::Volumes;
use super::perform::volume;
use super::refusal::Refusal;
use super::stage::{Stage, judge_refusal};
use super::volume::Volume;
use super::worker::readable;
use crate::power_cut::model::CHUNK_BYTES;

/// Every chunk that differs must be in a range that is said to differ.
pub(super) fn diff(
    stage: &Stage,
    who: &str,
    volumes: &Volumes,
    from: Option<&str>,
    to: &str,
) -> Result<()> {
    let what = format!("diff from {from:?} to {to}");
    let outcome = stage.attempt(who, "diff", &what, || {
        let (from, to) = (from.map(volume).transpose()?, volume(to)?);
        let found = stage.engine.diff(&stage.pool, from.as_ref(), &to)?;
        Ok(found.ranges.collect::<Result<Vec<ByteRange>, PoolError>>()?)
    });
    let ranges = match outcome {
        Ok(ranges) => ranges,
        Err(refusal) => return judge_refusal(&what, false, &refusal),
    };
    let newer = volumes.get(to).context("gone")?;
    let older = from.and_then(|from| volumes.get(from));
    let size = older.map_or(newer.content.size, |older| older.content.size.min(newer.content.size));
    for chunk in newer.differing(older) {
        let at = chunk * CHUNK_BYTES;
        let is_told = ranges.iter().any(|range| {
            let begin = range.offset.get();
            (begin..begin + range.length.get()).contains(&at)
        });
        ensure!(is_told || at >= size, "{what} does not tell of {at}");
    }
    Ok(())
}

/// Sends a snapshot whole into the other pool, where it must arrive as it is. Says whether it was sent: a sender that
/// was killed leaves its snapshot active.
pub(super) fn send(stage: &Stage, who: &str, volumes: &Volumes, snapshot: &str) -> Result<bool> {
    let sent = volumes.get(snapshot).context("gone")?;
    let file = stage.drives.directory().join(format!("{snapshot}.stream"));
    let what = format!("send {snapshot}");
    let mut wrong = Ok(());
    let outcome = stage.attempt(who, "send into receive", &what, || {
        let from = format!("{}/{snapshot}", stage.pool);
        let out = file.display().to_string();
        stage.command(&["send", &from, "--out", &out].map(str::to_owned))?;
        receive(stage, &out, snapshot, sent, &mut wrong)
    });
    let _ = fs::remove_file(&file);
    tidy(stage, snapshot)?;
    wrong.with_context(|| format!("{snapshot} did not arrive as it is"))?;
    if let Err(refusal) = outcome {
        judge_refusal(&what, false, &refusal)?;
        return Ok(false);
    }
    Ok(true)
}

fn receive(
    stage: &Stage,
    file: &str,
    snapshot: &str,
    sent: &Volume,
    wrong: &mut Result<()>,
) -> Result<(), Refusal> {
    let (pool, _) = &stage.other;
    let (path, name) = (format!("{pool}/{snapshot}"), format!("{snapshot}-arrived"));
    stage.command_elsewhere(&["receive", &path, "--in", file, "--snapshot", &name])?;
    let arrived = format!("{pool}/{name}");
    let answer = stage.command_elsewhere(&["volume", "activate", &arrived])?;
    let device = answer["device"].as_str().unwrap_or_default().to_owned();
    let mut copy = sent.clone();
    let read = copy.read_back(Path::new(&device));
    stage.command_elsewhere(&["volume", "deactivate", &arrived])?;
    readable(read, wrong)
}

/// Nothing of it stays in the other pool.
fn tidy(stage: &Stage, snapshot: &str) -> Result<()> {
    let pool = &stage.other.0;
    for (kind, name) in
        [("snapshot", format!("{snapshot}-arrived")), ("volume", snapshot.to_owned())]
    {
        match stage.command_elsewhere(&[kind, "delete", &format!("{pool}/{name}")]) {
            Ok(_) => {}
            Err(refusal) if refusal.kind == "not_found" => {}
            Err(refusal) => anyhow::bail!("{name} cannot be deleted: {refusal}"),
        }
    }
    Ok(())
}
