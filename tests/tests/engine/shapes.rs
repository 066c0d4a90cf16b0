//! Pools of every shape: block sizes, sector sizes, a device for the metadata.

use anyhow::{Context, Result};
use thinly_engine::catalogue::PoolIdentity;
use thinly_engine::layout::Role;
use thinly_engine::units::{BlockSize, Bytes};
use thinly_tests::Disks;

use crate::support::{Bed, activate, activate_read_only, active, fill, holds, mib, name};

/// Writes, snapshots, overwrites, closes, opens, and finds everything as it was.
fn live_through(bed: &Bed) -> Result<()> {
    let pool = bed.attach()?;
    let device = active(&pool, "web", mib(100))?;
    fill(&device, mib(1), mib(7), 1)?;
    pool.snapshot(&name("web"), &name("web@1"))?;
    fill(&device, mib(2), mib(1), 2)?;
    pool.deactivate(&name("web"))?;
    pool.release()?;
    bed.engine.close_pool(&bed.pool)?;
    let pool = bed.open()?;
    assert!(pool.findings().is_empty(), "{:?}", pool.findings());
    let (web, snapshot) = (activate(&pool, "web")?, activate_read_only(&pool, "web@1")?);
    assert!(holds(&web, mib(2), mib(1), 2)? && holds(&web, mib(3), mib(5), 1)?);
    assert!(holds(&web, mib(0), mib(1), 0)?, "what was never written is zero");
    assert!(holds(&snapshot, mib(1), mib(7), 1)?);
    pool.delete(&name("web"))?;
    pool.delete(&name("web@1"))?;
    assert_eq!(pool.reap(&mut |_| {})?.reaped, 2);
    assert_eq!(bed.usage()?.used_data_blocks.get(), 0);
    pool.release()?;
    bed.assert_ids_are_named()
}

fn with_block_size(block_size: Bytes) -> Result<()> {
    let size =
        BlockSize::new(block_size.to_sectors_exact()?).with_context(|| format!("{block_size}"))?;
    let bed = Bed::with(Disks::new(&[1 << 30, 700 << 20])?, |asked| asked.block_size = size)?;
    let pool = bed.attach()?;
    let PoolIdentity { block_size, .. } = pool.identity().clone();
    assert_eq!(block_size, size);
    pool.release()?;
    live_through(&bed)
}

#[test]
fn a_pool_with_blocks_of_64_kib() -> Result<()> {
    with_block_size(Bytes::new(64 << 10))
}

#[test]
fn a_pool_with_blocks_of_192_kib_which_is_no_power_of_two() -> Result<()> {
    with_block_size(Bytes::new(192 << 10))
}

#[test]
fn a_pool_with_blocks_of_1_mib() -> Result<()> {
    with_block_size(Bytes::new(1 << 20))
}

#[test]
fn a_pool_on_disks_with_sectors_of_4096_bytes() -> Result<()> {
    live_through(&Bed::with(Disks::with_block_bytes(&[1 << 30, 1 << 30], 4096)?, |_| {})?)
}

#[test]
fn a_pool_with_a_device_for_its_metadata() -> Result<()> {
    let bed = Bed::with(Disks::new(&[2 << 30, 512 << 20])?, |asked| {
        asked.metadata_device = asked.devices.pop();
    })?;
    let pool = bed.attach()?;
    let catalogue = pool.catalogue();
    let fast = catalogue.devices().iter().find(|device| device.size == mib(512)).unwrap();
    for segment in catalogue.segments() {
        let is_on_fast = segment.device == fast.uuid;
        match segment.role {
            Role::Metadata => assert!(is_on_fast, "{segment:?}"),
            Role::Data => assert!(!is_on_fast, "{segment:?}"),
            _ => {}
        }
    }
    pool.release()?;
    live_through(&bed)
}
