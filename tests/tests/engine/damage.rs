//! Disks that are damaged, missing or copied: what is refused, what is used instead, and in which
//! words.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::layout::{Label, LabelRead, Role, read_labels};
use thinly_engine::plan::Finding;
use thinly_engine::pool::{ExitClass, PoolState, VolumeState};
use thinly_tests::sh;

use crate::support::{Bed, activate, active, assert_refused, fill, holds, mib, name};

/// A closed pool with a volume `web` of 64 MiB that holds 4 MiB of one byte, and a snapshot of it.
fn closed_pool(sizes_bytes: &[u64]) -> Result<Bed> {
    let bed = Bed::new(sizes_bytes)?;
    let pool = bed.attach()?;
    let device = active(&pool, "web", mib(64))?;
    fill(&device, mib(0), mib(4), 0x5a)?;
    pool.snapshot(&name("web"), &name("web@1"))?;
    pool.deactivate(&name("web"))?;
    pool.release()?;
    bed.engine.close_pool(&bed.pool)?;
    Ok(bed)
}

fn label_of(disk: &Path) -> Result<Label> {
    match read_labels(&BlockDevice::open(disk, Access::ReadOnly)?)? {
        LabelRead::Good(label) => Ok(label),
        other => anyhow::bail!("{} has no whole label: {other:?}", disk.display()),
    }
}

fn patch(disk: &Path, offset: u64, change: impl FnOnce(&mut [u8])) -> Result<()> {
    let file = File::options().read(true).write(true).open(disk)?;
    let mut block = vec![0; 4096];
    file.read_exact_at(&mut block, offset)?;
    change(&mut block);
    file.write_all_at(&block, offset)?;
    // Past the page cache as well, where the engine reads.
    file.sync_all()?;
    Ok(())
}

/// Where a disk's copy of the journal is: its offset and the length of one region.
fn journal_of(disk: &Path) -> Result<(u64, u64)> {
    let label = label_of(disk)?;
    let placement = label.placements.first().context("no journal on this disk")?;
    Ok((placement.offset.get(), placement.length.get() / 2))
}

/// Flips a bit of the journal's first frame after its checkpoint, or of its last one.
fn damage_frame(disk: &Path, is_last: bool) -> Result<()> {
    let (journal, region) = journal_of(disk)?;
    let mut used = Vec::new();
    for half in [0, region] {
        let mut unit = 2;
        let file = File::open(disk)?;
        let mut block = vec![0; 4096];
        loop {
            file.read_exact_at(&mut block, journal + half + unit * 4096)?;
            if block.iter().all(|byte| *byte == 0) {
                break;
            }
            used.push(journal + half + unit * 4096);
            unit += 1;
        }
    }
    ensure!(used.len() > 4, "too few writes in the journal: {}", used.len());
    let at = if is_last { used[used.len() - 1] } else { used[2] };
    patch(disk, at, |block| block[30] ^= 1)
}

#[test]
fn blank_metadata_is_never_given_to_the_kernel_which_would_format_it() -> Result<()> {
    let bed = closed_pool(&[1 << 30])?;
    let label = label_of(&bed.disks[0])?;
    let metadata = label.segments.iter().find(|segment| segment.role == Role::Metadata);
    let metadata = metadata.context("no metadata")?.device_offset(label.extent_bytes).unwrap();
    let mut head = vec![0; 4096];
    patch(&bed.disks[0], metadata.get(), |block| {
        head.copy_from_slice(block);
        block.fill(0);
    })?;
    let words = ["begins with zeros", "restore the metadata from a copy"];
    assert_refused(bed.engine.open_pool(&bed.pool, &[]), &words);
    assert!(bed.devices()?.is_empty(), "a refused open left {:?}", bed.devices()?);
    assert_refused(bed.engine.salvage(&bed.pool), &["can be read"]);
    patch(&bed.disks[0], metadata.get(), |block| block.copy_from_slice(&head))?;
    let pool = bed.open()?;
    assert!(holds(&activate(&pool, "web")?, mib(0), mib(4), 0x5a)?);
    Ok(())
}

