//! A step of an operation fails: nobody is left hanging, nothing is left without a name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use thinly_engine::dm::Command;
use thinly_engine::pool::{Engine, Pool, PoolError, VolumeAccess};

use crate::faulty_dm::{Fault, FaultyDm};
use crate::support::{Bed, activate, active, fill, holds, mib, name};

/// Every way in which one command can fail.
fn faults(command: Command, skipped: usize) -> [Fault; 3] {
    let fault = |errno, is_done| Fault { command, skipped, errno, is_done };
    [fault(Errno::EINVAL, false), fault(Errno::EIO, false), fault(Errno::EIO, true)]
}

fn is_poisoned(pool: &Pool) -> bool {
    let refused = pool.rename(&name("no such volume"), &name("x"));
    assert!(refused.is_err());
    matches!(pool.create_volume(&name("probe"), mib(1)), Err(PoolError::Poisoned { .. }))
}

/// What one failing operation is tried on.
struct Trial<'a> {
    bed: &'a Bed,
    /// The snapshots that it would make.
    made: &'a [&'a str],
    /// The devices that must go on whatever happens.
    origins: &'a [PathBuf],
    act: &'a dyn Fn(&Pool) -> Result<(), PoolError>,
}

impl Trial<'_> {
    /// Makes each command fail in each way, until it is not issued that often.
    fn fail_every_step(&self, commands: &[Command]) -> Result<u32> {
        let mut count = 0;
        let mut writer = Writer::attach(self.bed)?;
        for &command in commands {
            for skipped in 0.. {
                let mut came = false;
                for fault in faults(command, skipped) {
                    (writer, came) =
                        self.fail_once(writer, fault).with_context(|| format!("{fault:?}"))?;
                    count += u32::from(came);
                }
                if !came {
                    break;
                }
            }
        }
        writer.pool.release()?;
        let pool = self.bed.attach()?;
        pool.reap(&mut |_| {})?;
        pool.release()?;
        self.bed.assert_ids_are_named()?;
        Ok(count)
    }

    fn fail_once(&self, mut writer: Writer, fault: Fault) -> Result<(Writer, bool)> {
        let before = self.bed.ids_on_disk()?;
        writer.dm.arm(fault);
        let result = (self.act)(&writer.pool);
        let came = writer.dm.disarm();
        self.bed.assert_nothing_suspended()?;
        for origin in self.origins {
            still_serves(origin)?;
        }
        if came {
            ensure!(result.is_err(), "a failure was not reported");
            for name in self.made {
                ensure!(
                    writer.pool.volume(&crate::support::name(name)).is_err(),
                    "{name} failed and is listed"
                );
            }
            let catalogue = writer.pool.catalogue();
            let is_poisoned = is_poisoned(&writer.pool);
            for id in self.bed.ids_on_disk()?.difference(&before) {
                ensure!(catalogue.knows(*id) || is_poisoned, "nobody speaks for thin id {id}");
            }
            if is_poisoned {
                // What a person does then: run the command again. The old handle's claim goes first.
                drop(writer);
                writer = Writer::attach(self.bed)?;
            }
        } else {
            result?;
        }
        self.clean_up(&writer.pool)?;
        Ok((writer, came))
    }

    /// After the reaper everything in the pool has a name again.
    fn clean_up(&self, pool: &Pool) -> Result<()> {
        for extra in self.made.iter().chain(&["probe"]) {
            if pool.volume(&name(extra)).is_ok() {
                pool.delete(&name(extra))?;
            }
        }
        let report = pool.reap(&mut |_| {})?;
        ensure!(report.waiting == 0, "{report:?}");
        let owned: std::collections::BTreeSet<_> = pool.catalogue().owned_ids().collect();
        let held = self.bed.ids_on_disk()?;
        ensure!(owned == held, "owned: {owned:?}, in the pool: {held:?}");
        Ok(())
    }
}

/// A handle whose kernel can be made to fail.
struct Writer {
    dm: Arc<FaultyDm>,
    pool: Pool,
}

impl Writer {
    fn attach(bed: &Bed) -> Result<Self> {
        let dm = Arc::new(FaultyDm::new()?);
        let pool = Engine::with_dm(Arc::clone(&dm) as _).attach(&bed.pool)?;
        // The epoch is announced before a fault is armed: only the operation's own steps count.
        pool.snapshot(&name("warm"), &name("warm-up"))?;
        pool.delete(&name("warm-up"))?;
        Ok(Self { dm, pool })
    }
}

