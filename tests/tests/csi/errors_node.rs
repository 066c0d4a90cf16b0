//! Bad calls of the Node service: paths that are not kubelet's, volumes that are not there, steps in
//! the wrong order, and what contradicts an earlier call.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::Result;
use thinly_csi_wire::volume_capability::AccessType;
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_csi_wire::{VolumeCapability, volume_capability};
use thinly_tests::csi::{CsiBed, block, mount};
use thinly_tests::{gib, sh};
use tonic::Code;

use crate::support::{Judge, elsewhere, mib};

fn ext4() -> VolumeCapability {
    mount("ext4", Mode::SingleNodeWriter)
}

fn with_flag(flag: &str) -> VolumeCapability {
    let mount = volume_capability::MountVolume {
        fs_type: "ext4".to_owned(),
        mount_flags: vec![flag.to_owned()],
        ..Default::default()
    };
    VolumeCapability { access_type: Some(AccessType::Mount(mount)), ..ext4() }
}

/// Paths that nothing may be done at.
fn bad_paths(bed: &CsiBed) -> Result<Vec<String>> {
    let kubelet = bed.kubelet().display().to_string();
    fs::create_dir_all("/run/thinly-csi-outside")?;
    symlink("/run/thinly-csi-outside", bed.kubelet().join("link"))?;
    Ok(vec![
        "relative/path".to_owned(),
        "/run/thinly-csi-outside".to_owned(),
        "/".to_owned(),
        kubelet.clone(),
        format!("{kubelet}/pods/../../../../run/thinly-csi-outside"),
        format!("{kubelet}/./pods/x"),
        format!("{kubelet}//pods"),
        format!("{kubelet}/pods/"),
        format!("{kubelet}/link"),
        format!("{kubelet}/link/below"),
        format!("{kubelet}-other/x"),
    ])
}

#[test]
fn bad_paths_and_volumes_are_refused() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let id = client.volume("v", mib(16), &ext4())?.volume_id;
    let snapshot = client.create_snapshot(&id, "cut")?.snapshot_id;
    let (staging, empty) = (bed.staging("a")?, bed.staging("empty")?);
    let target = bed.target("a")?;
    client.stage(&id, &staging, &ext4())?;
    let paths = bad_paths(&bed)?;
    let mut judge = Judge::new(&bed, client)?;
    for path in &paths {
        let wanted = Code::InvalidArgument;
        judge.hear(&format!("stage at {path}"), wanted, client.stage(&id, path, &ext4()))?;
        judge.hear(&format!("unstage from {path}"), wanted, client.unstage(&id, path))?;
        let at = (staging.as_str(), path.as_str());
        judge.hear(
            &format!("publish at {path}"),
            wanted,
            client.publish(&id, at, &ext4(), false),
        )?;
        let at = (path.as_str(), target.as_str());
        judge.hear(
            &format!("publish of {path}"),
            wanted,
            client.publish(&id, at, &ext4(), false),
        )?;
        judge.hear(&format!("unpublish from {path}"), wanted, client.unpublish(&id, path))?;
        judge.hear(&format!("stats of {path}"), wanted, client.stats(&id, path))?;
        let expanded = client.expand_on_node(&id, path, &ext4());
        judge.hear(&format!("expansion at {path}"), wanted, expanded)?;
    }
    for absent in ["x", "../../dev/sda", &elsewhere("vol"), &snapshot] {
        let wanted = Code::NotFound;
        judge.hear(&format!("stage of {absent}"), wanted, client.stage(absent, &empty, &ext4()))?;
        let at = (empty.as_str(), target.as_str());
        let published = client.publish(absent, at, &ext4(), false);
        judge.hear(&format!("publish of {absent}"), wanted, published)?;
        judge.hear(&format!("stats of {absent}"), wanted, client.stats(absent, &staging))?;
        let expanded = client.expand_on_node(absent, &staging, &ext4());
        judge.hear(&format!("expansion of {absent}"), wanted, expanded)?;
        judge.hear(&format!("unstage of {absent}"), Code::Ok, client.unstage(absent, &empty))?;
        let occupied = client.unpublish(absent, &staging);
        judge.hear(&format!("unpublish of {absent}"), Code::FailedPrecondition, occupied)?;
    }
    judge.verdict()
}

