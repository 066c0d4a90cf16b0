//! The program is killed before each of its system calls that can change anything: the next open finds every operation
//! wholly done or not begun, and needs no person.
//!
//! strace sends the signal, so that what is killed is the program as it is shipped, with no fault point compiled in,
//! and no place can be forgotten. What lies between two such calls leaves nothing behind.

mod receive;
pub(crate) mod strace;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use thinly_engine::pool::{Pool, PoolError, VolumeState};
use thinly_tests::{Disks, sh};

use self::strace::{Call, End, attempt, calls_of, picked, run, stride};
use crate::support::{Bed, activate, active, fill, gib, holds, mib, name, new_pool_name};

/// More calls of a kind than an evacuation makes.
const CALLS_MAX: usize = 1000;

/// What all attempts together came to.
#[derive(Debug, Default)]
struct Tally {
    operations: usize,
    killed: usize,
    acknowledged: usize,
}

/// A pool with a volume for each operation, and one that must never change.
struct Scene {
    bed: Bed,
    keeper: PathBuf,
}

/// An operation as the program is asked for it, and how its effect is taken back.
struct Operation {
    arguments: &'static [&'static str],
    undo: fn(&Pool) -> Result<()>,
}

/// `@` stands for the pool.
const OPERATIONS: [Operation; 11] = [
    Operation {
        arguments: &["volume", "create", "@/new", "--size", "64M"],
        undo: |pool| Ok(pool.delete(&name("new"))?),
    },
    Operation {
        arguments: &["volume", "create", "@/copy", "--from", "@/back0", "--size", "96M"],
        undo: |pool| Ok(pool.delete(&name("copy"))?),
    },
    Operation {
        arguments: &["volume", "activate", "@/fresh"],
        undo: |pool| {
            pool.deactivate(&name("fresh"))?;
            pool.delete(&name("fresh"))?;
            Ok(pool.create_volume(&name("fresh"), mib(64)).map(drop)?)
        },
    },
    Operation {
        arguments: &["volume", "activate", "@/idle"],
        undo: |pool| Ok(pool.deactivate(&name("idle")).map(drop)?),
    },
    Operation {
        arguments: &["volume", "deactivate", "@/busy"],
        undo: |pool| activate(pool, "busy").map(drop),
    },
    Operation {
        arguments: &["snapshot", "create", "@/keeper", "keeper1"],
        undo: |pool| Ok(pool.delete(&name("keeper1"))?),
    },
    Operation {
        arguments: &["snapshot", "group", "@", "--name", "g", "keeper=g1", "busy=g2", "idle=g3"],
        undo: |pool| {
            ["g1", "g2", "g3"].iter().try_for_each(|member| Ok(pool.delete(&name(member))?))
        },
    },
    Operation { arguments: &["snapshot", "rollback", "@/back", "--to", "back0"], undo: |_| Ok(()) },
    Operation {
        arguments: &["volume", "resize", "@/sized", "--size", "128M"],
        undo: |pool| {
            pool.deactivate(&name("sized"))?;
            pool.delete(&name("sized"))?;
            active(pool, "sized", mib(64)).map(drop)
        },
    },
    Operation {
        arguments: &["volume", "rename", "@/idle", "other"],
        undo: |pool| Ok(pool.rename(&name("other"), &name("idle")).map(drop)?),
    },
    Operation {
        arguments: &["volume", "delete", "@/gone"],
        undo: |pool| {
            active(pool, "gone", mib(64))?;
            Ok(pool.deactivate(&name("gone")).map(drop)?)
        },
    },
];

impl Scene {
    fn new() -> Result<Self> {
        let bed = Bed::new(&[2 << 30])?;
        let pool = bed.attach()?;
        let keeper = active(&pool, "keeper", mib(64))?;
        fill(&keeper, mib(3), mib(1), 0x77)?;
        for volume in ["idle", "back", "gone"] {
            let device = active(&pool, volume, mib(64))?;
            fill(&device, mib(0), mib(1), 1)?;
            pool.deactivate(&name(volume))?;
        }
        active(&pool, "busy", mib(64))?;
        active(&pool, "sized", mib(64))?;
        pool.create_volume(&name("fresh"), mib(64))?;
        pool.snapshot(&name("back"), &name("back0"))?;
        pool.release()?;
        Ok(Self { bed, keeper })
    }

    fn arguments(&self, operation: &[&str]) -> Vec<String> {
        operation.iter().map(|word| word.replace('@', &self.bed.pool)).collect()
    }

