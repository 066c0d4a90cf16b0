//! A journal that is gone, and the ways back.

use std::path::Path;

use anyhow::{Context, Result};
use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::layout::{LabelRead, read_labels};
use thinly_engine::pool::PoolState;
use thinly_tests::{Disks, sh};

use crate::support::{Bed, activate, active, assert_refused, fill, gib, holds, mib, name};

/// Zeros every copy of the journal of a closed pool.
fn erase_journal(bed: &Bed) -> Result<()> {
    for path in bed.disks.paths() {
        let disk = BlockDevice::open(path, Access::Exclusive)?;
        let LabelRead::Good(label) = read_labels(&disk)? else { anyhow::bail!("no label") };
        for placement in &label.placements {
            disk.zero_range(placement.offset.get(), placement.length.get())?;
        }
    }
    Ok(())
}

fn sum(device: &Path, length_mib: u64) -> Result<String> {
    sh(&format!(
        "dd if={} bs=1M count={length_mib} iflag=direct status=none | md5sum",
        device.display()
    ))
}

fn put_file(device: &Path, mount: &str, at: &str) -> Result<()> {
    let device = device.display();
    sh(&format!(
        "mkdir -p {at}; {mount} {device} {at}; head -c 3000000 /dev/urandom > {at}/file
         md5sum < {at}/file > {at}/sum; umount {at}; rmdir {at}"
    ))?;
    Ok(())
}

fn check_file(device: &Path, mount: &str, at: &str) -> Result<()> {
    let device = device.display();
    sh(&format!(
        "mkdir -p {at}; {mount} {device} {at}; md5sum --quiet -c {at}/sum < {at}/file; umount {at}; rmdir {at}"
    ))?;
    Ok(())
}

#[test]
fn a_backup_and_a_salvage_bring_every_volume_back_with_its_bytes() -> Result<()> {
    let bed = Bed::new(&[2 << 30, 1 << 30])?;
    let at = format!("/run/{}", bed.pool);
    let pool = bed.attach()?;
    let raw = active(&pool, "raw", mib(64))?;
    fill(&raw, mib(0), mib(5), 0x61)?;
    let ext4 = active(&pool, "ext4", mib(32))?;
    sh(&format!("mkfs.ext4 -q {}", ext4.display()))?;
    put_file(&ext4, "mount", &at)?;
    let xfs = active(&pool, "xfs", mib(64))?;
    sh(&format!("mkfs.xfs --unsupported -q {}", xfs.display()))?;
    put_file(&xfs, "mount", &at)?;
    pool.snapshot(&name("raw"), &name("raw@1"))?;
    fill(&raw, mib(0), mib(1), 0x62)?;
    pool.create_volume(&name("pending"), gib(1))?;
    let ids = ["raw", "ext4", "xfs", "raw@1"]
        .map(|volume| pool.volume(&name(volume)).unwrap().thin_id.unwrap());
    let sums = [sum(&raw, 5)?, sum(&ext4, 32)?, sum(&xfs, 64)?];
    pool.release()?;
    bed.engine.close_pool(&bed.pool)?;
    assert_refused(bed.engine.salvage(&bed.pool), &["can be read"]);
    let backup = bed.engine.backup(&bed.pool)?;

    erase_journal(&bed)?;
    assert_refused(bed.engine.open_pool(&bed.pool, &[]), &["all zeros", "restore", "salvage"]);
    assert_eq!(bed.engine.view(&bed.pool)?.state, PoolState::Damaged);
    let report = bed.engine.restore(&bed.pool, &backup, None)?;
    assert_eq!((report.volume_count, report.findings), (5, Vec::new()));
    let pool = bed.open()?;
    assert!(pool.findings().is_empty(), "{:?}", pool.findings());
    assert_eq!(sum(&activate(&pool, "raw")?, 5)?, sums[0]);
    assert_eq!(sum(&activate(&pool, "ext4")?, 32)?, sums[1]);
    check_file(&activate(&pool, "xfs")?, "mount -o ro", &at)?;
    let sums = [sums[0].clone(), sums[1].clone(), sum(&activate(&pool, "xfs")?, 64)?];
    pool.release()?;
    bed.engine.close_pool(&bed.pool)?;

    erase_journal(&bed)?;
    let report = bed.engine.salvage(&bed.pool)?;
    let found = |id| report.volumes.iter().find(|volume| volume.thin_id == id).context("not found");
    assert_eq!(report.volumes.len(), 4, "{report:?}");
    let kinds = ids.map(|id| found(id).unwrap().filesystem.clone());
    assert_eq!(kinds.each_ref().map(Option::as_deref), [None, Some("ext4"), Some("xfs"), None]);
    assert_eq!(found(ids[1])?.virtual_bytes, mib(32));
    let pool = bed.open()?;
    let device = |index: usize| activate(&pool, found(ids[index])?.name.as_str());
    assert_eq!(sum(&device(0)?, 5)?, sums[0]);
    assert_eq!(sum(&device(1)?, 32)?, sums[1]);
    assert_eq!(sum(&device(2)?, 64)?, sums[2]);
    assert!(holds(&device(3)?, mib(0), mib(5), 0x61)?, "the snapshot");
    check_file(&device(1)?, "mount", &at)?;
    // A salvaged pool is a pool.
    let first = found(ids[0])?.name.clone();
    pool.snapshot(&first, &name("after"))?;
    active(&pool, "new", mib(64))?;
    pool.release()?;
    bed.assert_ids_are_named()
}

