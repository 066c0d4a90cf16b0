//! Metadata that lasts: after the last copy that was admitted, no writing and no discarding can use it
//! up. With the admission off it can, so that this test is known to bite.

use anyhow::{Context, Result, ensure};
use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::catalogue::PoolPolicy;
use thinly_engine::dm::block::discard;
use thinly_engine::plan::Health;
use thinly_engine::pool::{ExitClass, GrowPool, Pool, PoolError};
use thinly_engine::units::{BlockSize, Bytes, Sectors};
use thinly_tests::Disks;

use crate::support::{Bed, activate, active, fill, mib, name};

const BLOCK_BYTES: u64 = 64 << 10;
const BLOCKS: u64 = 2048;

/// A pool whose metadata is as small as the kernel takes it (a disk below 1 GiB has extents of 1 MiB), and a
/// volume with a tree of some leaves.
fn tight_bed() -> Result<(Bed, Pool)> {
    let bed = Bed::with(Disks::new(&[thinly_tests::mib(900)])?, |asked| {
        asked.block_size = BlockSize::new(Sectors::new(BLOCK_BYTES / 512)).unwrap();
        asked.metadata_size = Some(mib(2));
        asked.data_size = Some(mib(256));
    })?;
    let pool = bed.attach()?;
    let base = active(&pool, "base", Bytes::new(BLOCKS * BLOCK_BYTES))?;
    fill(&base, mib(0), mib(128), 1)?;
    Ok((bed, pool))
}

fn copy_name(number: usize) -> String {
    format!("copy{number}")
}

/// Copies until one is refused, or there are so many.
fn copies(pool: &Pool, limit: usize) -> (usize, Option<PoolError>) {
    for number in 0..limit {
        match pool.clone_volume(&name("base"), &name(&copy_name(number)), None) {
            Ok(_) => {}
            Err(refused) => return (number, Some(refused)),
        }
    }
    (limit, None)
}

/// Takes every leaf of every copy out of what it shares, by discards here and there, and thins the
/// trees out on the way. `seed` decides which blocks.
fn unshare(pool: &Pool, copies: usize, mut seed: u64) -> Result<Health> {
    for number in 0..copies {
        let path = activate(pool, &copy_name(number))?;
        let device = BlockDevice::open(&path, Access::ReadWrite)?;
        let mut block = 0;
        while block < BLOCKS {
            let offset = Bytes::new(block * BLOCK_BYTES);
            if discard(&device, offset, Bytes::new(BLOCK_BYTES)).is_err() {
                return Ok(pool.gauges()?.health);
            }
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            block += 1 + (seed >> 33) % 60;
        }
        drop(device);
        pool.deactivate(&name(&copy_name(number)))?;
        let health = pool.gauges()?.health;
        if health != Health::Writable {
            return Ok(health);
        }
    }
    Ok(pool.gauges()?.health)
}

#[test]
fn what_was_admitted_can_be_unshared_to_the_last_block() -> Result<()> {
    let (_bed, pool) = tight_bed()?;
    let (admitted, refused) = copies(&pool, 60);
    let refused = refused.context("nothing was refused")?;
    assert_eq!(refused.exit_class(), ExitClass::NoSpace);
    let text = refused.to_string();
    for word in ["metadata might not last", "are free", "--metadata-by", "--overcommit-metadata"] {
        ensure!(text.contains(word), "{word:?} is not in: {text}");
    }
    ensure!(admitted >= 1, "not even one copy");
    assert_eq!(unshare(&pool, admitted, 1)?, Health::Writable, "{admitted} copies");
    // What was unshared is in use now, and what is free still covers what may come.
    pool.grow(&GrowPool { metadata_by: mib(4), ..GrowPool::default() })?;
    let more = pool.clone_volume(&name("base"), &name(&copy_name(admitted)), None);
    more.context("more metadata admits nothing")?;
    Ok(pool.release()?)
}

#[test]
fn without_the_admission_the_same_writes_use_the_metadata_up() -> Result<()> {
    let (_bed, pool) = tight_bed()?;
    pool.set_policy(PoolPolicy { overcommit_metadata: true, ..PoolPolicy::default() })?;
    let (taken, refused) = copies(&pool, 60);
    ensure!(refused.is_none(), "{refused:?}");
    let health = unshare(&pool, taken, 1)?;
    ensure!(health >= Health::ReadOnly, "{taken} copies were unshared and the pool is {health}");
    // More metadata brings it back, without a close.
    if health == Health::ReadOnly {
        pool.grow(&GrowPool { metadata_by: mib(4), ..GrowPool::default() })?;
        assert_eq!(pool.gauges()?.health, Health::Writable);
        pool.clone_volume(&name("base"), &name("after"), None)?;
    }
    Ok(pool.release()?)
}
