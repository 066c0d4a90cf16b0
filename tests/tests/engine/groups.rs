//! Snapshots of several origins at one instant.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::libc;
use thinly_engine::aligned::AlignedBuffer;
use thinly_engine::catalogue::VolumeKind;

use crate::support::{Bed, activate_read_only, active, assert_refused, mib, name};

fn open(device: &Path) -> Result<File> {
    let flags = libc::O_DIRECT | libc::O_DSYNC;
    Ok(File::options().read(true).write(true).custom_flags(flags).open(device)?)
}

fn counter(device: &Path) -> Result<u64> {
    let mut block = AlignedBuffer::zeroed(4096);
    open(device)?.read_exact_at(&mut block, 0)?;
    Ok(u64::from_le_bytes(block[..8].try_into()?))
}

/// Writes 1, 2, 3, ... to every device, one after the other, until told to stop.
fn count_up(devices: &[PathBuf], stop: &AtomicBool, written: &AtomicU64) -> Result<()> {
    let files = devices.iter().map(|device| open(device)).collect::<Result<Vec<_>>>()?;
    for number in 1_u64.. {
        let mut block = AlignedBuffer::zeroed(4096);
        block[..8].copy_from_slice(&number.to_le_bytes());
        for file in &files {
            file.write_all_at(&block, 0)?;
        }
        written.store(number, Ordering::SeqCst);
        if stop.load(Ordering::SeqCst) {
            break;
        }
    }
    Ok(())
}

#[test]
fn a_group_is_one_instant_for_dependent_writes() -> Result<()> {
    const ROUNDS: usize = 6;
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    let origins = ["a", "b", "c"];
    let devices =
        origins.iter().map(|volume| active(&pool, volume, mib(16))).collect::<Result<Vec<_>>>()?;
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut acknowledged = Vec::new();
    std::thread::scope(|scope| -> Result<()> {
        let writer = scope.spawn(|| count_up(&devices, &stop, &written));
        for round in 0..ROUNDS {
            let before = written.load(Ordering::SeqCst);
            while written.load(Ordering::SeqCst) < before + 5 && !writer.is_finished() {
                std::thread::sleep(Duration::from_millis(1));
            }
            let group = format!("g{round}");
            // In any order: the engine has its own.
            let members: Vec<_> = [1, 2, 0]
                .map(|index| (name(origins[index]), name(&format!("{}@{round}", origins[index]))))
                .to_vec();
            let least = written.load(Ordering::SeqCst);
            let made = pool.snapshot_group(&name(&group), &members);
            acknowledged.push((least, written.load(Ordering::SeqCst)));
            if made.is_err() {
                stop.store(true, Ordering::SeqCst);
            }
            for view in made? {
                let VolumeKind::Snapshot { group: Some(tag), .. } = view.kind else {
                    panic!("{} is in no group", view.name);
                };
                assert_eq!(tag.name, name(&group));
            }
        }
        stop.store(true, Ordering::SeqCst);
        writer.join().unwrap()
    })?;
    for (round, (least, most)) in acknowledged.into_iter().enumerate() {
        let mut counters = Vec::new();
        for origin in origins {
            counters.push(counter(&activate_read_only(&pool, &format!("{origin}@{round}"))?)?);
        }
        let [a, b, c] = counters[..] else { panic!() };
        ensure!(a >= b && b >= c && a - c <= 1, "round {round}: {a} {b} {c}");
        ensure!(least <= c && a <= most + 1, "round {round}: {a} to {c}, not {least} to {most}");
    }
    pool.release()?;
    bed.assert_ids_are_named()
}

#[test]
fn a_group_with_a_bad_member_makes_none() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    active(&pool, "a", mib(16))?;
    active(&pool, "b", mib(16))?;
    pool.snapshot(&name("b"), &name("taken"))?;
    let group = |members: &[(&str, &str)]| {
        let members: Vec<_> = members.iter().map(|(of, to)| (name(of), name(to))).collect();
        pool.snapshot_group(&name("g"), &members)
    };
    assert_refused(group(&[("a", "a@g"), ("b", "taken")]), &["taken", "exists already"]);
    assert_refused(group(&[("a", "a@g"), ("none", "n@g")]), &["no volume", "none"]);
    assert_refused(group(&[("a", "same"), ("b", "same")]), &["same", "exists already"]);
    assert_eq!(pool.volumes()?.len(), 3);
    bed.assert_nothing_suspended()?;
    pool.release()?;
    bed.assert_ids_are_named()
}

#[test]
fn an_origin_may_have_several_members_also_a_pending_one() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    active(&pool, "a", mib(16))?;
    pool.create_volume(&name("p"), mib(16))?;
    let members = [("p", "p@1"), ("a", "a@1"), ("p", "p@2"), ("a", "a@2")];
    let members = members.map(|(origin, snapshot)| (name(origin), name(snapshot)));
    assert_eq!(pool.snapshot_group(&name("g"), &members)?.len(), 4);
    assert_eq!(pool.volumes()?.len(), 6);
    pool.release()?;
    bed.assert_ids_are_named()
}

#[test]
fn members_that_lie_on_each_other_are_refused_before_anything_freezes() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    let outer = active(&pool, "outer", mib(64))?;
    active(&pool, "other", mib(16))?;
    // A linear over the outer volume, as an LVM inside of it would be; a member on top of that
    // cannot be had without a second pool, so the first level is what is shown.
    let linear = format!("{}-upper", bed.pool);
    thinly_tests::sh(&format!(
        "dmsetup create --noudevsync {linear} --table '0 8 linear {} 0'",
        outer.display()
    ))?;
    let members = [(name("outer"), name("outer@1")), (name("other"), name("other@1"))];
    let made = pool.snapshot_group(&name("g"), &members);
    thinly_tests::sh(&format!("dmsetup remove --retry --noudevsync {linear}"))?;
    assert_eq!(made?.len(), 2, "a holder that is no member is no obstacle");
    pool.release()?;
    Ok(())
}
