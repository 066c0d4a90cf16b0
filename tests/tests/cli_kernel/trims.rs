//! Space that comes back without deleting anything.

use std::fs;

use serde_json::Value;
use thinly::exit::Exit;
use thinly_tests::sh;

use crate::program::{Mount, TestPool, json, refused, text};

const MIB: u64 = 1 << 20;

/// Formats a new volume, fills most of it and deletes that again; gives its device, still active.
fn used_and_emptied(pool: &TestPool, name: &str, mkfs: &str) -> String {
    pool.create_volume(name, "320M");
    let active = json(&["volume", "activate", &pool.path(name)]);
    let device = active["device"].as_str().unwrap().to_owned();
    sh(&format!("{mkfs} {device}")).unwrap();
    let mount = Mount::new(&device, "");
    fs::write(mount.file("kept"), "told").unwrap();
    fs::write(mount.file("large"), vec![0x5a; 32 << 20]).unwrap();
    sh(&format!("sync -f {}", mount.file("large").display())).unwrap();
    fs::remove_file(mount.file("large")).unwrap();
    sh(&format!("sync -f {}", mount.file("kept").display())).unwrap();
    device
}

fn came_back(answer: &Value) -> u64 {
    let bytes = |key: &str| answer[key].as_u64().unwrap();
    assert!(bytes("trimmed_bytes") >= 30 * MIB, "{answer}");
    bytes("mapped_before_bytes") - bytes("mapped_after_bytes")
}

#[test]
fn a_filesystem_is_trimmed_where_it_is_mounted_or_by_itself() {
    let pool = TestPool::new();
    let (web, log) = (pool.path("web"), pool.path("log"));
    let device = used_and_emptied(&pool, "web", "mkfs.ext4 -q");
    let mount = Mount::new(&device, "");
    let answer = json(&["volume", "trim", &web]);
    assert!(came_back(&answer) >= 30 * MIB, "{answer}");
    assert_eq!(answer["filesystem"], "ext4");
    assert!(fs::metadata(answer["mount_point"].as_str().unwrap()).unwrap().is_dir());
    assert_eq!(fs::read_to_string(mount.file("kept")).unwrap(), "told");
    drop(mount);

    let device = used_and_emptied(&pool, "log", "mkfs.xfs -q");
    let held = fs::File::open(&device).unwrap();
    refused(&["volume", "trim", &log], Exit::Refused, &["log", "in use", "fstrim"]);
    drop(held);
    json(&["volume", "deactivate", &log]);
    let answer = json(&["volume", "trim", &log]);
    assert!(came_back(&answer) >= 30 * MIB, "{answer}");
    assert_eq!((&answer["filesystem"], &answer["mount_point"]), (&"xfs".into(), &Value::Null));
    assert_eq!(json(&["volume", "show", &log])["state"], "inactive");
    assert!(text(&["volume", "trim", &log]).contains("maps"));
    let active = json(&["volume", "activate", &log]);
    let mount = Mount::new(active["device"].as_str().unwrap(), "");
    assert_eq!(fs::read_to_string(mount.file("kept")).unwrap(), "told");
}

#[test]
fn what_has_no_filesystem_of_its_own_is_not_trimmed() {
    let pool = TestPool::new();
    let raw = pool.path("raw");
    pool.create_volume("raw", "64M");
    refused(&["volume", "trim", &raw], Exit::Refused, &["nothing was ever written"]);
    let active = json(&["volume", "activate", &raw]);
    let device = active["device"].as_str().unwrap();
    sh(&format!("head -c 1M /dev/urandom > {device}")).unwrap();
    refused(&["volume", "trim", &raw], Exit::Refused, &["no ext4, xfs or btrfs", "--zero-detect"]);
    json(&["volume", "deactivate", &raw]);
    refused(&["volume", "trim", &raw], Exit::Refused, &["no ext4, xfs or btrfs"]);
    assert_eq!(json(&["volume", "show", &raw])["state"], "inactive");
    json(&["snapshot", "create", &raw, "then"]);
    refused(&["volume", "trim", &pool.path("then")], Exit::Refused, &["snapshot", "--zero-detect"]);
}

#[test]
fn blocks_of_zeros_come_back_and_not_a_byte_changes() {
    let pool = TestPool::new();
    let (web, then) = (pool.path("web"), pool.path("then"));
    pool.create_volume("web", "17M");
    let active = json(&["volume", "activate", &web]);
    let device = active["device"].as_str().unwrap().to_owned();
    // Data, zeros, data, zeros up to the end.
    let write = |from: &str, at: u64, count: u64| {
        sh(&format!(
            "dd if={from} of={device} bs=1M seek={at} count={count} oflag=direct status=none"
        ))
    };
    write("/dev/urandom", 0, 2).unwrap();
    write("/dev/zero", 2, 6).unwrap();
    write("/dev/urandom", 8, 1).unwrap();
    write("/dev/zero", 9, 8).unwrap();
    let sum =
        |device: &str| sh(&format!("dd if={device} bs=1M iflag=direct status=none | sha256sum"));
    let whole = sum(&device).unwrap();
    refused(&["volume", "trim", &web, "--zero-detect"], Exit::InUse, &["web", "deactivate"]);
    json(&["snapshot", "create", &web, "then"]);
    let trim = |path: &str| json(&["volume", "trim", path, "--zero-detect"]);
    let answer = trim(&then);
    assert_eq!(
        (&answer["read_bytes"], &answer["trimmed_bytes"]),
        (&(17 * MIB).into(), &(14 * MIB).into())
    );
    let mapped = (&answer["mapped_before_bytes"], &answer["mapped_after_bytes"]);
    assert_eq!(mapped, (&(17 * MIB).into(), &(3 * MIB).into()));
    assert_eq!(trim(&then)["read_bytes"], 3 * MIB, "again there is nothing left to find");
    let snapshot = json(&["volume", "activate", &then]);
    assert_eq!(snapshot["read_only"], true);
    assert_eq!(sum(snapshot["device"].as_str().unwrap()).unwrap(), whole);
    assert_eq!(sum(&device).unwrap(), whole, "the origin shares no fate with its snapshot");
    json(&["volume", "deactivate", &web]);
    assert_eq!(json(&["volume", "show", &web])["mapped_bytes"], 17 * MIB);
    assert_eq!(trim(&web)["mapped_after_bytes"], 3 * MIB);
    let active = json(&["volume", "activate", &web]);
    assert_eq!(sum(active["device"].as_str().unwrap()).unwrap(), whole);
    let usage = &json(&["pool", "show", &pool.name])["usage"];
    assert_eq!(usage["used_data_bytes"], 3 * MIB);
}
