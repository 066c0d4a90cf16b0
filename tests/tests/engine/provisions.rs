//! What an orchestrator asked for, found again after kills, and capacity that is never promised twice.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use thinly_engine::catalogue::{Provision, ProvisionKey, Volume};
use thinly_engine::dm::DmCounters;
use thinly_engine::pool::{CapacityRule, Engine, ExitClass, Pool, PoolError};
use thinly_engine::units::Bytes;

use crate::support::{Bed, active, assert_refused, mib, name};

const POOL: &str = "THINLY_PROVISION_POOL";
const ROUND: &str = "THINLY_PROVISION_ROUND";

fn key(text: &str) -> ProvisionKey {
    ProvisionKey::new(text).unwrap()
}

fn asked(text: &str) -> Provision {
    let attributes = BTreeMap::from([("asked".to_owned(), format!("for {text}"))]);
    Provision::new(key(text), attributes).unwrap()
}

/// The program that is killed: it provisions until then, and says so of everything that it was told is there.
#[test]
#[ignore = "run by the test below"]
fn provisions_until_it_is_killed() -> Result<()> {
    let pool = Engine::new()?.attach(&std::env::var(POOL)?)?;
    let round = std::env::var(ROUND)?;
    for number in 0..1000 {
        let n = format!("{round}-{number}");
        let volume = name(&format!("v{n}"));
        pool.provision_volume(&volume, mib(16), asked(&format!("volume v{n}")))?;
        println!("ack: volume v{n}");
        let snapshot = name(&format!("s{n}"));
        pool.provision_snapshot(&volume, &snapshot, asked(&format!("snapshot s{n}")))?;
        println!("ack: snapshot s{n}");
        let clone = name(&format!("c{n}"));
        pool.provision_clone(&snapshot, &clone, Some(mib(32)), asked(&format!("volume c{n}")))?;
        println!("ack: volume c{n}");
        let members = [(volume, name(&format!("gv{n}"))), (clone, name(&format!("gc{n}")))];
        let group = name(&format!("g{n}"));
        pool.provision_group(&group, &members, asked(&format!("group g{n}")))?;
        println!("ack: group g{n}");
    }
    Ok(())
}

/// Runs that program, kills it once it has acknowledged so much, and gives what it acknowledged.
#[expect(clippy::disallowed_methods, reason = "the test kills a program")]
fn killed_after(pool: &str, round: usize, count: usize) -> Result<Vec<String>> {
    let mut worker = Command::new(std::env::current_exe()?)
        .args(["provisions::provisions_until_it_is_killed", "--exact", "--ignored", "--nocapture"])
        .env(POOL, pool)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()?;
    let output = worker.stdout.take().context("no output")?;
    let mut acknowledged = Vec::new();
    for line in BufReader::new(output).lines() {
        if let Some((_, key)) = line?.split_once("ack: ") {
            acknowledged.push(key.to_owned());
        }
        if acknowledged.len() == count {
            // It goes on until the signal meets it, wherever that is; what it still says is read.
            worker.kill()?;
        }
    }
    ensure!(!worker.wait()?.success(), "it was to be killed");
    ensure!(acknowledged.len() >= count, "it ended after {acknowledged:?}");
    Ok(acknowledged)
}

/// Every object that was asked for has its provision, every provision its object.
fn check(pool: &Pool, acknowledged: &[String]) -> Result<()> {
    let catalogue = pool.catalogue();
    for volume in pool.volume_records() {
        let object = volume.group().map_or(volume.uuid, |tag| tag.uuid);
        let provision = pool.provision_of(object).with_context(|| format!("{}", volume.name))?;
        let expected = volume.group().map_or(&volume.name, |tag| &tag.name);
        ensure!(provision.key.as_str().ends_with(&format!(" {expected}")), "{provision:?}");
        ensure!(provision == asked(provision.key.as_str()), "{provision:?}");
    }
    for (uuid, provision) in catalogue.provisions() {
        let there = pool.volume_record(uuid).is_some() || pool.group_records(uuid).is_some();
        ensure!(there, "{provision:?} has no object");
    }
    for acknowledged in acknowledged {
        let uuid = pool.by_key(&key(acknowledged)).context("an acknowledged object is gone")?;
        if acknowledged.starts_with("group") {
            let (_, members) = pool.group_records(uuid).context("the group is gone")?;
            ensure!(members.len() == 2, "{acknowledged} has {members:?}");
        }
    }
    Ok(())
}

