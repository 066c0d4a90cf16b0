//! The end of a pool's snapshots, 2^24 of them: told, refused, and the documented way to begin anew.

use anyhow::{Context, Result, ensure};
use thinly_engine::pool::{PoolError, SNAPSHOT_TIME_MAX, VolumeAccess};
use thinly_tests::sh;

use crate::support::{Bed, activate, active, assert_refused, fill, holds, mib, name};

/// The commands of the documentation, on this pool.
fn documented_renewal(pool: &str) -> Result<String> {
    let page = include_str!("../../../docs/operations.md");
    let (_, section) = page.split_once("## The lifetime of snapshots").context("no section")?;
    let (_, commands) = section.split_once("```sh\n").context("no commands")?;
    let (commands, _) = commands.split_once("```").context("no end")?;
    ensure!(commands.contains(" p0"), "{commands}");
    Ok(commands.replace(" p0", &format!(" {pool}")))
}

/// Ages a closed pool: its metadata is written out, its counter moved, and put back.
fn age(bed: &Bed, time: u32) -> Result<()> {
    let directory = tempfile::tempdir_in("/scratch")?;
    let (old, aged) = (directory.path().join("old"), directory.path().join("aged"));
    bed.engine.copy_metadata(&bed.pool, &old, &mut |_, _| {})?;
    sh(&format!(
        "cd {}; thin_dump old | sed -E '/<superblock/s/ time=\"[0-9]+\"/ time=\"{time}\"/' > aged.xml
         truncate --reference old aged; thin_restore --input aged.xml --output aged",
        directory.path().display()
    ))?;
    bed.engine.restore_metadata(&bed.pool, &aged, false, &mut |_, _| {})?;
    Ok(())
}

#[test]
fn a_pool_near_its_last_snapshot_warns_refuses_and_is_renewed_as_documented() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    let web = active(&pool, "web", mib(64))?;
    fill(&web, mib(0), mib(4), 1)?;
    pool.snapshot(&name("web"), &name("web@1"))?;
    fill(&web, mib(2), mib(1), 2)?;
    pool.release()?;
    bed.engine.close_pool(&bed.pool)?;
    age(&bed, SNAPSHOT_TIME_MAX - 1)?;

    let pool = bed.open()?;
    pool.snapshot(&name("web"), &name("last"))?;
    let refused = pool.snapshot(&name("web"), &name("one-more")).unwrap_err();
    ensure!(matches!(refused, PoolError::SnapshotLifetime { .. }), "{refused}");
    assert_refused(Err::<(), _>(refused), &["16777215"]);
    assert_refused(pool.clone_volume(&name("web"), &name("copy"), None).map(drop), &["16777215"]);
    pool.release()?;
    let told = sh(&format!("thinly pool show {}", bed.pool))?;
    ensure!(told.contains("16777215 of 16777215"), "{told}");
    ensure!(told.contains("of the pool's life"), "{told}");

    let directory = tempfile::tempdir_in("/scratch")?;
    sh(&format!("cd {}\n{}", directory.path().display(), documented_renewal(&bed.pool)?))?;
    let pool = bed.attach()?;
    pool.snapshot(&name("web"), &name("again"))?;
    // What is shared stays shared: a write to one does not reach the other.
    let web = activate(&pool, "web")?;
    fill(&web, mib(0), mib(1), 3)?;
    for (volume, at, byte) in [("web", 0, 3), ("web", 2, 2), ("again", 0, 1), ("web@1", 2, 1)] {
        let access = if volume == "web" { VolumeAccess::ReadWrite } else { VolumeAccess::ReadOnly };
        let device = pool.activate(&name(volume), access)?.device.context("no device")?;
        ensure!(holds(&device, mib(at), mib(1), byte)?, "{volume} at {at} MiB");
    }
    pool.release()?;
    bed.assert_ids_are_named()
}
