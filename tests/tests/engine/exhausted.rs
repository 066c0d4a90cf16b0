//! A pool that runs out of metadata space, and metadata whose disk fails for good: nothing that was acknowledged is
//! lost, the page says in plain words what is wrong, and the way out that it names leads out.

use anyhow::{Context, Result, ensure};
use thinly_engine::catalogue::PoolPolicy;
use thinly_engine::layout::Role;
use thinly_engine::plan::{Finding, Health};
use thinly_engine::pool::{ExitClass, Pool, PoolError};
use thinly_tests::{Disks, gib, sh};

use crate::shaky::shaky_bed;
use crate::support::{Bed, activate, active, assert_refused, fill, holds, mib, name};

/// The first of the thin ids that another tool makes.
const BALLAST: u32 = 1000;

fn names_of(bed: &Bed) -> Result<Vec<String>> {
    let volumes = bed.engine.volumes(&bed.pool)?;
    Ok(volumes.into_iter().map(|volume| volume.name.to_string()).collect())
}

/// Fills most of a closed pool's metadata, as another tool would: with devices that map the same 4000 blocks.
fn add_ballast(bed: &Bed) -> Result<()> {
    let directory = tempfile::tempdir_in("/scratch")?;
    let at = directory.path();
    bed.engine.copy_metadata(&bed.pool, &at.join("old"), &mut |_, _| {})?;
    sh(&format!(
        "cd {}; thin_dump old | grep -v '</superblock>' >full.xml
         for id in $(seq {BALLAST} {}); do
             echo '<device dev_id=\"'$id'\" mapped_blocks=\"4000\" transaction=\"0\" creation_time=\"0\" snap_time=\"0\">'
             echo '<range_mapping origin_begin=\"0\" data_begin=\"4000\" length=\"4000\" time=\"0\"/></device>'
         done >>full.xml
         echo '</superblock>' >>full.xml
         truncate --reference old full; thin_restore --input full.xml --output full",
        at.display(),
        BALLAST + 21
    ))?;
    bed.engine.restore_metadata(&bed.pool, &at.join("full"), false, &mut |_, _| {})?;
    Ok(())
}

/// Fills the metadata up to its last blocks: each blank device takes one.
fn fill_up(bed: &Bed) -> Result<()> {
    let mut id = BALLAST + 100;
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
fn a_pool_out_of_metadata_says_so_loses_nothing_and_is_packed_as_documented() -> Result<()> {
    let bed = Bed::with(Disks::new(&[gib(1)])?, |asked| asked.metadata_size = Some(mib(2)))?;
    let pool = bed.attach()?;
    pool.set_policy(PoolPolicy { overcommit_metadata: true, ..PoolPolicy::default() })?;
    fill(&active(&pool, "web", mib(64))?, mib(0), mib(4), 1)?;
    pool.release()?;
    bed.engine.close_pool(&bed.pool)?;
    add_ballast(&bed)?;
    bed.open()?.release()?;
    fill_up(&bed)?;

    let pool = bed.attach()?;
    activate(&pool, "web")?;
    let (taken, refused) = snapshot_until_refused(&pool)?;
    assert_eq!(refused.exit_class(), ExitClass::Degraded, "{refused}");
    assert_refused(Err::<(), _>(refused), &["metadata is full"]);
    bed.assert_nothing_suspended()?;
    drop(pool);
    let told = sh(&format!("thinly pool show {}", bed.pool))?;
    ensure!(told.contains("metadata is full") && told.contains("(100 %)"), "{told}");

    bed.engine.close_pool(&bed.pool)?;
    let directory = tempfile::tempdir_in("/scratch")?;
    let (old, packed) = (directory.path().join("old"), directory.path().join("packed"));
    bed.engine.copy_metadata(&bed.pool, &old, &mut |_, _| {})?;
    // What the other tool made is left out: blank devices cannot be packed.
    sh(&format!(
        "cd {}; thin_dump old | sed -E '/<device dev_id=\"1[0-9]{{3}}\"/,/<\\/device>/d' >packed.xml
         truncate --reference old packed; thin_restore --input packed.xml --output packed",
        directory.path().display()
    ))?;
    bed.engine.restore_metadata(&bed.pool, &packed, false, &mut |_, _| {})?;
    let pool = bed.open()?;
    ensure!(pool.view()?.health == Some(Health::Writable), "{:?}", pool.view()?.problems);
    let mut due = taken;
    due.insert(0, "web".to_owned());
    let mut listed = names_of(&bed)?;
    due.sort();
    listed.sort();
    assert_eq!(listed, due);
    ensure!(holds(&activate(&pool, "web")?, mib(0), mib(4), 1)?, "bytes were lost");
    pool.snapshot(&name("web"), &name("after"))?;
    pool.delete(&name("after"))?;
    ensure!(pool.reap(&mut |_| {})?.waiting == 0);
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
    assert_eq!(failed.exit_class(), ExitClass::Degraded, "{failed}");
    bed.assert_nothing_suspended()?;
    drop(pool);
    assert_eq!(names_of(&bed)?, ["web", "web@1"]);
    let told = sh(&format!("thinly pool show {}", bed.pool))?;
    ensure!(told.contains("the pool is failed; close the pool, check its disks"), "{told}");
    bed.engine.close_pool(&bed.pool)?;
    ensure!(bed.devices()?.is_empty(), "left {:?}", bed.devices()?);
    let opened = bed.engine.open_pool(&bed.pool, &[]);
    assert_refused(opened.map(drop), &["/dev/"]);
    ensure!(bed.devices()?.is_empty(), "a refused open left {:?}", bed.devices()?);

    let restored = bed.engine.restore_metadata(&bed.pool, &copy, false, &mut |_, _| {})?;
    ensure!(restored.lost.is_empty(), "{restored:?}");
    let pool = bed.open()?;
    let is_unclean = |finding: &Finding| matches!(finding, Finding::UncleanShutdown { .. });
    ensure!(pool.findings().iter().all(is_unclean), "{:?}", pool.findings());
    ensure!(holds(&activate(&pool, "web")?, mib(0), mib(4), 1)?, "bytes were lost");
    pool.snapshot(&name("web"), &name("web@2"))?;
    pool.release()?;
    bed.assert_ids_are_named()
}