#[test]
fn what_was_asked_for_is_found_again_after_any_kill() -> Result<()> {
    let bed = Bed::new(&[2 << 30])?;
    let mut acknowledged = Vec::new();
    for round in 0..12 {
        acknowledged.extend(killed_after(&bed.pool, round, 1 + round)?);
        let pool = bed.attach()?;
        check(&pool, &acknowledged)?;
        pool.reap(&mut |_| {})?;
        pool.release()?;
        bed.assert_ids_are_named()?;
    }
    let pool = bed.attach()?;
    let before = pool.volume_records();
    let again = pool.provision_volume(&name("again"), mib(16), asked(&acknowledged[0]));
    assert_refused(again, &["volume v0-0", "belongs to another"]);
    let member = before.iter().find(|volume| volume.name == name("s11-0")).context("no s11-0")?;
    let again = pool.provision_clone(&member.name, &name("again"), None, asked("group g11-0"));
    assert_eq!(again.map_err(|error| error.exit_class()).unwrap_err(), ExitClass::Exists);
    assert_eq!(pool.volume_records(), before);
    pool.release()?;
    bed.engine.close_pool(&bed.pool)?;
    let pool = bed.open()?;
    check(&pool, &acknowledged)?;
    assert_eq!(pool.volume_records(), before);
    Ok(())
}

#[test]
fn a_provision_costs_no_more_than_the_object_and_goes_with_it() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    let cost = |work: &dyn Fn() -> Result<(), PoolError>| -> Result<DmCounters> {
        let before = pool.counters();
        work()?;
        let after = pool.counters();
        let frames = after.journal.frames - before.journal.frames;
        ensure!(frames == 1, "{frames} records instead of one");
        Ok(after.dm.since(&before.dm))
    };
    let plain = cost(&|| pool.create_volume(&name("plain"), mib(16)).map(drop))?;
    let provisioned = cost(&|| pool.provision_volume(&name("a"), mib(16), asked("a")).map(drop))?;
    assert_eq!(provisioned, plain);
    let a = pool.by_key(&key("a")).context("no a")?;
    pool.set_provision(a, asked("b"))?;
    assert_eq!((pool.by_key(&key("a")), pool.by_key(&key("b"))), (None, Some(a)));
    pool.clear_provision(a)?;
    pool.clear_provision(a)?;
    assert_eq!((pool.by_key(&key("b")), pool.provision_of(a)), (None, None));
    let members = [(name("a"), name("a@1")), (name("plain"), name("p@1"))];
    let (group, made) = pool.provision_group(&name("g"), &members, asked("g"))?;
    let names: Vec<_> = made.iter().map(|volume| volume.name.clone()).collect();
    assert_eq!(names, [name("a@1"), name("p@1")]);
    let device = active(&pool, "held", mib(16))?;
    let opened = std::fs::File::open(&device)?;
    let all = [names[0].clone(), name("held"), names[1].clone()];
    assert_refused(pool.delete_many(&all), &["held", "in use"]);
    assert_eq!(pool.group_records(group).context("no group")?.1.len(), 2);
    drop(opened);
    pool.delete_many(&all)?;
    assert_eq!((pool.group_records(group), pool.by_key(&key("g"))), (None, None));
    Ok(())
}

