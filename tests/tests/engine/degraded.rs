//! Metadata that cannot be written: the kernel says yes and drops the change.

use anyhow::{Context, Result};
use thinly_engine::layout::Role;
use thinly_engine::plan::Health;
use thinly_engine::pool::{ExitClass, Pool, PoolError, VolumeAccess};

use crate::shaky::shaky_bed;
use crate::support::{active, assert_refused, fill, mib, name};

fn names_of(pool: &Pool) -> Result<Vec<String>> {
    Ok(pool.volumes()?.into_iter().map(|volume| volume.name.to_string()).collect())
}

#[test]
fn a_message_whose_commit_is_lost_is_reported_as_failed_and_nothing_is_listed() -> Result<()> {
    let (bed, shaky) = shaky_bed()?;
    let pool = bed.attach()?;
    let web = active(&pool, "web", mib(64))?;
    fill(&web, mib(0), mib(1), 1)?;
    pool.snapshot(&name("web"), &name("web@1"))?;
    shaky.fail(Role::Metadata, "error_writes")?;
    let failed = pool.snapshot(&name("web"), &name("web@2")).unwrap_err();
    assert_eq!(failed.exit_class(), ExitClass::Degraded, "{failed}");
    assert!(matches!(failed, PoolError::WentDegraded { .. }), "{failed}");
    assert!(failed.to_string().contains("while a snapshot"), "{failed}");
    bed.assert_nothing_suspended()?;
    assert_eq!(names_of(&pool)?, ["web", "web@1"]);
    let view = bed.engine.view(&bed.pool)?;
    let health = view.health.context("no health")?;
    assert!(health >= Health::ReadOnly, "{health}");
    let told = |problem: &String| problem.contains(&health.to_string()) && problem.contains("; ");
    assert!(view.problems.iter().any(told), "{:?}", view.problems);
    assert_eq!(view.snapshot_count, 1);
    let later = pool.snapshot(&name("web"), &name("web@3")).unwrap_err();
    assert!(matches!(later, PoolError::Poisoned { .. }), "{later}");
    drop(pool);

    // What a degraded pool still serves.
    shaky.heal()?;
    let pool = bed.attach()?;
    assert_refused(pool.snapshot(&name("web"), &name("web@3")), &["the pool is", "refused"]);
    let created = pool.create_volume(&name("new"), mib(1));
    assert_refused(created, &["the pool is", "refused"]);
    assert_eq!(names_of(&pool)?, ["web", "web@1"]);
    pool.rename(&name("web@1"), &name("web@old"))?;
    pool.deactivate(&name("web"))?;
    if health < Health::Failed {
        pool.activate(&name("web"), VolumeAccess::ReadWrite)?;
        pool.deactivate(&name("web"))?;
        pool.delete(&name("web@old"))?;
        assert_eq!(
            pool.reap(&mut |_| {})?.waiting,
            1 + u64::try_from(pool.view()?.tombstones.len())? - 1
        );
    }
    pool.release()?;
    Ok(())
}
