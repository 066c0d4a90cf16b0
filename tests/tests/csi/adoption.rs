//! Volumes that were made or kept without a cluster, handed to the driver and taken back.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_engine::catalogue::{Content, VolumeName};
use thinly_engine::pool::Engine;
use thinly_tests::csi::{Client, CsiBed, code, mount};
use thinly_tests::{gib, sh};
use tonic::Code;

use crate::support::{mib, nothing_is_left};

fn thinly(arguments: &str) -> Result<Value> {
    Ok(serde_json::from_str(&sh(&format!("thinly --json {arguments}"))?)?)
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("{value} is no text"))
}

/// Runs this on the volume's filesystem, mounted by hand in the directory that it runs in.
fn by_hand(path: &str, prepare: &str, work: &str) -> Result<String> {
    let active = thinly(&format!("volume activate {path}"))?;
    let (device, place) = (text(&active["device"])?, tempfile::tempdir()?);
    let place = place.path().display();
    let prepare = prepare.replace('@', device);
    let told =
        sh(&format!("{prepare} mount {device} {place}; (cd {place}; {work}); umount {place}"))?;
    thinly(&format!("volume deactivate {path}"))?;
    Ok(told)
}

/// How `thinly audit` ends when it gets these handles.
fn audit(bed: &CsiBed, handles: &[String]) -> Result<String> {
    let lines = handles.join("\n");
    let verb = format!("thinly audit {} --handles -", bed.pool());
    sh(&format!("if echo '{lines}' | {verb} > /dev/null; then echo same; else echo $?; fi"))
}

fn listed(client: &Client) -> Result<Vec<String>> {
    Ok(client.volumes()?.into_iter().map(|volume| volume.volume_id).collect())
}

#[test]
fn a_volume_of_the_command_line_is_adopted_used_and_forgotten() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    bed.start()?.stop()?;
    let path = format!("{}/web", bed.pool());
    thinly(&format!("volume create {path} --size 128M"))?;
    by_hand(&path, "mkfs.ext4 -q @;", "echo monday > told")?;
    let adopted = thinly(&format!("adopt {path} --node n1 --pv-name web"))?;
    let (id, spec) = (text(&adopted["handle"])?, &adopted["manifest"]["spec"]);

    let driver = bed.start()?;
    let client = driver.client();
    let volume = client.volumes()?.pop().context("the driver does not list it")?;
    ensure!(volume.volume_id == id, "{volume:?}");
    ensure!(volume.capacity_bytes.to_string() == text(&spec["capacity"]["storage"])?, "{spec}");
    let terms = &spec["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0];
    let topology = &volume.accessible_topology[0].segments;
    ensure!(topology.get(text(&terms["key"])?).is_some_and(|node| terms["values"][0] == **node));
    let capability = mount(text(&spec["csi"]["fsType"])?, Mode::SingleNodeWriter);
    let (staging, target) = (bed.staging("a")?, bed.target("a")?);
    client.stage(id, &staging, &capability)?;
    client.publish(id, (&staging, &target), &capability, false)?;
    ensure!(fs::read_to_string(format!("{target}/told"))? == "monday\n");
    fs::write(format!("{target}/pod"), "tuesday")?;
    let before = client.stats(id, &target)?[0].total;
    ensure!(client.expand(id, mib(256))?.node_expansion_required, "it is taken for a device");
    client.expand_on_node(id, &target, &capability)?;
    ensure!(client.stats(id, &target)?[0].total > before, "the filesystem did not grow");
    ensure!(audit(&bed, &listed(client)?)? == "same");
    client.unpublish(id, &target)?;
    client.unstage(id, &staging)?;
    driver.stop()?;

    thinly(&format!("forget {path}"))?;
    let driver = bed.start()?;
    let client = driver.client();
    ensure!(listed(client)?.is_empty(), "it is still listed");
    let refused = client.stage(id, &staging, &capability);
    ensure!(code(&refused) == Code::NotFound, "{refused:?}");
    ensure!(audit(&bed, &[id.to_owned()])? == "11");
    ensure!(audit(&bed, &[])? == "same");
    driver.stop()?;
    ensure!(by_hand(&path, "", "cat told pod")? == "monday\ntuesday");
    thinly(&format!("volume delete {path}"))?;
    nothing_is_left(&bed)
}