    /// What a user sees of the pool's volumes.
    fn listing(&self) -> Result<Vec<String>> {
        let volumes = self.bed.engine.volumes(&self.bed.pool)?;
        let line = |volume: &thinly_engine::pool::VolumeView| {
            let origin = volume.origin_name.as_ref().map_or("-", |origin| origin.as_str());
            format!("{} {} {:?} {origin}", volume.name, volume.virtual_bytes, volume.state)
        };
        Ok(volumes.iter().map(line).collect())
    }

    fn undo(&self, operation: &Operation) -> Result<()> {
        let pool = self.bed.attach()?;
        (operation.undo)(&pool)?;
        pool.reap(&mut |_| {})?;
        Ok(pool.release()?)
    }

    /// Lets the operation end, and then kills it at every call.
    fn sweep(&self, operation: &Operation, tally: &mut Tally) -> Result<()> {
        let arguments = self.arguments(operation.arguments);
        let before = self.listing()?;
        let calls = calls_of(&arguments)?;
        let after = self.listing()?;
        self.undo(operation)?;
        ensure!(self.listing()? == before, "{arguments:?} is not undone: {:?}", self.listing()?);
        for call in picked(&calls, 11) {
            let end = attempt(&arguments, call)?;
            recover(&self.bed).with_context(|| format!("{arguments:?}, killed at {call:?}"))?;
            let found = self.listing()?;
            let is_done = found == after;
            let is_not_begun = as_seen(&found) == as_seen(&before);
            ensure!(is_done || is_not_begun, "{arguments:?}, {call:?}: {found:?}");
            ensure!(is_done || end == End::Killed, "{arguments:?} was answered and is not there");
            ensure!(holds(&self.keeper, mib(3), mib(1), 0x77)?, "{arguments:?} lost data");
            tally.killed += usize::from(end == End::Killed);
            if found != before {
                self.undo(operation)?;
            }
        }
        tally.operations += 1;
        tally.acknowledged += 1;
        Ok(())
    }

    /// Metadata that Debian's tool finds sound, and no byte changed in what nobody wrote to.
    fn judge(self) -> Result<()> {
        let pool = self.bed.attach()?;
        for (volume, byte) in [("idle", 1), ("back", 1), ("back0", 1)] {
            let view = pool.activate(&name(volume), thinly_engine::pool::VolumeAccess::ReadOnly)?;
            let device = view.device.context("no device")?;
            ensure!(holds(&device, mib(0), mib(1), byte)?, "{volume} has lost its data");
            pool.deactivate(&name(volume))?;
        }
        pool.release()?;
        let file = format!("/scratch/{}.metadata", self.bed.pool);
        self.bed.engine.close_pool(&self.bed.pool)?;
        self.bed.engine.copy_metadata(&self.bed.pool, file.as_ref(), &mut |_, _| {})?;
        sh(&format!("thin_check {file}; rm {file}"))?;
        Ok(())
    }
}

/// What the next one to come along does, and what must hold then.
fn recover(bed: &Bed) -> Result<()> {
    let pool = match bed.engine.attach(&bed.pool) {
        Err(PoolError::NotOpen { .. }) => bed.open()?,
        other => other?,
    };
    ensure!(pool.view()?.orphans.is_empty(), "orphans: {:?}", pool.findings());
    pool.reap(&mut |_| {})?;
    pool.release()?;
    bed.assert_nothing_suspended()?;
    bed.assert_ids_are_named()
}

/// Without a device a blank volume is the same to its user, whether it has its thin id already or not.
fn as_seen(listing: &[String]) -> Vec<String> {
    let (pending, inactive) = (VolumeState::Pending, VolumeState::Inactive);
    let words = (format!(" {pending:?} "), format!(" {inactive:?} "));
    listing.iter().map(|line| line.replace(&words.0, &words.1)).collect()
}

#[test]
fn a_kill_at_any_call_leaves_an_operation_done_or_not_begun() -> Result<()> {
    let scene = Scene::new()?;
    let mut tally = Tally::default();
    for operation in &OPERATIONS {
        scene.sweep(operation, &mut tally)?;
    }
    scene.judge()?;
    ensure!(tally.killed > OPERATIONS.len(), "{tally:?}");
    println!(
        "proof kills: operations={} killed={} acknowledged={} lost=0 leaked=0 suspended=0",
        tally.operations, tally.killed, tally.acknowledged
    );
    Ok(())
}

