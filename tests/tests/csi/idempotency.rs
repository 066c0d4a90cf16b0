//! The same call ten times has one effect and one answer.

use std::fs;

use anyhow::{Result, ensure};
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_tests::csi::{CsiBed, block, from_snapshot, from_volume, mount};
use thinly_tests::gib;
use tonic::Status;

use crate::support::{mib, nothing_is_left};

/// The one answer of ten equal calls.
fn ten_times<T: PartialEq + std::fmt::Debug>(
    mut call: impl FnMut() -> Result<T, Status>,
) -> Result<T> {
    let first = call()?;
    for number in 2..=10 {
        let again = call()?;
        ensure!(again == first, "call {number}: {again:?}, before {first:?}");
    }
    Ok(first)
}

#[test]
fn every_call_may_be_repeated() -> Result<()> {
    let bed = CsiBed::new(&[gib(2)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let capability = mount("ext4", Mode::SingleNodeWriter);
    let (staging, target) = (bed.staging("a")?, bed.target("a")?);
    let id = ten_times(|| client.volume("v", mib(16), &capability))?.volume_id;
    ten_times(|| client.stage(&id, &staging, &capability))?;
    ten_times(|| client.publish(&id, (&staging, &target), &capability, false))?;
    fs::write(format!("{target}/file"), "kept")?;
    let snapshot = ten_times(|| client.create_snapshot(&id, "cut"))?.snapshot_id;
    let grown = ten_times(|| client.expand(&id, mib(32)))?;
    ensure!(grown.capacity_bytes == mib(32), "{grown:?}");
    ten_times(|| client.expand_on_node(&id, &target, &capability))?;
    let source = || from_snapshot(&snapshot);
    let restored = ten_times(|| client.copy("restored", source(), mib(16), &capability))?.volume_id;
    let cloned =
        ten_times(|| client.copy("cloned", from_volume(&id), mib(32), &capability))?.volume_id;
    let group = ten_times(|| client.create_group("both", &[&id, &cloned]))?;
    let members: Vec<&str> = group.snapshots.iter().map(|it| it.snapshot_id.as_str()).collect();
    ensure!(members.len() == 2, "{group:?}");
    ten_times(|| client.group(&group.group_snapshot_id, &members))?;
    ensure!(
        client.volumes()?.len() == 3 && client.snapshots()?.len() == 3,
        "a repetition made more"
    );
    ensure!(fs::read_to_string(format!("{target}/file"))? == "kept");
    ensure!(bed.mounts()?.len() == 2, "{:?}", bed.mounts()?);
    ten_times(|| client.unpublish(&id, &target))?;
    ten_times(|| client.unstage(&id, &staging))?;
    ten_times(|| client.delete_group(&group.group_snapshot_id, &members))?;
    ten_times(|| client.delete_snapshot(&snapshot))?;
    for id in [&id, &restored, &cloned] {
        ten_times(|| client.delete_volume(id))?;
    }
    // What was made once and deleted is made anew, and is not the old one.
    ensure!(client.volume("v", mib(16), &capability)?.volume_id != id);
    client.delete_volume(&client.volume("v", mib(16), &capability)?.volume_id)?;
    driver.stop()?;
    nothing_is_left(&bed)
}

#[test]
fn any_name_of_128_bytes_is_a_name() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let capability = block(Mode::SingleNodeWriter);
    let names = [
        "x".repeat(128),
        "\u{e4}".repeat(64),
        "\u{1f4be}".repeat(32),
        "../../etc/passwd".to_owned(),
        "/".to_owned(),
        ".".to_owned(),
        "..".to_owned(),
        " ".to_owned(),
        " leading and trailing ".to_owned(),
        "a/b c\\d'e\"f$(g)`h`;i|j&k".to_owned(),
        "-rf".to_owned(),
        "volume/x".to_owned(),
        "\u{202e}txet".to_owned(),
        "e\u{301}".to_owned(),
        "\u{e9}".to_owned(),
    ];
    let mut ids = Vec::new();
    for name in &names {
        let volume = client.volume(name, mib(4), &capability)?;
        let snapshot = client.create_snapshot(&volume.volume_id, name)?;
        let group = client.create_group(name, &[&volume.volume_id])?;
        ensure!(client.volume(name, mib(4), &capability)? == volume, "{name:?}: another volume");
        ensure!(client.create_snapshot(&volume.volume_id, name)? == snapshot, "{name:?}");
        ensure!(client.create_group(name, &[&volume.volume_id])? == group, "{name:?}");
        ensure!(snapshot.source_volume_id == volume.volume_id, "{snapshot:?}");
        ids.extend([volume.volume_id, snapshot.snapshot_id, group.group_snapshot_id]);
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    ensure!(ids.len() == count, "two names share an object");
    ensure!(ids.iter().all(|id| id.len() <= 128), "an identifier is too long");
    ensure!(client.volumes()?.len() == names.len());
    ensure!(client.snapshots()?.len() == 2 * names.len());
    driver.stop()
}

#[test]
fn a_source_that_is_gone_does_not_change_the_answer() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let capability = block(Mode::SingleNodeWriter);
    let id = client.volume("v", mib(16), &capability)?.volume_id;
    let snapshot = client.create_snapshot(&id, "cut")?;
    let source = || from_snapshot(&snapshot.snapshot_id);
    let copy = client.copy("copy", source(), mib(32), &capability)?;
    ensure!(copy.content_source == Some(source()), "the source is not told: {copy:?}");
    client.delete_volume(&id)?;
    ensure!(client.create_snapshot(&id, "cut")? == snapshot, "another snapshot");
    client.delete_snapshot(&snapshot.snapshot_id)?;
    ensure!(client.copy("copy", source(), mib(32), &capability)? == copy, "another copy");
    ensure!(client.volumes()? == [copy], "{:?}", client.volumes()?);
    driver.stop()
}
