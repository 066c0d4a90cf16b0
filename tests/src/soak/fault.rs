//! What goes wrong in the middle of the work.
#![forbid(unsafe_code)]

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::libc;
use thinly_engine::aligned::AlignedBuffer;
use thinly_engine::layout::Role;
use thinly_engine::plan::Health;
use thinly_engine::pool::{Pool, PoolError};

use super::commands::Resident;
use super::drives::Refusing;
use super::op::Op;
use super::stage::{Holder, Stage, judge_refusal};
use crate::power_cut::generator::Chance;

const WHO: &str = "fault";
/// A claim that is not given up by then never is, and a pool that does not come back by then neither.
const PATIENCE: Duration = Duration::from_mins(2);
pub(super) const BALLAST: &str = "ballast";

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Whoever holds the pool dies, or commands do.
    Kill,
    /// A part of a drive refuses.
    Disk(Role, Refusing),
    /// The data is full.
    Full,
    /// The pool is closed and opened.
    Close,
}

impl Fault {
    pub(super) fn pick(chance: &mut Chance) -> Self {
        let what = [Refusing::Reads, Refusing::Writes, Refusing::Everything];
        let roles = [Role::Data, Role::Metadata, Role::Journal];
        let what = *chance.pick(&what).unwrap_or(&Refusing::Reads);
        let role = *chance.pick(&roles).unwrap_or(&Role::Data);
        match chance.below(10) {
            0 | 1 => Self::None,
            2..5 => Self::Kill,
            5 | 6 => Self::Disk(role, what),
            7 | 8 => Self::Full,
            _ => Self::Close,
        }
    }

    /// Whether whoever holds the pool can end in order afterwards.
    pub(super) const fn leaves_a_handle_whole(self) -> bool {
        !matches!(self, Self::Disk(..))
    }

    /// Waits for its moment, and goes wrong.
    pub(super) fn happen(self, stage: &Stage, chance: &mut Chance, at_step: u64) -> Result<()> {
        while stage.steps() < at_step && !stage.is_over() {
            thread::sleep(Duration::from_millis(2));
        }
        match self {
            Self::None => Ok(()),
            Self::Kill => kill(stage, chance),
            Self::Disk(role, what) => disk(stage, chance, role, what),
            Self::Full => full(stage),
            Self::Close => close(stage, chance),
        }
    }
}

fn kill(stage: &Stage, chance: &mut Chance) -> Result<()> {
    let holder = stage.hold(Holder::Commands);
    match holder {
        Holder::Library(pool) => {
            stage.begin_fault("a handle dropped without an end");
            let turn = stage.commands.turn();
            drop(alone(pool)?);
            let pool = Arc::new(stage.engine.attach(&stage.pool)?);
            stage.hold(Holder::Library(pool));
            drop(turn);
        }
        Holder::Resident(mut resident) => {
            stage.begin_fault("kill -9 of the resident");
            let turn = stage.commands.turn();
            resident.kill()?;
            let again = Resident::start(&stage.pool, stage.drives.directory())?;
            stage.hold(Holder::Resident(again));
            drop(turn);
        }
        Holder::Commands => {
            for _ in 0..3 {
                thread::sleep(Duration::from_millis(chance.below(150)));
                if stage.commands.is_one_running() {
                    stage.begin_fault("kill -9 of a command");
                    stage.commands.kill_one()?;
                    // Whoever comes next takes up what it left.
                    let _turn = stage.commands.turn();
                    stage.engine.attach(&stage.pool)?.release()?;
                    stage.end_fault();
                }
            }
        }
    }
    stage.end_fault();
    Ok(())
}

