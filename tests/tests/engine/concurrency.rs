//! Many threads on one handle.

use std::thread;

use anyhow::{Result, ensure};

use crate::support::{Bed, activate_read_only, active, fill, holds, mib, name};

#[test]
fn two_snapshots_of_one_origin_at_once_are_both_right() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    let origin = active(&pool, "web", mib(64))?;
    for round in 0..3_u8 {
        fill(&origin, mib(0), mib(2), round + 1)?;
        let names = [format!("left{round}"), format!("right{round}")];
        thread::scope(|scope| {
            let both = names.each_ref().map(|snapshot| {
                let pool = &pool;
                scope.spawn(move || pool.snapshot(&name("web"), &name(snapshot)).map(drop))
            });
            both.into_iter().try_for_each(|one| one.join().unwrap())
        })?;
        fill(&origin, mib(0), mib(2), 0xff)?;
        for snapshot in names {
            let device = activate_read_only(&pool, &snapshot)?;
            ensure!(holds(&device, mib(0), mib(2), round + 1)?, "{snapshot} is wrong");
        }
    }
    pool.release()?;
    bed.assert_ids_are_named()
}

#[test]
fn eight_threads_that_create_snapshot_delete_and_reap_leave_a_sound_pool() -> Result<()> {
    const ROUNDS: usize = 6;
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    let shared = active(&pool, "shared", mib(16))?;
    let before = pool.counters().journal;
    thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..8_usize)
            .map(|worker| {
                let pool = &pool;
                scope.spawn(move || -> Result<()> {
                    for round in 0..ROUNDS {
                        let volume = name(&format!("v{worker}-{round}"));
                        let of_it = name(&format!("v{worker}-{round}@1"));
                        let of_shared = name(&format!("shared@{worker}-{round}"));
                        pool.create_volume(&volume, mib(16))?;
                        pool.snapshot(&volume, &of_it)?;
                        pool.snapshot(&name("shared"), &of_shared)?;
                        pool.delete(&volume)?;
                        pool.delete(&of_shared)?;
                        if round % 4 == worker % 4 {
                            pool.reap(&mut |_| {})?;
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap())
    })?;
    let after = pool.counters().journal;
    let (writes, frames) = (after.writes - before.writes, after.frames - before.frames);
    println!("{frames} records in {writes} writes");
    ensure!(writes < frames, "{writes} writes for {frames} records: nothing was grouped");
    fill(&shared, mib(0), mib(1), 1)?;
    assert_eq!(pool.volumes()?.len(), 1 + 8 * ROUNDS);
    ensure!(pool.reap(&mut |_| {})?.waiting == 0);
    pool.release()?;
    bed.assert_ids_are_named()?;
    bed.engine.close_pool(&bed.pool)?;
    let pool = bed.open()?;
    assert_eq!(pool.volumes()?.len(), 1 + 8 * ROUNDS);
    Ok(())
}
