//! dm-thin metadata that is damaged, or that the kernel wants checked, and the way back into service.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use thinly_engine::layout::Role;
use thinly_engine::metadata::Severity;
use thinly_engine::plan::Health;
use thinly_engine::pool::{PoolError, RepairRequest, VolumeState};
use thinly_engine::units::{DataBlocks, SECTOR_BYTES};
use thinly_tests::sh;

use crate::shaky::{Shaky, shaky_bed};
use crate::support::{Bed, activate, active, assert_refused, fill, holds, mib, name};

const LOOK: RepairRequest = RepairRequest { apply: false, accept_loss: false, leaks: false };
/// Leaked blocks are worth a repair, too.
const GIVE_BACK: RepairRequest = RepairRequest { apply: true, accept_loss: false, leaks: true };
const APPLY: RepairRequest = RepairRequest { apply: true, accept_loss: false, leaks: false };

/// A volume and a snapshot, each with its own bytes, in an open pool.
fn fill_pool(bed: &Bed) -> Result<()> {
    let pool = bed.attach()?;
    let web = active(&pool, "web", mib(64))?;
    fill(&web, mib(0), mib(4), 1)?;
    pool.snapshot(&name("web"), &name("web@1"))?;
    fill(&web, mib(0), mib(4), 2)?;
    Ok(pool.release()?)
}

fn check_pool(bed: &Bed) -> Result<()> {
    let pool = bed.open()?;
    for (volume, byte) in [("web", 2), ("web@1", 1)] {
        let device = pool.activate(&name(volume), thinly_engine::pool::VolumeAccess::ReadOnly)?;
        ensure!(holds(&device.device.context("no device")?, mib(0), mib(4), byte)?, "{volume}");
        pool.deactivate(&name(volume))?;
    }
    fill(&activate(&pool, "web")?, mib(8), mib(1), 3)?;
    pool.snapshot(&name("web"), &name("after"))?;
    pool.reap(&mut |_| {})?;
    Ok(pool.release()?)
}

/// The head of everything that a repair may not touch before it is asked to.
fn digest(disk: &Path) -> Result<String> {
    sh(&format!("dd if={} bs=1M count=96 iflag=direct status=none | md5sum", disk.display()))
}

fn spoil(shaky: &Shaky, disk: &Path, block: u64) -> Result<()> {
    let (start, _) = shaky.range(Role::Metadata)?;
    let file = fs::File::options().write(true).open(disk)?;
    file.write_all_at(&[0xa5; 4096], start * SECTOR_BYTES + block * 4096)?;
    Ok(file.sync_all()?)
}

/// As the kernel does after a lost commit.
fn demand_check(shaky: &Shaky, disk: &Path) -> Result<()> {
    thinly_tests::demand_check(disk, shaky.range(Role::Metadata)?.0 * SECTOR_BYTES)
}

#[test]
fn a_pool_that_needs_a_check_is_repaired_onto_its_spare_and_serves_again() -> Result<()> {
    let (bed, shaky) = shaky_bed()?;
    fill_pool(&bed)?;
    assert_refused(bed.engine.repair(&bed.pool, LOOK), &["is open", "thinly pool close"]);
    bed.engine.close_pool(&bed.pool)?;
    demand_check(&shaky, &bed.disks[0])?;
    let pool = bed.open()?;
    let refused = pool.snapshot(&name("web"), &name("web@2")).unwrap_err();
    ensure!(refused.to_string().contains("thinly pool repair"), "{refused}");
    ensure!(bed.engine.view(&bed.pool)?.health == Some(Health::NeedsCheck));
    pool.release()?;
    bed.engine.close_pool(&bed.pool)?;

    let before = digest(&bed.disks[0])?;
    let looked = bed.engine.repair(&bed.pool, LOOK)?;
    ensure!(looked.is_needed() && !looked.swapped && looked.tool.is_some(), "{looked:?}");
    ensure!(digest(&bed.disks[0])? == before, "looking wrote something");

    let places = (shaky.range(Role::Metadata)?, shaky.range(Role::MetadataSpare)?);
    let repaired = bed.engine.repair(&bed.pool, APPLY)?;
    ensure!(repaired.swapped && repaired.lost.is_empty(), "{repaired:?}");
    ensure!(bed.devices()?.is_empty(), "left {:?}", bed.devices()?);
    let swapped = (shaky.range(Role::MetadataSpare)?, shaky.range(Role::Metadata)?);
    ensure!(swapped == places, "the labels say {swapped:?}");
    check_pool(&bed)?;
    bed.assert_ids_are_named()?;
    ensure!(bed.engine.view(&bed.pool)?.health == Some(Health::Writable));

    // What is sound is left alone.
    bed.engine.close_pool(&bed.pool)?;
    let sound = bed.engine.repair(&bed.pool, APPLY)?;
    ensure!(!sound.is_needed() && !sound.swapped, "{sound:?}");
    Ok(())
}