#[test]
fn a_journal_damaged_before_its_end_is_refused_by_region_and_offset() -> Result<()> {
    let bed = closed_pool(&[1 << 30])?;
    damage_frame(&bed.disks[0], false)?;
    let words = ["damaged in region A at byte", "salvage"];
    assert_refused(bed.engine.open_pool(&bed.pool, &[]), &words);
    assert_eq!(bed.engine.open_pool(&bed.pool, &[]).unwrap_err().exit_class(), ExitClass::Damaged);
    let view = bed.engine.view(&bed.pool)?;
    assert_eq!(view.state, PoolState::Damaged);
    assert!(view.problems.iter().any(|problem| problem.contains("region A")), "{view:?}");
    Ok(())
}

#[test]
fn an_open_pool_whose_journal_is_damaged_can_still_be_closed() -> Result<()> {
    let bed = closed_pool(&[1 << 30])?;
    let pool = bed.open()?;
    let web = activate(&pool, "web")?;
    pool.release()?;
    damage_frame(&bed.disks[0], false)?;
    assert_refused(bed.engine.attach(&bed.pool), &["damaged in region"]);
    let held = File::open(&web)?;
    assert_refused(bed.engine.close_pool(&bed.pool), &["in use"]);
    assert!(holds(&web, mib(0), mib(4), 0x5a)?, "its user must not notice");
    drop(held);
    bed.engine.close_pool(&bed.pool)?;
    assert!(bed.devices()?.is_empty());
    // The way out that the refusal names.
    assert_eq!(bed.engine.salvage(&bed.pool)?.volumes.len(), 2);
    bed.open()?.release()?;
    Ok(())
}

#[test]
fn a_damaged_journal_copy_is_replaced_by_its_mirror_and_named() -> Result<()> {
    let bed = closed_pool(&[1 << 30, 1 << 30])?;
    damage_frame(&bed.disks[0], false)?;
    let view = bed.engine.view(&bed.pool)?;
    let damaged = bed.disks[0].display().to_string();
    let named = |problem: &String| problem.contains(&damaged) && problem.contains("journal");
    assert!(view.problems.iter().any(named), "{:?}", view.problems);
    let pool = bed.open()?;
    let told =
        pool.findings().iter().map(ToString::to_string).any(|finding| finding.contains("copy"));
    assert!(told, "{:?}", pool.findings());
    assert_eq!(pool.volumes()?.len(), 2);
    pool.create_volume(&name("after"), mib(1))?;
    pool.release()?;
    // The next writer made both equal again.
    let view = bed.engine.view(&bed.pool)?;
    assert!(view.problems.is_empty(), "{:?}", view.problems);
    Ok(())
}

#[test]
fn a_journal_torn_at_its_end_opens_reports_and_deletes_nothing() -> Result<()> {
    let bed = closed_pool(&[1 << 30])?;
    let pool = bed.open()?;
    let before = pool.volumes()?.len();
    pool.clone_volume(&name("web@1"), &name("copy"), None)?;
    let copy = pool.volume(&name("copy"))?.thin_id.unwrap();
    drop(pool);
    // The clone's record was the last write.
    damage_frame(&bed.disks[0], true)?;
    let pool = bed.attach()?;
    let findings = pool.findings();
    assert!(findings.contains(&Finding::DamagedTail), "{findings:?}");
    let orphan = |finding: &Finding| matches!(finding, Finding::Orphan { id, .. } if *id == copy);
    assert!(findings.iter().any(orphan), "{findings:?}");
    assert_eq!(pool.volumes()?.len(), before, "what the journal says is there");
    pool.reap(&mut |_| {})?;
    assert!(bed.ids_on_disk()?.contains(&copy), "what may be somebody's data is kept");
    pool.release()?;
    let pool = bed.attach()?;
    assert!(pool.findings().is_empty(), "{:?}", pool.findings());
    Ok(())
}

#[test]
fn one_torn_label_copy_is_enough_to_open_is_reported_and_made_whole() -> Result<()> {
    let bed = closed_pool(&[1 << 30])?;
    let disk = bed.disks[0].to_owned();
    let last = (1 << 30) - 4096;
    for (copy, offset) in [("first", 4096), ("second", last)] {
        patch(&disk, offset, |block| block[200] ^= 1)?;
        let view = bed.engine.view(&bed.pool)?;
        let told =
            |problem: &String| problem.contains("label") && problem.contains("does not count");
        assert!(view.problems.iter().any(told), "{copy}: {:?}", view.problems);
        let pool = bed.open()?;
        assert!(pool.view()?.problems.is_empty(), "{copy}: {:?}", pool.view()?.problems);
        pool.release()?;
        bed.engine.close_pool(&bed.pool)?;
    }
    patch(&disk, 4096, |block| block[200] ^= 1)?;
    patch(&disk, last, |block| block[200] ^= 1)?;
    let refused = bed.engine.open_pool(&bed.pool, &[]).unwrap_err().to_string();
    assert!(refused.contains("label") || refused.contains("no pool"), "{refused}");
    Ok(())
}

