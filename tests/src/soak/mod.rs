//! The soak: everything that a pool can do, by chance and by several at once, with faults in the middle of it.
//!
//! A round is some steps of each worker, each on volumes of its own, beside a keeper who grows, evacuates, checks and
//! reads. Who holds the pool changes from round to round: this process by the library, `thinly serve`, or each command
//! for itself. In most rounds something goes wrong. After each the pool comes back, everything that was acknowledged is
//! read from end to end, and the check is clean. Every few rounds the pool is emptied to the last block and destroyed.
//!
//! Two processes live as long as the soak: this one, and the resident of a second pool that receives streams. Neither
//! may hold more memory or files in the end.
#![forbid(unsafe_code)]

mod choice;
mod commands;
mod compare;
mod drives;
mod fault;
mod judge;
mod keeper;
mod life;
mod memory;
mod op;
mod perform;
mod refusal;
mod stage;
mod tally;
mod volume;
mod worker;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use thinly_engine::layout::Role;
use thinly_engine::pool::Engine;

use self::commands::Resident;
use self::drives::Drives;
use self::fault::Fault;
use self::keeper::Keeper;
pub use self::memory::LiveBytes;
use self::memory::Watched;
use self::stage::{Holder, Stage};
pub use self::tally::Tally;
use self::worker::Worker;
use crate::power_cut::generator::Chance;

const WORKERS: usize = 3;
/// Rounds in the life of a pool.
const ROUNDS_OF_A_POOL: usize = 8;
/// By then every kind of holder was there, and what is opened once is open.
const WARM_AFTER: usize = 3;
const DRIVES: usize = 4;
const DRIVE_BYTES: u64 = 112 << 20;
const SAMPLE_EVERY: Duration = Duration::from_mins(1);

/// How long, and which chances.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Rounds are begun until then; at least one for each holder is.
    pub length: Duration,
    /// Steps of each worker in a round.
    pub steps: u64,
    /// What is picked by chance; threads may still meet otherwise.
    pub seed: u64,
    /// What this process's allocator has given out.
    pub live_bytes: LiveBytes,
}

/// Soaks; fails with the last steps. Prints a line for each round.
pub fn soak(plan: Plan) -> Result<Tally> {
    let drives = Drives::new(DRIVES + 1, DRIVE_BYTES)?;
    let engine = Engine::new()?;
    let [pool, other] = ["s", "o"].map(|kind| {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        format!("{kind}{}", &unique[..12])
    });
    life::create(&engine, &other, &[drives.other().to_owned()])?;
    life::create(&engine, &pool, &drives.nodes()[..2])?;
    let resident = Resident::start(&other, drives.directory())?;
    let socket = resident.socket.clone();
    let stage = Stage::new(engine, drives, &pool, (other.clone(), socket))?;
    let mut watched = [
        Watched::this("the library, live", plan.live_bytes),
        Watched::other("thinly serve, resident", resident.process()),
    ];
    let done = rounds(&stage, plan, &mut watched).and_then(|()| {
        resident.stop()?;
        stage.engine.close_pool(&other)?;
        Ok(stage.engine.destroy_pool(&other)?)
    });
    let last_steps = stage.tally().last_steps();
    done.with_context(|| format!("seed {}; the last steps:\n{last_steps}", plan.seed))?;
    let judged = watched.map(|one| one.judge());
    for told in judged {
        println!("{}", told?);
    }
    Ok(std::mem::take(&mut *stage.tally()))
}