/// Runs so many at once and counts those that were admitted; all others had no headroom.
fn admitted(count: usize, work: impl Fn(usize) -> Result<(), PoolError> + Sync) -> Result<usize> {
    let (won, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let start = std::sync::Barrier::new(count);
    std::thread::scope(|scope| -> Result<()> {
        let racers: Vec<_> = (0..count)
            .map(|number| {
                let (won, refused, start, work) = (&won, &refused, &start, &work);
                scope.spawn(move || -> Result<()> {
                    start.wait();
                    match work(number) {
                        Ok(()) => won.fetch_add(1, Ordering::SeqCst),
                        Err(error @ PoolError::NoHeadroom { .. }) => {
                            assert_eq!(error.exit_class(), ExitClass::NoSpace);
                            refused.fetch_add(1, Ordering::SeqCst)
                        }
                        Err(error) => return Err(error.into()),
                    };
                    Ok(())
                })
            })
            .collect();
        racers.into_iter().try_for_each(|racer| racer.join().unwrap())
    })?;
    let won = won.into_inner();
    assert_eq!(won + refused.into_inner(), count);
    Ok(won)
}

#[test]
fn sixty_four_racers_for_forty_places_get_forty() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    let unlimited = pool.headroom()?;
    ensure!(unlimited.virtual_bytes > Bytes::new(1 << 60) && unlimited.promised == Bytes::ZERO);
    let rule = CapacityRule { overprovision_percent: Some(200), reserve: mib(16) };
    pool.set_capacity_rule(rule);
    let room = pool.headroom()?;
    assert_eq!(room.virtual_bytes.get(), room.total_data.get() * 2);
    let size = Bytes::new(room.virtual_bytes.get() / 40).align_down(Bytes::new(512));
    let racer = |number: usize| {
        let volume = name(&format!("r{number}"));
        pool.provision_volume(&volume, size, asked(&format!("r{number}"))).map(drop)
    };
    assert_eq!(admitted(64, racer)?, 40);
    assert_eq!(pool.headroom()?.promised.get(), size.get() * 40);
    ensure!(pool.headroom()?.virtual_bytes < size);

    // Every way to promise more, at once, for ten places.
    let volumes: Vec<Volume> = pool.volume_records();
    let twice = Bytes::new(size.get() * 2);
    pool.delete_many(&volumes[..10].iter().map(|v| v.name.clone()).collect::<Vec<_>>())?;
    let left = &volumes[10..];
    let mixed = |number: usize| match number % 3 {
        0 => pool.create_volume(&name(&format!("n{number}")), size).map(drop),
        1 => {
            pool.clone_volume(&left[number % 30].name, &name(&format!("c{number}")), None).map(drop)
        }
        _ => pool.resize(&left[number / 3].name, twice).map(drop),
    };
    assert_eq!(admitted(63, mixed)?, 10);
    assert_eq!(pool.headroom()?.promised.get(), size.get() * 40);

    // Snapshots promise nothing, and are refused at the reserve only.
    pool.snapshot(&left[0].name, &name("s1"))?;
    let reserve = pool.headroom()?.free_data;
    pool.set_capacity_rule(CapacityRule { overprovision_percent: None, reserve });
    assert_eq!(pool.headroom()?.virtual_bytes, Bytes::ZERO);
    let free = reserve.to_string();
    assert_refused(pool.snapshot(&left[0].name, &name("s2")), &["0 more", &free, "delete"]);
    assert_refused(pool.create_volume(&name("x"), mib(1)), &["1048576 more", &free, "delete"]);
    pool.resize(&left[0].name, pool.volume(&left[0].name)?.virtual_bytes)?;
    ensure!(pool.reap(&mut |_| {})?.waiting == 0);
    pool.release()?;
    let named = bed.ids_on_disk()?.len();
    let held = bed.engine.volumes(&bed.pool)?.iter().filter(|v| v.thin_id.is_some()).count();
    assert_eq!(named, held, "a refused clone left its thin id behind");
    Ok(())
}