#[test]
fn incomplete_calls_are_refused() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let id = client.volume("v", mib(16), &ext4())?.volume_id;
    let (staging, empty) = (bed.staging("a")?, bed.staging("empty")?);
    let target = bed.target("a")?;
    client.stage(&id, &staging, &ext4())?;
    let mut judge = Judge::new(&bed, client)?;
    let wanted = Code::InvalidArgument;
    judge.hear("stage without an id", wanted, client.stage("", &empty, &ext4()))?;
    judge.hear("stage without a path", wanted, client.stage(&id, "", &ext4()))?;
    judge.hear("unstage without an id", wanted, client.unstage("", &empty))?;
    judge.hear("unstage without a path", wanted, client.unstage(&id, ""))?;
    let at = (staging.as_str(), target.as_str());
    judge.hear("publish without an id", wanted, client.publish("", at, &ext4(), false))?;
    judge.hear(
        "publish without a target",
        wanted,
        client.publish(&id, (&staging, ""), &ext4(), false),
    )?;
    judge.hear("unpublish without an id", wanted, client.unpublish("", &target))?;
    judge.hear("unpublish without a path", wanted, client.unpublish(&id, ""))?;
    judge.hear("stats without an id", wanted, client.stats("", &staging))?;
    judge.hear("stats without a path", wanted, client.stats(&id, ""))?;
    judge.hear("expansion without an id", wanted, client.expand_on_node("", &staging, &ext4()))?;
    judge.hear("expansion without a path", wanted, client.expand_on_node(&id, "", &ext4()))?;
    let nothing = VolumeCapability::default();
    judge.hear("stage without a use", wanted, client.stage(&id, &empty, &nothing))?;
    judge.hear("publish without a use", wanted, client.publish(&id, at, &nothing, false))?;
    judge.hear("stats elsewhere", Code::NotFound, client.stats(&id, &empty))?;
    judge.hear("stats of nothing", Code::NotFound, client.stats(&id, &target))?;
    judge.hear(
        "expansion elsewhere",
        Code::NotFound,
        client.expand_on_node(&id, &empty, &ext4()),
    )?;
    judge.verdict()
}

#[test]
fn steps_in_the_wrong_order_are_refused() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let id = client.volume("v", mib(16), &ext4())?.volume_id;
    let (staging, empty) = (bed.staging("a")?, bed.staging("empty")?);
    let (target, other) = (bed.target("a")?, bed.target("other")?);
    let at = (staging.as_str(), target.as_str());
    let mut judge = Judge::new(&bed, client)?;
    let wanted = Code::FailedPrecondition;
    let published = client.publish(&id, at, &ext4(), false);
    judge.hear("publish before stage", wanted, published)?;
    let published = client.publish(&id, ("", &target), &ext4(), false);
    judge.hear("publish without staging", wanted, published)?;
    let missing = format!("{}/plugins/missing", bed.kubelet().display());
    judge.hear("stage at nothing", wanted, client.stage(&id, &missing, &ext4()))?;
    judge.hear("unstage before stage", Code::Ok, client.unstage(&id, &staging))?;
    judge.hear("unpublish before publish", Code::Ok, client.unpublish(&id, &target))?;
    judge.hear(
        "a flag nobody may set",
        Code::InvalidArgument,
        client.stage(&id, &staging, &with_flag("errors=panic")),
    )?;
    judge.verdict()?;

    client.stage(&id, &staging, &ext4())?;
    client.publish(&id, at, &ext4(), false)?;
    let mut judge = Judge::new(&bed, client)?;
    judge.hear("deletion of a published one", wanted, client.delete_volume(&id))?;
    judge.hear("unstage of a published one", wanted, client.unstage(&id, &staging))?;
    judge.hear("stage at a second place", wanted, client.stage(&id, &empty, &ext4()))?;
    let at_other = (empty.as_str(), other.as_str());
    let published = client.publish(&id, at_other, &ext4(), false);
    judge.hear("publish from a second place", wanted, published)?;
    judge.verdict()?;
    client.unpublish(&id, &target)?;
    client.unstage(&id, &staging)?;
    driver.stop()
}

