//! Space that comes back, and data that stays.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use thinly_engine::dm::{Command, Dm};
use thinly_engine::pool::{Pool, ReapReport};
use thinly_engine::units::{BlockSize, Bytes};
use thinly_tests::Disks;

use crate::support::{Bed, activate, activate_read_only, active, fill, holds, mib, name};

/// More than the reaper deletes in one go: 4096 blocks of 64 KiB.
const LARGE: u64 = 272;

fn bed_of_small_blocks() -> Result<Bed> {
    let blocks = BlockSize::new(Bytes::new(64 << 10).to_sectors_exact()?)?;
    Bed::with(Disks::new(&[2 << 30])?, |asked| asked.block_size = blocks)
}

/// Reaps, and says how many devices were made for it: one for each volume that was emptied first.
fn reap(pool: &Pool) -> Result<(ReapReport, u64)> {
    let before = pool.counters().dm;
    let report = pool.reap(&mut |_| {})?;
    Ok((report, pool.counters().dm.since(&before).get(Command::Create)))
}

#[test]
fn a_large_volume_is_emptied_in_steps_and_its_neighbour_notices_nothing() -> Result<()> {
    let bed = bed_of_small_blocks()?;
    let pool = bed.attach()?;
    let neighbour = active(&pool, "neighbour", mib(64))?;
    fill(&neighbour, mib(0), mib(8), 0x11)?;
    // A snapshot first: from then on the details of every new thin carry a time.
    pool.snapshot(&name("neighbour"), &name("neighbour@1"))?;
    let used = bed.usage()?.used_data_blocks;
    let large = active(&pool, "large", mib(LARGE))?;
    fill(&large, mib(0), mib(LARGE), 0x22)?;
    ensure!(bed.usage()?.used_data_blocks.get() == used.get() + LARGE * 16);
    pool.delete(&name("large"))?;
    let stop = AtomicBool::new(false);
    let (report, emptied) = std::thread::scope(|scope| -> Result<_> {
        let writes = scope.spawn(|| -> Result<u32> {
            let mut count = 0;
            while !stop.load(Ordering::SeqCst) {
                fill(&neighbour, mib(8), mib(1), 0x33)?;
                count += 1;
            }
            Ok(count)
        });
        let reaped = reap(&pool);
        stop.store(true, Ordering::SeqCst);
        ensure!(writes.join().unwrap()? > 0, "the neighbour got no turn");
        reaped
    })?;
    assert_eq!((report.reaped, report.waiting, emptied), (1, 0, 1));
    // The neighbour's one new MiB, and nothing of the large one.
    assert_eq!(bed.usage()?.used_data_blocks.get(), used.get() + 16);
    assert!(holds(&neighbour, mib(0), mib(8), 0x11)? && holds(&neighbour, mib(8), mib(1), 0x33)?);
    pool.release()?;
    bed.assert_ids_are_named()
}

#[test]
fn what_shares_blocks_is_deleted_whole_and_the_others_keep_their_data() -> Result<()> {
    let bed = bed_of_small_blocks()?;
    let pool = bed.attach()?;
    let origin = active(&pool, "web", mib(LARGE))?;
    fill(&origin, mib(0), mib(LARGE), 0x44)?;
    pool.snapshot(&name("web"), &name("web@1"))?;
    pool.clone_volume(&name("web@1"), &name("copy"), None)?;
    let used = bed.usage()?.used_data_blocks;
    pool.delete(&name("web@1"))?;
    let (report, emptied) = reap(&pool)?;
    assert_eq!((report.reaped, emptied), (1, 0), "a discard would have copied the shared leaves");
    assert!(holds(&origin, mib(0), mib(LARGE), 0x44)?, "the origin lost data");
    pool.delete(&name("web"))?;
    let (report, emptied) = reap(&pool)?;
    assert_eq!((report.reaped, emptied), (1, 0));
    let copy = activate_read_only(&pool, "copy")?;
    assert!(holds(&copy, mib(0), mib(LARGE), 0x44)?, "the clone lost data");
    assert_eq!(bed.usage()?.used_data_blocks, used);
    pool.delete(&name("copy"))?;
    let (report, emptied) = reap(&pool)?;
    assert_eq!((report.reaped, emptied), (1, 1), "nothing shares the last one's blocks any more");
    assert_eq!(bed.usage()?.used_data_blocks.get(), 0);
    pool.release()?;
    bed.assert_ids_are_named()
}

#[test]
fn a_tombstone_that_something_holds_waits_and_is_freed_later() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    active(&pool, "web", mib(16))?;
    let id = pool.volume(&name("web"))?.thin_id.unwrap();
    pool.delete(&name("web"))?;
    // The device that a reaper which died would have left, held by whoever looks at it.
    let thin = bed.names.thin(id)?;
    let number = bed.control.info(&bed.names.pool_device)?.number;
    let node = bed.control.create(&thin, &bed.names.reaper_uuid(id)?)?.number.minor;
    let table = thinly_engine::plan::thin_table(number, id, mib(16).to_sectors_exact()?);
    bed.control.load(&thin, &table, false)?;
    bed.control.resume(&thin)?;
    let held = std::fs::File::open(format!("/dev/dm-{node}"))?;
    let report = pool.reap(&mut |_| {})?;
    assert_eq!((report.reaped, report.waiting), (0, 1));
    drop(held);
    let report = pool.reap(&mut |_| {})?;
    assert_eq!((report.reaped, report.waiting), (1, 0));
    pool.create_volume(&name("web"), mib(16))?;
    activate(&pool, "web")?;
    pool.release()?;
    bed.assert_ids_are_named()
}
