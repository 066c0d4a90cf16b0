//! The walk itself, step by step.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::claims::{Claim, Provisioner};
use super::kubectl::{get, kubectl, until};
use super::pods::{self, DATA, GROUP};
use crate::sh;

const MIB: i64 = 1 << 20;
const DRIVER: [&str; 3] = ["--namespace=thinly-system", "exec", "daemonset/thinly-node"];

/// Walks with empty disks for the pool; `say` is told of each step that was done.
pub fn walk(devices: &[String], mut say: impl FnMut(&str)) -> Result<()> {
    let began = Instant::now();
    let mut done = |what: &str| say(&format!("{:>5} s  {what}", began.elapsed().as_secs()));
    register(devices)?;
    done("the pool is made on the node; the driver's pod is ready, kubelet knows the driver");
    let provisioner = Provisioner::new()?;
    let files = provisioner.claim("files", 256 * MIB, false, None)?;
    let device = provisioner.claim("device", 64 * MIB, true, None)?;
    share_files(&files)?;
    done("two pods of no rights write one filesystem, and what they wrote outlives them");
    use_device(&device)?;
    done("a pod writes a raw device, and the next one reads it");
    lose_driver(&files, &device)?;
    done("the driver's pod is replaced under a writer, and its volumes are let go by the new one");
    pods::start("writer", files.name, false, &format!("cat {DATA}/one"))?;
    provisioner.grow(&files, 512 * MIB)?;
    let kib: i64 =
        pods::inside("writer", &format!("df -k {DATA} | awk 'END {{ print $2 }}'"))?.parse()?;
    ensure!(kib > 400 << 10, "{kib} KiB after the growth");
    done("a filesystem grows while a pod uses it");
    see_statistics(files.name)?;
    done("kubelet tells how full the volume is");
    let copy = copy(&provisioner, &files)?;
    done("a larger copy of a snapshot runs beside its source");
    lose_kubelet()?;
    done("kubelet is killed and starts again, and lets go what was ended meanwhile");
    for claim in [files, device, copy] {
        provisioner.delete(&claim)?;
    }
    show_nothing_left()?;
    done("nothing is left: no mount, no directory, no device, no volume");
    Ok(())
}

/// The pool is made by the node's own command; the driver's pod finds it, and kubelet the driver.
fn register(devices: &[String]) -> Result<()> {
    sh(&format!("thinly pool create thinly {}", devices.join(" ")))?;
    let status = "--namespace=thinly-system rollout status daemonset/thinly-node --timeout=240s";
    kubectl(&status.split(' ').collect::<Vec<_>>())?;
    until("kubelet knows the driver", || {
        let node = get("csinode", "n1")?.unwrap_or_default();
        let drivers = node["spec"]["drivers"].as_array().cloned().unwrap_or_default();
        Ok(drivers.iter().any(|it| it["name"] == "thinly.dev" && it["nodeID"] == "n1"))
    })?;
    let inside = kubectl(&[&DRIVER[..], &["--", "thinly", "pool", "list", "--json"]].concat())?;
    let pools: Value = serde_json::from_str(&inside)?;
    ensure!(pools.to_string().contains("\"thinly\""), "the pod sees no pool: {pools}");
    Ok(())
}

fn share_files(claim: &Claim) -> Result<()> {
    let one = format!("echo one > {DATA}/one");
    pods::start("first", claim.name, false, &one)?;
    pods::start("second", claim.name, false, &format!("echo two > {DATA}/two"))?;
    until("both have written", || {
        Ok(pods::inside("first", &format!("cat {DATA}/one {DATA}/two || true"))? == "one\ntwo")
    })?;
    pods::demand("first", &format!("stat -c %u:%g {DATA}/two"), &format!("1000:{GROUP}"))?;
    for pod in ["first", "second"] {
        pods::stop(pod)?;
    }
    pods::start("third", claim.name, false, "true")?;
    pods::demand("third", &format!("cat {DATA}/one {DATA}/two"), "one\ntwo")?;
    pods::stop("third")
}

