//! Growth of a pool that is used: nothing that was written moves, nobody who writes sees an error, and
//! what a crash cuts off is ended by whoever comes next.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use thinly_engine::catalogue::{AutoExtend, GrowthStep, OnFull, PoolPolicy};
use thinly_engine::dm::Dm;
use thinly_engine::layout::{LabelRead, LabelState, Role, read_labels};
use thinly_engine::monitor::Monitor;
use thinly_engine::plan::Health;
use thinly_engine::pool::{ExitClass, GrowPool, Pool, PoolError, Usage};
use thinly_engine::units::Bytes;
use thinly_tests::{Disks, gib as gib_bytes, mib as mib_bytes, sh};

use crate::support::{Bed, activate, active, assert_refused, fill, gib, holds, mib, name};

/// A pool with so much data on a disk that has room for more.
pub(crate) fn small_bed(data: Bytes, disks: &[u64]) -> Result<Bed> {
    Bed::with(Disks::new(disks)?, |asked| asked.data_size = Some(data))
}

fn by(data: Bytes) -> GrowPool {
    GrowPool { by: Some(data), ..GrowPool::default() }
}

fn usage(pool: &Pool) -> Result<Usage> {
    pool.gauges()?.usage.context("the pool has no usage")
}

/// What the catalogue, the kernel's tables and the labels say of who lives where is one thing.
pub(crate) fn assert_agreement(bed: &Bed, pool: &Pool) -> Result<()> {
    let catalogue = pool.catalogue();
    let map = catalogue.extent_map()?;
    for (role, device) in [(Role::Data, &bed.names.data), (Role::Metadata, &bed.names.metadata)] {
        let table = bed.control.table(device, thinly_engine::dm::TableSlot::Live)?;
        let length: u64 = table.iter().map(|line| line.length.to_bytes().get()).sum();
        ensure!(length == map.length(role).get(), "{device} has {length} bytes");
    }
    for device in pool.view()?.devices {
        let path = device.path.context("a disk is missing")?;
        let disk = thinly_engine::block_device::BlockDevice::open(
            &path,
            thinly_engine::block_device::Access::ReadOnly,
        )?;
        let LabelRead::Good(label) = read_labels(&disk)? else { anyhow::bail!("a torn label") };
        ensure!(label.state == LabelState::Live, "{} is {:?}", path.display(), label.state);
        let mut labelled = label.segments;
        let mut expected = map.segments_on(device.uuid);
        labelled.sort_by_key(|segment| segment.device_start);
        expected.sort_by_key(|segment| segment.device_start);
        ensure!(labelled == expected, "{}: {labelled:?}, {expected:?}", path.display());
    }
    Ok(())
}

#[test]
fn a_pool_grows_by_steps_and_by_devices_under_a_writer() -> Result<()> {
    let bed = small_bed(mib(64), &[1 << 30, 1 << 30])?;
    // The second disk is in the pool from the beginning; a third joins.
    let mut more = Disks::new(&[])?;
    let third = more.add(mib_bytes(256), 512)?.to_owned();
    let pool = bed.attach()?;
    let web = active(&pool, "web", gib(1))?;
    fill(&web, mib(0), mib(32), 0x11)?;
    let before = usage(&pool)?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        let writer = scope.spawn(|| -> Result<u64> {
            let mut rounds = 0;
            while !stop.load(Ordering::Relaxed) {
                fill(&web, mib(32), mib(8), 0x22)?;
                rounds += 1;
            }
            Ok(rounds)
        });
        let grown = (|| -> Result<()> {
            for _ in 0..4 {
                pool.grow(&by(mib(20)))?;
            }
            let devices = vec![third.clone()];
            let joined = pool.grow(&GrowPool { devices, raw: true, ..GrowPool::default() })?;
            ensure!(joined.data > mib(200), "{joined:?}");
            Ok(())
        })();
        stop.store(true, Ordering::Relaxed);
        grown?;
        ensure!(writer.join().unwrap()? > 0, "nothing was written");
        Ok(())
    })?;
    let after = usage(&pool)?;
    ensure!(after.total_data.get() > before.total_data.get() + (280 << 20), "{after:?}");
    assert_agreement(&bed, &pool)?;
    bed.assert_nothing_suspended()?;
    // More than there was at the beginning, on all of the disks.
    fill(&web, mib(64), mib(256), 0x33)?;
    pool.release()?;
    bed.engine.close_pool(&bed.pool)?;
    let pool = bed.open()?;
    ensure!(pool.findings().is_empty(), "{:?}", pool.findings());
    ensure!(usage(&pool)?.total_data == after.total_data);
    let web = activate(&pool, "web")?;
    for (offset, length, byte) in [(0, 32, 0x11), (32, 8, 0x22), (64, 256, 0x33)] {
        ensure!(holds(&web, mib(offset), mib(length), byte)?, "{byte:x} at {offset} MiB");
    }
    pool.release()?;
    bed.engine.destroy_pool(&bed.pool)?;
    let left = sh(&format!("wipefs --noheadings {}", third.display()))?;
    ensure!(left.is_empty(), "a joined disk keeps {left}");
    Ok(())
}