fn still_serves(origin: &Path) -> Result<()> {
    fill(origin, mib(3), mib(1), 0x77)?;
    ensure!(holds(origin, mib(3), mib(1), 0x77)?, "what was written is not there");
    Ok(())
}

const FREEZE: [Command; 4] =
    [Command::Suspend, Command::Message, Command::Resume, Command::TableStatus];

fn bed_with_origins(origins: &[&str]) -> Result<(Bed, Vec<PathBuf>)> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    pool.create_volume(&name("warm"), mib(8))?;
    let devices =
        origins.iter().map(|origin| active(&pool, origin, mib(64))).collect::<Result<Vec<_>>>()?;
    pool.release()?;
    Ok((bed, devices))
}

#[test]
fn a_snapshot_that_fails_at_any_step_leaves_its_origin_running_and_no_id_unnamed() -> Result<()> {
    let (bed, origins) = bed_with_origins(&["web"])?;
    let trial = Trial {
        bed: &bed,
        made: &["web@1"],
        origins: &origins,
        act: &|pool| pool.snapshot(&name("web"), &name("web@1")).map(drop),
    };
    let count = trial.fail_every_step(&FREEZE)?;
    // A suspend, a message, a resume, and at least the status before and the one after.
    ensure!(count >= 15, "only {count} faults came");
    Ok(())
}

#[test]
fn a_group_that_fails_at_any_step_leaves_every_origin_running_and_no_member() -> Result<()> {
    let (bed, origins) = bed_with_origins(&["a", "b", "c"])?;
    let members = [("a", "a@g"), ("b", "b@g"), ("c", "c@g")];
    let pairs = members.map(|(origin, snapshot)| (name(origin), name(snapshot)));
    let trial = Trial {
        bed: &bed,
        made: &members.map(|(_, snapshot)| snapshot),
        origins: &origins,
        act: &|pool| pool.snapshot_group(&name("g"), &pairs).map(drop),
    };
    let count = trial.fail_every_step(&FREEZE)?;
    ensure!(count >= 33, "only {count} faults came");
    Ok(())
}

#[test]
fn a_first_activation_that_fails_at_any_step_can_be_repeated() -> Result<()> {
    let (bed, _) = bed_with_origins(&[])?;
    let trial = Trial {
        bed: &bed,
        made: &[],
        origins: &[],
        act: &|pool| pool.activate(&name("new"), VolumeAccess::ReadWrite).map(drop),
    };
    let mut writer = Writer::attach(&bed)?;
    for command in [
        Command::Message,
        Command::Create,
        Command::TableLoad,
        Command::Resume,
        Command::TableStatus,
    ] {
        for fault in faults(command, 0) {
            writer.pool.create_volume(&name("new"), mib(64))?;
            let came;
            (writer, came) =
                trial.fail_once(writer, fault).with_context(|| format!("{fault:?}"))?;
            ensure!(came, "{fault:?} never came");
            let again = activate(&writer.pool, "new");
            still_serves(&again.with_context(|| format!("after {fault:?}"))?)?;
            writer.pool.delete(&name("new"))?;
            trial.clean_up(&writer.pool)?;
        }
    }
    writer.pool.release()?;
    bed.assert_ids_are_named()
}

#[test]
fn a_panic_while_an_origin_is_frozen_lets_it_run_again() -> Result<()> {
    let (bed, origins) = bed_with_origins(&["web"])?;
    let dm = Arc::new(FaultyDm::new()?);
    let pool = Engine::with_dm(Arc::<FaultyDm>::clone(&dm)).attach(&bed.pool)?;
    pool.snapshot(&name("web"), &name("web@0"))?;
    dm.panic_at(Command::Message);
    let taken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        pool.snapshot(&name("web"), &name("web@1")).map(drop)
    }));
    ensure!(taken.is_err(), "there was no panic");
    bed.assert_nothing_suspended()?;
    fill(&origins[0], mib(0), mib(1), 7)?;
    drop(pool);
    let pool = bed.attach()?;
    pool.reap(&mut |_| {})?;
    pool.release()?;
    bed.assert_ids_are_named()
}