/// What a claim left behind: it is known to the driver again under the old handle.
#[test]
fn a_volume_that_outlived_its_claim_is_adopted_again() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let capability = mount("xfs", Mode::SingleNodeWriter);
    let id = driver.client().volume("kept", mib(320), &capability)?.volume_id;
    let staging = bed.staging("a")?;
    driver.client().stage(&id, &staging, &capability)?;
    fs::write(format!("{staging}/file"), "kept")?;
    // While the driver runs, what it knows can be printed.
    let path = format!("{}/kept", bed.pool());
    let printed = thinly(&format!("adopt {path} --node n1"))?;
    ensure!(printed["adopted"] == false && printed["handle"] == *id, "{printed}");
    ensure!(printed["manifest"]["spec"]["csi"]["fsType"] == "xfs", "{printed}");
    driver.client().unstage(&id, &staging)?;
    driver.stop()?;
    thinly(&format!("forget {path}"))?;
    let adopted = thinly(&format!("adopt {path} --node n1 --pv-name another"))?;
    ensure!(adopted["adopted"] == true && adopted["handle"] == *id, "{adopted}");
    ensure!(adopted["manifest"]["spec"]["csi"]["fsType"] == "xfs", "{adopted}");
    let driver = bed.start()?;
    driver.client().stage(&id, &staging, &capability)?;
    ensure!(fs::read_to_string(format!("{staging}/file"))? == "kept");
    driver.client().unstage(&id, &staging)?;
    driver.client().delete_volume(&id)?;
    driver.stop()?;
    nothing_is_left(&bed)
}

/// A driver that was killed after mkfs and before it said so would repeat it. It must not, once
/// somebody else had the volume for writing: under its own key, or forgotten and adopted.
#[test]
fn a_mkfs_that_was_cut_off_is_not_repeated_over_what_somebody_wrote() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let capability = mount("ext4", Mode::SingleNodeWriter);
    let staging = bed.staging("a")?;
    for is_adopted in [false, true] {
        let driver = bed.start()?;
        let id = driver.client().volume("v", mib(64), &capability)?.volume_id;
        driver.client().stage(&id, &staging, &capability)?;
        driver.client().unstage(&id, &staging)?;
        driver.stop()?;
        let path = format!("{}/v", bed.pool());
        if is_adopted {
            by_hand(&path, "", "echo by hand > told")?;
            cut_off(&bed)?;
            thinly(&format!("forget {path}"))?;
            thinly(&format!("adopt {path} --node n1"))?;
        } else {
            cut_off(&bed)?;
            by_hand(&path, "", "echo by hand > told")?;
        }
        let driver = bed.start()?;
        driver.client().stage(&id, &staging, &capability)?;
        let told = fs::read_to_string(format!("{staging}/told"))
            .with_context(|| format!("adopted: {is_adopted}"))?;
        ensure!(told == "by hand\n", "{told}");
        driver.client().unstage(&id, &staging)?;
        driver.client().delete_volume(&id)?;
        driver.stop()?;
    }
    nothing_is_left(&bed)
}

/// Puts the record back to what it is between the end of mkfs and the word of it.
fn cut_off(bed: &CsiBed) -> Result<()> {
    let name = VolumeName::new("v")?;
    let pool = Engine::new()?.attach(bed.pool())?;
    let volumes = pool.volumes()?;
    let view = volumes.into_iter().find(|view| view.name == name).context("no volume")?;
    let Content::Formatted { filesystem, filesystem_uuid } = view.content else {
        anyhow::bail!("it is {:?}", view.content);
    };
    pool.set_content(&name, Content::Formatting { filesystem, filesystem_uuid })?;
    Ok(pool.release()?)
}
