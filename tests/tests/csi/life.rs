//! The whole life of volumes, snapshots and copies, as a cluster drives it.

use std::fs;

use anyhow::{Result, ensure};
use thinly_csi_wire as wire;
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_tests::csi::{CsiBed, block, code, from_snapshot, mount};
use thinly_tests::{gib, mib};
use tonic::Code;

fn a_whole_life(filesystem: &str) -> Result<()> {
    let bed = CsiBed::new(&[gib(4)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let capability = mount(filesystem, Mode::SingleNodeWriter);
    let bytes = i64::try_from(mib(512))?;

    let volume = client.volume("pvc-1", bytes, &capability)?;
    ensure!(volume.capacity_bytes == bytes, "{volume:?}");
    ensure!(client.volume("pvc-1", bytes, &capability)? == volume, "the same name, another volume");
    let (id, staging, target) = (&volume.volume_id, bed.staging("a")?, bed.target("a")?);
    for _ in 0..2 {
        client.stage(id, &staging, &capability)?;
    }
    for _ in 0..2 {
        client.publish(id, (&staging, &target), &capability, false)?;
    }
    fs::write(format!("{target}/file"), "before")?;

    let snapshot = client.create_snapshot(id, "snap-1")?;
    ensure!(snapshot.ready_to_use && snapshot.creation_time.is_some(), "{snapshot:?}");
    fs::write(format!("{target}/file"), "after")?;
    ensure!(client.create_snapshot(id, "snap-1")? == snapshot, "a second snapshot of one name");

    let source = from_snapshot(&snapshot.snapshot_id);
    let copy = client.copy("pvc-2", source, 2 * bytes, &capability)?;
    let (copy_staging, copy_target) = (bed.staging("b")?, bed.target("b")?);
    client.stage(&copy.volume_id, &copy_staging, &capability)?;
    client.publish(&copy.volume_id, (&copy_staging, &copy_target), &capability, true)?;
    ensure!(fs::read_to_string(format!("{copy_target}/file"))? == "before");
    ensure!(
        fs::write(format!("{copy_target}/file"), "x").is_err(),
        "a read-only publish was written"
    );
    ensure!(fs::read_to_string(format!("{target}/file"))? == "after");
    let total = |path: &str, id: &str| -> Result<i64> { Ok(client.stats(id, path)?[0].total) };
    ensure!(total(&copy_target, &copy.volume_id)? > bytes, "the copy was not grown to its size");

    let before = total(&target, id)?;
    ensure!(client.expand(id, 2 * bytes)?.node_expansion_required);
    client.expand_on_node(id, &target, &capability)?;
    ensure!(total(&target, id)? > before, "the filesystem did not grow");
    ensure!(fs::read_to_string(format!("{target}/file"))? == "after");

    for (id, staging, target) in
        [(id, &staging, &target), (&copy.volume_id, &copy_staging, &copy_target)]
    {
        for _ in 0..2 {
            client.unpublish(id, target)?;
        }
        ensure!(!fs::exists(target)?, "the target is still there");
        for _ in 0..2 {
            client.unstage(id, staging)?;
        }
        for _ in 0..2 {
            client.delete_volume(id)?;
        }
    }
    // The snapshot outlives its source.
    ensure!(client.create_snapshot(id, "snap-1")? == snapshot, "the snapshot went with its source");
    client.delete_snapshot(&snapshot.snapshot_id)?;
    ensure!(bed.mounts()?.is_empty(), "left: {:?}", bed.mounts()?);
    driver.stop()
}

#[test]
fn a_whole_life_on_ext4() -> Result<()> {
    a_whole_life("ext4")
}

#[test]
fn a_whole_life_on_xfs() -> Result<()> {
    a_whole_life("xfs")
}

#[test]
fn a_whole_life_on_btrfs() -> Result<()> {
    a_whole_life("btrfs")
}

#[test]
fn a_whole_life_as_a_block_device() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let capability = block(Mode::SingleNodeWriter);
    let bytes = i64::try_from(mib(64))?;
    let volume = client.volume("disk", bytes, &capability)?;
    let (id, staging) = (&volume.volume_id, bed.staging("a")?);
    client.stage(id, &staging, &capability)?;
    let (writable, readable) = (bed.target("w")?, bed.target("r")?);
    client.publish(id, (&staging, &writable), &capability, false)?;
    client.publish(id, (&staging, &readable), &capability, true)?;
    client.publish(id, (&staging, &readable), &capability, true)?;
    fs::write(&writable, "bytes")?;
    // Until then they are in memory, and take nothing of the pool.
    fs::File::open(&writable)?.sync_all()?;
    ensure!(fs::write(&readable, "x").is_err(), "a read-only publish was written");
    let usage = client.stats(id, &writable)?;
    ensure!(usage[0].total == bytes && usage[0].used > 0, "{usage:?}");
    ensure!(!client.expand(id, 2 * bytes)?.node_expansion_required);
    ensure!(client.stats(id, &writable)?[0].total == 2 * bytes);
    for target in [&writable, &readable] {
        client.unpublish(id, target)?;
        ensure!(!fs::exists(target)?, "the target is still there");
    }
    client.unstage(id, &staging)?;
    client.delete_volume(id)?;
    driver.stop()
}

/// A driver may be killed between the mount of a larger copy and the growth of its filesystem.
#[test]
fn a_repeated_stage_finishes_the_growth() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let capability = mount("ext4", Mode::SingleNodeWriter);
    let bytes = i64::try_from(mib(64))?;
    let id = client.volume("grows", bytes, &capability)?.volume_id;
    let staging = bed.staging("a")?;
    client.stage(&id, &staging, &capability)?;
    client.expand(&id, 4 * bytes)?;
    ensure!(client.stats(&id, &staging)?[0].total < bytes, "it grew by itself");
    client.stage(&id, &staging, &capability)?;
    ensure!(client.stats(&id, &staging)?[0].total > 2 * bytes, "it was not grown");
    client.unstage(&id, &staging)?;
    client.delete_volume(&id)?;
    driver.stop()
}

