//! Disks that fail for a while, under each part of a pool, while it is worked with: what was acknowledged stays, what
//! was not acknowledged is there or is not, and the pool comes back.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use thinly_engine::layout::Role;
use thinly_engine::plan::Health;
use thinly_engine::pool::{Pool, PoolError, RepairRequest};

use crate::shaky::{Shaky, shaky_bed};
use crate::support::{Bed, activate, active, fill, holds, mib, name};

const PARTS: [(Role, &str); 6] = [
    (Role::Journal, "error_writes"),
    (Role::Metadata, "error_writes"),
    (Role::Data, "error_writes"),
    (Role::Journal, "error_reads"),
    (Role::Metadata, "error_reads"),
    (Role::Data, "error_reads"),
];

/// What the pool has answered.
#[derive(Debug, Default)]
struct Ledger {
    there: BTreeSet<String>,
    gone: BTreeSet<String>,
    /// Asked for and not answered: it may be there.
    doubtful: BTreeSet<String>,
    acknowledged: usize,
    refused: usize,
}

impl Ledger {
    fn note(&mut self, what: &str, wanted: bool, answer: &Result<(), PoolError>) {
        if answer.is_ok() {
            self.acknowledged += 1;
            let (to, from) = if wanted {
                (&mut self.there, &mut self.gone)
            } else {
                (&mut self.gone, &mut self.there)
            };
            to.insert(what.to_owned());
            from.remove(what);
        } else {
            self.refused += 1;
            self.there.remove(what);
            self.doubtful.insert(what.to_owned());
        }
    }

    fn judge(&self, listed: &BTreeSet<String>) -> Result<()> {
        let lost: Vec<_> = self.there.difference(listed).collect();
        ensure!(lost.is_empty(), "lost: {lost:?}");
        let risen: Vec<_> = self.gone.intersection(listed).collect();
        ensure!(risen.is_empty(), "deleted and there: {risen:?}");
        let known = |name: &&String| self.there.contains(*name) || self.doubtful.contains(*name);
        let strange: Vec<_> = listed.iter().filter(|name| !known(name)).collect();
        ensure!(strange.is_empty(), "never asked for: {strange:?}");
        Ok(())
    }
}

/// A few windows of failure of random length.
fn fail_at_times(shaky: &Shaky, part: (Role, &str), seed: u64, ended: &AtomicBool) -> Result<()> {
    let mut state = seed;
    let mut pause = |longest: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        thread::sleep(Duration::from_millis((state >> 33) % longest));
    };
    let mut window = || {
        pause(400);
        shaky.fail(part.0, part.1)?;
        pause(300);
        shaky.heal()
    };
    let result = window().and_then(|()| window());
    ended.store(true, Ordering::SeqCst);
    result
}

/// Works until the failures have ended; a poisoned handle is given up for a new one.
fn work(bed: &Bed, ended: &AtomicBool, ledger: &mut Ledger) {
    let mut number = 0;
    while !ended.load(Ordering::SeqCst) {
        let Ok(pool) = bed.attach() else {
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        while !ended.load(Ordering::SeqCst) {
            number += 1;
            if step(&pool, number, ledger) {
                break;
            }
        }
    }
}

/// One operation of each kind; says whether the handle refuses to go on.
fn step(pool: &Pool, number: usize, ledger: &mut Ledger) -> bool {
    let (volume, snapshot, copy) =
        (format!("v{number}"), format!("s{number}"), format!("c{number}"));
    let created = pool.create_volume(&name(&volume), mib(16)).map(drop);
    let activated = created
        .is_ok()
        .then(|| pool.activate(&name(&volume), thinly_engine::pool::VolumeAccess::ReadWrite));
    let deactivated = matches!(activated, Some(Ok(_))).then(|| pool.deactivate(&name(&volume)));
    let is_stuck = matches!(activated, Some(Err(PoolError::Poisoned { .. })))
        || matches!(deactivated, Some(Err(PoolError::Poisoned { .. })));
    ledger.note(&volume, true, &created);
    let taken = pool.snapshot(&name("keeper"), &name(&snapshot)).map(drop);
    let is_stuck = is_stuck || matches!(taken, Err(PoolError::Poisoned { .. }));
    let is_taken = taken.is_ok();
    ledger.note(&snapshot, true, &taken);
    if is_taken {
        ledger.note(
            &copy,
            true,
            &pool.clone_volume(&name(&snapshot), &name(&copy), None).map(drop),
        );
        if number.is_multiple_of(2) {
            ledger.note(&snapshot, false, &pool.delete(&name(&snapshot)));
        }
    }
    is_stuck
}

/// What a person does at most: close, repair if told to, open.
fn return_to_service(bed: &Bed) -> Result<Pool> {
    let pool = bed.attach().context("the pool cannot be attached once its disk is whole again")?;
    if pool.view()?.health == Some(Health::Writable) {
        return Ok(pool);
    }
    let problems = pool.view()?.problems;
    ensure!(!problems.is_empty(), "a degraded pool that says nothing");
    drop(pool);
    bed.engine.close_pool(&bed.pool)?;
    bed.engine
        .repair(&bed.pool, RepairRequest { apply: true, accept_loss: false, leaks: false })?;
    bed.open()
}

fn round(part: (Role, &str), seed: u64) -> Result<(usize, usize)> {
    let (bed, shaky) = shaky_bed()?;
    let pool = bed.attach()?;
    fill(&active(&pool, "keeper", mib(64))?, mib(0), mib(4), 0x42)?;
    pool.release()?;
    let mut ledger = Ledger::default();
    ledger.there.insert("keeper".to_owned());
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let failures = scope.spawn(|| fail_at_times(&shaky, part, seed, &ended));
        work(&bed, &ended, &mut ledger);
        failures.join().unwrap()
    })?;
    bed.assert_nothing_suspended()?;
    let pool = return_to_service(&bed)?;
    let listed = pool.volumes()?.into_iter().map(|volume| volume.name.to_string()).collect();
    ledger.judge(&listed)?;
    ensure!(pool.view()?.orphans.is_empty(), "orphans: {:?}", pool.findings());
    pool.reap(&mut |_| {})?;
    let keeper = activate(&pool, "keeper")?;
    ensure!(holds(&keeper, mib(0), mib(4), 0x42)?, "bytes were lost");
    pool.release()?;
    bed.assert_nothing_suspended()?;
    bed.assert_ids_are_named()?;
    Ok((ledger.acknowledged, ledger.refused))
}

#[test]
fn what_was_acknowledged_outlives_a_disk_that_fails_at_times() -> Result<()> {
    let rounds = if std::env::var("THINLY_CRASH").is_ok_and(|size| size == "full") { 2 } else { 1 };
    let (mut acknowledged, mut refused) = (0, 0);
    for seed in 0..rounds {
        for part in PARTS {
            let (done, failed) =
                round(part, seed).with_context(|| format!("{part:?}, seed {seed}"))?;
            acknowledged += done;
            refused += failed;
        }
    }
    println!(
        "proof io-errors: windows={} acknowledged={acknowledged} refused={refused} lost=0 leaked=0 suspended=0",
        rounds * 2 * 6
    );
    Ok(())
}
