//! What a `CreateVolume` costs above the engine's create and an empty call, and how many a second
//! there can be, measured side by side in one run. `docs/benchmarks.md` says how to read it.

mod lvm;
mod rate;
mod single;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use thinly_engine::catalogue::{PoolName, VolumeName};
use thinly_engine::pool::{CreatePool, Engine, Pool};
use thinly_engine::units::{BlockSize, Bytes};

use crate::csi::{Client, CsiBed};

pub use rate::Rates;
pub use single::Single;

/// The size of every volume here: nothing is written, so it does not matter.
const VOLUME_BYTES: u64 = 1 << 30;
/// The most that a call may take of the sum of its parts.
const SINGLE_GOAL: f64 = 1.2;
/// The least of what is possible that must be reached with many calls at a time.
const RATE_GOAL: f64 = 0.8;

/// What to measure, and on what. The disks are overwritten.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The disk of the driver's pool.
    pub driver_disk: PathBuf,
    /// The disk of the pool that the engine works on in this process.
    pub engine_disk: PathBuf,
    /// The disk of LVM's thin pool; none leaves LVM out.
    pub lvm_disk: Option<PathBuf>,
    /// How often each operation is measured.
    pub rounds: usize,
    /// The numbers of volumes with which to measure.
    pub volumes: Vec<usize>,
}

/// The outcome.
#[derive(Debug, Clone)]
pub struct Report {
    /// One call at a time, for each number of volumes.
    pub single: Vec<Single>,
    /// Many calls at a time.
    pub rates: Rates,
    /// `lvcreate -an` and `lvcreate`, medians.
    pub lvm: Option<(Duration, Duration)>,
}

impl Report {
    /// Whether every goal is met.
    pub fn is_met(&self) -> bool {
        self.single.iter().all(|single| single.ratio() <= SINGLE_GOAL)
            && self.rates.share() >= RATE_GOAL
    }
}

const fn verdict(met: bool) -> &'static str {
    if met { "ok" } else { "MISS" }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for single in &self.single {
            let met = single.ratio() <= SINGLE_GOAL;
            writeln!(f, "{single}  goal {SINGLE_GOAL:.1}  {}", verdict(met))?;
        }
        let met = self.rates.share() >= RATE_GOAL;
        writeln!(f, "{}  goal {RATE_GOAL:.1}  {}", self.rates, verdict(met))?;
        match self.lvm {
            Some((inactive, active)) => writeln!(
                f,
                "beside it: lvcreate -an {:.1} ms, lvcreate {:.1} ms (medians)",
                inactive.as_secs_f64() * 1e3,
                active.as_secs_f64() * 1e3
            ),
            None => writeln!(f, "lvcreate was not measured: no disk was given for it"),
        }
    }
}

/// Both sides: the driver in its process, the engine in this one.
struct Sides {
    client: Client,
    pool: Pool,
    next: std::sync::atomic::AtomicU64,
}

impl Sides {
    /// A name that neither side has.
    fn name(&self) -> String {
        let number = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        format!("volume-{number}")
    }
}

/// A name of the engine's.
fn engine_name(name: &str) -> Result<VolumeName> {
    Ok(VolumeName::new(name)?)
}

/// Makes both pools, measures, and takes both off their disks again.
pub fn measure(plan: &Plan) -> Result<Report> {
    let lvm = plan.lvm_disk.as_deref().map(lvm::measure).transpose()?;
    let bed = CsiBed::on(std::slice::from_ref(&plan.driver_disk), "")?;
    let driver = bed.start()?;
    let engine = Engine::new()?;
    let name = format!("{}-engine", bed.pool());
    engine.create_pool(&CreatePool {
        name: PoolName::new(&name)?,
        devices: vec![plan.engine_disk.clone()],
        metadata_device: None,
        block_size: BlockSize::DEFAULT,
        metadata_size: None,
        force: false,
        raw: false,
    })?;
    let pool = engine.attach(&name)?;
    let sides = Sides { client: driver.client().clone(), pool, next: 0.into() };
    let mut single = Vec::new();
    let mut made = 0;
    for &volumes in &plan.volumes {
        single::fill(&sides, volumes - made)?;
        made = volumes;
        single.push(single::measure(&sides, volumes, plan.rounds)?);
    }
    let rates = rate::measure(&sides, plan.rounds * 4)?;
    sides.pool.release()?;
    engine.destroy_pool(&name)?;
    driver.stop()?;
    engine.destroy_pool(bed.pool())?;
    Ok(Report { single, rates, lvm })
}

/// A size for the wire.
fn volume_bytes() -> i64 {
    i64::try_from(VOLUME_BYTES).unwrap_or(i64::MAX)
}

/// A size for the engine.
const fn engine_bytes() -> Bytes {
    Bytes::new(VOLUME_BYTES)
}
