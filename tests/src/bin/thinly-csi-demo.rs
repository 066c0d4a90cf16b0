//! The CSI part of `make demo`: what a cluster does with the driver, call by call, with the time
//! that each takes. Ends with a proof that nothing is left.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "it is a demonstration")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use thinly_csi_wire as wire;
use thinly_csi_wire::VolumeCapability;
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_csi_wire::volume_content_source::{SnapshotSource, Type as Source};
use thinly_tests::csi::{Client, CsiBed, mount, range};
use tonic::Status;

/// Drives thinly-csi on these devices as a cluster would.
#[derive(Debug, Parser)]
struct Args {
    /// Empty devices for the pool.
    #[arg(required = true)]
    devices: Vec<PathBuf>,
}

const GIB: i64 = 1 << 30;

/// Says what a call does and how long it took.
fn step<T>(what: &str, call: impl FnOnce() -> Result<T, Status>) -> Result<T> {
    let start = Instant::now();
    let answer = call().with_context(|| what.to_owned())?;
    println!("  {:>8.1} ms  {what}", start.elapsed().as_secs_f64() * 1000.0);
    Ok(answer)
}

/// A volume that is staged and published.
struct Published {
    id: String,
    staging: String,
    target: String,
}

fn put(
    bed: &CsiBed,
    client: &Client,
    volume: &wire::Volume,
    name: &str,
    capability: &VolumeCapability,
) -> Result<Published> {
    let id = volume.volume_id.clone();
    let (staging, target) = (bed.staging(name)?, bed.target(name)?);
    step(&format!("NodeStageVolume {name}"), || client.stage(&id, &staging, capability))?;
    step(&format!("NodePublishVolume {name}"), || {
        client.publish(&id, (&staging, &target), capability, false)
    })?;
    Ok(Published { id, staging, target })
}

/// Appends numbers and syncs each, until told to stop; a snapshot must hold a prefix.
fn write_until(stop: &AtomicBool, file: &Path) -> Result<u64> {
    use std::io::Write as _;
    let mut file = fs::File::create(file)?;
    let mut count = 0;
    while !stop.load(Ordering::Acquire) {
        writeln!(file, "{count}")?;
        file.sync_data()?;
        count += 1;
    }
    Ok(count)
}

fn restore(
    client: &Client,
    name: &str,
    snapshot: &wire::Snapshot,
    bytes: i64,
    capability: &VolumeCapability,
) -> Result<wire::Volume> {
    let source = SnapshotSource { snapshot_id: snapshot.snapshot_id.clone() };
    let request = wire::CreateVolumeRequest {
        name: name.to_owned(),
        capacity_range: range(bytes),
        volume_capabilities: vec![capability.clone()],
        volume_content_source: Some(wire::VolumeContentSource {
            r#type: Some(Source::Snapshot(source)),
        }),
        ..Default::default()
    };
    step(&format!("CreateVolume {name} from the snapshot, larger"), || {
        client.create_volume(request)
    })
}

/// A snapshot while the volume is written; a larger copy beside it holds what was synced before.
fn snapshot_under_load(
    bed: &CsiBed,
    client: &Client,
    source: &Published,
    capability: &VolumeCapability,
) -> Result<(wire::Snapshot, Published)> {
    let stop = AtomicBool::new(false);
    let log = Path::new(&source.target).join("log");
    let (snapshot, at_least, written) = thread::scope(|scope| -> Result<_> {
        let writer = scope.spawn(|| write_until(&stop, &log));
        let lines = || fs::read_to_string(&log).unwrap_or_default().lines().count();
        while lines() < 20 {
            thread::yield_now();
        }
        let at_least = lines() - 1;
        let snapshot = step("CreateSnapshot while a file is being written and synced", || {
            client.create_snapshot(&source.id, "monday")
        });
        stop.store(true, Ordering::Release);
        let written = writer.join().map_err(|_| anyhow::anyhow!("the writer failed"))??;
        Ok((snapshot?, at_least, written))
    })?;
    let copy = restore(client, "copy", &snapshot, 2 * GIB, capability)?;
    let copy = put(bed, client, &copy, "copy", capability)?;
    let kept = fs::read_to_string(Path::new(&copy.target).join("log"))?;
    ensure!(
        kept.lines().enumerate().all(|(number, line)| line == number.to_string()),
        "the snapshot is no moment of the file"
    );
    let kept = kept.lines().count();
    ensure!(kept >= at_least, "{kept} lines, {at_least} were synced before the snapshot");
    println!("               the copy holds {kept} of {written} lines; {at_least} had to be there");
    Ok((snapshot, copy))
}

