//! A partition table on a disk, as the kernel sees it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::dm::block::reread_partitions;
use thinly_engine::layout::{
    DeviceFacts, LayoutError, check_usable, check_usable_all, needs_partition, wait_for_partition,
    write_gpt,
};

use crate::bench::{Bench, DISK};

const PATIENCE: Duration = Duration::from_secs(10);

fn partition(bench: &Bench, disk: &Path) -> PathBuf {
    let facts = DeviceFacts::read(&bench.system, disk).unwrap();
    assert!(needs_partition(&facts), "{facts:?}");
    let device = BlockDevice::open(disk, Access::Exclusive).unwrap();
    let image = write_gpt(&device, "fast", facts.logical_block_bytes).unwrap();
    reread_partitions(&device).unwrap();
    drop(device);
    let node = wait_for_partition(&bench.system, disk, facts.number, PATIENCE).unwrap();
    let part = DeviceFacts::read(&bench.system, &node).unwrap();
    assert!(part.is_partition && !needs_partition(&part));
    assert_eq!(part.size, image.partition_bytes);
    assert_eq!(part.disk.1, facts.number);
    assert_eq!(part.logical_block_bytes, facts.logical_block_bytes);
    let again = DeviceFacts::read(&bench.system, disk).unwrap();
    let children: Vec<_> = again.partitions.iter().map(|p| (p.index, p.number)).collect();
    assert_eq!(children, [(1, part.number)]);
    node
}

#[test]
fn the_kernel_finds_our_partition_for_both_block_lengths() {
    let Some(mut bench) = Bench::new() else { return };
    let mut disks = vec![bench.disk_with(DISK, 512), bench.disk_with(DISK, 4096)];
    let real = std::env::var("DISKS").unwrap_or_default();
    disks.extend(real.split_whitespace().map(PathBuf::from));
    for disk in disks {
        let node = partition(&bench, &disk);
        let refused = check_usable(&bench.system, &disk, false).unwrap_err();
        assert!(matches!(refused, LayoutError::Signatures { .. }), "{refused}");
        assert!(check_usable(&bench.system, &node, false).is_ok());
        let both = check_usable_all(&bench.system, &[disk.clone(), node], true).unwrap_err();
        assert!(matches!(both, LayoutError::SameDevice { .. }), "{both}");
        // The disk is given back as it was.
        let device = BlockDevice::open(&disk, Access::Exclusive).unwrap();
        device.zero_range(0, 1 << 20).unwrap();
        device.zero_range(device.size().get() - (1 << 20), 1 << 20).unwrap();
        reread_partitions(&device).unwrap();
    }
}

#[test]
fn a_partition_that_never_comes_is_an_error_not_a_hang() {
    let Some(mut bench) = Bench::new() else { return };
    let disk = bench.disk();
    let facts = DeviceFacts::read(&bench.system, &disk).unwrap();
    let patience = Duration::from_millis(50);
    let refused = wait_for_partition(&bench.system, &disk, facts.number, patience).unwrap_err();
    assert!(matches!(refused, LayoutError::NoPartition { .. }), "{refused}");
}

#[test]
fn dm_devices_and_loops_without_scanning_need_no_partition() {
    let Some(mut bench) = Bench::new() else { return };
    let disk = bench.disk();
    let dm = bench.linear("LAYOUT-TEST-plain", &disk);
    assert!(!needs_partition(&DeviceFacts::read(&bench.system, &dm).unwrap()));
    let file = bench.file("plain");
    std::fs::File::create(&file).unwrap().set_len(DISK).unwrap();
    let path = file.to_str().unwrap().to_owned();
    let node = crate::bench::run("losetup", &["--find", "--show", &path]);
    let facts = DeviceFacts::read(&bench.system, Path::new(node.trim())).unwrap();
    crate::bench::run("losetup", &["--detach", node.trim()]);
    assert!(!needs_partition(&facts));
}