#[test]
fn what_contradicts_an_earlier_call_is_refused() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let id = client.volume("v", mib(16), &ext4())?.volume_id;
    let single = mount("ext4", Mode::SingleNodeSingleWriter);
    let raw = block(Mode::SingleNodeWriter);
    let disk = client.volume("disk", mib(16), &raw)?.volume_id;
    let (staging, disk_staging, foreign) =
        (bed.staging("a")?, bed.staging("d")?, bed.staging("f")?);
    let (target, disk_target) = (bed.target("a")?, bed.target("d")?);
    let (second, occupied, full) = (bed.target("2")?, bed.target("o")?, bed.target("full")?);
    client.stage(&id, &staging, &ext4())?;
    client.publish(&id, (&staging, &target), &ext4(), false)?;
    client.stage(&disk, &disk_staging, &raw)?;
    client.publish(&disk, (&disk_staging, &disk_target), &raw, false)?;
    fs::create_dir(&occupied)?;
    sh(&format!("mount -t tmpfs none {occupied}; mount -t tmpfs none {foreign}"))?;
    fs::create_dir(&full)?;
    fs::write(format!("{full}/file"), "precious")?;

    let mut judge = Judge::new(&bed, client)?;
    let exists = Code::AlreadyExists;
    for other in [mount("xfs", Mode::SingleNodeWriter), with_flag("noatime"), raw.clone()] {
        judge.hear(&format!("stage as {other:?}"), exists, client.stage(&id, &staging, &other))?;
        let published = client.publish(&id, (&staging, &target), &other, false);
        judge.hear(&format!("publish as {other:?}"), exists, published)?;
    }
    let published = client.publish(&id, (&staging, &target), &ext4(), true);
    judge.hear("publish for reading", exists, published)?;
    let xfs = mount("xfs", Mode::SingleNodeWriter);
    let published = client.publish(&id, (&staging, &second), &xfs, false);
    judge.hear("publish of another filesystem", exists, published)?;
    judge.hear(
        "stage of a disk as a filesystem",
        exists,
        client.stage(&disk, &disk_staging, &ext4()),
    )?;
    let published = client.publish(&disk, (&disk_staging, &disk_target), &raw, true);
    judge.hear("publish of a disk for reading", exists, published)?;
    let wanted = Code::FailedPrecondition;
    let published = client.publish(&disk, (&disk_staging, &second), &ext4(), false);
    judge.hear("publish of a disk as a filesystem", wanted, published)?;
    judge.hear("unstage of a published disk", wanted, client.unstage(&disk, &disk_staging))?;
    let published = client.publish(&id, (&staging, &second), &single, false);
    judge.hear("a single writer at a second place", wanted, published)?;
    let published = client.publish(&id, (&staging, &occupied), &ext4(), false);
    judge.hear("publish on a mount", wanted, published)?;
    judge.hear("unpublish of a mount", wanted, client.unpublish(&id, &occupied))?;
    judge.hear("unpublish of files", wanted, client.unpublish(&id, &full))?;
    judge.hear("stage on a mount", wanted, client.stage(&id, &foreign, &ext4()))?;
    judge.hear("unstage of a mount", wanted, client.unstage(&id, &foreign))?;
    judge.hear("stats of a mount", Code::NotFound, client.stats(&id, &occupied))?;
    judge.hear("stats of another volume", Code::NotFound, client.stats(&disk, &target))?;
    judge.verdict()?;
    sh(&format!("umount {occupied} {foreign}"))?;
    Ok(())
}
