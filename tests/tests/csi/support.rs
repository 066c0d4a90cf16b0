//! What the tests of the driver share.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Result, ensure};
use thinly_tests::csi::{Client, CsiBed, code};
use tonic::{Code, Status};

/// That many MiB, as sizes are on the wire.
pub(crate) const fn mib(count: i64) -> i64 {
    count << 20
}

/// Whether the long form of a test is asked for.
pub(crate) fn is_full() -> bool {
    std::env::var("THINLY_CRASH").is_ok_and(|size| size == "full")
}

/// A pool that is on no node: its identifiers are well formed and name nothing here.
pub(crate) fn elsewhere(kind: &str) -> String {
    format!("v1.00000000.{kind}.00112233-4455-4677-8899-aabbccddeeff")
}

/// The devices of volumes that are active, read-only views among them.
pub(crate) fn active_devices(bed: &CsiBed) -> Result<Vec<String>> {
    let prefix = format!("thinly-{}-", &bed.pool_uuid()?[..8]);
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/class/block")? {
        // One that goes at this moment is not there.
        let Ok(name) = fs::read_to_string(entry?.path().join("dm/name")) else { continue };
        let role = name.trim().strip_prefix(&prefix);
        if role.is_some_and(|role| role.starts_with(|digit: char| digit.is_ascii_digit())) {
            found.push(name.trim().to_owned());
        }
    }
    found.sort();
    Ok(found)
}

/// The driver is stopped and the pool says that nothing is in doubt and nothing is left over.
pub(crate) fn nothing_is_left(bed: &CsiBed) -> Result<()> {
    let view = bed.pool_view()?;
    ensure!(view["volume_count"] == 0 && view["snapshot_count"] == 0, "left: {view}");
    ensure!(view["orphans"].as_array().is_some_and(Vec::is_empty), "orphans: {view}");
    ensure!(bed.mounts()?.is_empty(), "mounted: {:?}", bed.mounts()?);
    let devices = active_devices(bed)?;
    ensure!(devices.is_empty(), "active: {devices:?}");
    Ok(())
}

/// Everything that a call could have changed, as far as clients and the kernel show it.
fn state(bed: &CsiBed, client: &Client) -> Result<BTreeSet<String>> {
    let mut state = BTreeSet::new();
    state.extend(client.volumes()?.iter().map(|volume| format!("{volume:?}")));
    state.extend(client.snapshots()?.iter().map(|snapshot| format!("{snapshot:?}")));
    state.extend(bed.mounts()?.into_iter().map(|mount| format!("mount {mount}")));
    files_below(&bed.kubelet(), &mut state)?;
    Ok(state)
}

/// What is below a directory of this filesystem: kind, mode, name.
fn files_below(directory: &Path, found: &mut BTreeSet<String>) -> Result<()> {
    let here = fs::metadata(directory)?.dev();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let facts = fs::symlink_metadata(&path)?;
        found.insert(format!("{:o} {}", facts.mode(), path.display()));
        if facts.is_dir() && facts.dev() == here {
            files_below(&path, found)?;
        }
    }
    Ok(())
}

/// Hears bad calls and keeps what was wrong about their answers, so that one run tells all.
pub(crate) struct Judge<'a> {
    bed: &'a CsiBed,
    client: &'a Client,
    before: BTreeSet<String>,
    devices: Vec<String>,
    faults: Vec<String>,
}

impl<'a> Judge<'a> {
    /// From here on nothing may change.
    pub(crate) fn new(bed: &'a CsiBed, client: &'a Client) -> Result<Self> {
        let (before, devices) = (state(bed, client)?, active_devices(bed)?);
        Ok(Self { bed, client, before, devices, faults: Vec::new() })
    }

    /// The call has this code, says why, and changed nothing.
    pub(crate) fn hear<T>(
        &mut self,
        what: &str,
        wanted: Code,
        answer: Result<T, Status>,
    ) -> Result<()> {
        let found = code(&answer);
        let status = answer.err();
        if found != wanted {
            let said = status.as_ref().map(Status::message).unwrap_or_default();
            self.faults.push(format!("{what}: {found:?} instead of {wanted:?}: {said}"));
        }
        if let Some(status) = status
            && (status.message().is_empty() || !status.details().is_empty())
        {
            self.faults.push(format!("{what}: no message, or details: {status:?}"));
        }
        let now = state(self.bed, self.client)?;
        if now != self.before {
            let changes: Vec<_> = now.symmetric_difference(&self.before).cloned().collect();
            self.faults.push(format!("{what}: changed {changes:#?}"));
            self.before = now;
        }
        Ok(())
    }

    /// All answers together.
    pub(crate) fn verdict(mut self) -> Result<()> {
        let devices = active_devices(self.bed)?;
        if devices != self.devices {
            self.faults.push(format!("devices: {devices:?}, before {:?}", self.devices));
        }
        ensure!(
            self.faults.is_empty(),
            "{} faults:\n{}",
            self.faults.len(),
            self.faults.join("\n")
        );
        Ok(())
    }
}
