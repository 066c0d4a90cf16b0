//! What a large catalogue costs in processor time and memory, natively.
#![forbid(unsafe_code)]

use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use thinly_engine::catalogue::{Catalogue, IdAllocator, Record};
use thinly_engine::journal::{Journal, load};
use thinly_engine::units::ThinId;
use uuid::Uuid;

use crate::micro::{Memory, identity, new_volume};
use crate::results::{Axis, Bound, Group, Plot, Series, Table};
use crate::samples::Samples;
use crate::stage::Stage;

const POOL: Uuid = Uuid::from_u128(1);
const PAGE_BYTES: u64 = 4096;
/// Room for the largest catalogue, twice over, in each of two regions.
const MEDIUM_BYTES: usize = 64 << 20;
/// Below this a catalogue's memory drowns in what the process has anyway.
const VOLUMES_FOR_MEMORY: usize = 10_000;

/// Reads a journal of so many volumes and rebuilds the state, as every open does.
pub(super) fn catalogue(stage: &Stage) -> Result<Group> {
    let mut group = Group::new("catalogue", "A large catalogue", TEXT);
    let sizes: &[usize] = stage.extent.pick(
        &[10, 100],
        &[10, 1_000, 10_000, 100_000],
        &[10, 100, 1_000, 10_000, 100_000],
    );
    let mut table = Table::new(
        "Processor time of an open, and of a checkpoint's part under the lock",
        &["volumes", "open, ms", "us a volume", "bytes a volume", "under the lock, ms"],
    );
    let mut points = Vec::new();
    for &volumes in sizes {
        let bytes = bytes_a_volume(volumes)?;
        let one = measure(volumes, stage.extent.pick(1, 5, 9))?;
        #[allow(clippy::cast_precision_loss, reason = "some hundred thousand")]
        let count = volumes as f64;
        let open = one.open.as_secs_f64();
        table.row([
            volumes.to_string(),
            format!("{:.3}", open * 1e3),
            format!("{:.2}", open * 1e6 / count),
            bytes.map_or("-".to_owned(), |bytes| format!("{bytes:.0}")),
            format!("{:.3}", one.locked.as_secs_f64() * 1e3),
        ]);
        points.push((count, open * 1e3));
        if volumes == 100_000 {
            tell(&mut group, open, bytes, one.locked);
        }
    }
    if let Some(&(count, millis)) = points.last() {
        group.goal(
            "open: processor time for each volume",
            millis * 1e3 / count,
            "us",
            Bound::Shown,
        );
    }
    group.tables.push(table);
    group.plots.push(Plot {
        file: "catalogue-open".to_owned(),
        title: "Processor time of reading and replaying a journal".to_owned(),
        x: Axis::logarithmic("volumes in the catalogue"),
        y: Axis::logarithmic("ms"),
        series: vec![Series { name: "open".to_owned(), points }],
    });
    Ok(group)
}

fn tell(group: &mut Group, open: f64, bytes: Option<f64>, locked: Duration) {
    let what = "open with 100,000 volumes: processor time";
    group.goal(what, open, "s", Bound::AtMost(1.0));
    if let Some(bytes) = bytes {
        let what = "memory for each of 100,000 volumes";
        group.goal(what, bytes, "bytes", Bound::AtMost(1024.0));
    }
    let what = "a checkpoint of 100,000 volumes: what it holds every append up for";
    group.goal(what, locked.as_secs_f64() * 1e3, "ms", Bound::Shown);
}

struct Measured {
    open: Duration,
    locked: Duration,
}

fn measure(volumes: usize, rounds: usize) -> Result<Measured> {
    let medium = Memory::zeroed(MEDIUM_BYTES);
    let records = std::iter::once(Record::PoolCreated(identity()?).encode());
    let volumes: Vec<Vec<u8>> =
        (0..volumes).map(|number| Ok(new_volume(number)?.encode())).collect::<Result<_>>()?;
    Journal::format(&medium, POOL, records.chain(volumes))?;
    let (mut open, mut locked) = (Samples::default(), Samples::default());
    for _ in 0..rounds {
        let began = cpu_time()?;
        let loaded = load(&medium, POOL)?;
        let catalogue = Catalogue::replay(loaded.payloads.iter().map(Vec::as_slice))?;
        let ids = IdAllocator::new(&catalogue, ThinId::MAX);
        open.push(cpu_time()?.saturating_sub(began));
        black_box(ids);
        let began = Instant::now();
        let frozen = catalogue.freeze();
        locked.push(began.elapsed());
        black_box(frozen);
    }
    Ok(Measured { open: open.median(), locked: locked.median() })
}

/// What the state takes, by what the process grows by.
fn bytes_a_volume(volumes: usize) -> Result<Option<f64>> {
    if volumes < VOLUMES_FOR_MEMORY {
        return Ok(None);
    }
    let mut catalogue = Catalogue::new(identity()?);
    let before = resident_bytes()?;
    for number in 0..volumes {
        catalogue.apply(new_volume(number)?)?;
    }
    let grown = resident_bytes()?.saturating_sub(before);
    black_box(&catalogue);
    #[allow(clippy::cast_precision_loss, reason = "some megabytes")]
    Ok(Some(grown as f64 / volumes as f64))
}

fn resident_bytes() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/statm")?;
    let pages = text.split(' ').nth(1).context("no resident size in /proc/self/statm")?;
    Ok(pages.parse::<u64>()? * PAGE_BYTES)
}

/// What this process has used so far, in user and kernel mode.
pub(super) fn cpu_time() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let of = |time: nix::sys::time::TimeVal| {
        let micros = time.tv_sec().saturating_mul(1_000_000).saturating_add(time.tv_usec());
        Duration::from_micros(u64::try_from(micros).unwrap_or_default())
    };
    Ok(of(usage.user_time()) + of(usage.system_time()))
}

const TEXT: &str = "\
Natively, with the journal in memory: what an open reads and rebuilds (each frame checked, each record decoded and
applied), the memory that the state takes (by the growth of the process), and the part of a checkpoint during which no
other operation can append: the state is copied by pointers under the lock, and written without it.";