/// Alone: a loop device that is detached is the next one that anybody else gets.
#[test]
fn alone_a_pool_with_disks_missing_is_incomplete_and_names_them() -> Result<()> {
    let bed = closed_pool(&[1 << 30, 1 << 30, 1 << 30])?;
    let disks = bed.disks.paths();
    let uuids = disks
        .iter()
        .map(|disk| Ok(label_of(disk)?.device_uuid.to_string()))
        .collect::<Result<Vec<_>>>()?;
    for kept in 0..3 {
        let has_journal = !label_of(&disks[kept])?.placements.is_empty();
        let missing: Vec<usize> = (0..3).filter(|index| *index != kept).collect();
        let files = missing
            .iter()
            .map(|index| {
                let disk = disks[*index].display();
                let file = sh(&format!("losetup --noheadings -O BACK-FILE {disk}"))?;
                sh(&format!("losetup --detach {disk}"))?;
                Ok(file)
            })
            .collect::<Result<Vec<_>>>()?;
        let view = bed.engine.view(&bed.pool)?;
        let refused = bed.engine.open_pool(&bed.pool, &[]).unwrap_err().to_string();
        if has_journal {
            assert_eq!(view.state, PoolState::Incomplete, "{:?}", view.problems);
            assert_eq!(view.devices.iter().filter(|device| device.path.is_none()).count(), 2);
            assert!(refused.contains("2 of its 3"), "{refused}");
            assert!(missing.iter().all(|index| refused.contains(&uuids[*index])), "{refused}");
            assert_eq!(bed.engine.volumes(&bed.pool)?.len(), 2);
        } else {
            // Nothing here says how many disks there are.
            assert_eq!(view.state, PoolState::Incomplete, "{:?}", view.problems);
            assert!(refused.contains("attach"), "{refused}");
        }
        assert!(bed.devices()?.is_empty(), "a refused open left {:?}", bed.devices()?);
        for (index, file) in missing.iter().zip(files) {
            sh(&format!("losetup {} {file}", disks[*index].display()))?;
        }
    }
    let pool = bed.open()?;
    assert!(holds(&activate(&pool, "web")?, mib(0), mib(4), 0x5a)?);
    Ok(())
}

#[test]
fn a_copied_disk_is_refused_by_both_nodes_and_naming_the_true_one_opens() -> Result<()> {
    let bed = closed_pool(&[1 << 30])?;
    let original = bed.disks[0].display().to_string();
    let copy = sh(&format!(
        "cp --sparse=always $(losetup --noheadings -O BACK-FILE {original}) /scratch/{0}.copy
         losetup --find --show /scratch/{0}.copy",
        bed.pool
    ))?;
    let result = (|| -> Result<()> {
        assert_refused(bed.engine.open_pool(&bed.pool, &[]), &[&original, &copy]);
        assert_refused(bed.engine.destroy_pool(&bed.pool), &[&original, &copy]);
        let view = bed.engine.view(&bed.pool)?;
        assert_eq!(view.state, PoolState::Damaged);
        let pool = bed.engine.open_pool(&bed.pool, &[bed.disks[0].to_owned()])?;
        let web = activate(&pool, "web")?;
        assert!(holds(&web, mib(0), mib(4), 0x5a)?);
        assert_eq!(pool.volume(&name("web"))?.state, VolumeState::Active);
        assert_eq!(pool.volumes()?.len(), 2, "the copy is still there and must not confuse");
        pool.release()?;
        // While it is open the kernel knows which one is meant.
        bed.attach()?.release()?;
        Ok(bed.engine.close_pool(&bed.pool)?)
    })();
    sh(&format!("losetup --detach {copy}; rm /scratch/{}.copy", bed.pool))?;
    result
}