/// The handle when nobody works with it any more.
fn alone(mut pool: Arc<Pool>) -> Result<Pool> {
    let begun = Instant::now();
    loop {
        match Arc::try_unwrap(pool) {
            Ok(pool) => return Ok(pool),
            Err(_) if begun.elapsed() > PATIENCE => bail!("an operation never ends"),
            Err(shared) => pool = shared,
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Up to the end of the round any answer may be a refusal: a handle may refuse until it is opened anew.
fn disk(stage: &Stage, chance: &mut Chance, role: Role, what: Refusing) -> Result<()> {
    let count = stage.drives.nodes().len() as u64;
    let first = chance.below(count);
    for at in 0..count {
        let index = usize::try_from((first + at) % count)?;
        stage.begin_fault(&format!("{role:?} refuses {what:?}").to_lowercase());
        if stage.drives.fail(index, role, what)? {
            break;
        }
        stage.end_fault();
    }
    thread::sleep(Duration::from_millis(50 + chance.below(500)));
    stage.drives.heal()
}

fn full(stage: &Stage) -> Result<()> {
    stage.begin_fault("the data is full");
    let entered = stage.enter();
    let name = BALLAST.to_owned();
    let ops = [
        Op::Policy { choice: 0 },
        Op::Create { name: name.clone(), size: 4 << 30 },
        Op::Activate { name: name.clone(), writable: true },
    ];
    let mut device = None;
    for op in &ops {
        match stage.perform(WHO, op) {
            Ok(made) => device = made,
            Err(refusal) => judge_refusal(op, true, &refusal)?,
        }
    }
    if let Some(device) = device {
        let file = File::options().write(true).custom_flags(libc::O_DIRECT).open(device)?;
        let bytes = AlignedBuffer::padded(&vec![0x42; 1 << 20], 4096);
        let mut at = 0;
        while file.write_all_at(&bytes, at).is_ok() {
            at += 1 << 20;
        }
        drop(file);
        thread::sleep(Duration::from_millis(300));
    }
    let _ = stage.perform(WHO, &Op::Delete { name, is_snapshot: false });
    let begun = Instant::now();
    while stage.engine.view(&stage.pool)?.health != Some(Health::Writable) {
        if stage.is_library() {
            let _ = stage.perform(WHO, &Op::Reap);
        }
        let waited = begun.elapsed();
        if waited > PATIENCE {
            bail!("a pool that was full does not come back: {:?}", stage.engine.view(&stage.pool)?);
        }
        thread::sleep(Duration::from_millis(50));
    }
    drop(entered);
    stage.end_fault();
    Ok(())
}

/// Between two operations, by commands that may be killed in the middle if nobody holds the pool.
fn close(stage: &Stage, chance: &mut Chance) -> Result<()> {
    let mut generation = stage.shut();
    let holder = stage.hold(Holder::Commands);
    let is_killed = matches!(holder, Holder::Commands);
    stage.begin_fault(if is_killed { "kill -9 of close and open" } else { "closed under way" });
    let again: fn(&Stage, Pool) -> Result<Holder> = match &holder {
        Holder::Library(_) => |_, pool| Ok(Holder::Library(Arc::new(pool))),
        Holder::Resident(_) => |stage, pool| {
            pool.release()?;
            Ok(Holder::Resident(Resident::start(&stage.pool, stage.drives.directory())?))
        },
        Holder::Commands => |_, pool| {
            pool.release()?;
            Ok(Holder::Commands)
        },
    };
    end(holder)?;
    if is_killed {
        for verb in ["close", "open"] {
            killed_in_the_middle(stage, chance, verb)?;
        }
    }
    let closed = stage.engine.close_pool(&stage.pool);
    closed.or_else(|error| if is_not_open(&error) { Ok(()) } else { Err(error) })?;
    stage.tally().done("close");
    let pool = stage.engine.open_pool(&stage.pool, &[]).context("opening after a close")?;
    stage.tally().done("open");
    stage.hold(again(stage, pool)?);
    *generation += 1;
    stage.end_fault();
    Ok(())
}

fn killed_in_the_middle(stage: &Stage, chance: &mut Chance, verb: &str) -> Result<()> {
    let ended = std::sync::atomic::AtomicBool::new(false);
    let after = Duration::from_millis(20 + chance.below(400));
    thread::scope(|scope| {
        scope.spawn(|| {
            let arguments = ["pool", verb, &stage.pool].map(str::to_owned);
            let done =
                stage.attempt(WHO, &format!("pool {verb}"), &verb, || stage.command(&arguments));
            ended.store(true, std::sync::atomic::Ordering::SeqCst);
            drop(done);
        });
        let begun = Instant::now();
        while begun.elapsed() < after && !ended.load(std::sync::atomic::Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(2));
        }
        stage.commands.kill_one().map(drop)
    })
}

fn is_not_open(error: &PoolError) -> bool {
    matches!(error, PoolError::NotOpen { .. })
}

/// Ends a holder in order.
pub(super) fn end(holder: Holder) -> Result<()> {
    match holder {
        Holder::Library(pool) => Ok(alone(pool)?.release()?),
        Holder::Resident(resident) => resident.stop(),
        Holder::Commands => Ok(()),
    }
}
