//! What is overwritten before it is freed, and what is not because others hold it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use thinly_engine::aligned::AlignedBuffer;
use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::pool::{Erasure, Holder, Pool, ReapReport};
use thinly_engine::units::{BlockSize, Bytes};
use thinly_tests::Disks;

use crate::support::{Bed, activate_read_only, active, fill, holds, mib, name, without_discards};

/// On a disk that takes no discard: what vanishes from it was overwritten.
fn bed() -> Result<Bed> {
    let disks = Disks::new(&[384 << 20])?;
    let node = without_discards(&disk(&disks))?;
    let blocks = BlockSize::new(Bytes::new(64 << 10).to_sectors_exact()?)?;
    Bed::with(disks, |asked| {
        asked.devices = vec![node];
        asked.block_size = blocks;
    })
}

fn disk(disks: &Disks) -> PathBuf {
    disks.paths()[0].clone()
}

/// How many whole pages of this byte the raw disk holds.
fn pages_of(bed: &Bed, byte: u8) -> Result<u64> {
    let disk = BlockDevice::open(&disk(&bed.disks), Access::ReadOnly)?;
    let mut buffer = AlignedBuffer::zeroed(1 << 20);
    let mut found = 0;
    for offset in (0..disk.size().get()).step_by(1 << 20) {
        disk.read_at(offset, &mut buffer)?;
        let pages = buffer.chunks_exact(4096);
        found += pages.filter(|page| page.iter().all(|it| *it == byte)).count() as u64;
    }
    Ok(found)
}

fn pages(length: Bytes) -> u64 {
    length.get() / 4096
}

fn reap_all(pool: &Pool, count: u64) -> Result<()> {
    assert_eq!(pool.reap(&mut |_| {})?, ReapReport { reaped: count, waiting: 0 });
    Ok(())
}

#[test]
fn what_a_volume_alone_held_is_gone_from_the_disk_and_what_a_snapshot_holds_is_not() -> Result<()> {
    let bed = bed()?;
    let pool = bed.attach()?;
    let web = active(&pool, "web", mib(64))?;
    fill(&web, mib(0), mib(16), 0xa1)?;
    pool.snapshot(&name("web"), &name("web@1"))?;
    fill(&web, mib(0), mib(8), 0xb2)?;
    // Blocks that are older than the device's last snapshot, and all its own again: the kernel
    // would put a write to them elsewhere.
    pool.snapshot(&name("web"), &name("web@2"))?;
    pool.delete(&name("web@2"))?;
    reap_all(&pool, 1)?;
    active(&pool, "plain", mib(8))?;
    fill(
        Path::new(&pool.volume(&name("plain"))?.device.context("no device")?),
        mib(0),
        mib(4),
        0xc3,
    )?;
    pool.delete(&name("plain"))?;
    reap_all(&pool, 1)?;
    assert_eq!(pages_of(&bed, 0xc3)?, pages(mib(4)), "what is deleted plainly stays on the disk");

    let erasure = pool.delete_and_erase(&name("web"))?;
    let kept_by = vec![Holder::Volume(name("web@1"))];
    let expected =
        Erasure { to_erase_bytes: mib(8), kept_bytes: mib(8), kept_by, kept_by_more: false };
    assert_eq!(erasure, expected);
    assert_eq!(pages_of(&bed, 0xb2)?, pages(mib(8)), "a delete is a record");
    // As if the process died: the next writer finds what it has to do.
    drop(pool);
    let pool = bed.attach()?;
    reap_all(&pool, 1)?;
    assert_eq!(pool.counters().reap.erased_bytes, mib(8));
    assert_eq!(pages_of(&bed, 0xb2)?, 0, "they are still on the disk");
    assert_eq!(pages_of(&bed, 0xa1)?, pages(mib(16)));
    let kept = activate_read_only(&pool, "web@1")?;
    ensure!(holds(&kept, mib(0), mib(16), 0xa1)?, "the snapshot lost data");
    pool.deactivate(&name("web@1"))?;
    assert_eq!(pool.delete_and_erase(&name("web@1"))?.to_erase_bytes, mib(16));
    reap_all(&pool, 1)?;
    assert_eq!(pages_of(&bed, 0xa1)?, 0, "the last holder's are still on the disk");
    assert_eq!(bed.usage()?.used_data_blocks.get(), 0);
    pool.release()?;
    bed.assert_ids_are_named()
}

/// What an erased volume shares with a deleted one alone must not be freed by that one as it is.
#[test]
fn what_two_deleted_ones_share_is_overwritten_when_one_of_them_is_to_be_erased() -> Result<()> {
    let bed = bed()?;
    let pool = bed.attach()?;
    let web = active(&pool, "web", mib(64))?;
    fill(&web, mib(0), mib(8), 0xa1)?;
    pool.snapshot(&name("web"), &name("web@1"))?;
    let pending = pool.create_volume(&name("blank"), mib(8))?;
    assert_eq!(pool.delete_and_erase(&pending.name)?, Erasure::default());
    assert_eq!(pool.delete_and_erase(&name("web"))?.kept_bytes, mib(8));
    pool.delete(&name("web@1"))?;
    reap_all(&pool, 2)?;
    assert_eq!(pages_of(&bed, 0xa1)?, 0);
    assert_eq!(bed.usage()?.used_data_blocks.get(), 0);
    pool.release()?;
    bed.assert_ids_are_named()
}
