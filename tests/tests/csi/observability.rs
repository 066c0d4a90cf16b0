//! What the driver tells of itself: metrics, readiness, lines, and never a secret.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use thinly_csi_wire as wire;
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_tests::csi::{Client, CsiBed, Driver, code, mount, range};
use thinly_tests::{gib, mib, sh};
use tonic::Code;

pub(crate) const METRICS: [&str; 2] = ["--metrics-address", "127.0.0.1:0"];

/// The address that a driver says it serves metrics at.
pub(crate) fn address(driver: &Driver) -> Result<String> {
    let log = driver.log()?;
    let line = log.lines().find(|line| line.contains("serving metrics")).context("no address")?;
    let (_, rest) = line.split_once("address=").context("no address")?;
    Ok(rest.trim().to_owned())
}

/// The status and the body of a page.
pub(crate) fn page(address: &str, path: &str) -> Result<(String, String)> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: driver\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no body")?;
    let status = head.split(' ').nth(1).context("no status")?;
    Ok((status.to_owned(), body.to_owned()))
}

/// The value of the one series whose line begins so.
fn value(scrape: &str, series: &str) -> Result<f64> {
    let lines: Vec<&str> = scrape.lines().filter(|line| line.starts_with(series)).collect();
    ensure!(lines.len() == 1, "{series}: {lines:?} in {scrape}");
    Ok(lines[0].rsplit_once(' ').context("no value")?.1.parse()?)
}

#[test]
fn the_numbers_are_those_of_what_was_done() -> Result<()> {
    let bed = CsiBed::new(&[gib(4)], "")?;
    let driver = bed.start_with(&METRICS)?;
    let (client, address) = (driver.client(), address(&driver)?);
    let capability = mount("ext4", Mode::SingleNodeWriter);
    let bytes = i64::try_from(mib(512))?;
    let volume = client.volume("pvc-1", bytes, &capability)?;
    let (id, staging, target) = (&volume.volume_id, bed.staging("a")?, bed.target("a")?);
    client.stage(id, &staging, &capability)?;
    client.publish(id, (&staging, &target), &capability, false)?;
    fs::write(format!("{target}/file"), vec![7; 8 << 20])?;
    let snapshot = client.create_snapshot(id, "snap-1")?;
    ensure!(code(&client.expand("v1.nothing", bytes)) == Code::NotFound);
    ensure!(code(&client.create_snapshot(id, "")) == Code::InvalidArgument);

    let (status, scrape) = page(&address, "/metrics")?;
    ensure!(status == "200", "{status}: {scrape}");
    let pool = format!("{{pool=\"{}\",device_class=\"main\"", bed.pool());
    let rpc = |rpc: &str, code: &str| {
        value(&scrape, &format!("thinly_csi_rpcs_total{{rpc=\"{rpc}\",code=\"{code}\"}}"))
    };
    let of_pool = |name: &str| value(&scrape, &format!("thinly_pool_{name}{pool}"));
    let at_least_one = |what: &str, number: f64| {
        ensure!(number >= 1.0, "{what} is {number}");
        Ok(())
    };
    let equal = |what: &str, number: f64, expected: u64| {
        ensure!(format!("{number}") == format!("{expected}"), "{what}: {number} not {expected}");
        Ok(())
    };
    equal("creations", rpc("CreateVolume", "OK")?, 1)?;
    equal("failed growths", rpc("ControllerExpandVolume", "NotFound")?, 1)?;
    equal("snapshots", rpc("CreateSnapshot", "OK")?, 1)?;
    equal("refused snapshots", rpc("CreateSnapshot", "InvalidArgument")?, 1)?;
    let durations = "thinly_csi_rpc_duration_seconds_count{rpc=\"CreateSnapshot\"}";
    equal("timed snapshots", value(&scrape, durations)?, 2)?;
    equal("up", of_pool("up")?, 1)?;
    equal("poisoned", of_pool("handle_poisoned")?, 0)?;
    equal("health", value(&scrape, &format!("thinly_pool_health{pool},health=\"rw\"}}"))?, 1)?;
    equal("volumes", of_pool("volumes")?, 1)?;
    equal("snapshots", of_pool("snapshots")?, 1)?;
    equal("taken", of_pool("snapshots_taken")?, 1)?;
    equal("promised", of_pool("promised_bytes")?, mib(512))?;
    equal("freezes", of_pool("freeze_duration_seconds_count")?, 1)?;
    at_least_one("flushes", of_pool("journal_flush_duration_seconds_count")?)?;
    ensure!(of_pool("data_used_bytes")? < of_pool("data_bytes")?);
    let of_volume = |name: &str, id: &str| {
        let series = format!("thinly_volume_{name}{{pool=\"{}\",volume_id=\"{id}\"", bed.pool());
        value(&scrape, &series)
    };
    equal("size", of_volume("virtual_bytes", id)?, mib(512))?;
    let mapped = of_volume("mapped_bytes", &snapshot.snapshot_id)?;
    ensure!(mapped >= f64::from(8 << 20), "the snapshot maps {mapped}");
    all_are_documented(&scrape)?;
    for (path, status) in [("/healthz", "200"), ("/readyz", "200"), ("/secret", "404")] {
        ensure!(page(&address, path)?.0 == status, "{path}");
    }
    the_lines_tell_what_was_done(&driver.log()?, id, &snapshot.snapshot_id)?;
    client.unpublish(id, &target)?;
    client.unstage(id, &staging)?;
    driver.stop()
}

