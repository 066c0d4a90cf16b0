//! The verbs of pools, doing what they say, and what they refuse.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use thinly::exit::Exit;
use thinly_tests::{Disks, gib, mib, sh};

use crate::program::{Mount, TestPool, ends_of, json, pool_name, refused, text, thinly};

fn disk_of(disks: &Disks, index: usize) -> &str {
    disks[index].to_str().unwrap()
}

#[test]
fn a_pool_with_metadata_of_its_own_is_made_closed_opened_and_destroyed() {
    let disks = Disks::new(&[gib(2), gib(2), mib(512)]).unwrap();
    let name = pool_name("m");
    let created = json(&[
        "pool",
        "create",
        &name,
        disk_of(&disks, 0),
        disk_of(&disks, 1),
        "--metadata",
        disk_of(&disks, 2),
        "--block-size",
        "64KiB",
        "--metadata-size",
        "16MiB",
    ]);
    assert_eq!((&created["state"], &created["health"]), (&"open".into(), &"rw".into()));
    assert_eq!(created["block_size_bytes"], 64 << 10);
    assert_eq!(created["devices"].as_array().unwrap().len(), 3);
    assert!(created["usage"]["total_data_bytes"].as_u64().unwrap() > gib(3));
    assert!(created["writer_pid"].is_null());

    let closed = json(&["pool", "close", &name]);
    assert_eq!(closed["state"], "closed");
    assert_eq!(sh("dmsetup ls").unwrap().matches(short(&closed)).count(), 0);
    refused(&["pool", "close", &name], Exit::Refused, &[&name, "pool open"]);
    refused(
        &["volume", "create", &format!("{name}/v"), "--size", "1G"],
        Exit::Refused,
        &[&name, "pool open"],
    );
    assert_eq!(
        json(&["pool", "list"])
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["name"] == name)
            .count(),
        1
    );

    assert_eq!(json(&["pool", "open", &name])["state"], "open");
    refused(&["pool", "open", &name], Exit::Exists, &[&name, "open already"]);
    refused(&["pool", "destroy", &name], Exit::Refused, &[&name, "--yes"]);
    assert_eq!(json(&["pool", "destroy", &name, "--yes"])["state"], "destroyed");
    refused(&["pool", "show", &name], Exit::NotFound, &[&name, "pool list"]);
    // Nothing is left that would be in the way of another use.
    json(&["pool", "create", &name, disk_of(&disks, 0)]);
}

fn short(pool: &serde_json::Value) -> &str {
    &pool["uuid"].as_str().unwrap()[..8]
}

#[test]
fn a_pool_in_use_is_neither_closed_nor_destroyed() {
    let pool = TestPool::new();
    pool.create_filled("web", "monday");
    let active = json(&["volume", "activate", &pool.path("web")]);
    let mount = Mount::new(active["device"].as_str().unwrap(), "");
    let before = ends_of(&[&pool.disks[0]]);
    refused(&["pool", "close", &pool.name], Exit::InUse, &["web", "unmount"]);
    refused(&["pool", "destroy", &pool.name, "--yes"], Exit::InUse, &["web", "unmount"]);
    assert_eq!(ends_of(&[&pool.disks[0]]), before);
    assert_eq!(fs::read_to_string(mount.file("told")).unwrap(), "monday");
    drop(mount);
    assert_eq!(json(&["pool", "close", &pool.name])["state"], "closed");
}

