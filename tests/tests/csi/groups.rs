//! A group snapshot of volumes that are being written: one instant for all of them.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use thinly_csi_wire as wire;
use thinly_csi_wire::VolumeCapability;
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_tests::csi::{Client, CsiBed, block, code, from_snapshot, mount, range};
use thinly_tests::{Disks, gib};
use tonic::Code;

use crate::support::{Judge, mib, nothing_is_left};

/// Stages and publishes under a name.
fn put(
    bed: &CsiBed,
    client: &Client,
    (id, name): (&str, &str),
    capability: &VolumeCapability,
) -> Result<(String, String)> {
    let (staging, target) = (bed.staging(name)?, bed.target(name)?);
    client.stage(id, &staging, capability)?;
    client.publish(id, (&staging, &target), capability, false)?;
    Ok((staging, target))
}

/// Writes each number to the first file and then, when that is durable, to the second.
fn count(files: &[File; 2], written: &AtomicU64, stop: &AtomicBool) -> Result<()> {
    for number in 1_u64.. {
        for file in files {
            file.write_all_at(&number.to_le_bytes(), 0)?;
            file.sync_data()?;
        }
        written.store(number, Ordering::SeqCst);
        if stop.load(Ordering::SeqCst) {
            break;
        }
    }
    Ok(())
}

fn number_in(path: &str) -> Result<u64> {
    let bytes = fs::read(path)?;
    Ok(u64::from_le_bytes(bytes[..8].try_into()?))
}

#[test]
fn a_group_of_busy_volumes_is_one_instant() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let capability = mount("ext4", Mode::SingleNodeWriter);
    let sources = [
        client.volume("data", mib(32), &capability)?.volume_id,
        client.volume("log", mib(32), &capability)?.volume_id,
    ];
    let (data, log) = (
        put(&bed, client, (&sources[0], "data"), &capability)?,
        put(&bed, client, (&sources[1], "log"), &capability)?,
    );
    let open = |target: &str| -> Result<File> {
        let mut file = File::create_new(format!("{target}/number"))?;
        file.write_all(&[0; 4096])?;
        file.sync_all()?;
        Ok(file)
    };
    let files = [open(&data.1)?, open(&log.1)?];
    let (written, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let ids = [sources[0].as_str(), sources[1].as_str()];
    let mut groups = Vec::new();
    thread::scope(|scope| -> Result<()> {
        let writer = scope.spawn(|| count(&files, &written, &stop));
        let taken = (0..3).try_for_each(|round| -> Result<()> {
            let from = written.load(Ordering::SeqCst);
            while written.load(Ordering::SeqCst) < from + 3 && !writer.is_finished() {
                thread::yield_now();
            }
            let before = written.load(Ordering::SeqCst);
            groups.push((before, client.create_group(&format!("group{round}"), &ids)?));
            Ok(())
        });
        stop.store(true, Ordering::SeqCst);
        writer.join().unwrap()?;
        taken
    })?;
    drop(files);
    for (round, (before, group)) in groups.iter().enumerate() {
        let mut numbers = Vec::new();
        for source in &ids {
            let member = group.snapshots.iter().find(|it| it.source_volume_id == *source);
            let member = member.context("a source without a member")?;
            ensure!(member.group_snapshot_id == group.group_snapshot_id, "{member:?}");
            let name = format!("copy{round}-{}", numbers.len());
            let from = from_snapshot(&member.snapshot_id);
            let copy = client.copy(&name, from, mib(32), &capability)?.volume_id;
            let (staging, target) = put(&bed, client, (&copy, &name), &capability)?;
            numbers.push(number_in(&format!("{target}/number"))?);
            client.unpublish(&copy, &target)?;
            client.unstage(&copy, &staging)?;
            client.delete_volume(&copy)?;
        }
        // The second is written behind the first: it may lag by one number and never leads.
        let (first, second) = (numbers[0], numbers[1]);
        ensure!(first == second || first == second + 1, "{round}: {first} and {second}");
        ensure!(second >= *before, "{round}: {second}, but {before} was durable before the call");
    }
    for (id, (staging, target)) in ids.into_iter().zip([data, log]) {
        client.unpublish(id, &target)?;
        client.unstage(id, &staging)?;
        client.delete_volume(id)?;
    }
    for (_, group) in &groups {
        let members: Vec<&str> = group.snapshots.iter().map(|it| it.snapshot_id.as_str()).collect();
        client.delete_group(&group.group_snapshot_id, &members)?;
    }
    driver.stop()?;
    nothing_is_left(&bed)
}