/// The first scrape has it found out, a later one tells; nothing is read that is not scraped.
#[test]
fn what_volumes_hold_alone_is_what_usage_says() -> Result<()> {
    let bed = CsiBed::new(&[gib(4)], "")?;
    let driver = bed.start_with(&METRICS)?;
    let (client, address) = (driver.client(), address(&driver)?);
    let capability = mount("ext4", Mode::SingleNodeWriter);
    let volume = client.volume("pvc-1", i64::try_from(mib(512))?, &capability)?;
    let (id, staging, target) = (&volume.volume_id, bed.staging("a")?, bed.target("a")?);
    client.stage(id, &staging, &capability)?;
    client.publish(id, (&staging, &target), &capability, false)?;
    let snapshot = client.create_snapshot(id, "snap-1")?;
    fs::write(format!("{target}/file"), vec![7; 8 << 20])?;
    client.unpublish(id, &target)?;
    client.unstage(id, &staging)?;
    let said = sh(&format!("thinly usage {} --json", bed.pool()))?;
    let said: serde_json::Value = serde_json::from_str(&said)?;
    let (status, first) = page(&address, "/metrics")?;
    ensure!(status == "200" && !first.contains("thinly_volume_exclusive_bytes{"), "{first}");
    let exclusive = |scrape: &str, id: &str| {
        let pool = bed.pool();
        value(scrape, &format!("thinly_volume_exclusive_bytes{{pool=\"{pool}\",volume_id=\"{id}\""))
    };
    let mut scrape = first;
    for _ in 0..100 {
        if scrape.contains("thinly_volume_exclusive_bytes{") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        scrape = page(&address, "/metrics")?.1;
    }
    for (id, kind) in [(id, "blank"), (&snapshot.snapshot_id, "snapshot")] {
        let volumes = said["volumes"].as_array().context("no volumes")?;
        let found = volumes.iter().find(|volume| volume["kind"] == kind).context(kind)?;
        let expected = found["exclusive_bytes"].as_f64().context("no bytes")?;
        let told = exclusive(&scrape, id)?;
        ensure!(format!("{told}") == format!("{expected}"), "{kind}: {told}, usage: {expected}");
        ensure!(kind == "snapshot" || told >= f64::from(8 << 20), "{told}");
    }
    driver.stop()
}

/// What a driver serves is what is written of it. What only one serves that acts in a cluster is compared
/// where it is made.
fn all_are_documented(scrape: &str) -> Result<()> {
    let table = include_str!("../../../docs/metrics.md");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `thinly_"));
    let names = rows.filter_map(|row| row.split('`').next());
    let is_served = |name: &&str| !name.starts_with("csi_cluster_");
    let documented: BTreeSet<&str> = names.filter(is_served).collect();
    let types = scrape.lines().filter_map(|line| line.strip_prefix("# TYPE thinly_"));
    let served: BTreeSet<String> = types
        .map(|line| match line.split_once(' ') {
            Some((name, "counter")) => format!("{name}_total"),
            Some((name, _)) => name.to_owned(),
            None => line.to_owned(),
        })
        .collect();
    ensure!(served.iter().map(String::as_str).eq(documented.iter().copied()), "{served:?}");
    Ok(())
}