#[test]
fn a_pool_with_half_its_devices_waits_for_the_others() {
    let disks = Disks::new(&[gib(1), gib(1)]).unwrap();
    let name = pool_name("half");
    // A device that can be taken away: a piece of a disk, so that its label shows nowhere else.
    let attach =
        format!("dmsetup create {name} --table '0 2064384 linear {} 16384'", disk_of(&disks, 1));
    sh(&attach).unwrap();
    let second = format!("/dev/mapper/{name}");
    json(&["pool", "create", &name, disk_of(&disks, 0), &second, "--raw"]);
    let volume = format!("{name}/web");
    json(&["volume", "create", &volume, "--size", "1G"]);
    json(&["pool", "close", &name]);
    sh(&format!("dmsetup remove --retry {name}")).unwrap();

    let before = ends_of(&[&disks[0], &disks[1]]);
    refused(&["pool", "open", &name], Exit::Damaged, &[&name, "missing", "attach"]);
    refused(&["volume", "activate", &volume], Exit::Refused, &[&name]);
    let view = json(&["pool", "show", &name]);
    assert_eq!(view["state"], "incomplete");
    let missing = view["devices"].as_array().unwrap().iter().filter(|one| one["path"].is_null());
    assert_eq!(missing.count(), 1);
    assert!(text(&["pool", "show", &name]).contains("missing"));
    assert_eq!(ends_of(&[&disks[0], &disks[1]]), before);

    sh(&attach).unwrap();
    assert_eq!(json(&["pool", "open", &name])["state"], "open");
    assert_eq!(json(&["volume", "activate", &volume])["state"], "active");
}

#[test]
fn a_backup_is_restored() {
    let pool = TestPool::new();
    pool.create_filled("web", "monday");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("backup");
    let file = file.to_str().unwrap();
    let saved = json(&["pool", "backup", &pool.name, file]);
    assert_eq!(saved["file_bytes"], fs::metadata(file).unwrap().len());
    refused(&["pool", "backup", &pool.name, file], Exit::Exists, &[file]);
    refused(&["pool", "restore", &pool.name, file], Exit::Exists, &[&pool.name]);

    json(&["volume", "rename", &pool.path("web"), "shop"]);
    json(&["pool", "close", &pool.name]);
    assert_eq!(json(&["pool", "restore", &pool.name, file])["volume_count"], 1);
    json(&["pool", "open", &pool.name]);
    assert_eq!(pool.told("web"), "monday");

    fs::write(directory.path().join("torn"), &fs::read(file).unwrap()[1..]).unwrap();
    let torn = directory.path().join("torn");
    json(&["pool", "close", &pool.name]);
    let arguments = ["pool", "restore", &pool.name, torn.to_str().unwrap()];
    refused(&arguments, Exit::Damaged, &["backup"]);
    json(&["pool", "open", &pool.name]);
    assert_eq!(pool.told("web"), "monday");
}

#[test]
fn a_pool_that_moved_on_is_restored_only_when_that_is_accepted() {
    let pool = TestPool::new();
    pool.create_filled("web", "monday");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("backup");
    let file = file.to_str().unwrap();
    json(&["pool", "backup", &pool.name, file]);
    json(&["snapshot", "create", &pool.path("web"), "later"]);
    let found = json(&["pool", "show", &pool.name])["transaction_id"].to_string();
    json(&["pool", "close", &pool.name]);
    refused(&["pool", "restore", &pool.name, file], Exit::Damaged, &[&found]);

    let arguments = ["pool", "restore", &pool.name, file, "--accept-transaction-id", &found];
    let output = thinly(&arguments);
    assert!(output.status.success(), "{output:?}");
    let view = json(&["pool", "show", &pool.name]);
    // What the backup does not know is kept, and reported.
    let orphans = view["orphans"].as_array().unwrap();
    assert_eq!(orphans.len(), 1, "{view}");
    let orphan = orphans[0].to_string();
    json(&["pool", "open", &pool.name]);
    assert_eq!(pool.told("web"), "monday");

    // It goes by command only, and only an orphan goes.
    let arguments = ["pool", "remove-orphan", &pool.name, &orphan];
    refused(&arguments, Exit::Refused, &["--yes", &orphan]);
    refused(&["pool", "remove-orphan", &pool.name, "77", "--yes"], Exit::NotFound, &["77"]);
    let view = json(&["pool", "remove-orphan", &pool.name, &orphan, "--yes"]);
    assert_eq!(view["orphans"].as_array().unwrap().len(), 0, "{view}");
    assert_eq!(view["tombstones"].as_array().unwrap().len(), 0, "{view}");
}