#[test]
fn what_cannot_be_is_refused_and_nothing_is_written() -> Result<()> {
    let bed = small_bed(mib(64), &[gib_bytes(1)])?;
    let mut others = Disks::new(&[mib_bytes(64)])?;
    let small = others[0].to_path_buf();
    let coarse = others.add(mib_bytes(64), 4096)?.to_owned();
    let pool = bed.attach()?;
    let before = sh(&format!("md5sum {} {}", small.display(), coarse.display()))?;
    let devices = pool.catalogue().devices().to_vec();
    assert_refused(pool.grow(&GrowPool::default()), &["nothing to grow by", "--by"]);
    let too_much = pool.grow(&by(gib(5)));
    assert_eq!(too_much.as_ref().unwrap_err().exit_class(), ExitClass::NoSpace);
    assert_refused(too_much, &["cannot grow", "have no role yet", "thinly pool grow"]);
    let joining = |path| GrowPool { devices: vec![path], raw: true, ..GrowPool::default() };
    assert_refused(pool.grow(&joining(coarse)), &["logical blocks of 4096", "used with 512"]);
    assert_refused(pool.grow(&joining(bed.disks[0].to_path_buf())), &["is held by"]);
    let more_than_both = GrowPool { by: Some(gib(5)), ..joining(small.clone()) };
    assert_refused(pool.grow(&more_than_both), &["cannot grow"]);
    sh(&format!("mkfs.ext4 -q {}", small.display()))?;
    assert_refused(pool.grow(&joining(small.clone())), &["ext4"]);
    sh(&format!(
        "wipefs -qa {}; dd if=/dev/zero of={} bs=1M count=64 conv=fsync status=none",
        small.display(),
        small.display()
    ))?;
    let after = sh(&format!("md5sum {} {}", small.display(), others[1].display()))?;
    assert_eq!(before, after);
    assert_eq!(pool.catalogue().devices(), devices);
    Ok(pool.release()?)
}

#[test]
fn a_device_joins_as_a_reserve_and_is_taken_later() -> Result<()> {
    let bed = small_bed(mib(64), &[mib_bytes(200)])?;
    let others = Disks::new(&[mib_bytes(300)])?;
    let pool = bed.attach()?;
    let before = usage(&pool)?.total_data;
    let devices = vec![others[0].to_path_buf()];
    let grown =
        pool.grow(&GrowPool { devices, by: Some(Bytes::ZERO), raw: true, ..GrowPool::default() })?;
    assert_eq!((grown.data, usage(&pool)?.total_data), (Bytes::ZERO, before));
    ensure!(grown.free > mib(250), "{grown:?}");
    pool.grow(&by(mib(250)))?;
    assert_eq!(usage(&pool)?.total_data.get(), before.get() + (250 << 20));
    assert_agreement(&bed, &pool)?;
    Ok(pool.release()?)
}