fn the_lines_tell_what_was_done(log: &str, volume: &str, snapshot: &str) -> Result<()> {
    let line = |words: &[&str]| -> Result<()> {
        let found = log.lines().any(|line| words.iter().all(|word| line.contains(word)));
        ensure!(found, "no line with {words:?} in\n{log}");
        Ok(())
    };
    line(&["INFO", "CreateVolume", "pvc-1", volume, "OK", "taken="])?;
    line(&["INFO", "NodeStageVolume", volume, "OK"])?;
    line(&["INFO", "CreateSnapshot", snapshot, "OK"])?;
    line(&["WARN", "ControllerExpandVolume", "NotFound", "v1.nothing", "there is no volume"])?;
    ensure!(!log.contains("Probe"), "a probe is worth no line:\n{log}");
    Ok(())
}

#[test]
fn an_address_that_is_taken_is_an_error_with_a_way_out() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start_with(&METRICS)?;
    let line = format!(
        "thinly-csi --endpoint unix:///run/other.sock --node-id n --config {} --kubelet-dir {} \
         --metrics-address {} 2>&1 || true",
        bed.config().display(),
        bed.kubelet().display(),
        address(&driver)?
    );
    let said = sh(&line)?;
    ensure!(said.contains("give another --metrics-address"), "{said}");
    driver.stop()
}

const SECRET: &str = "s3cr3t-of-the-tenant";

fn secret() -> BTreeMap<String, String> {
    BTreeMap::from([("token".to_owned(), SECRET.to_owned())])
}

/// Sends a request and counts it. Whether it succeeds is of no interest.
macro_rules! send {
    ($sent:ident, $client:ident.$service:ident.$call:ident, $request:expr) => {{
        let answer = $client.wait($client.$service().$call($request));
        if let Err(status) = answer {
            ensure!(!status.message().contains(SECRET), "{status}");
        }
        $sent += 1;
    }};
}

/// Sends every request that the driver serves and that has secrets or a context, and gives how
/// many there were.
fn send_secrets(client: &Client, bed: &CsiBed, id: &str) -> Result<usize> {
    let capability = mount("ext4", Mode::SingleNodeWriter);
    let mut sent = 0;
    let request = wire::CreateVolumeRequest {
        name: "other".to_owned(),
        volume_capabilities: vec![capability.clone()],
        secrets: secret(),
        ..Default::default()
    };
    send!(sent, client.controller.create_volume, request);
    let request = wire::ValidateVolumeCapabilitiesRequest {
        volume_id: id.to_owned(),
        volume_capabilities: vec![capability.clone()],
        volume_context: secret(),
        secrets: secret(),
        ..Default::default()
    };
    send!(sent, client.controller.validate_volume_capabilities, request);
    sent += send_secrets_to_node(client, bed, id, &capability)?;
    sent += send_secrets_about_snapshots(client, id)?;
    let volume_id = || id.to_owned();
    let request = wire::ControllerPublishVolumeRequest {
        volume_id: volume_id(),
        volume_context: secret(),
        secrets: secret(),
        ..Default::default()
    };
    send!(sent, client.controller.controller_publish_volume, request);
    let request = wire::ControllerUnpublishVolumeRequest {
        volume_id: volume_id(),
        secrets: secret(),
        ..Default::default()
    };
    send!(sent, client.controller.controller_unpublish_volume, request);
    let request = wire::ControllerModifyVolumeRequest {
        volume_id: volume_id(),
        secrets: secret(),
        ..Default::default()
    };
    send!(sent, client.controller.controller_modify_volume, request);
    let request = wire::DeleteVolumeRequest { volume_id: volume_id(), secrets: secret() };
    send!(sent, client.controller.delete_volume, request);
    Ok(sent)
}