/// Closing and opening: whatever the kill left, the next open or close goes on with it.
#[test]
fn a_kill_at_any_call_of_open_and_close_is_made_up_for_by_the_next() -> Result<()> {
    let scene = Scene::new()?;
    let pool = scene.bed.pool.clone();
    let mut killed = 0;
    for verb in ["close", "open"] {
        let arguments = scene.arguments(&["pool", verb, "@"]);
        let ready = || -> Result<()> {
            if verb == "open" {
                scene.bed.engine.close_pool(&pool)?;
            }
            Ok(())
        };
        ready()?;
        let calls = calls_of(&arguments)?;
        recover(&scene.bed)?;
        for call in picked(&calls, 7) {
            ready()?;
            let end = attempt(&arguments, call)?;
            recover(&scene.bed).with_context(|| format!("pool {verb}, killed at {call:?}"))?;
            let volumes = scene.bed.engine.volumes(&pool)?;
            ensure!(volumes.len() == 8, "pool {verb}, {call:?}: {volumes:?}");
            ensure!(volumes.iter().all(|volume| volume.state != VolumeState::Lost));
            killed += usize::from(end == End::Killed);
        }
    }
    scene.judge()?;
    ensure!(killed > 1, "{killed} were killed");
    println!(
        "proof kills: operations=2 killed={killed} acknowledged=2 lost=0 leaked=0 suspended=0"
    );
    Ok(())
}

/// Creating a pool and destroying it: asked again, the same command ends what the kill began.
#[test]
fn a_kill_at_any_call_of_creating_and_destroying_is_made_up_for_by_asking_again() -> Result<()> {
    let disks = Disks::new(&[gib(1).get()])?;
    let engine = thinly_engine::pool::Engine::new()?;
    let disk = disks[0].display().to_string();
    let own = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let create_of = |pool: &str| own(&["pool", "create", pool, &disk, "--raw", "--force"]);
    let destroy_of = |pool: &str| own(&["pool", "destroy", pool, "--yes"]);
    let pool = new_pool_name();
    let (creates, destroys) = (calls_of(&create_of(&pool))?, calls_of(&destroy_of(&pool))?);
    let creates: Vec<&Call> = picked(&creates, 23).collect();
    let destroys: Vec<&Call> = picked(&destroys, 23).collect();
    let mut killed = 0;
    for turn in 0..creates.len().max(destroys.len()) {
        let pool = new_pool_name();
        let (create, destroy) = (create_of(&pool), destroy_of(&pool));
        let (call, unmaking) = (creates.get(turn).copied(), destroys.get(turn).copied());
        let made = attempt_or_run(&create, call)?;
        if made == End::Killed {
            // Killed early there is nothing to force; killed late the pool is there.
            let again = run(&create);
            ensure!(again.is_ok() || engine.attach(&pool).is_ok(), "{call:?}: {again:?}");
        }
        let unmade = attempt_or_run(&destroy, unmaking)?;
        if unmade == End::Killed && engine.view(&pool).is_ok() {
            engine.destroy_pool(&pool).with_context(|| format!("destroy, {unmaking:?}"))?;
        }
        let left =
            sh(&format!("wipefs --noheadings {disk}; ls /sys/block/$(basename {disk})/holders"))?;
        ensure!(left.is_empty(), "{call:?}, {unmaking:?} leave {left}");
        killed += usize::from(made == End::Killed) + usize::from(unmade == End::Killed);
    }
    ensure!(killed > 1, "{killed} were killed");
    println!(
        "proof kills: operations=2 killed={killed} acknowledged=2 lost=0 leaked=0 suspended=0"
    );
    Ok(())
}

fn attempt_or_run(arguments: &[String], call: Option<&Call>) -> Result<End> {
    match call {
        Some(call) => attempt(arguments, call),
        None => run(arguments).map(|()| End::Answered),
    }
}

/// Growing, by a device that joins: killed anywhere the pool is as long as it was or as it is to be, its data is there,
/// and the same device may be named again.
#[test]
fn a_kill_at_any_call_of_a_growth_leaves_it_done_or_not_begun() -> Result<()> {
    let mut bed = Bed::with(Disks::new(&[gib(1).get()])?, |asked| asked.data_size = Some(mib(64)))?;
    let pool = bed.attach()?;
    let keeper = active(&pool, "keeper", mib(64))?;
    fill(&keeper, mib(0), mib(32), 0x77)?;
    pool.release()?;
    let total = |bed: &Bed| -> Result<u64> {
        let usage = bed.usage()?;
        Ok(usage.total_data_blocks.get() * (128 << 10))
    };
    let own = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let grow_by = |bed: &mut Bed| -> Result<Vec<String>> {
        let disk = bed.disks.add(64 << 20, 512)?.display().to_string();
        Ok(own(&["pool", "grow", &bed.pool, &disk, "--by", "16M", "--raw", "--force"]))
    };
    let mut killed = 0;
    let calls = calls_of(&grow_by(&mut bed)?)?;
    for call in picked(&calls, 19) {
        let grow = grow_by(&mut bed)?;
        let (before, members) = (total(&bed)?, bed.engine.view(&bed.pool)?.devices.len());
        let end = attempt(&grow, call)?;
        let pool = bed.attach().with_context(|| format!("killed at {call:?}"))?;
        bed.assert_nothing_suspended()?;
        let (after, now) = (total(&bed)?, pool.view()?.devices.len());
        let is_done = (after, now) == (before + (16 << 20), members + 1);
        let is_not_begun = (after, now) == (before, members);
        ensure!(is_done || is_not_begun, "{call:?}: {before} {after}, {members} {now}");
        ensure!(is_done || end == End::Killed, "answered and not done");
        ensure!(holds(&keeper, mib(0), mib(32), 0x77)?, "{call:?} lost data");
        pool.release()?;
        if is_not_begun {
            run(&grow).with_context(|| format!("{call:?}: not again"))?;
        }
        killed += usize::from(end == End::Killed);
    }
    bed.engine.close_pool(&bed.pool)?;
    let pool = bed.open()?;
    ensure!(pool.view()?.problems.is_empty(), "{:?}", pool.view()?.problems);
    ensure!(holds(&activate(&pool, "keeper")?, mib(0), mib(32), 0x77)?);
    pool.release()?;
    ensure!(killed > 1, "{killed} were killed");
    println!(
        "proof kills: operations=1 killed={killed} acknowledged=1 lost=0 leaked=0 suspended=0"
    );
    Ok(())
}