#[test]
fn a_group_lives_and_goes_as_one() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let capability = block(Mode::SingleNodeWriter);
    let one = client.volume("one", mib(8), &capability)?.volume_id;
    let other = client.volume("other", mib(16), &capability)?.volume_id;
    let group = client.create_group("both", &[&one, &other])?;
    // The order in which a group's volumes are named is no difference.
    ensure!(client.create_group("both", &[&other, &one])? == group, "another group");
    let members: Vec<&str> = group.snapshots.iter().map(|it| it.snapshot_id.as_str()).collect();
    let id = group.group_snapshot_id.as_str();
    ensure!(group.ready_to_use && group.creation_time.is_some(), "{group:?}");
    ensure!(client.group(id, &[members[1], members[0]])? == group);
    for member in &members {
        ensure!(code(&client.delete_snapshot(member)) == Code::InvalidArgument);
    }
    ensure!(code(&client.delete_group(id, &members[..1])) == Code::InvalidArgument);
    ensure!(client.group(id, &members)? == group, "a refused deletion took something away");
    let copy = client.copy("copy", from_snapshot(members[0]), mib(16), &capability)?.volume_id;
    client.delete_group(id, &members)?;
    ensure!(code(&client.group(id, &members)) == Code::NotFound);
    ensure!(client.snapshots()?.is_empty(), "{:?}", client.snapshots()?);
    // The name is free, and the copy outlives what it was made from.
    let again = client.create_group("both", &[&one])?;
    ensure!(again.group_snapshot_id != id && again.snapshots.len() == 1, "{again:?}");
    client.delete_group(&again.group_snapshot_id, &[&again.snapshots[0].snapshot_id])?;
    for id in [&one, &other, &copy] {
        client.delete_volume(id)?;
    }
    driver.stop()?;
    nothing_is_left(&bed)
}

/// Nothing can stop the writes of two pools at one instant.
#[test]
fn volumes_of_two_pools_are_no_group() -> Result<()> {
    let disks = Disks::new(&[gib(1), gib(1)])?;
    let (one, two) = (disks.paths()[0].clone(), disks.paths()[1].display().to_string());
    let bed = CsiBed::on(&[one], "")?;
    let text = fs::read_to_string(bed.config())?;
    bed.configure(&format!(
        "{text}  - name: second\n    pool: {}-2\n    devices: [{two}]\n    create: if-empty\n",
        bed.pool()
    ))?;
    let driver = bed.start()?;
    let client = driver.client();
    let make = |name: &str, class: &str| {
        client.create_volume(wire::CreateVolumeRequest {
            name: name.to_owned(),
            capacity_range: range(mib(8)),
            volume_capabilities: vec![block(Mode::SingleNodeWriter)],
            parameters: [("thinly.dev/device-class".to_owned(), class.to_owned())].into(),
            ..Default::default()
        })
    };
    let first = [make("a", "main")?.volume_id, make("b", "main")?.volume_id];
    let second = make("c", "second")?.volume_id;
    let mut judge = Judge::new(&bed, client)?;
    for sources in [[&first[0], &second], [&second, &first[0]]] {
        let refused = client.create_group("mixed", &sources.map(String::as_str));
        let said = refused.as_ref().err().map(|status| status.message().to_owned());
        let names_both = said.is_some_and(|said| {
            said.contains(&format!("{} ", bed.pool()))
                && said.contains(&format!("{}-2", bed.pool()))
        });
        ensure!(names_both, "{refused:?}");
        judge.hear("a group of two pools", Code::FailedPrecondition, refused)?;
    }
    judge.verdict()?;
    // The name is free: the refused call left nothing by it.
    let group = client.create_group("mixed", &[&first[0], &first[1]])?;
    let members: Vec<&str> = group.snapshots.iter().map(|it| it.snapshot_id.as_str()).collect();
    ensure!(members.len() == 2, "{group:?}");
    client.delete_group(&group.group_snapshot_id, &members)?;
    driver.stop()
}