#[test]
fn a_lost_superblock_is_made_anew_from_what_the_catalogue_knows() -> Result<()> {
    let (bed, shaky) = shaky_bed()?;
    fill_pool(&bed)?;
    bed.engine.close_pool(&bed.pool)?;
    spoil(&shaky, &bed.disks[0], 0)?;
    ensure!(bed.engine.open_pool(&bed.pool, &[]).is_err());
    let looked = bed.engine.repair(&bed.pool, LOOK)?;
    ensure!(looked.damage.is_some(), "{looked:?}");
    ensure!(bed.engine.repair(&bed.pool, APPLY)?.swapped);
    check_pool(&bed)
}

/// A crash between the record and the labels: the next open goes by the record, and mends the labels.
#[test]
fn labels_that_a_repair_did_not_reach_are_mended_by_the_next_open() -> Result<()> {
    let (bed, shaky) = shaky_bed()?;
    fill_pool(&bed)?;
    bed.engine.close_pool(&bed.pool)?;
    let mut old = shaky.label()?;
    spoil(&shaky, &bed.disks[0], 0)?;
    ensure!(bed.engine.repair(&bed.pool, APPLY)?.swapped);
    let repaired = shaky.label()?;
    old.generation = repaired.generation + 1;
    let disk = thinly_engine::block_device::BlockDevice::open(
        &bed.disks[0],
        thinly_engine::block_device::Access::ReadWrite,
    )?;
    thinly_engine::layout::write_labels(&disk, &old)?;
    check_pool(&bed)?;
    ensure!(shaky.label()?.segments == repaired.segments, "the labels were not mended");
    let generation = shaky.label()?.generation;
    bed.engine.close_pool(&bed.pool)?;
    bed.open()?.release()?;
    ensure!(shaky.label()?.generation == generation, "an open wrote labels that were right");
    Ok(())
}

#[test]
fn a_repair_that_would_lose_a_volume_asks_first() -> Result<()> {
    let (bed, shaky) = shaky_bed()?;
    fill_pool(&bed)?;
    // A thin id that goes behind the catalogue's back.
    let pool = bed.attach()?;
    let doomed = pool.snapshot(&name("web"), &name("doomed"))?.thin_id.context("no id")?;
    bed.message(&format!("delete {doomed}"))?;
    drop(pool);
    // Not by the engine, which would look and know.
    while !bed.devices()?.is_empty() {
        for device in bed.devices()? {
            let _ = sh(&format!("dmsetup remove --retry {device}"));
        }
    }
    demand_check(&shaky, &bed.disks[0])?;
    let refused = bed.engine.repair(&bed.pool, APPLY).unwrap_err();
    ensure!(matches!(refused, PoolError::RepairLoses { .. }), "{refused}");
    ensure!(refused.to_string().contains("doomed"), "{refused}");
    let accepted = RepairRequest { apply: true, accept_loss: true, leaks: false };
    ensure!(bed.engine.repair(&bed.pool, accepted)?.swapped);
    check_pool(&bed)?;
    let volumes = bed.engine.volumes(&bed.pool)?;
    let state = volumes.iter().find(|volume| volume.name == name("doomed")).map(|it| it.state);
    ensure!(state != Some(VolumeState::Inactive), "{state:?}");
    Ok(())
}

/// The kernel gives no block back whose first copy or first write a disk refuses.
#[test]
fn blocks_that_a_failing_disk_made_the_kernel_lose_are_given_back() -> Result<()> {
    let (bed, shaky) = shaky_bed()?;
    fill_pool(&bed)?;
    let pool = bed.attach()?;
    pool.snapshot(&name("web"), &name("shared"))?;
    let web = activate(&pool, "web")?;
    shaky.fail(Role::Data, "error_writes")?;
    ensure!(fill(&web, mib(0), mib(1), 9).is_err(), "writes to a dead disk went well");
    shaky.heal()?;
    pool.release()?;
    bed.engine.close_pool(&bed.pool)?;

    let check = bed.engine.check(&bed.pool, &mut |_, _| {})?;
    let leaked = check.metadata.leaked_data_blocks();
    ensure!(leaked > DataBlocks::ZERO, "{check:?}");
    ensure!(check.metadata.worst() == Some(Severity::Warning), "{check:?}");
    let looked = bed.engine.repair(&bed.pool, LOOK)?;
    ensure!(looked.leaked_data_blocks == leaked && !looked.is_needed(), "{looked:?}");
    let before = digest(&bed.disks[0])?;
    ensure!(!bed.engine.repair(&bed.pool, APPLY)?.swapped, "leaks alone are not asked for");
    ensure!(digest(&bed.disks[0])? == before, "nothing was asked for, and something written");

    let repaired = bed.engine.repair(&bed.pool, GIVE_BACK)?;
    ensure!(repaired.swapped && repaired.lost.is_empty(), "{repaired:?}");
    let check = bed.engine.check(&bed.pool, &mut |_, _| {})?;
    ensure!(check.metadata.leaked_data_blocks() == DataBlocks::ZERO, "{check:?}");
    ensure!(!bed.engine.repair(&bed.pool, GIVE_BACK)?.swapped, "there was nothing left to do");
    check_pool(&bed)
}