/// Evacuating, there and back between two disks, the journal's only copy with it: killed anywhere, all that was written
/// is read, and the next run goes on.
#[test]
fn a_kill_at_any_call_of_an_evacuation_leaves_every_extent_in_one_place() -> Result<()> {
    let disks = Disks::new(&[44 << 20, 44 << 20])?;
    let (mut from, mut to) = (disks[0].to_path_buf(), disks[1].to_path_buf());
    let only = from.clone();
    let bed = Bed::with(disks, |asked| asked.devices = vec![only])?;
    let pool = bed.attach()?;
    let keeper = active(&pool, "keeper", mib(16))?;
    fill(&keeper, mib(0), mib(12), 0x77)?;
    pool.release()?;
    let own = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut killed = 0;
    let ioctls = (1..CALLS_MAX).step_by(stride(43)).map(|call| ("ioctl", call));
    // The journal moves first: its copy and the labels are among the first writes.
    let writes = (1..24).step_by(stride(4)).chain((24..CALLS_MAX).step_by(stride(97)));
    let writes = writes.map(|call| ("pwrite64", call));
    let mut is_whole = [false; 2];
    for (calls, call) in ioctls.chain(writes) {
        if is_whole[usize::from(calls == "pwrite64")] {
            continue;
        }
        let [leaving, joining] = [&from, &to].map(|path| path.display().to_string());
        let join = own(&["pool", "grow", &bed.pool, &joining, "--by", "0", "--raw", "--force"]);
        run(&join).with_context(|| format!("call {call}: does not join"))?;
        let evacuate = own(&["pool", "evacuate", &bed.pool, &leaving]);
        let end = attempt(&evacuate, &Call { kind: calls.to_owned(), number: call })?;
        // What is written after the cut is what may come to lie in a place that counts no more.
        let byte = u8::try_from(call % 250)? + 1;
        let pool = bed.attach().with_context(|| format!("killed at call {call}"))?;
        bed.assert_nothing_suspended()?;
        fill(&keeper, mib(12), mib(4), byte)?;
        let is_member = |pool: &Pool| pool.catalogue().devices().len() == 2;
        ensure!(end == End::Killed || !is_member(&pool), "answered and not done");
        let goes_on = is_member(&pool);
        pool.release()?;
        if goes_on {
            run(&evacuate).with_context(|| format!("call {call}: not again"))?;
        }
        ensure!(holds(&keeper, mib(0), mib(12), 0x77)?, "call {call} lost data");
        ensure!(holds(&keeper, mib(12), mib(4), byte)?, "call {call} lost what came later");
        bed.engine.check(&bed.pool, &mut |_, _| {})?;
        std::mem::swap(&mut from, &mut to);
        is_whole[usize::from(calls == "pwrite64")] = end == End::Answered;
        killed += usize::from(end == End::Killed);
    }
    bed.engine.volumes(&bed.pool)?;
    let pool = bed.attach()?;
    pool.deactivate(&name("keeper"))?;
    pool.release()?;
    bed.engine.close_pool(&bed.pool)?;
    let pool = bed.open()?;
    ensure!(pool.view()?.problems.is_empty(), "{:?}", pool.view()?.problems);
    ensure!(holds(&activate(&pool, "keeper")?, mib(0), mib(12), 0x77)?);
    pool.release()?;
    ensure!(killed > 1, "{killed} were killed");
    println!(
        "proof kills: operations=1 killed={killed} acknowledged=1 lost=0 leaked=0 suspended=0"
    );
    Ok(())
}
