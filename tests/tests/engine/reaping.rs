//! Space that comes back, and data that stays.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use thinly_engine::dm::{Command, Dm};
use thinly_engine::pool::{Engine, Pool, ReapBudget, ReapReport};
use thinly_engine::units::{BlockSize, Bytes};
use thinly_tests::Disks;

use crate::faulty_dm::FaultyDm;
use crate::support::{Bed, activate, activate_read_only, active, fill, holds, mib, name};

/// More than the reaper deletes in one go: 4096 blocks of 64 KiB.
const LARGE: u64 = 272;

fn bed_of_small_blocks() -> Result<Bed> {
    let blocks = BlockSize::new(Bytes::new(64 << 10).to_sectors_exact()?)?;
    Bed::with(Disks::new(&[2 << 30])?, |asked| asked.block_size = blocks)
}

/// Reaps, and says how many devices were made for it: one for each volume that was emptied first.
/// Without one there is no discard either.
fn reap(pool: &Pool) -> Result<(ReapReport, u64)> {
    let before = pool.counters();
    let report = pool.reap(&mut |_| {})?;
    let after = pool.counters();
    let made = after.dm.since(&before.dm).get(Command::Create);
    assert_eq!(made == 0, after.reap.discards == before.reap.discards);
    Ok((report, made))
}

/// A writer whose deletes are looked at.
fn watched(bed: &Bed) -> Result<(Pool, Arc<FaultyDm>)> {
    let dm = Arc::new(FaultyDm::new()?);
    dm.watch_deletes(bed.names.clone());
    Ok((Engine::with_dm(Arc::<FaultyDm>::clone(&dm)).attach(&bed.pool)?, dm))
}

/// Waits for what another thread is about to do.
fn wait_until(mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_mins(2), "it never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// So many blocks with others between them, one page of each written.
fn scatter(node: &Path, blocks: u64, virtual_blocks: u64) -> Result<()> {
    let file = File::options().write(true).open(node)?;
    for number in 0..blocks {
        // A prime: no block is met twice.
        let block = number * 7919 % virtual_blocks;
        file.write_all_at(&[0x5a; 4096], block << 16)?;
    }
    Ok(file.sync_all()?)
}

#[test]
fn a_small_one_passes_a_large_one_that_a_stop_leaves_to_the_next_writer() -> Result<()> {
    const BLOCKS: u64 = 5000;
    let bed = bed_of_small_blocks()?;
    let pool = bed.attach()?;
    // It takes minutes by this.
    let slow = ReapBudget { discard_bytes_per_second: Some(mib(1)), ..ReapBudget::default() };
    pool.set_reap_budget(slow);
    scatter(&active(&pool, "large", mib(8192))?, BLOCKS, 8192 * 16)?;
    active(&pool, "small", mib(16))?;
    let id = pool.volume(&name("large"))?.thin_id.unwrap();
    pool.delete(&name("large"))?;
    let view = bed.engine.view(&bed.pool)?;
    assert_eq!(view.reaping_bytes, Some(Bytes::new(BLOCKS << 16)));
    let report = std::thread::scope(|scope| -> Result<ReapReport> {
        let reaping = scope.spawn(|| pool.reap(&mut |_| {}));
        wait_until(|| pool.counters().reap.discards > 0);
        pool.delete(&name("small"))?;
        wait_until(|| pool.catalogue().tombstones().len() == 1);
        pool.stop_reaping();
        Ok(reaping.join().unwrap()?)
    })?;
    assert_eq!((report.reaped, report.waiting), (1, 1));
    bed.usage()?;
    let held = pool.reaping_bytes().unwrap();
    ensure!(held > Bytes::ZERO && held < Bytes::new(BLOCKS << 16), "{held} are left");
    assert_eq!(pool.reap(&mut |_| {})?, ReapReport { reaped: 0, waiting: 1 }, "it was stopped");
    pool.release()?;

    let (pool, dm) = watched(&bed)?;
    // Where space is short nothing is slow.
    pool.set_reap_budget(ReapBudget { high_water_percent: 0, ..slow });
    let mut last = None;
    let report = pool.reap(&mut |progress| last = Some(progress))?;
    assert_eq!((report.reaped, report.waiting), (1, 0));
    let deletes = dm.deletes();
    ensure!(matches!(deletes[..], [(gone, left)] if gone == id && left <= 4096), "{deletes:?}");
    let counters = pool.counters().reap;
    ensure!(counters.discards > 0 && counters.longest_discard <= mib(16), "{counters:?}");
    assert_eq!(counters.discarded_bytes, held);
    let last = last.context("no progress was told")?;
    assert_eq!((last.done, last.total), (1, 1));
    assert_eq!((last.done_bytes, last.total_bytes), (held, held));
    assert_eq!(pool.reaping_bytes(), Some(Bytes::ZERO));
    assert_eq!(bed.usage()?.used_data_blocks.get(), 0);
    pool.release()?;
    bed.assert_ids_are_named()
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
    let (pool, dm) = watched(&bed)?;
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
    pool.snapshot(&name("copy"), &name("copy@1"))?;
    pool.delete(&name("copy"))?;
    pool.delete(&name("copy@1"))?;
    let (report, emptied) = reap(&pool)?;
    // Each takes their blocks for the other's, until the first of them is gone.
    assert_eq!((report.reaped, emptied), (2, 1), "nothing shares the last one's blocks any more");
    let deletes = dm.deletes();
    ensure!(deletes.len() == 4 && deletes.iter().all(|(_, left)| *left <= 4096), "{deletes:?}");
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