#[test]
fn metadata_is_copied_open_and_closed() {
    let pool = TestPool::new();
    pool.create_filled("web", "monday");
    // thin_check reads past the page cache, which a file system in memory has learnt with 6.6 only.
    let directory = tempfile::tempdir_in("/scratch").unwrap();
    for (name, close) in [("open", false), ("closed", true)] {
        if close {
            json(&["pool", "close", &pool.name]);
        }
        let file = directory.path().join(name);
        let copied = json(&["pool", "copy-metadata", &pool.name, file.to_str().unwrap()]);
        assert_eq!(copied["file_bytes"], fs::metadata(&file).unwrap().len());
        sh(&format!("thin_check {}", file.display())).unwrap();
    }
}

#[test]
fn a_lost_catalogue_is_salvaged() {
    let pool = TestPool::new();
    pool.create_filled("web", "monday");
    refused(&["pool", "salvage", &pool.name], Exit::Exists, &[&pool.name]);
    let view = json(&["pool", "show", &pool.name]);
    let table = sh(&format!("dmsetup table thinly-{}-journal", short(&view))).unwrap();
    json(&["pool", "close", &pool.name]);
    refused(&["pool", "salvage", &pool.name], Exit::Refused, &[&pool.name, "pool open"]);
    wipe_linear(&table);
    assert_eq!(json(&["pool", "show", &pool.name])["state"], "damaged");
    refused(&["pool", "open", &pool.name], Exit::Damaged, &[]);

    let salvaged = json(&["pool", "salvage", &pool.name]);
    let salvaged = salvaged.as_array().unwrap();
    assert_eq!(salvaged.len(), 1);
    assert_eq!(salvaged[0]["filesystem"], "ext4");
    json(&["pool", "open", &pool.name]);
    assert_eq!(pool.told(salvaged[0]["name"].as_str().unwrap()), "monday");
}

/// Zeroes what a linear device lies on: `0 <sectors> linear <major>:<minor> <offset>` a line.
fn wipe_linear(table: &str) {
    for line in table.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, sectors, "linear", number, offset] = fields[..] else { panic!("{line}") };
        let node = fs::canonicalize(Path::new("/sys/dev/block").join(number)).unwrap();
        let node = Path::new("/dev").join(node.file_name().unwrap());
        sh(&format!(
            "dd if=/dev/zero of={} bs=512 seek={offset} count={sectors} conv=fsync status=none",
            node.display()
        ))
        .unwrap();
    }
}

/// Takes a loop device's disk away, and tells how to bring it back.
fn detached(disk: &std::path::Path) -> String {
    let disk = disk.display();
    let file = sh(&format!("losetup --noheadings --output BACK-FILE {disk}")).unwrap();
    sh(&format!("losetup --detach {disk}")).unwrap();
    format!("losetup {disk} {}", file.trim())
}

// Alone: another test could take the loop device that is free for a moment.
#[test]
fn alone_a_disk_that_comes_late_is_waited_for() {
    let disks = Disks::new(&[gib(1), gib(1)]).unwrap();
    let name = pool_name("late");
    let paths: Vec<&str> = disks.paths().iter().map(|path| path.to_str().unwrap()).collect();
    json(&["pool", "create", &name, paths[0], paths[1], "--raw"]);
    json(&["pool", "close", &name]);
    let attach = detached(&disks[1]);
    refused(&["pool", "open", &name], Exit::Damaged, &["1 of its 2 devices are missing"]);
    refused(&["pool", "open", &name, "--wait", "1"], Exit::Damaged, &["1 of its 2 devices"]);
    let late = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(2));
        sh(&attach).unwrap();
    });
    let opened = thinly(&["pool", "open", &name, "--wait", "120"]);
    late.join().unwrap();
    assert!(opened.status.success(), "{opened:?}");
    let told = String::from_utf8_lossy(&opened.stderr);
    assert!(told.contains("waiting") && told.contains("1 of its 2 devices"), "{told}");
    assert_eq!(json(&["pool", "show", &name])["state"], "open");
    json(&["pool", "destroy", &name, "--yes"]);
}