#[test]
fn metadata_grows_alone_and_its_spare_with_it() -> Result<()> {
    let bed = small_bed(mib(64), &[gib_bytes(1)])?;
    let pool = bed.attach()?;
    let before = usage(&pool)?;
    let had = pool.catalogue().length_of(Role::Metadata).get();
    pool.grow(&GrowPool { metadata_by: mib(32), ..GrowPool::default() })?;
    let after = usage(&pool)?;
    assert_eq!(after.total_data, before.total_data);
    let catalogue = pool.catalogue();
    assert_eq!(catalogue.length_of(Role::Metadata).get(), had + (32 << 20));
    // The kernel keeps a tenth back, 16 MiB at most.
    ensure!(after.total_metadata.get() >= had + (28 << 20), "{after:?}");
    let length = |role| catalogue.length_of(role);
    assert_eq!(length(Role::Metadata), length(Role::MetadataSpare));
    // The handle reads the longer metadata as well.
    fill(&active(&pool, "web", mib(64))?, mib(0), mib(4), 1)?;
    pool.snapshot(&name("web"), &name("web@1"))?;
    pool.release()?;
    sh(&format!("thinly pool check {}", bed.pool))?;
    Ok(())
}

/// The catalogue is ahead of the kernel, as after a crash between the record and the tables: whoever
/// attaches next ends the growth.
#[test]
fn a_growth_that_died_after_its_record_is_ended_by_the_next_writer() -> Result<()> {
    let bed = small_bed(mib(64), &[gib_bytes(1)])?;
    let data = bed.names.data.clone();
    let stale = sh(&format!("dmsetup table {data}"))?;
    let pool = bed.attach()?;
    pool.grow(&by(mib(64)))?;
    let total = usage(&pool)?.total_data;
    pool.release()?;
    bed.engine.close_pool(&bed.pool)?;
    // The devices as they were before the growth, but for the pool: it is longer in its own metadata,
    // so only the linear of the data is short when it is opened.
    let uuid = bed.names.role_uuid("data")?;
    sh(&format!("dmsetup create {data} --uuid {uuid} --table '{stale}'"))?;
    let pool = bed.open()?;
    assert_eq!(usage(&pool)?.total_data, total);
    assert_agreement(&bed, &pool)?;
    Ok(pool.release()?)
}

fn auto(at_percent: u8, step: Bytes) -> PoolPolicy {
    let by = GrowthStep::Bytes(step);
    let auto_extend = Some(AutoExtend { at_percent, by, data_max: None });
    PoolPolicy { auto_extend, ..PoolPolicy::default() }
}

/// Runs `work` while a monitor looks after the pool; tells how often it was extended.
fn monitored(pool: &Pool, work: impl FnOnce() -> Result<()>) -> Result<usize> {
    let (monitor, stop) = Monitor::new()?;
    thread::scope(|scope| {
        let looking = scope.spawn(move || -> Result<usize> {
            let (mut extended, mut failed) = (0, None);
            monitor.run(|| match pool.tend() {
                Ok(done) => extended += usize::from(done.is_some()),
                Err(error) => failed = Some(error),
            })?;
            failed.map_or(Ok(extended), |error| Err(error.into()))
        });
        let done = work();
        drop(stop);
        let extended = looking.join().unwrap();
        done?;
        extended
    })
}

#[test]
fn writes_past_the_end_go_on_while_the_pool_is_extended() -> Result<()> {
    let bed = small_bed(mib(64), &[gib_bytes(1)])?;
    let pool = bed.attach()?;
    pool.set_policy(auto(75, mib(48)))?;
    let web = active(&pool, "web", gib(1))?;
    let fio = format!(
        "fio --name=w --filename={} --rw=write --bs=256k --size=300M --direct=1 --ioengine=libaio \
         --iodepth=8 --verify=crc32c --do_verify=1 --output=/dev/null",
        web.display()
    );
    let extended = monitored(&pool, || sh(&fio).map(drop))?;
    ensure!(extended >= 5, "extended {extended} times");
    ensure!(usage(&pool)?.total_data >= mib(300));
    assert_agreement(&bed, &pool)?;
    let policy = pool.policy();
    pool.release()?;
    bed.engine.close_pool(&bed.pool)?;
    let pool = bed.open()?;
    assert_eq!(pool.policy(), policy, "kept with the pool");
    Ok(pool.release()?)
}