fn use_device(claim: &Claim) -> Result<()> {
    let write = format!("echo raw | dd of={DATA} bs=512 conv=notrunc,fsync");
    pods::start("first", claim.name, true, &write)?;
    let read = format!("head -c 3 {DATA}");
    until("it has written", || Ok(pods::inside("first", &read)? == "raw"))?;
    pods::stop("first")?;
    pods::start("second", claim.name, true, "true")?;
    pods::demand("second", &read, "raw")?;
    pods::stop("second")
}

/// The driver's pod goes away under a writer of each kind; one of them ends while there is no driver.
fn lose_driver(files: &Claim, device: &Claim) -> Result<()> {
    let count =
        format!("n=0; while :; do n=$((n + 1)); echo $n > {DATA}/count; sync; sleep 1; done");
    pods::start("files", files.name, false, &count)?;
    pods::start("device", device.name, true, "true")?;
    let written = || -> Result<u64> {
        Ok(pods::inside("files", &format!("cat {DATA}/count || true"))?.parse().unwrap_or(0))
    };
    until("it writes", || Ok(written()? > 0))?;
    let all = ["--namespace=thinly-system", "delete", "pod", "--all", "--wait=false"];
    kubectl(&all)?;
    kubectl(&["delete", "pod", "device", "--wait=false"])?;
    let before = written()?;
    until("it goes on writing", || Ok(written()? > before))?;
    until("the volume of a pod that ended is let go", || Ok(get("pod", "device")?.is_none()))?;
    pods::stop("files")
}

fn see_statistics(claim: &str) -> Result<()> {
    until("kubelet has asked", || {
        let summary = kubectl(&["get", "--raw", "/api/v1/nodes/n1/proxy/stats/summary"])?;
        let summary: Value = serde_json::from_str(&summary)?;
        let pods = summary["pods"].as_array().cloned().unwrap_or_default();
        let volumes = pods.iter().filter_map(|pod| pod["volume"].as_array()).flatten();
        let mut own = volumes.filter(|volume| volume["pvcRef"]["name"] == claim);
        let capacity = own.next().and_then(|volume| volume["capacityBytes"].as_i64());
        Ok(capacity.is_some_and(|bytes| bytes > 400 * MIB && bytes < 512 * MIB))
    })
}

fn copy(provisioner: &Provisioner, source: &Claim) -> Result<Claim> {
    let snapshot = provisioner.snapshot(source, "monday")?;
    pods::demand("writer", &format!("echo later > {DATA}/two; cat {DATA}/two"), "later")?;
    let copy = provisioner.claim("copy", 768 * MIB, false, Some(&snapshot))?;
    pods::start("reader", copy.name, false, "true")?;
    pods::demand("reader", &format!("cat {DATA}/one {DATA}/two"), "one\ntwo")?;
    provisioner.delete_snapshot(&snapshot)?;
    Ok(copy)
}

/// Kubelet is killed, and a pod is ended before it is back.
fn lose_kubelet() -> Result<()> {
    sh("kill-kubelet")?;
    kubectl(&["delete", "pod", "reader", "--wait=false"])?;
    sh("start-kubelet")?;
    until("the volume of a pod that ended is let go", || Ok(get("pod", "reader")?.is_none()))?;
    pods::demand("writer", &format!("cat {DATA}/one"), "one")?;
    pods::stop("writer")
}

fn show_nothing_left() -> Result<()> {
    let mounts =
        sh("grep -E 'kubernetes.io.*csi|/dev/(thinly|mapper)' /proc/self/mountinfo || true")?;
    ensure!(mounts.is_empty(), "mounts are left:\n{mounts}");
    let loops = sh("losetup --list --noheadings")?;
    ensure!(loops.is_empty(), "loop devices are left:\n{loops}");
    let kubelet = "/var/lib/kubelet/plugins/kubernetes.io/csi";
    let files = sh(&format!("find {kubelet} -mindepth 3 2>/dev/null || true"))?;
    ensure!(files.is_empty(), "kubelet has directories left:\n{files}");
    until("the driver has freed what was deleted", || {
        let show = [&DRIVER[..], &["--", "thinly", "pool", "show", "thinly", "--json"]].concat();
        let pool: Value = serde_json::from_str(&kubectl(&show)?)?;
        let tombstones = pool["tombstones"].as_array().context("no tombstones")?;
        Ok(pool["volume_count"] == 0 && pool["snapshot_count"] == 0 && tombstones.is_empty())
    })
}
