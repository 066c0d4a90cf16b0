//! A writer that ended without release, and what the next one makes of it.

use anyhow::Result;
use thinly_engine::catalogue::Epoch;
use thinly_engine::dm::{Dm, SuspendOptions, TableSlot};
use thinly_engine::plan::{Finding, thin_table};
use thinly_engine::pool::VolumeState;
use thinly_engine::units::{Sectors, ThinId};
use thinly_tests::sh;

use crate::support::{Bed, activate, active, assert_refused, fill, holds, mib, name};

fn id(number: u32) -> ThinId {
    ThinId::new(number).unwrap()
}

#[test]
fn what_a_killed_writer_made_and_did_not_record_is_freed() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    let device = active(&pool, "web", mib(64))?;
    fill(&device, mib(0), mib(4), 7)?;
    let web = pool.volume(&name("web"))?.thin_id.unwrap();
    // The messages that it would have sent next, with its epoch open.
    bed.message("create_thin 50")?;
    bed.message(&format!("create_snap 51 {web}"))?;
    drop(pool);
    let pool = bed.attach()?;
    let unclaimed: Vec<u32> = pool
        .findings()
        .iter()
        .filter_map(|finding| match finding {
            Finding::Unclaimed { id } => Some(id.get()),
            _ => None,
        })
        .collect();
    assert_eq!(unclaimed, [50, 51], "{:?}", pool.findings());
    assert!(matches!(pool.findings()[0], Finding::UncleanShutdown { .. }));
    assert_eq!(pool.reap(&mut |_| {})?.reaped, 2);
    pool.release()?;
    bed.assert_ids_are_named()?;
    assert!(holds(&device, mib(0), mib(4), 7)?, "the origin lost data");
    let again = bed.attach()?;
    assert!(again.findings().is_empty(), "{:?}", again.findings());
    Ok(())
}

#[test]
fn an_origin_that_a_killed_writer_left_suspended_runs_again() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    let device = active(&pool, "web", mib(64))?;
    let thin = bed.names.thin(pool.volume(&name("web"))?.thin_id.unwrap())?;
    bed.control.suspend(&thin, SuspendOptions::default())?;
    assert_eq!(pool.volume(&name("web"))?.state, VolumeState::Suspended);
    assert_refused(pool.snapshot(&name("web"), &name("x")), &["web", "suspended"]);
    drop(pool);
    let pool = bed.attach()?;
    bed.assert_nothing_suspended()?;
    assert_eq!(pool.volume(&name("web"))?.state, VolumeState::Active);
    fill(&device, mib(0), mib(1), 1)?;
    Ok(())
}

#[test]
fn a_table_that_was_loaded_and_never_used_is_cleared_not_swapped_in() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    active(&pool, "web", mib(64))?;
    let web = pool.volume(&name("web"))?.thin_id.unwrap();
    let thin = bed.names.thin(web)?;
    let number = bed.control.info(&bed.names.pool_device)?.number;
    bed.control.load(&thin, &thin_table(number, web, Sectors::new(8)), false)?;
    bed.control.suspend(&thin, SuspendOptions::default())?;
    drop(pool);
    let pool = bed.attach()?;
    let info = bed.control.info(&thin)?;
    assert!(!info.inactive_table && !info.suspended, "{info:?}");
    let live = bed.control.table(&thin, TableSlot::Live)?;
    assert_eq!(live[0].length, mib(64).to_sectors_exact()?);
    pool.release()?;
    Ok(())
}

#[test]
fn a_device_made_but_never_started_is_made_anew() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    active(&pool, "web", mib(64))?;
    let volume = pool.volume(&name("web"))?;
    pool.deactivate(&name("web"))?;
    let names = &bed.names;
    let thin = names.thin(volume.thin_id.unwrap())?;
    bed.control.create(&thin, &names.volume_uuid(volume.uuid)?)?;
    drop(pool);
    let pool = bed.attach()?;
    assert_eq!(pool.volume(&name("web"))?.state, VolumeState::Inactive);
    fill(&activate(&pool, "web")?, mib(0), mib(1), 1)?;
    pool.release()?;
    Ok(())
}

#[test]
fn a_pool_that_another_tool_changed_is_refused_with_both_numbers_and_not_written() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    active(&pool, "web", mib(64))?;
    pool.deactivate(&name("web"))?;
    pool.release()?;
    let ours = bed.usage()?.transaction_id.get();
    bed.message(&format!("set_transaction_id {ours} 77"))?;
    let words = ["transaction id 77", &format!("expects {ours}"), "--accept-transaction-id 77"];
    let before = bed.engine.backup(&bed.pool)?;
    assert_refused(bed.engine.attach(&bed.pool), &words);
    bed.engine.close_pool(&bed.pool)?;
    assert_refused(bed.engine.open_pool(&bed.pool, &[]), &words);
    assert!(bed.devices()?.is_empty(), "a refused open left devices: {:?}", bed.devices()?);
    assert_eq!(bed.engine.backup(&bed.pool)?, before, "the journal was written");
    // The way out that the message names.
    let accepted = thinly_engine::units::TransactionId::new(77);
    bed.engine.restore(&bed.pool, &before, Some(accepted))?;
    let pool = bed.open()?;
    assert_eq!(pool.volumes()?.len(), 1);
    activate(&pool, "web")?;
    pool.release()?;
    Ok(())
}