#[test]
fn a_backup_of_another_pool_or_a_damaged_one_is_refused() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let other = Bed::new(&[1 << 30])?;
    let foreign = other.engine.backup(&other.pool)?;
    let mut damaged = bed.engine.backup(&bed.pool)?;
    assert_refused(bed.engine.restore(&bed.pool, &damaged, None), &["open already"]);
    bed.engine.close_pool(&bed.pool)?;
    assert_refused(bed.engine.restore(&bed.pool, &foreign, None), &["belongs to pool"]);
    damaged[40] ^= 1;
    assert_refused(bed.engine.restore(&bed.pool, &damaged, None), &["checksum"]);
    bed.open()?;
    Ok(())
}

#[test]
fn a_backup_older_than_the_pool_deletes_nothing_that_came_later() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    active(&pool, "old", mib(16))?;
    active(&pool, "gone", mib(16))?;
    let backup = bed.engine.backup(&bed.pool)?;
    let new = active(&pool, "new", mib(16))?;
    fill(&new, mib(0), mib(1), 0x71)?;
    let id = pool.volume(&name("new"))?.thin_id.unwrap();
    pool.delete(&name("gone"))?;
    pool.reap(&mut |_| {})?;
    pool.release()?;
    bed.engine.close_pool(&bed.pool)?;
    erase_journal(&bed)?;
    let report = bed.engine.restore(&bed.pool, &backup, None)?;
    let told: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|line| line.contains("gone is lost")), "{told:?}");
    assert!(told.iter().any(|line| line.contains("orphan")), "{told:?}");
    let pool = bed.open()?;
    assert_refused(
        pool.activate(&name("gone"), thinly_engine::pool::VolumeAccess::ReadWrite),
        &["lost"],
    );
    pool.reap(&mut |_| {})?;
    assert!(bed.ids_on_disk()?.contains(&id), "the new volume's data was deleted");
    pool.delete(&name("gone"))?;
    pool.reap(&mut |_| {})?;
    activate(&pool, "old")?;
    pool.release()?;
    Ok(())
}

#[test]
fn a_destroyed_pool_leaves_nothing_of_ours_on_its_disks() -> Result<()> {
    let disks = Disks::new(&[1 << 30, (1 << 30) + 512])?;
    // The second disk carries an old partition table, a copy of it in its very last sector.
    let whole = disks[1].display().to_string();
    sh(&format!("printf 'label: gpt\\n,100M\\n' | sfdisk -q {whole}"))?;
    let bed = Bed::with(disks, |asked| asked.force = true)?;
    let pool = bed.attach()?;
    let device = active(&pool, "web", mib(64))?;
    sh(&format!("mkfs.ext4 -q {}", device.display()))?;
    pool.release()?;
    bed.engine.destroy_pool(&bed.pool)?;
    assert_refused(bed.engine.view(&bed.pool), &["no pool"]);
    assert!(bed.devices()?.is_empty());
    for disk in bed.disks.paths() {
        let read = read_labels(&BlockDevice::open(disk, Access::ReadOnly)?)?;
        assert!(matches!(read, LabelRead::Absent), "{read:?}");
        assert_eq!(sh(&format!("wipefs --no-act {}", disk.display()))?, "");
    }
    // And they can be taken again without force.
    bed.engine.create_pool(&crate::support::request(&bed.pool, bed.disks.paths()))?;
    Ok(())
}
