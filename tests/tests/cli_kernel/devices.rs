//! Devices that no pool may be made of. Each is named after a good one, so that a refusal which
//! came too late would show on that.

use std::path::Path;

use thinly::exit::Exit;
use thinly_tests::{Disks, gib, mib, sh};

use crate::program::{Mount, ends_of, json, pool_name, refused, refused_in_json};

/// Refuses `bad` alone and after a good disk; the ends of both stay as they are.
fn refuse(good: &Path, bad: &Path, options: &[&str], exit: Exit, words: &[&str]) {
    let name = pool_name("bad");
    let (good_text, bad_text) = (good.to_str().unwrap(), bad.to_str().unwrap());
    let before = ends_of(&[good, bad]);
    let words: Vec<&str> = words.iter().copied().chain([bad_text]).collect();
    for devices in [&[bad_text][..], &[good_text, bad_text]] {
        let arguments: Vec<&str> =
            ["pool", "create", &name].iter().chain(devices).chain(options).copied().collect();
        refused_in_json(&arguments, exit, &words);
    }
    let arguments: Vec<&str> = ["pool", "create", &name, good_text, "--metadata", bad_text]
        .iter()
        .chain(options)
        .copied()
        .collect();
    refused_in_json(&arguments, exit, &words);
    assert_eq!(ends_of(&[good, bad]), before, "{bad_text}");
}

#[test]
fn what_is_no_disk() {
    let disks = Disks::new(&[gib(1)]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "not a disk").unwrap();
    let before = ends_of(&[&disks[0]]);
    let good = disks[0].to_str().unwrap();
    let name = pool_name("bad");
    for (bad, exit, advice) in [
        ("/dev/thinly-absent", Exit::NotFound, "check that the device exists"),
        ("/dev/null", Exit::Refused, "not a block device"),
        (file.to_str().unwrap(), Exit::Refused, "not a block device"),
        (directory.path().to_str().unwrap(), Exit::Refused, "not a block device"),
    ] {
        for force in [&[][..], &["--force"]] {
            let arguments: Vec<&str> =
                ["pool", "create", &name, good, bad].iter().chain(force).copied().collect();
            refused(&arguments, exit, &[bad, advice]);
        }
    }
    assert_eq!(ends_of(&[&disks[0]]), before);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "not a disk");
}

#[test]
fn what_is_too_small_or_read_only_or_named_twice() {
    let disks = Disks::new(&[gib(1), mib(8), gib(1)]).unwrap();
    for force in [&[][..], &["--force"]] {
        refuse(&disks[0], &disks[1], force, Exit::Refused, &["larger"]);
    }
    sh(&format!("blockdev --setro {}", disks[2].display())).unwrap();
    let refused_read_only = std::panic::catch_unwind(|| {
        refuse(&disks[0], &disks[2], &["--force"], Exit::Refused, &["read-only"]);
    });
    // The kernel keeps the flag for the next user of this loop device.
    sh(&format!("blockdev --setrw {}", disks[2].display())).unwrap();
    refused_read_only.unwrap();
    let good = disks[0].to_str().unwrap();
    let before = ends_of(&[&disks[0]]);
    refused(&["pool", "create", &pool_name("bad"), good, good], Exit::Refused, &[good, "once"]);
    let arguments = ["pool", "create", &pool_name("bad"), good, "--metadata", good];
    refused(&arguments, Exit::Refused, &[good, "once"]);
    let arguments = ["pool", "create", &pool_name("bad"), good, "--metadata-size", "100G"];
    refused(&arguments, Exit::Refused, &["needs", "larger"]);
    assert_eq!(ends_of(&[&disks[0]]), before);
}

#[test]
fn what_somebody_uses_even_by_force() {
    let disks = Disks::new(&[gib(1), mib(512), mib(512), mib(512)]).unwrap();
    sh(&format!("mkfs.ext4 -q {}", disks[1].display())).unwrap();
    // Read-only, so that what changes on it was not the filesystem's doing.
    let mount = Mount::new(disks[1].to_str().unwrap(), "-o ro");
    let above = pool_name("above");
    sh(&format!("dmsetup create {above} --table '0 8192 linear {} 0'", disks[2].display()))
        .unwrap();
    sh(&format!("mkswap {0} && swapon {0}", disks[3].display())).unwrap();
    for force in [&[][..], &["--force"]] {
        refuse(&disks[0], &disks[1], force, Exit::InUse, &["mounted", "unmount"]);
        refuse(&disks[0], &disks[2], force, Exit::InUse, &["held by dm-", "take that apart"]);
        refuse(&disks[0], &disks[3], force, Exit::InUse, &["swap"]);
    }
    drop(mount);
    sh(&format!("swapoff {}; dmsetup remove --retry {above}", disks[3].display())).unwrap();
}

#[test]
fn what_carries_something() {
    let disks = Disks::new(&[gib(1)]).unwrap();
    let number = std::process::id();
    for (make, found) in [
        ("mkfs.ext4 -q DISK", "ext4"),
        ("mkfs.xfs -q DISK", "XFS"),
        ("mkfs.btrfs -q DISK", "Btrfs"),
        ("mkswap DISK", "swap"),
        // Of this disk alone: it would open what neighbours are about to remove.
        ("pvcreate --quiet --devices DISK DISK", "LVM"),
        ("echo 'label: gpt' | sfdisk --quiet DISK", "GPT"),
        (r"printf 'label: dos\n,,\n' | sfdisk --quiet --no-reread --no-tell-kernel DISK", "DOS"),
        (
            "mdadm --create /dev/mdNUMBER --run --level=1 --raid-devices=2 DISK missing \
             && mdadm --stop /dev/mdNUMBER",
            "md",
        ),
    ] {
        let dirty = Disks::new(&[gib(1)]).unwrap();
        let disk = dirty[0].to_str().unwrap();
        let make = make.replace("NUMBER", &(number % 400 + 100).to_string());
        sh(&make.replace("DISK", disk)).unwrap();
        println!("{disk} after {make}");
        refuse(&disks[0], &dirty[0], &[], Exit::Refused, &[found, "--force"]);
        let name = pool_name("forced");
        assert_eq!(json(&["pool", "create", &name, disk, "--force"])["state"], "open", "{found}");
        json(&["pool", "destroy", &name, "--yes"]);
    }
}

#[test]
fn what_belongs_to_another_pool() {
    let disks = Disks::new(&[gib(1), gib(1)]).unwrap();
    let (owner, disk) = (pool_name("owner"), disks[1].to_str().unwrap());
    json(&["pool", "create", &owner, disk, "--raw"]);
    refuse(&disks[0], &disks[1], &["--force"], Exit::InUse, &["THINLY-"]);
    json(&["pool", "close", &owner]);
    refuse(&disks[0], &disks[1], &[], Exit::Refused, &[&owner, "destroy"]);
    json(&["pool", "open", &owner]);
    json(&["pool", "destroy", &owner, "--yes"]);
}