#[test]
fn the_reserve_is_kept_until_the_data_is_full() -> Result<()> {
    let bed = small_bed(mib(64), &[mib_bytes(256)])?;
    let pool = bed.attach()?;
    let free = pool.view()?.unused.context("no map")?;
    // All but 16 MiB is for the day on which the data is full.
    let reserve = Bytes::new(free.get() - (16 << 20));
    pool.set_policy(PoolPolicy { reserve, ..auto(50, mib(16)) })?;
    let web = active(&pool, "web", gib(1))?;
    fill(&web, mib(0), mib(56), 1)?;
    monitored(&pool, || Ok(()))?;
    assert_eq!(usage(&pool)?.total_data, mib(80), "what is not in reserve is taken at the mark");
    monitored(&pool, || fill(&web, mib(56), mib(64), 1))?;
    ensure!(usage(&pool)?.total_data > mib(112), "the reserve was not taken: {:?}", usage(&pool)?);
    ensure!(holds(&web, mib(0), mib(120), 1)?);
    Ok(pool.release()?)
}

#[test]
fn a_full_pool_that_fails_at_once_comes_back_after_a_delete() -> Result<()> {
    let bed = small_bed(mib(64), &[mib_bytes(256)])?;
    let pool = bed.attach()?;
    pool.set_policy(PoolPolicy { on_full: OnFull::Error, ..PoolPolicy::default() })?;
    let ballast = active(&pool, "ballast", mib(64))?;
    fill(&ballast, mib(0), mib(40), 7)?;
    let web = active(&pool, "web", mib(64))?;
    fill(&web, mib(0), mib(16), 1)?;
    let write = format!("dd if=/dev/zero of={} bs=1M seek=16 count=32 oflag=direct", web.display());
    let full = sh(&write).unwrap_err();
    ensure!(format!("{full:#}").contains("No space left"), "{full:#}");
    assert_eq!(pool.gauges()?.health, Health::OutOfDataSpace);
    let refused = pool.snapshot(&name("web"), &name("web@1"));
    assert!(matches!(refused, Err(PoolError::Refused(_))), "{refused:?}");
    pool.delete(&name("ballast"))?;
    pool.reap(&mut |_| {})?;
    fill(&web, mib(16), mib(32), 2)?;
    assert_eq!(pool.gauges()?.health, Health::Writable);
    ensure!(holds(&web, mib(0), mib(16), 1)? && holds(&web, mib(16), mib(32), 2)?);
    pool.snapshot(&name("web"), &name("web@1"))?;
    Ok(pool.release()?)
}

#[test]
fn nothing_new_is_admitted_above_the_limit() -> Result<()> {
    let bed = small_bed(mib(64), &[mib_bytes(256)])?;
    let pool = bed.attach()?;
    pool.set_policy(PoolPolicy { admit_data_percent: Some(50), ..PoolPolicy::default() })?;
    let web = active(&pool, "web", mib(64))?;
    fill(&web, mib(0), mib(30), 1)?;
    pool.snapshot(&name("web"), &name("web@1"))?;
    fill(&web, mib(30), mib(4), 1)?;
    let words = ["% of the pool's data", "above 50 %", "thinly pool set"];
    assert_refused(pool.create_volume(&name("db"), mib(1)), &words);
    assert_refused(pool.snapshot(&name("web"), &name("web@2")), &words);
    assert_refused(pool.clone_volume(&name("web@1"), &name("copy"), None), &words);
    fill(&web, mib(34), mib(4), 1).context("what is there goes on")?;
    pool.grow(&by(mib(64)))?;
    pool.snapshot(&name("web"), &name("web@2"))?;
    Ok(pool.release()?)
}