#[test]
fn a_filesystem_that_met_an_error_is_named_while_it_is_mounted() {
    let pool = TestPool::new();
    pool.create_filled("web", "some text");
    let device = json(&["volume", "activate", &pool.path("web")])["device"].clone();
    let device = device.as_str().unwrap();
    let reasons = || json(&["pool", "show", &pool.name])["conditions"].to_string();
    let mount = Mount::new(device, "-o errors=remount-ro");
    assert!(!reasons().contains("FilesystemErrors"), "{}", reasons());
    let node = device.trim_start_matches("/dev/");
    sh(&format!("echo 1 >/sys/fs/ext4/{node}/trigger_fs_error")).unwrap();
    // The kernel notes the error in its own time.
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut told = reasons();
    while !told.contains("FilesystemErrors") && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(200));
        told = reasons();
    }
    let place = mount.file("").display().to_string();
    for word in ["FilesystemErrors", "web at ", place.trim_end_matches('/')] {
        assert!(told.contains(word), "{word} is not in {told}");
    }
    drop(mount);
    assert!(!reasons().contains("FilesystemErrors"), "{}", reasons());
}

#[test]
fn a_pool_is_exported_and_taken_in_under_another_name() {
    let pool = TestPool::new();
    let volume = format!("{}/data", pool.name);
    pool.create_volume("data", "256M");
    let active = json(&["volume", "activate", &volume]);
    let device = active["device"].as_str().unwrap().to_owned();
    sh(&format!("mkfs.ext4 -q {device}")).unwrap();
    let mount = Mount::new(&device, "");
    fs::write(mount.file("file"), "kept").unwrap();
    // In use: refused, and it goes on.
    refused(&["pool", "export", &pool.name], Exit::InUse, &["data"]);
    assert_eq!(json(&["pool", "show", &pool.name])["state"], "open");
    fs::write(mount.file("file"), "kept twice").unwrap();
    drop(mount);

    assert_eq!(json(&["pool", "export", &pool.name])["state"], "exported");
    assert!(text(&["pool", "show", &pool.name]).contains("thinly pool import"));
    refused(&["pool", "open", &pool.name, "--wait", "60"], Exit::Refused, &["pool import"]);
    refused(&["volume", "activate", &volume], Exit::Refused, &["pool import"]);
    refused(&["pool", "destroy", &pool.name, "--yes"], Exit::Refused, &["pool import"]);

    let other = TestPool::new();
    refused(
        &["pool", "import", &pool.name, "--name", &other.name],
        Exit::Exists,
        &[&other.name, "--name NEW"],
    );
    refused(&["pool", "import", &other.name], Exit::Refused, &["not exported"]);
    let (name, old) = (pool_name("z"), pool.name.clone());
    let imported = json(&["pool", "import", &old, "--name", &name]);
    assert_eq!((&imported["state"], &imported["name"]), (&"open".into(), &name.as_str().into()));
    refused(&["pool", "show", &old], Exit::NotFound, &[&old]);
    let volume = format!("{name}/data");
    let active = json(&["volume", "activate", &volume]);
    let device = active["device"].as_str().unwrap().to_owned();
    let mount = Mount::new(&device, "");
    assert_eq!(fs::read_to_string(mount.file("file")).unwrap(), "kept twice");
    drop(mount);
    json(&["volume", "deactivate", &volume]);
    json(&["pool", "export", &name]);
    assert_eq!(json(&["pool", "import", &name, "--no-open"])["state"], "closed");
}