fn group_snapshot(client: &Client, volumes: &[&Published]) -> Result<()> {
    let ids: Vec<String> = volumes.iter().map(|volume| volume.id.clone()).collect();
    let request = wire::CreateVolumeGroupSnapshotRequest {
        name: "both".to_owned(),
        source_volume_ids: ids,
        ..Default::default()
    };
    let mut groups = client.groups();
    let answer = step("CreateVolumeGroupSnapshot of both volumes, at one instant", || {
        client.wait(groups.create_volume_group_snapshot(request)).map(tonic::Response::into_inner)
    })?;
    let group = answer.group_snapshot.context("no group in the answer")?;
    ensure!(group.snapshots.len() == volumes.len(), "{group:?}");
    let request = wire::DeleteVolumeGroupSnapshotRequest {
        group_snapshot_id: group.group_snapshot_id,
        snapshot_ids: group.snapshots.into_iter().map(|it| it.snapshot_id).collect(),
        ..Default::default()
    };
    step("DeleteVolumeGroupSnapshot", || {
        client.wait(groups.delete_volume_group_snapshot(request)).map(|_| ())
    })
}

fn take_down(client: &Client, volume: &Published) -> Result<()> {
    step("NodeUnpublishVolume, NodeUnstageVolume, DeleteVolume", || {
        client.unpublish(&volume.id, &volume.target)?;
        client.unstage(&volume.id, &volume.staging)?;
        client.delete_volume(&volume.id)
    })
}

/// The driver frees what was deleted within its next rounds.
fn wait_until_reaped(bed: &CsiBed) -> Result<()> {
    let start = Instant::now();
    while bed.pool_view()?["tombstones"].as_array().is_some_and(|ids| !ids.is_empty()) {
        ensure!(start.elapsed().as_secs() < 60, "the driver frees nothing: {}", bed.pool_view()?);
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn show_nothing_left(bed: &CsiBed) -> Result<()> {
    ensure!(bed.mounts()?.is_empty(), "mounts are left: {:?}", bed.mounts()?);
    thinly_tests::sh(&format!("thinly pool close {}", bed.pool()))?;
    thinly_tests::sh(&format!("thinly pool open {}", bed.pool()))?;
    let pool = bed.pool_view()?;
    for count in ["volume_count", "snapshot_count"] {
        ensure!(pool[count] == 0, "{count} are left: {pool}");
    }
    for ids in ["tombstones", "orphans"] {
        ensure!(pool[ids].as_array().is_some_and(Vec::is_empty), "{ids} are left: {pool}");
    }
    println!("  nothing is left: no mount, no device, no volume, no snapshot, no thin id");
    thinly_tests::sh(&format!("thinly pool destroy {} --yes", bed.pool()))?;
    Ok(())
}

fn main() -> Result<()> {
    let args = Args::parse();
    let bed = CsiBed::on(&args.devices, "")?;
    let start = Instant::now();
    let driver = bed.start()?;
    println!(
        "  {:>8.1} ms  thinly-csi makes a pool and is ready",
        start.elapsed().as_secs_f64() * 1000.0
    );
    let client = driver.client();
    let capability = mount("ext4", Mode::SingleNodeWriter);
    let volume = step("CreateVolume pvc-1, 1 GiB", || client.volume("pvc-1", GIB, &capability))?;
    let first = put(&bed, client, &volume, "pvc-1", &capability)?;
    thinly_tests::sh(&format!("cp -r /usr/share/doc {}/files", first.target))?;
    let (snapshot, copy) = snapshot_under_load(&bed, client, &first, &capability)?;
    thinly_tests::sh(&format!("diff -r {}/files {}/files", first.target, copy.target))?;
    println!("               its files are those of the source");
    step("ControllerExpandVolume pvc-1 to 2 GiB, NodeExpandVolume, mounted", || {
        client.expand(&first.id, 2 * GIB)?;
        client.expand_on_node(&first.id, &first.target, &capability)
    })?;
    ensure!(client.stats(&first.id, &first.target)?[0].total > GIB, "it did not grow");
    group_snapshot(client, &[&first, &copy])?;
    step("DeleteSnapshot", || client.delete_snapshot(&snapshot.snapshot_id))?;
    take_down(client, &copy)?;
    take_down(client, &first)?;
    wait_until_reaped(&bed)?;
    driver.stop()?;
    show_nothing_left(&bed)
}
