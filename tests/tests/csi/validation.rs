//! What is confirmed of a volume is what the node then does with it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use thinly_csi_wire as wire;
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_csi_wire::volume_capability::{AccessType, MountVolume};
use thinly_csi_wire::{ValidateVolumeCapabilitiesRequest, VolumeCapability};
use thinly_tests::csi::{Client, CsiBed, block, from_volume, mount, range};
use thinly_tests::{gib, sh};
use tonic::Code;

use crate::support::{Judge, mib};

fn disk() -> VolumeCapability {
    block(Mode::SingleNodeWriter)
}

fn of(filesystem: &str) -> VolumeCapability {
    mount(filesystem, Mode::SingleNodeWriter)
}

fn with_flag(filesystem: &str, flag: &str) -> VolumeCapability {
    let mount = MountVolume {
        fs_type: filesystem.to_owned(),
        mount_flags: vec![flag.to_owned()],
        ..Default::default()
    };
    VolumeCapability { access_type: Some(AccessType::Mount(mount)), ..of(filesystem) }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// `None` when all of the request is confirmed, or why it is not.
fn refusal(client: &Client, request: ValidateVolumeCapabilitiesRequest) -> Result<Option<String>> {
    let asked = request.clone();
    let call = async { client.controller().validate_volume_capabilities(request).await };
    let answer = client.answer(call)?;
    let Some(confirmed) = answer.confirmed else {
        ensure!(!answer.message.is_empty(), "neither confirmed nor a reason: {asked:?}");
        return Ok(Some(answer.message));
    };
    ensure!(answer.message.is_empty(), "confirmed, and {:?}", answer.message);
    let all = confirmed.volume_capabilities == asked.volume_capabilities
        && confirmed.parameters == asked.parameters
        && confirmed.mutable_parameters == asked.mutable_parameters
        && confirmed.volume_context == asked.volume_context;
    ensure!(all, "{confirmed:?} of {asked:?}");
    Ok(None)
}

fn asking(id: &str, capability: &VolumeCapability) -> ValidateVolumeCapabilitiesRequest {
    ValidateVolumeCapabilitiesRequest {
        volume_id: id.to_owned(),
        volume_capabilities: vec![capability.clone()],
        ..Default::default()
    }
}

/// A volume and how it is asked for; with `None` it is confirmed, else the reason has this word.
type Case<'a> = (&'a str, VolumeCapability, Option<&'a str>);

/// What is said of each of them, and then done with a copy of it, is the same.
fn said_and_done(client: &Client, staging: &str, cases: &[Case<'_>]) -> Result<()> {
    for (number, (id, capability, wanted)) in cases.iter().enumerate() {
        let what = format!("{id} as {capability:?}");
        let said = refusal(client, asking(id, capability))?;
        ensure!(said.is_some() == wanted.is_some(), "{what}: {said:?}");
        if let (Some(said), Some(word)) = (&said, wanted) {
            ensure!(said.contains(word), "{what}: {said:?} without {word:?}");
        }
        let copy = client.copy(&format!("copy{number}"), from_volume(id), 0, &disk())?.volume_id;
        let staged = client.stage(&copy, staging, capability);
        ensure!(staged.is_err() == wanted.is_some(), "{what}: said {said:?}, done {staged:?}");
        client.unstage(&copy, staging)?;
        client.delete_volume(&copy)?;
    }
    Ok(())
}

#[test]
fn what_is_confirmed_can_be_staged_and_what_is_not_cannot() -> Result<()> {
    let bed = CsiBed::new(&[gib(2)], "    filesystem: xfs\n")?;
    let driver = bed.start()?;
    let client = driver.client();
    // As large as the least ext4 and too small for the other two.
    let small = client.volume("small", mib(16), &disk())?.volume_id;
    let large = client.volume("large", mib(320), &disk())?.volume_id;
    let used = client.volume("used", mib(320), &of("ext4"))?.volume_id;
    let staging = bed.staging("a")?;
    client.stage(&used, &staging, &of("ext4"))?;
    client.unstage(&used, &staging)?;
    let mut judge = Judge::new(&bed, client)?;
    said_and_done(
        client,
        &staging,
        &[
            (&small, disk(), None),
            (&small, of("ext4"), None),
            (&small, of("xfs"), Some("xfs needs")),
            (&small, of("btrfs"), Some("btrfs needs")),
            // The class's filesystem is what is taken when none is named.
            (&small, of(""), Some("xfs needs")),
            (&large, of(""), None),
            (&large, of("btrfs"), None),
            (&large, with_flag("", "inode64"), None),
            (&large, with_flag("", "commit=5"), Some("commit=5")),
            (&large, with_flag("ext4", "commit=5"), None),
            (&used, of("ext4"), None),
            (&used, of(""), None),
            (&used, with_flag("", "commit=5"), None),
            (&used, with_flag("", "inode64"), Some("inode64")),
            (&used, of("xfs"), Some("holds ext4")),
            (&used, disk(), None),
        ],
    )?;
    // Nothing is different after all of it.
    judge.hear("validation", Code::Ok, Ok(()))?;
    judge.verdict()?;
    driver.stop()
}

/// Nobody but its user knows what is on a volume that was handed out as a block device, until its
/// device is there to be looked at.
#[test]
fn of_a_used_block_device_only_what_is_seen_is_confirmed() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let id = client.volume("disk", mib(32), &disk())?.volume_id;
    let (staging, target) = (bed.staging("a")?, bed.target("a")?);
    ensure!(refusal(client, asking(&id, &of("ext4")))?.is_none(), "it is blank");
    client.stage(&id, &staging, &disk())?;
    client.publish(&id, (&staging, &target), &disk(), false)?;
    let said =
        refusal(client, asking(&id, &of("ext4")))?.context("confirmed without a filesystem")?;
    ensure!(said.contains("no filesystem that is known"), "{said}");
    sh(&format!("mkfs.ext4 -q -F {target}"))?;
    for (capability, wanted) in [(of("ext4"), true), (of("xfs"), false), (disk(), true)] {
        let said = refusal(client, asking(&id, &capability))?;
        ensure!(said.is_none() == wanted, "{capability:?}: {said:?}");
    }
    client.unpublish(&id, &target)?;
    client.unstage(&id, &staging)?;
    let said = refusal(client, asking(&id, &of("ext4")))?.context("confirmed unseen")?;
    ensure!(said.contains("not staged"), "{said}");
    ensure!(refusal(client, asking(&id, &disk()))?.is_none(), "a disk is no disk any more");
    client.stage(&id, &staging, &of("ext4"))?;
    ensure!(refusal(client, asking(&id, &of("ext4")))?.is_none(), "it is mounted so");
    client.unstage(&id, &staging)?;
    driver.stop()
}

const CLASS: &str = "thinly.dev/device-class";
const CLAIM: &str = "csi.storage.k8s.io/pvc/name";
const READ: &str = "thinly.dev/read-bytes-per-second";
const WRITE: &str = "thinly.dev/write-bytes-per-second";

#[test]
fn parameters_are_those_that_the_volume_was_made_with() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let named = client.create_volume(wire::CreateVolumeRequest {
        name: "named".to_owned(),
        capacity_range: range(mib(16)),
        volume_capabilities: vec![of("ext4")],
        parameters: map(&[(CLASS, "main"), (CLAIM, "data")]),
        mutable_parameters: map(&[(READ, "1048576")]),
        ..Default::default()
    })?;
    let plain = client.volume("plain", mib(16), &of("ext4"))?;
    let (named, plain) = (named.volume_id.as_str(), plain.volume_id.as_str());
    let no = map(&[]);
    let mut judge = Judge::new(&bed, client)?;
    for (id, parameters, mutable, context, wanted) in [
        (named, map(&[(CLASS, "main"), (CLAIM, "data")]), map(&[(READ, "1048576")]), &no, None),
        (named, map(&[(CLASS, "main")]), no.clone(), &no, None),
        (named, map(&[(CLASS, "other")]), no.clone(), &no, Some("\"other\"")),
        (named, map(&[(CLAIM, "else")]), no.clone(), &no, Some("\"else\"")),
        (named, map(&[("thinly.dev/x", "y")]), no.clone(), &no, Some("not known")),
        (named, no.clone(), map(&[(READ, "7")]), &no, Some("\"1048576\"")),
        (named, no.clone(), map(&[(READ, "max")]), &no, Some("\"1048576\"")),
        (named, no.clone(), map(&[(WRITE, "max")]), &no, None),
        (named, no.clone(), map(&[(WRITE, "7")]), &no, Some("\"max\"")),
        (named, no.clone(), map(&[("speed", "7")]), &no, Some("not known")),
        (named, no.clone(), no.clone(), &map(&[("a", "b")]), Some("volume_context")),
        (plain, map(&[(CLASS, "main")]), map(&[(READ, "max")]), &no, None),
        (plain, map(&[(CLASS, "other")]), no.clone(), &no, Some("\"main\"")),
        (plain, no.clone(), map(&[(READ, "1048576")]), &no, Some("\"max\"")),
    ] {
        let request = ValidateVolumeCapabilitiesRequest {
            parameters,
            mutable_parameters: mutable,
            volume_context: context.clone(),
            ..asking(id, &of("ext4"))
        };
        let said = refusal(client, request.clone())?;
        let is_so = match (&said, wanted) {
            (Some(said), Some(word)) => said.contains(word),
            (said, wanted) => said.is_none() && wanted.is_none(),
        };
        ensure!(is_so, "{request:?}: {said:?}, wanted {wanted:?}");
    }
    // Nothing is different after all of it.
    judge.hear("validation", Code::Ok, Ok(()))?;
    judge.verdict()?;
    // What was changed since is what counts.
    let request = wire::ControllerModifyVolumeRequest {
        volume_id: named.to_owned(),
        mutable_parameters: map(&[(READ, "max")]),
        ..Default::default()
    };
    client.answer(async { client.controller().controller_modify_volume(request).await })?;
    let changed = ValidateVolumeCapabilitiesRequest {
        mutable_parameters: map(&[(READ, "max")]),
        ..asking(named, &of("ext4"))
    };
    ensure!(refusal(client, changed)?.is_none());
    driver.stop()
}
