//! Every access mode that a volume on local disks can be used in, and growth however it is used.

use std::fs::{self, File};
use std::io::Write;

use anyhow::{Context, Result, ensure};
use thinly_csi_wire as wire;
use thinly_csi_wire::VolumeCapability;
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_tests::csi::{Client, CsiBed, block, code, mount, range};
use thinly_tests::{gib, sh};
use tonic::Code;

use crate::support::{Judge, active_devices, mib, nothing_is_left};

const READERS: [Mode; 2] = [Mode::SingleNodeReaderOnly, Mode::MultiNodeReaderOnly];

fn ext4(mode: Mode) -> VolumeCapability {
    mount("ext4", mode)
}

/// Where data is: the published device, or a file in the published directory.
fn place(target: &str, capability: &VolumeCapability) -> String {
    let is_mount = capability
        .access_type
        .as_ref()
        .is_some_and(|access| matches!(access, wire::volume_capability::AccessType::Mount(_)));
    if is_mount { format!("{target}/file") } else { target.to_owned() }
}

/// Writes and waits until the device has it; through a device's node nothing is created.
fn write(path: &str, text: &str) -> Result<()> {
    let mut file = File::options().write(true).create(true).truncate(false).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(file.sync_all()?)
}

fn begins_with(path: &str, text: &str) -> Result<bool> {
    let mut begin = vec![0; text.len()];
    std::io::Read::read_exact(&mut File::open(path)?, &mut begin)?;
    Ok(begin == text.as_bytes())
}

/// Stages as this use, publishes at both targets, and gives what `work` gives.
fn used_at_two<T>(
    (bed, client, id): (&CsiBed, &Client, &str),
    capability: &VolumeCapability,
    work: impl FnOnce(&str, [&str; 2]) -> Result<T>,
) -> Result<T> {
    let (staging, one, two) = (bed.staging("m")?, bed.target("one")?, bed.target("two")?);
    client.stage(id, &staging, capability)?;
    for target in [&one, &two] {
        client.publish(id, (&staging, target), capability, false)?;
        // A repetition is no second place.
        client.publish(id, (&staging, target), capability, false)?;
    }
    let done = work(&staging, [&one, &two])?;
    for target in [&one, &two] {
        client.unpublish(id, target)?;
    }
    client.unstage(id, &staging)?;
    Ok(done)
}

fn modes_are_honoured(access: fn(Mode) -> VolumeCapability) -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let id = client.volume("v", mib(32), &access(Mode::SingleNodeMultiWriter))?.volume_id;
    for mode in [Mode::SingleNodeMultiWriter, Mode::SingleNodeWriter] {
        let capability = access(mode);
        used_at_two((&bed, client, &id), &capability, |staging, targets| {
            for (target, other) in [(targets[0], targets[1]), (targets[1], targets[0])] {
                write(&place(target, &capability), target)?;
                ensure!(begins_with(&place(other, &capability), target)?, "{mode:?} at {other}");
            }
            // What is staged for writing is not turned into what nobody may write.
            let mut judge = Judge::new(&bed, client)?;
            for reader in READERS {
                let staged = client.stage(&id, staging, &access(reader));
                judge.hear(&format!("stage as {reader:?}"), Code::AlreadyExists, staged)?;
            }
            judge.verdict()
        })?;
    }
    let last = bed.target("two")?;
    for mode in READERS {
        let capability = access(mode);
        used_at_two((&bed, client, &id), &capability, |staging, targets| {
            for target in targets {
                let place = place(target, &capability);
                ensure!(begins_with(&place, &last)?, "{mode:?}: other data");
                ensure!(write(&place, "spoilt").is_err(), "{mode:?}: it was written");
            }
            let (writer, third) = (access(Mode::SingleNodeWriter), bed.target("three")?);
            let mut judge = Judge::new(&bed, client)?;
            let published = client.publish(&id, (staging, &third), &writer, false);
            judge.hear("publish for writing", Code::FailedPrecondition, published)?;
            judge.hear(
                "stage for writing",
                Code::AlreadyExists,
                client.stage(&id, staging, &writer),
            )?;
            judge.verdict()?;
            client.publish(&id, (staging, &third), &writer, true)?;
            Ok(client.unpublish(&id, &third)?)
        })?;
    }
    client.delete_volume(&id)?;
    driver.stop()?;
    nothing_is_left(&bed)
}

#[test]
fn every_mode_is_honoured_by_a_mount() -> Result<()> {
    modes_are_honoured(ext4)
}

#[test]
fn every_mode_is_honoured_by_a_block_device() -> Result<()> {
    modes_are_honoured(block)
}

/// The code that the specification has for a use that exceeds a volume which is there.
#[test]
fn modes_that_exceed_the_volume_are_refused_on_the_node() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    for (name, access) in [("a", ext4 as fn(Mode) -> _), ("b", block)] {
        let id = client.volume(name, mib(16), &access(Mode::SingleNodeWriter))?.volume_id;
        let (staging, empty) = (bed.staging(name)?, bed.staging("empty")?);
        let target = bed.target(name)?;
        client.stage(&id, &staging, &access(Mode::SingleNodeWriter))?;
        let mut judge = Judge::new(&bed, client)?;
        for (mode, wanted) in [
            (Mode::MultiNodeSingleWriter, Code::FailedPrecondition),
            (Mode::MultiNodeMultiWriter, Code::FailedPrecondition),
            (Mode::Unknown, Code::InvalidArgument),
        ] {
            let staged = client.stage(&id, &empty, &access(mode));
            judge.hear(&format!("stage as {mode:?}"), wanted, staged)?;
            let published = client.publish(&id, (&staging, &target), &access(mode), false);
            judge.hear(&format!("publish as {mode:?}"), wanted, published)?;
        }
        judge.verdict()?;
        client.unstage(&id, &staging)?;
    }
    driver.stop()
}

