//! The test bed itself: what every other kernel test takes for granted.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use anyhow::{Context, Result};
use thinly_tests::{Disks, dmesg_mark, gib, mib, sh};

#[test]
fn device_mapper_has_its_control_node() -> Result<()> {
    assert!(fs::metadata("/dev/mapper/control")?.file_type().is_char_device());
    Ok(())
}

#[test]
fn the_kernel_has_the_targets_that_tests_need() -> Result<()> {
    sh("modprobe --all dm_flakey dm_log_writes dm_delay dm_snapshot")?;
    let targets = sh("dmsetup targets")?;
    let names: Vec<_> = targets.lines().filter_map(|line| line.split_whitespace().next()).collect();
    for wanted in
        ["linear", "error", "thin-pool", "thin", "flakey", "log-writes", "delay", "snapshot"]
    {
        assert!(names.contains(&wanted), "no {wanted} among {names:?}");
    }
    Ok(())
}

#[test]
fn fresh_disks_are_zero_and_of_the_size_asked_for() -> Result<()> {
    let sizes = [gib(4), mib(64)];
    let disks = Disks::new(&sizes)?;
    for (path, size) in disks.paths().iter().zip(sizes) {
        assert_eq!(size_bytes(path)?, size);
        let mut device = File::open(path)?;
        for at in [0, size / 2, size - mib(1)] {
            device.seek(SeekFrom::Start(at))?;
            let mut buffer = vec![1; usize::try_from(mib(1))?];
            device.read_exact(&mut buffer)?;
            assert!(buffer.iter().all(|&byte| byte == 0), "{} at {at}", path.display());
        }
    }
    Ok(())
}

#[test]
fn the_disks_of_two_tests_are_distinct() -> Result<()> {
    let (one, other) = (Disks::new(&[mib(8)])?, Disks::new(&[mib(8)])?);
    OpenOptions::new().write(true).open(&one[0])?.write_all(b"mine")?;
    sh("sync")?;
    let mut first = [1; 4];
    File::open(&other[0])?.read_exact(&mut first)?;
    assert_eq!(first, [0; 4]);
    Ok(())
}

#[test]
fn a_disk_may_have_large_blocks() -> Result<()> {
    let disks = Disks::with_block_bytes(&[mib(64)], 4096)?;
    assert_eq!(sh(&format!("blockdev --getss {}", disks[0].display()))?, "4096");
    Ok(())
}

#[test]
fn a_disk_grows() -> Result<()> {
    let disks = Disks::new(&[mib(8)])?;
    disks.grow(0, mib(24))?;
    assert_eq!(size_bytes(&disks[0])?, mib(24));
    Ok(())
}

#[test]
fn a_thin_volume_works_and_what_a_test_leaves_is_taken_down() -> Result<()> {
    let disks = Disks::new(&[mib(16), gib(1)])?;
    let (metadata, data) = (disks[0].display().to_string(), disks[1].display().to_string());
    let sectors = gib(1) / 512;
    let at = "/tmp/testbed-thin";
    sh(&format!(
        "dmsetup create testbed-pool --table '0 {sectors} thin-pool {metadata} {data} 256 0'
         dmsetup message testbed-pool 0 'create_thin 0'
         dmsetup create testbed-thin --table '0 {sectors} thin /dev/mapper/testbed-pool 0'
         mkfs.ext4 -q /dev/mapper/testbed-thin
         mkdir {at} && mount /dev/mapper/testbed-thin {at} && echo kept > {at}/file && sync
         dmsetup suspend testbed-pool"
    ))?;
    // Not the loops' names: a test beside this one is given them as soon as they are free.
    let files = disks.dir().display().to_string();
    drop(disks);
    let left = sh("dmsetup ls; losetup --list --noheadings --output BACK-FILE")?;
    assert!(!left.contains("testbed-"), "{left}");
    assert!(!left.contains(&files), "{left}");
    Ok(())
}

#[test]
fn the_kernel_log_is_read_from_the_mark_on() -> Result<()> {
    fs::write("/dev/kmsg", "testbed: before the mark\n")?;
    let mut log = dmesg_mark()?;
    fs::write("/dev/kmsg", "testbed: after the mark\n")?;
    let text = log.read();
    assert!(text.contains("testbed: after the mark"), "{text}");
    assert!(!text.contains("testbed: before the mark"), "{text}");
    Ok(())
}

#[test]
fn the_outside_witnesses_are_there() -> Result<()> {
    sh(
        "for tool in lvm thin_check thin_dump thin_ls thin_delta thin_repair mkfs.xfs mkfs.ext4 mkfs.btrfs fio mdadm \
         sfdisk sgdisk strace; do command -v $tool >/dev/null || { echo no $tool; exit 1; }; done",
    )?;
    // Older ones do not verify the reference counts of data blocks.
    let version = sh("thin_check --version")?;
    let major: u32 = version.split('.').next().context("no version")?.parse()?;
    assert!(major >= 1, "thin_check {version}");
    Ok(())
}

fn size_bytes(device: &Path) -> Result<u64> {
    Ok(File::open(device)?.seek(SeekFrom::End(0))?)
}