fn send_secrets_to_node(
    client: &Client,
    bed: &CsiBed,
    id: &str,
    capability: &wire::VolumeCapability,
) -> Result<usize> {
    let (staging, target) = (bed.staging("a")?, bed.target("a")?);
    let mut sent = 0;
    let request = wire::NodeStageVolumeRequest {
        volume_id: id.to_owned(),
        staging_target_path: staging.clone(),
        volume_capability: Some(capability.clone()),
        publish_context: secret(),
        volume_context: secret(),
        secrets: secret(),
    };
    send!(sent, client.node.node_stage_volume, request);
    let request = wire::NodePublishVolumeRequest {
        volume_id: id.to_owned(),
        staging_target_path: staging,
        target_path: target.clone(),
        volume_capability: Some(capability.clone()),
        publish_context: secret(),
        volume_context: secret(),
        secrets: secret(),
        ..Default::default()
    };
    send!(sent, client.node.node_publish_volume, request);
    let request = wire::ControllerExpandVolumeRequest {
        volume_id: id.to_owned(),
        capacity_range: range(i64::try_from(mib(600))?),
        secrets: secret(),
        ..Default::default()
    };
    send!(sent, client.controller.controller_expand_volume, request);
    let request = wire::NodeExpandVolumeRequest {
        volume_id: id.to_owned(),
        volume_path: target,
        volume_capability: Some(capability.clone()),
        secrets: secret(),
        ..Default::default()
    };
    send!(sent, client.node.node_expand_volume, request);
    Ok(sent)
}

fn send_secrets_about_snapshots(client: &Client, id: &str) -> Result<usize> {
    let mut sent = 0;
    let request = wire::CreateSnapshotRequest {
        source_volume_id: id.to_owned(),
        name: "snap".to_owned(),
        secrets: secret(),
        ..Default::default()
    };
    send!(sent, client.controller.create_snapshot, request);
    let request = wire::ListSnapshotsRequest { secrets: secret(), ..Default::default() };
    send!(sent, client.controller.list_snapshots, request);
    let request = wire::GetSnapshotRequest { snapshot_id: id.to_owned(), secrets: secret() };
    send!(sent, client.controller.get_snapshot, request);
    let request = wire::GetMetadataAllocatedRequest {
        snapshot_id: id.to_owned(),
        secrets: secret(),
        ..Default::default()
    };
    send!(sent, client.metadata.get_metadata_allocated, request);
    let request = wire::GetMetadataDeltaRequest {
        base_snapshot_id: id.to_owned(),
        target_snapshot_id: id.to_owned(),
        secrets: secret(),
        ..Default::default()
    };
    send!(sent, client.metadata.get_metadata_delta, request);
    let request = wire::DeleteSnapshotRequest { snapshot_id: id.to_owned(), secrets: secret() };
    send!(sent, client.controller.delete_snapshot, request);
    let request = wire::CreateVolumeGroupSnapshotRequest {
        name: "group".to_owned(),
        source_volume_ids: vec![id.to_owned()],
        secrets: secret(),
        ..Default::default()
    };
    send!(sent, client.groups.create_volume_group_snapshot, request);
    let request = wire::GetVolumeGroupSnapshotRequest {
        group_snapshot_id: id.to_owned(),
        secrets: secret(),
        ..Default::default()
    };
    send!(sent, client.groups.get_volume_group_snapshot, request);
    let request = wire::DeleteVolumeGroupSnapshotRequest {
        group_snapshot_id: id.to_owned(),
        secrets: secret(),
        ..Default::default()
    };
    send!(sent, client.groups.delete_volume_group_snapshot, request);
    Ok(sent)
}

#[test]
fn no_secret_is_logged_at_any_level() -> Result<()> {
    // What is sent is complete: every request of the specification that has secrets.
    let proto = include_str!("../../../csi/wire/proto/csi.proto");
    let with_secrets = proto.matches("map<string, string> secrets").count();
    let bed = CsiBed::new(&[gib(4)], "")?;
    for arguments in [&["--alpha"][..], &["--alpha", "--log-format", "json"]] {
        let driver = bed.start_logging("trace", arguments)?;
        let client = driver.client();
        let capability = mount("ext4", Mode::SingleNodeWriter);
        let volume = client.volume("pvc", i64::try_from(mib(512))?, &capability)?;
        let sent = send_secrets(client, &bed, &volume.volume_id)?;
        ensure!(sent == with_secrets, "{sent} of {with_secrets} requests were sent");
        client.unpublish(&volume.volume_id, &bed.target("a")?)?;
        client.unstage(&volume.volume_id, &bed.staging("a")?)?;
        let log = driver.log()?;
        ensure!(log.contains("TRACE") && log.contains("NodeStageVolume"), "this is no trace");
        let told = log.lines().find(|line| line.contains(SECRET));
        ensure!(told.is_none(), "{told:?}");
        client.delete_volume(&volume.volume_id)?;
        driver.stop()?;
    }
    Ok(())
}