fn device_bytes(target: &str) -> Result<i64> {
    Ok(sh(&format!("blockdev --getsize64 {target}"))?.trim().parse()?)
}

#[test]
fn a_block_volume_grows_wherever_it_is_published() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let capability = block(Mode::SingleNodeWriter);
    let id = client.volume("disk", mib(16), &capability)?.volume_id;
    used_at_two((&bed, client, &id), &capability, |staging, [writable, _]| {
        let readable = bed.target("readable")?;
        client.publish(&id, (staging, &readable), &capability, true)?;
        let grown = client.expand(&id, mib(32))?;
        ensure!(grown.capacity_bytes == mib(32) && !grown.node_expansion_required, "{grown:?}");
        for target in [writable, &readable] {
            ensure!(device_bytes(target)? == mib(32), "{target}: {}", device_bytes(target)?);
            let grown = client.expand_on_node(&id, target, &capability)?;
            ensure!(grown.capacity_bytes == mib(32), "{target}: {grown:?}");
        }
        // A cluster that asks the node alone; the volume is not grown by a call that is refused.
        let ask = |path: &str, bytes| {
            let request = wire::NodeExpandVolumeRequest {
                volume_id: id.clone(),
                volume_path: path.to_owned(),
                capacity_range: range(bytes),
                volume_capability: Some(capability.clone()),
                ..Default::default()
            };
            client.answer(async { client.node().node_expand_volume(request).await })
        };
        let elsewhere = bed.staging("elsewhere")?;
        let mut judge = Judge::new(&bed, client)?;
        judge.hear("growth elsewhere", Code::NotFound, ask(&elsewhere, mib(48)))?;
        judge.verdict()?;
        ensure!(ask(&readable, mib(48))?.capacity_bytes == mib(48));
        for target in [writable, &readable] {
            ensure!(device_bytes(target)? == mib(48), "{target}: {}", device_bytes(target)?);
        }
        let known = client.volumes()?.pop().context("no volume")?;
        ensure!(known.capacity_bytes == mib(48), "{known:?}");
        ensure!(active_devices(&bed)?.len() == 2, "{:?}", active_devices(&bed)?);
        client.unpublish(&id, &readable)?;
        // The device for reading goes with the last who reads.
        ensure!(active_devices(&bed)?.len() == 1, "{:?}", active_devices(&bed)?);
        Ok(())
    })?;
    driver.stop()
}

/// A pod has the volume for reading; the filesystem grows all the same, by the staged mount.
fn grows_behind_a_reader(filesystem: &str) -> Result<()> {
    let bed = CsiBed::new(&[gib(4)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let capability = mount(filesystem, Mode::SingleNodeWriter);
    let id = client.volume("v", mib(400), &capability)?.volume_id;
    let (staging, target) = (bed.staging("a")?, bed.target("a")?);
    let total = |path: &str| -> Result<i64> { Ok(client.stats(&id, path)?[0].total) };
    client.stage(&id, &staging, &capability)?;
    client.publish(&id, (&staging, &target), &capability, true)?;
    client.expand(&id, mib(600))?;
    ensure!(total(&target)? < mib(500), "it grew by itself");
    client.expand_on_node(&id, &target, &capability)?;
    ensure!(total(&target)? > mib(500), "it did not grow: {}", total(&target)?);
    ensure!(fs::write(format!("{target}/file"), "x").is_err(), "the publish became writable");
    client.unpublish(&id, &target)?;
    client.unstage(&id, &staging)?;

    // Staged for reading, nothing may be changed: it waits for the next staging.
    let reader = mount(filesystem, Mode::SingleNodeReaderOnly);
    client.stage(&id, &staging, &reader)?;
    client.publish(&id, (&staging, &target), &reader, false)?;
    client.expand_on_node(&id, &target, &reader)?;
    client.expand(&id, mib(800))?;
    let refused = client.expand_on_node(&id, &target, &reader);
    ensure!(code(&refused) == Code::FailedPrecondition, "{refused:?}");
    ensure!(total(&target)? < mib(700), "it grew while it was staged for reading");
    client.unpublish(&id, &target)?;
    client.unstage(&id, &staging)?;
    client.stage(&id, &staging, &reader)?;
    ensure!(total(&staging)? > mib(700), "it did not grow: {}", total(&staging)?);
    ensure!(fs::write(format!("{staging}/file"), "x").is_err(), "it is staged for writing");
    client.unstage(&id, &staging)?;
    client.delete_volume(&id)?;
    driver.stop()
}

#[test]
fn ext4_grows_behind_a_reader() -> Result<()> {
    grows_behind_a_reader("ext4")
}

#[test]
fn xfs_grows_behind_a_reader() -> Result<()> {
    grows_behind_a_reader("xfs")
}

#[test]
fn btrfs_grows_behind_a_reader() -> Result<()> {
    grows_behind_a_reader("btrfs")
}
