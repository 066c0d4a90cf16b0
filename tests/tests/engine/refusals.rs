//! What is refused, in words, with nothing changed.

use std::fs::File;

use anyhow::Result;
use thinly_engine::pool::{ExitClass, PoolError, VolumeAccess};
use thinly_engine::units::{Bytes, ThinId};

use crate::support::{
    Bed, activate, activate_read_only, active, assert_refused, fill, gib, holds, mib, name,
};

#[test]
fn a_volume_in_use_is_neither_deleted_nor_deactivated_nor_closed() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    let device = active(&pool, "web", mib(64))?;
    let held = File::open(&device)?;
    assert_refused(pool.delete(&name("web")), &["web", "in use", "1 openers"]);
    assert_refused(pool.deactivate(&name("web")), &["web", "in use"]);
    assert_eq!(pool.deactivate(&name("web")).unwrap_err().exit_class(), ExitClass::InUse);
    pool.release()?;
    assert_refused(bed.engine.close_pool(&bed.pool), &["web", "in use"]);
    assert_refused(bed.engine.destroy_pool(&bed.pool), &["web", "in use"]);
    fill(&device, mib(0), mib(1), 1)?;
    drop(held);
    bed.engine.close_pool(&bed.pool)?;
    Ok(())
}

#[test]
fn a_rollback_needs_an_inactive_volume_and_a_snapshot_of_it() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    active(&pool, "web", mib(64))?;
    active(&pool, "mail", mib(64))?;
    pool.snapshot(&name("web"), &name("web@1"))?;
    pool.snapshot(&name("mail"), &name("mail@1"))?;
    assert_refused(pool.rollback(&name("web"), &name("web@1")), &["active", "deactivate"]);
    pool.deactivate(&name("web"))?;
    assert_refused(pool.rollback(&name("web"), &name("mail")), &["mail", "not a snapshot"]);
    assert_refused(pool.rollback(&name("web"), &name("mail@1")), &["mail@1", "not a snapshot of"]);
    assert_refused(pool.rollback(&name("web"), &name("web")), &["not a snapshot"]);
    pool.rollback(&name("web"), &name("web@1"))?;
    pool.release()?;
    Ok(())
}

#[test]
fn names_and_sizes_that_make_no_sense_are_refused() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    let web = name("web");
    for size in [0, 1, 511, 513, u64::MAX] {
        assert_refused(pool.create_volume(&web, Bytes::new(size)), &["refused", &size.to_string()]);
    }
    pool.create_volume(&web, Bytes::new(512))?;
    assert_refused(pool.create_volume(&web, mib(1)), &["web", "exists already"]);
    pool.resize(&web, mib(64))?;
    assert_refused(pool.resize(&web, mib(63)), &["shrinking", "67108864"]);
    assert_refused(pool.resize(&web, Bytes::new((64 << 20) + 1)), &["multiple of 512"]);
    pool.snapshot(&web, &name("web@1"))?;
    assert_refused(pool.snapshot(&web, &name("web@1")), &["web@1", "exists already"]);
    assert_refused(pool.snapshot(&name("none"), &name("x")), &["no volume", "none"]);
    assert_refused(pool.clone_volume(&web, &name("web@1"), None), &["exists already"]);
    assert_refused(pool.clone_volume(&web, &name("c"), Some(mib(63))), &["shrinking"]);
    assert_refused(pool.rename(&web, &name("web@1")), &["exists already"]);
    assert_eq!(pool.volumes()?.len(), 2);
    pool.release()?;
    bed.assert_ids_are_named()
}

#[test]
fn a_volume_may_be_larger_than_its_pool() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    let size = gib(64 << 10);
    let device = active(&pool, "huge", size)?;
    fill(&device, Bytes::new(size.get() - (1 << 20)), mib(1), 9)?;
    assert!(holds(&device, Bytes::new(size.get() - (1 << 20)), mib(1), 9)?);
    pool.release()?;
    Ok(())
}

#[test]
fn thin_ids_run_out_in_words_and_come_back_with_the_reaper() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    pool.limit_thin_ids(ThinId::new(2).unwrap());
    active(&pool, "a", mib(8))?;
    pool.snapshot(&name("a"), &name("a@1"))?;
    pool.snapshot(&name("a"), &name("a@2"))?;
    assert_refused(pool.snapshot(&name("a"), &name("a@3")), &["all 3 thin ids", "reaped"]);
    pool.delete(&name("a@1"))?;
    assert_refused(pool.snapshot(&name("a"), &name("a@3")), &["all 3 thin ids"]);
    pool.reap(&mut |_| {})?;
    pool.snapshot(&name("a"), &name("a@3"))?;
    pool.release()?;
    bed.assert_ids_are_named()
}

#[test]
fn a_volume_asked_for_read_only_takes_no_write_and_an_access_never_changes_under_its_users()
-> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    pool.create_volume(&name("new"), mib(64))?;
    let device = activate_read_only(&pool, "new")?;
    assert!(fill(&device, mib(0), mib(1), 1).is_err(), "a read-only volume was written");
    activate_read_only(&pool, "new")?;
    let refused = pool.activate(&name("new"), VolumeAccess::ReadWrite);
    assert!(matches!(refused, Err(PoolError::VolumeActive { .. })), "{refused:?}");
    pool.deactivate(&name("new"))?;
    activate(&pool, "new")?;
    let refused = pool.activate(&name("new"), VolumeAccess::ReadOnly);
    assert!(matches!(refused, Err(PoolError::VolumeActive { .. })), "{refused:?}");
    activate(&pool, "new")?;
    pool.release()?;
    Ok(())
}

#[test]
fn a_blank_volume_handed_out_twice_is_known_as_touched() -> Result<()> {
    use thinly_engine::catalogue::Content;
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    pool.create_volume(&name("new"), mib(64))?;
    pool.activate(&name("new"), VolumeAccess::Internal)?;
    let content = |pool: &thinly_engine::pool::Pool| {
        pool.catalogue().find(&name("new")).unwrap().content.clone()
    };
    assert_eq!(content(&pool), Content::Blank, "the driver records what it does itself");
    pool.activate(&name("new"), VolumeAccess::ReadWrite)?;
    assert_eq!(content(&pool), Content::Touched);
    pool.release()?;
    Ok(())
}
