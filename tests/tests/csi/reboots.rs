//! The node loses its power while volumes are staged. Two tests, one before and one after the
//! reset, which the runner makes in front of each `own_boot_` test, in the order of their names.

use std::fs::{self, File};
use std::io::Write;
use std::mem::forget;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_tests::csi::{CsiBed, from_snapshot, mount};
use thinly_tests::gib;

use crate::support::{active_devices, is_full, mib, nothing_is_left};

/// Where the first test tells the second one what it left.
const LEFT: &str = "/scratch/csi-before-the-reset.json";

#[derive(Serialize, Deserialize)]
struct Left {
    boot: String,
    disks: String,
    pool: String,
    volumes: Vec<String>,
    snapshot: String,
}

/// What is another one after each boot.
fn boot() -> Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?)
}

#[test]
fn own_boot_1_volumes_are_staged_when_the_power_goes() -> Result<()> {
    let count = if is_full() { 100 } else { 20 };
    let bed = CsiBed::new(&[gib(4)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let capability = mount("ext4", Mode::SingleNodeWriter);
    let mut volumes = Vec::new();
    for number in 0..count {
        let name = format!("v{number}");
        let id = client.volume(&name, mib(16), &capability)?.volume_id;
        let (staging, target) = (bed.staging(&name)?, bed.target(&name)?);
        client.stage(&id, &staging, &capability)?;
        client.publish(&id, (&staging, &target), &capability, false)?;
        let mut file = File::create_new(format!("{target}/file"))?;
        file.write_all(id.as_bytes())?;
        file.sync_all()?;
        File::open(&target)?.sync_all()?;
        volumes.push(id);
    }
    let snapshot = client.create_snapshot(&volumes[0], "cut")?.snapshot_id;
    // The driver is running and everything is mounted when the power goes.
    forget(driver);
    let (disks, pool) = bed.leave()?;
    let left = Left { boot: boot()?, disks: disks.display().to_string(), pool, volumes, snapshot };
    let mut file = File::create(LEFT)?;
    file.write_all(&serde_json::to_vec(&left)?)?;
    file.sync_all()?;
    File::open("/scratch")?.sync_all()?;
    Ok(())
}

#[test]
fn own_boot_2_volumes_are_staged_again_with_their_data() -> Result<()> {
    let left = fs::read(LEFT).context("nothing was left; run it behind own_boot_1_")?;
    let left: Left = serde_json::from_slice(&left)?;
    fs::remove_file(LEFT)?;
    let bed = CsiBed::left_in(Path::new(&left.disks), &left.pool)?;
    ensure!(boot()? != left.boot, "there was no reset");
    let driver = bed.start()?;
    let client = driver.client();
    let capability = mount("ext4", Mode::SingleNodeWriter);
    ensure!(client.volumes()?.len() == left.volumes.len(), "{:?}", client.volumes()?);
    ensure!(bed.mounts()?.is_empty() && active_devices(&bed)?.is_empty(), "it acts unasked");
    for (number, id) in left.volumes.iter().enumerate() {
        let name = format!("v{number}");
        let (staging, target) = (bed.staging(&name)?, bed.target(&name)?);
        // Kubelet publishes what it thinks is staged, and is told to stage it.
        let early = client.publish(id, (&staging, &target), &capability, false);
        ensure!(early.is_err(), "published without being staged");
        client.stage(id, &staging, &capability)?;
        client.publish(id, (&staging, &target), &capability, false)?;
        let found = fs::read_to_string(format!("{target}/file"))?;
        ensure!(found == *id, "{id} holds {found:?}");
        client.unpublish(id, &target)?;
        client.unstage(id, &staging)?;
    }
    let source = from_snapshot(&left.snapshot);
    let copy = client.copy("copy", source, mib(16), &capability)?.volume_id;
    let (staging, target) = (bed.staging("copy")?, bed.target("copy")?);
    client.stage(&copy, &staging, &capability)?;
    client.publish(&copy, (&staging, &target), &capability, false)?;
    ensure!(fs::read_to_string(format!("{target}/file"))? == left.volumes[0]);
    client.unpublish(&copy, &target)?;
    client.unstage(&copy, &staging)?;
    for id in left.volumes.iter().chain([&copy]) {
        client.delete_volume(id)?;
    }
    client.delete_snapshot(&left.snapshot)?;
    driver.stop()?;
    nothing_is_left(&bed)?;
    println!(
        "proof driver-resets: resets=1 acknowledged={} lost=0 leaked=0 suspended=0",
        left.volumes.len()
    );
    Ok(())
}
