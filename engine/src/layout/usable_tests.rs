//! Refusals, by facts; what needs a kernel with disks is tested in the guest.
#![forbid(unsafe_code)]

use super::*;
use crate::block_device::DeviceNumber;
use crate::layout::{Holder, SignatureKind};
use crate::units::Bytes;

fn facts(path: &str, minor: u32) -> DeviceFacts {
    let number = DeviceNumber { major: 8, minor };
    DeviceFacts {
        path: path.into(),
        number,
        name: path.trim_start_matches("/dev/").to_owned(),
        size: Bytes::new(1 << 30),
        logical_block_bytes: 512,
        physical_block_bytes: 4096,
        discards: true,
        read_only: false,
        is_partition: false,
        takes_partitions: true,
        disk: (path.trim_start_matches("/dev/").to_owned(), number),
        dm_uuid: None,
        partitions: Vec::new(),
        holders: Vec::new(),
        mounts: Vec::new(),
        swap: false,
    }
}

fn partition(path: &str, minor: u32, disk: &DeviceFacts) -> DeviceFacts {
    DeviceFacts { is_partition: true, disk: disk.disk.clone(), ..facts(path, minor) }
}

#[test]
fn every_refusal_says_what_was_found_and_what_to_do() {
    let sdb = || facts("/dev/sdb", 16);
    let number = DeviceNumber { major: 253, minor: 3 };
    let dm_uuid = Some("LVM-abc".to_owned());
    let holder = Holder { name: "dm-3".to_owned(), number, dm_uuid };
    let cases = [
        (
            DeviceFacts { mounts: vec!["/srv".into()], ..sdb() },
            "/dev/sdb is mounted on /srv; unmount it first",
        ),
        (
            DeviceFacts { swap: true, ..sdb() },
            "/dev/sdb is in use as swap; run swapoff on it first",
        ),
        (
            DeviceFacts { holders: vec![holder], ..sdb() },
            "/dev/sdb is held by dm-3 (LVM-abc); take that apart first",
        ),
        (
            DeviceFacts { read_only: true, ..sdb() },
            "/dev/sdb is read-only; make it writable or use another device",
        ),
        (
            DeviceFacts { logical_block_bytes: 16_384, ..sdb() },
            "/dev/sdb has logical blocks of 16384 bytes, the most that a pool takes is 4096; use \
             another device",
        ),
        (
            DeviceFacts { size: Bytes::new(1 << 20), ..sdb() },
            "/dev/sdb has 1048576 bytes, a pool device needs 16777216; use a larger one",
        ),
    ];
    for (facts, message) in cases {
        assert_eq!(check_facts(&facts).unwrap_err().to_string(), message);
    }
    assert!(check_facts(&sdb()).is_ok());
}

#[test]
fn a_device_counts_once_whatever_it_is_called() {
    let sdb = facts("/dev/sdb", 16);
    let link = DeviceFacts { path: "/dev/disk/by-id/x".into(), ..facts("/dev/sdb", 16) };
    let [first, second] = [partition("/dev/sdb1", 17, &sdb), partition("/dev/sdb2", 18, &sdb)];
    let sdc = facts("/dev/sdc", 32);
    let distinct = |all: &[&DeviceFacts]| {
        let all: Vec<DeviceFacts> = all.iter().map(|facts| (*facts).clone()).collect();
        check_distinct(&all)
    };
    assert!(distinct(&[&sdb, &sdc]).is_ok());
    assert!(distinct(&[&first, &second, &sdc]).is_ok());
    let message = distinct(&[&sdc, &sdb, &link]).unwrap_err().to_string();
    assert_eq!(
        message,
        "/dev/sdb and /dev/disk/by-id/x are on the same device sdb; name every device once"
    );
    assert!(distinct(&[&sdb, &second]).is_err(), "a disk and its partition");
    assert!(distinct(&[&second, &sdb]).is_err());
    assert!(distinct(&[&first, &sdc, &first]).is_err());
}

#[test]
fn what_is_on_a_device_is_listed() {
    let found = |name, offset| Signature { kind: SignatureKind::Raid, name, offset };
    let error = LayoutError::Signatures {
        path: "/dev/sdb".into(),
        signatures: vec![found("md 1.2", 4096), found("GPT", 512)],
    };
    assert_eq!(
        error.to_string(),
        "/dev/sdb carries md 1.2 at byte 4096, GPT at byte 512; wipe the device, or use --force \
         to overwrite what is on it"
    );
}

#[test]
fn the_device_under_the_root_filesystem_is_refused_with_or_without_force() {
    let system = System::default();
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let root = text.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
    let source = root.split(" - ").nth(1).unwrap().split(' ').nth(1).unwrap();
    let path = Path::new(source);
    if system.node_number(path).is_none() {
        // An overlay or a ramdisk: there is no device to refuse, and the facts say so.
        assert!(DeviceFacts::read(&system, path).is_err());
        return;
    }
    for force in [false, true] {
        let refused = check_usable(&system, path, force);
        assert!(matches!(refused, Err(LayoutError::Mounted { .. })), "{refused:?}");
    }
}