fn rounds(stage: &Stage, plan: Plan, watched: &mut [Watched]) -> Result<()> {
    let begun = Instant::now();
    let mut chance = Chance::new(plan.seed);
    let mut keeper = Keeper::new(plan.seed);
    let mut workers = new_workers(plan.seed);
    let mut sampled: Option<Instant> = None;
    for round in 0.. {
        let fault = FIRST_FAULTS.get(round).copied();
        let fault = fault.unwrap_or_else(|| Fault::pick(&mut chance));
        let holder = if round < 3 { round } else { usize::try_from(chance.below(3))? };
        let steps = stage.tally().acknowledged_in_all();
        round_of(stage, plan.steps, (fault, holder), &mut chance, &mut keeper, &mut workers)
            .with_context(|| format!("round {round}, {fault:?}, holder {holder}"))?;
        let context = || format!("after round {round}, {fault:?}, holder {holder}");
        judge::judge(stage, &mut workers).with_context(context)?;
        if matches!(fault, Fault::Disk(Role::Data, _)) {
            judge::give_leaked_back(stage).with_context(context)?;
        }
        if round % 3 == 2 {
            judge::judge_closed(stage, chance.below(2) == 0).with_context(context)?;
        }
        let is_warm = round >= WARM_AFTER;
        if is_warm && sampled.is_none_or(|at| at.elapsed() >= SAMPLE_EVERY) {
            sampled = Some(Instant::now());
            watched.iter_mut().try_for_each(Watched::sample)?;
        }
        watched.iter_mut().try_for_each(|one| one.count_files(is_warm)).with_context(context)?;
        let steps = stage.tally().acknowledged_in_all() - steps;
        println!(
            "{:>6} s  round {round}: {steps} acknowledged, {fault:?}",
            begun.elapsed().as_secs()
        );
        let is_last = round >= 2 && begun.elapsed() >= plan.length;
        if is_last || round % ROUNDS_OF_A_POOL == ROUNDS_OF_A_POOL - 1 {
            life::empty_and_destroy(stage).with_context(context)?;
            if is_last {
                break;
            }
            workers = new_workers(chance.next());
            life::create(&stage.engine, &stage.pool, &stage.drives.nodes()[..2])?;
        }
    }
    Ok(())
}

/// In the first rounds each of the usual faults happens to another holder.
const FIRST_FAULTS: [Fault; 3] = [Fault::Full, Fault::Kill, Fault::Close];

fn new_workers(seed: u64) -> Vec<Worker> {
    (0..WORKERS).map(|index| Worker::new(index, seed)).collect()
}

fn round_of(
    stage: &Stage,
    steps: u64,
    (fault, holder): (Fault, usize),
    chance: &mut Chance,
    keeper: &mut Keeper,
    workers: &mut [Worker],
) -> Result<()> {
    let holder = match holder {
        0 => Holder::Library(Arc::new(stage.engine.attach(&stage.pool)?)),
        1 => Holder::Resident(Resident::start(&stage.pool, stage.drives.directory())?),
        _ => Holder::Commands,
    };
    stage.hold(holder);
    stage.begin_round();
    let at_step = chance.below(steps * (WORKERS as u64));
    let outcome = thread::scope(|scope| {
        let mut all: Vec<_> = workers
            .iter_mut()
            .map(|worker| scope.spawn(move || until_over(stage, steps, || worker.step(stage))))
            .collect();
        all.push(
            scope.spawn(|| until_over(stage, steps, || keeper.step(stage, fault == Fault::None))),
        );
        let happened = fault.happen(stage, chance, at_step);
        if happened.is_err() {
            stage.end_round();
        }
        let ended = all.into_iter().map(|one| one.join().map_err(|_| anyhow!("a thread died"))?);
        ended.fold(happened, Result::and)
    });
    stage.end_fault();
    let holder = stage.hold(Holder::Commands);
    // A handle that was poisoned has nothing to end; what it leaves is taken up by the next one.
    let ended = fault::end(holder);
    outcome?;
    if fault.leaves_a_handle_whole() { ended } else { Ok(()) }
}

/// The steps of one who works; when one fails, all end.
fn until_over(stage: &Stage, steps: u64, mut step: impl FnMut() -> Result<()>) -> Result<()> {
    let work = || (0..steps).take_while(|_| !stage.is_over()).try_for_each(|_| step());
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    let ended = ended.unwrap_or_else(|_| Err(anyhow!("a thread died")));
    if stage.one_ended() == WORKERS + 1 || ended.is_err() {
        stage.end_round();
    }
    ended
}