/// As in a cluster of many nodes, where nobody asks the Controller.
#[test]
fn a_volume_grows_by_the_call_of_its_node_alone() -> Result<()> {
    let bed = CsiBed::new(&[gib(2)], "")?;
    let driver = bed.start_with(&["--node-expansion"])?;
    let client = driver.client();
    let bytes = i64::try_from(mib(512))?;
    let on_ext4 = mount("ext4", Mode::SingleNodeWriter);
    for (name, capability) in [("files", &on_ext4), ("disk", &block(Mode::SingleNodeWriter))] {
        let volume = client.volume(name, bytes, capability)?;
        let (id, staging, target) = (&volume.volume_id, bed.staging(name)?, bed.target(name)?);
        client.stage(id, &staging, capability)?;
        client.publish(id, (&staging, &target), capability, false)?;
        let before = client.stats(id, &target)?[0].total;
        let asked = client.expand(id, 2 * bytes);
        ensure!(code(&asked) == Code::Unimplemented, "{asked:?}");
        let capacity = wire::CapacityRange { required_bytes: 2 * bytes, limit_bytes: 0 };
        let request = wire::NodeExpandVolumeRequest {
            volume_id: id.to_owned(),
            volume_path: target.clone(),
            capacity_range: Some(capacity),
            volume_capability: Some(capability.clone()),
            ..Default::default()
        };
        let grown = client.answer(async { client.node().node_expand_volume(request).await })?;
        ensure!(grown.capacity_bytes == 2 * bytes, "{grown:?}");
        // What ext4 keeps for itself is not told.
        ensure!(client.stats(id, &target)?[0].total > before + bytes / 2, "{name} did not grow");
    }
    driver.stop()
}
