//! A pool that runs out of metadata space, and metadata whose disk fails for good: nothing that was acknowledged is
//! lost, the page says in plain words what is wrong, and the way out that it names leads out.

use anyhow::{Context, Result, ensure};
use thinly_engine::layout::Role;
use thinly_engine::plan::Health;
use thinly_engine::pool::{ExitClass, Pool, PoolError};
use thinly_tests::{Disks, gib, sh};

use crate::shaky::shaky_bed;
use crate::support::{Bed, activate, active, assert_refused, fill, holds, mib, name};

/// The first of the thin ids that another tool makes: each takes a block of metadata.
const BALLAST: u32 = 1000;

fn names_of(bed: &Bed) -> Result<Vec<String>> {
    let volumes = bed.engine.volumes(&bed.pool)?;
    Ok(volumes.into_iter().map(|volume| volume.name.to_string()).collect())
}

/// Fills the metadata up to its last blocks, in between two writers, past the engine.
fn fill_metadata(bed: &Bed) -> Result<()> {
    let mut id = BALLAST;
    loop {
        let free = bed.usage()?.free_metadata_blocks().get();
        if free <= 4 {
            return Ok(());
        }
        // The ids themselves are kept in blocks of metadata, too.
        for _ in 0..(free - 3).div_ceil(2) {
            bed.message(&format!("create_thin {id}"))?;
            id += 1;
        }
    }
}

/// Takes snapshots until the pool refuses.
fn snapshot_until_refused(pool: &Pool) -> Result<(Vec<String>, PoolError)> {
    let mut taken = Vec::new();
    for number in 0..200 {
        let snapshot = format!("s{number}");
        match pool.snapshot(&name("web"), &name(&snapshot)) {
            Ok(_) => taken.push(snapshot),
            Err(refused) => return Ok((taken, refused)),
        }
        // Blocks that the snapshot does not share any more; this write may be the one that finds no room.
        let device = pool.volume(&name("web"))?.device.context("no device")?;
        let _ = fill(&device, mib(0), mib(1), 1);
    }
    anyhow::bail!("the metadata never fills up")
}

#[test]
fn a_pool_out_of_metadata_says_so_loses_nothing_and_is_freed_by_deleting() -> Result<()> {
    let bed = Bed::with(Disks::new(&[gib(1)])?, |asked| asked.metadata_size = Some(mib(2)))?;
    let pool = bed.attach()?;
    let web = active(&pool, "web", mib(64))?;
    fill(&web, mib(0), mib(4), 1)?;
    for number in 0..3 {
        let spare = format!("spare{number}");
        fill(&active(&pool, &spare, mib(64))?, mib(0), mib(1), 2)?;
        pool.deactivate(&name(&spare))?;
    }
    pool.release()?;
    fill_metadata(&bed)?;

    let pool = bed.attach()?;
    let (taken, refused) = snapshot_until_refused(&pool)?;
    println!("taken {}: {refused}; {:?}", taken.len(), bed.usage());
    assert_eq!(refused.exit_class(), ExitClass::Degraded, "{refused}");
    bed.assert_nothing_suspended()?;
    drop(pool);
    let told = sh(&format!("thinly pool show {}", bed.pool))?;
    println!("{told}");

    // What is told is what helps.
    bed.engine.close_pool(&bed.pool)?;
    let pool = bed.open()?;
    println!("{:?} {:?}", bed.usage(), pool.findings().len());
    let listed = names_of(&bed)?;
    ensure!(taken.iter().all(|snapshot| listed.contains(snapshot)), "{taken:?}, {listed:?}");
    ensure!(listed.len() == taken.len() + 4, "{taken:?}, {listed:?}");
    for spare in ["spare0", "spare1", "spare2"] {
        pool.delete(&name(spare))?;
    }
    println!("{:?}", pool.reap(&mut |_| {}));
    println!("{:?}", bed.usage());
    ensure!(pool.view()?.health == Some(Health::Writable), "{:?}", pool.view()?.problems);
    ensure!(holds(&activate(&pool, "web")?, mib(0), mib(4), 1)?, "bytes were lost");
    pool.snapshot(&name("web"), &name("after"))?;
    Ok(pool.release()?)
}

#[test]
fn metadata_on_a_disk_that_fails_for_good_is_replaced_by_a_copy_on_the_spare() -> Result<()> {
    let (bed, shaky) = shaky_bed()?;
    let pool = bed.attach()?;
    let web = active(&pool, "web", mib(64))?;
    fill(&web, mib(0), mib(4), 1)?;
    pool.snapshot(&name("web"), &name("web@1"))?;
    pool.release()?;
    let directory = tempfile::tempdir_in("/scratch")?;
    let copy = directory.path().join("copy");
    bed.engine.copy_metadata(&bed.pool, &copy, &mut |_, _| {})?;

    let pool = bed.attach()?;
    shaky.kill(Role::Metadata)?;
    let failed = pool.snapshot(&name("web"), &name("web@2")).unwrap_err();
    println!("{failed}");
    assert_eq!(failed.exit_class(), ExitClass::Degraded, "{failed}");
    bed.assert_nothing_suspended()?;
    drop(pool);
    assert_eq!(names_of(&bed)?, ["web", "web@1"]);
    let told = sh(&format!("thinly pool show {}", bed.pool))?;
    println!("{told}");
    bed.engine.close_pool(&bed.pool)?;
    ensure!(bed.devices()?.is_empty(), "left {:?}", bed.devices()?);
    let opened = bed.engine.open_pool(&bed.pool, &[]);
    println!("{:?}", opened.as_ref().map(drop).map_err(ToString::to_string));
    assert_refused(opened.map(drop), &["/dev/"]);
    ensure!(bed.devices()?.is_empty(), "a refused open left {:?}", bed.devices()?);

    let restored = bed.engine.restore_metadata(&bed.pool, &copy, false, &mut |_, _| {})?;
    ensure!(restored.lost.is_empty(), "{restored:?}");
    let pool = bed.open()?;
    ensure!(pool.findings().is_empty(), "{:?}", pool.findings());
    ensure!(holds(&activate(&pool, "web")?, mib(0), mib(4), 1)?, "bytes were lost");
    pool.snapshot(&name("web"), &name("web@2"))?;
    pool.release()?;
    bed.assert_ids_are_named()
}