#[test]
fn an_id_of_unknown_origin_is_kept_until_a_person_buries_it() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    bed.message("create_thin 9")?;
    let pool = bed.attach()?;
    active(&pool, "web", mib(64))?;
    drop(pool);
    let pool = bed.attach()?;
    let kept = pool.findings().iter().any(|finding| {
        matches!(finding, Finding::Orphan { id, created_in } if id.get() == 9 && created_in.get() == 0)
    });
    assert!(kept, "{:?}", pool.findings());
    assert_eq!(pool.reap(&mut |_| {})?.reaped, 0);
    assert!(bed.ids_on_disk()?.contains(&id(9)));
    assert_eq!(pool.view()?.orphans, [id(9)]);
    pool.bury_orphan(id(9))?;
    assert_eq!(pool.reap(&mut |_| {})?.reaped, 1);
    pool.release()?;
    bed.assert_ids_are_named()
}

#[test]
fn a_metadata_snapshot_that_outlived_its_owner_is_released() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let directory = tempfile::tempdir()?;
    let copy =
        |to: &str| bed.engine.copy_metadata(&bed.pool, &directory.path().join(to), &mut |_, _| {});
    bed.message("reserve_metadata_snap")?;
    let held = bed.usage()?.held_root;
    assert!(held.is_some());
    // Another tool's: it may be reading it.
    assert_refused(copy("refused"), &["is held already", "not by Thinly"]);
    assert_eq!(bed.usage()?.held_root, held);
    // One that a killed reader of ours noted, in this boot and not in an earlier one.
    let note = format!("/run/thinly/{}.held", bed.engine.view(&bed.pool)?.uuid);
    let line = |boot: &str| format!("{boot} {}\n", held.unwrap_or_default());
    std::fs::write(&note, line("0b3ce2d5-0000-4000-8000-000000000000"))?;
    assert_refused(copy("refused"), &["is held already", "not by Thinly"]);
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    std::fs::write(&note, line(boot.trim()))?;
    copy("copied")?;
    assert_eq!(bed.usage()?.held_root, None);
    assert_eq!(std::fs::read_to_string(&note)?, "");
    // Whoever took one before the pool was brought up is gone.
    bed.message("reserve_metadata_snap")?;
    bed.engine.close_pool(&bed.pool)?;
    let pool = bed.open()?;
    let told = |finding: &Finding| matches!(finding, Finding::StaleMetadataSnapshot { .. });
    assert!(pool.findings().iter().any(told), "{:?}", pool.findings());
    assert_eq!(bed.usage()?.held_root, None);
    pool.release().map_err(Into::into)
}

#[test]
fn an_id_that_is_taken_behind_our_back_is_never_handed_out_and_never_deleted() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    bed.message("create_thin 0")?;
    let pool = bed.attach()?;
    pool.create_volume(&name("web"), mib(64))?;
    assert!(activate(&pool, "web").is_err(), "thin id 0 was somebody else's");
    assert_eq!(pool.view()?.orphans, [id(0)]);
    activate(&pool, "web")?;
    assert_ne!(pool.volume(&name("web"))?.thin_id, Some(id(0)));
    pool.reap(&mut |_| {})?;
    assert!(bed.ids_on_disk()?.contains(&id(0)));
    pool.release()?;
    Ok(())
}

#[test]
fn a_crash_between_announcement_and_swap_is_no_foreign_pool() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    active(&pool, "web", mib(64))?;
    let Epoch::Opened { from, to, .. } = pool.catalogue().epoch() else { panic!("no epoch") };
    drop(pool);
    // The record was durable, the swap had not been made.
    bed.message(&format!("set_transaction_id {to} {from}"))?;
    let pool = bed.attach()?;
    pool.snapshot(&name("web"), &name("web@1"))?;
    pool.release()?;
    bed.assert_ids_are_named()
}

/// What a close leaves that died after it took the pool away: the disks are held by the linears that are left.
#[test]
fn a_pool_that_is_half_closed_can_be_destroyed() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    sh(&format!("dmsetup remove --retry --noudevsync {}", bed.names.pool_device))?;
    bed.engine.destroy_pool(&bed.pool)?;
    assert!(bed.devices()?.is_empty(), "left {:?}", bed.devices()?);
    assert!(bed.engine.view(&bed.pool).is_err());
    Ok(())
}
