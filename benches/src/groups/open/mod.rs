//! Taking a pool over, and going on while its journal is rewritten, with many volumes in it.
#![forbid(unsafe_code)]

mod stall;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use thinly_engine::catalogue::VolumeName;
use thinly_engine::pool::{Engine, Pool};
use thinly_engine::units::BlockSize;

use self::stall::{Stall, stall};
use super::catalogue::cpu_time;
use crate::bed::{VOLUME_SIZE, create_pool};
use crate::results::{Bound, Group, Table};
use crate::samples::{Samples, timed};
use crate::stage::Stage;

/// Callers that fill the pool: they share journal writes.
const FILLERS: usize = 32;

/// Opens one pool again and again while it fills, and rewrites its journal when it is full.
pub(super) fn open(stage: &Stage) -> Result<Group> {
    let mut group = Group::new("open", "Taking a pool over", TEXT);
    let sizes: &[usize] =
        stage.extent.pick(&[10, 30], &[10, 1_000, 5_000], &[10, 1_000, 10_000, 100_000]);
    let rounds = stage.extent.pick(1, 3, 3);
    let engine = Engine::new()?;
    let name = create_pool(&engine, "open", stage.disk(0)?, BlockSize::DEFAULT)?;
    let mut table = Table::new(
        "Taking the claim of an open pool: reading, replaying and reconciling",
        &["volumes", "wall, ms", "processor, ms", "processor, us a volume"],
    );
    let mut pool = engine.attach(&name)?;
    for &volumes in sizes {
        fill(&pool, volumes)?;
        let (mut wall, mut cpu) = (Samples::default(), Samples::default());
        for _ in 0..rounds {
            pool.release()?;
            let began = cpu_time()?;
            let (again, time) = timed(|| Ok(engine.attach(&name)?))?;
            cpu.push(cpu_time()?.saturating_sub(began));
            wall.push(time);
            pool = again;
        }
        let millis = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
        #[allow(clippy::cast_precision_loss, reason = "some hundred thousand")]
        let each = cpu.median().as_secs_f64() * 1e6 / volumes as f64;
        table.row([
            volumes.to_string(),
            millis(wall.median()),
            millis(cpu.median()),
            format!("{each:.1}"),
        ]);
    }
    group.tables.push(table);
    tell(&mut group, &stall(&pool, stage.extent.pick(20, 2_000, 20_000))?);
    pool.release()?;
    engine.destroy_pool(&name)?;
    Ok(group)
}

fn tell(group: &mut Group, stall: &Stall) {
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let volumes = stall.volumes;
    let what = format!("creates beside a checkpoint of {volumes} volumes: median");
    group.goal(what, millis(stall.median), "ms", Bound::Shown);
    let what = format!("creates beside a checkpoint of {volumes} volumes: the longest of others");
    group.goal(what, millis(stall.longest_beside), "ms", Bound::Shown);
    let what = format!("creates beside a checkpoint of {volumes} volumes: the one that writes it");
    group.goal(what, millis(stall.longest), "ms", Bound::Shown);
}

/// Adds pending volumes until there are so many.
fn fill(pool: &Pool, count: usize) -> Result<()> {
    let next = AtomicUsize::new(pool.catalogue().volume_count());
    thread::scope(|scope| {
        let work = || -> Result<()> {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(());
                }
                let name = VolumeName::new(&format!("volume-{number:08}"))?;
                pool.create_volume(&name, VOLUME_SIZE)?;
            }
        };
        let workers: Vec<_> = (0..FILLERS).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| anyhow!("a caller panicked"))?)
    })
}

const TEXT: &str = "\
One pool fills, and is released and taken over again at each size, with the claim, the journal read and replayed, and the
state reconciled with the device tree: no device is listed and none is touched. Then two callers create volumes until the
journal has been rewritten at least once. The caller who meets a journal that is half full writes the checkpoint himself;
what matters is how long the other one waits for it.";
