//! What monitoring reads: true numbers, at a cost that does not grow.

use anyhow::{Context, Result};
use thinly_engine::plan::Health;
use thinly_engine::pool::CapacityRule;
use thinly_engine::units::Bytes;

use crate::support::{Bed, active, fill, mib, name};

#[test]
fn gauges_tell_what_the_pool_holds_with_one_ioctl() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    let rule = CapacityRule { overprovision_percent: Some(100), reserve: Bytes::ZERO };
    pool.set_capacity_rule(rule);
    let empty = pool.gauges()?;
    assert_eq!((empty.volumes, empty.snapshots, empty.promised), (0, 0, Bytes::ZERO));
    let device = active(&pool, "data", mib(64))?;
    fill(&device, Bytes::ZERO, mib(8), 7)?;
    pool.snapshot(&name("data"), &name("then"))?;
    pool.snapshot(&name("data"), &name("later"))?;
    pool.delete(&name("later"))?;
    let before = pool.counters();
    let gauges = pool.gauges()?;
    let after = pool.counters();
    assert_eq!(after.dm.since(&before.dm).total(), 1);
    assert_eq!(after.metadata_reads, before.metadata_reads);
    assert_eq!(gauges.health, Health::Writable);
    assert_eq!((gauges.volumes, gauges.snapshots, gauges.promised), (1, 1, mib(64)));
    assert_eq!((gauges.tombstones, gauges.orphans), (1, 0));
    assert_eq!(gauges.snapshot_time, empty.snapshot_time + 2);
    let usage = gauges.usage.context("no usage")?;
    assert_eq!(usage.used_data, mib(8));
    let headroom = gauges.headroom.context("no headroom")?;
    assert_eq!(headroom, pool.headroom()?);
    assert_eq!(headroom.virtual_bytes.get() + mib(64).get(), usage.total_data.get());
    pool.release()?;
    Ok(())
}

#[test]
fn mapped_bytes_as_of_the_last_commit_need_no_ioctl() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    let device = active(&pool, "data", mib(64))?;
    pool.create_volume(&name("pending"), mib(64))?;
    fill(&device, Bytes::ZERO, mib(8), 7)?;
    // A copy commits what was written before it.
    pool.snapshot(&name("data"), &name("then"))?;
    let before = pool.counters().dm;
    let mapped = pool.committed_bytes().context("the tree cannot be read")?;
    assert_eq!(pool.counters().dm.since(&before).total(), 0);
    let of = |text: &str| mapped.get(&pool.volume(&name(text)).unwrap().uuid).copied();
    assert_eq!(of("data"), Some(mib(8)));
    assert_eq!(of("then"), Some(mib(8)));
    assert_eq!(of("pending"), Some(Bytes::ZERO));
    pool.release()?;
    Ok(())
}

#[test]
fn freezes_and_flushes_are_timed() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    let device = active(&pool, "data", mib(64))?;
    pool.create_volume(&name("idle"), mib(64))?;
    let counters = pool.counters();
    assert_eq!(counters.freezes.count(), 0);
    assert_eq!(counters.journal_flushes.count(), counters.journal.writes);
    pool.snapshot(&name("idle"), &name("of-idle"))?;
    assert_eq!(pool.counters().freezes.count(), 0, "nothing was frozen");
    pool.snapshot(&name("data"), &name("of-data"))?;
    let freezes = pool.counters().freezes;
    assert_eq!(freezes.count(), 1);
    assert!(!freezes.sum().is_zero());
    fill(&device, Bytes::ZERO, mib(1), 7)?;
    pool.release()?;
    Ok(())
}
