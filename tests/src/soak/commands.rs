//! The program as it is shipped: one command, a resident, and both killed.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use serde_json::Value;
use thinly::exit::Exit;

use super::refusal::Refusal;

/// A resident that is not there by then will not come.
const START_MAX: Duration = Duration::from_mins(2);

/// The commands that run, so that one of them can be killed.
#[derive(Debug, Default)]
pub(super) struct Commands {
    running: Mutex<BTreeSet<u32>>,
    /// Whoever needs the claim for itself: without a resident commands take turns.
    turn: Mutex<()>,
}

impl Commands {
    /// Runs `thinly`, and reads what it answers. A mortal one may be killed by [`Commands::kill_one`].
    pub(super) fn run(
        &self,
        socket: &Path,
        arguments: &[String],
        is_mortal: bool,
    ) -> Result<Value, Refusal> {
        let child = Command::new("thinly")
            .args(arguments)
            .arg("--json")
            .arg("--admin-socket")
            .arg(socket)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Refusal::new("spawn", &error.to_string()))?;
        if is_mortal {
            self.running().insert(child.id());
        }
        let (answer, told, code) =
            self.outcome(child).map_err(|error| Refusal::new("spawn", &format!("{error:#}")))?;
        match code {
            Some(0) => serde_json::from_str(&answer).or(Ok(Value::Null)),
            None => Err(Refusal::new(Refusal::KILLED, "killed")),
            Some(code) => Err(refusal_in(&told, code)),
        }
    }

    fn outcome(&self, mut child: Child) -> Result<(String, String, Option<i32>)> {
        let (mut answer, mut told) = (Vec::new(), Vec::new());
        child.stdout.take().context("no pipe")?.read_to_end(&mut answer)?;
        child.stderr.take().context("no pipe")?.read_to_end(&mut told)?;
        // Until it is reaped its number is nobody else's, so that nobody else is killed.
        let pid = Pid::from_raw(i32::try_from(child.id())?);
        waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)?;
        self.running().remove(&child.id());
        let code = child.wait()?.code();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok((text(answer), text(told), code))
    }

    pub(super) fn is_one_running(&self) -> bool {
        !self.running().is_empty()
    }

    /// Kills a command that runs, if one does.
    pub(super) fn kill_one(&self) -> Result<bool> {
        let running = self.running();
        let Some(process) = running.first() else { return Ok(false) };
        kill(Pid::from_raw(i32::try_from(*process)?), Signal::SIGKILL)?;
        Ok(true)
    }

    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(pool: &str, socket: &Path, log: &Path) -> Result<Child> {
    let child = Command::new("thinly")
        .args(["serve", pool, "--json", "--admin-socket"])
        .arg(socket)
        .stdin(Stdio::null())
        .stderr(File::create(log)?)
        .spawn()?;
    Ok(child)
}

/// The error is the last line.
fn refusal_in(told: &str, code: i32) -> Refusal {
    let last = told.lines().last().unwrap_or_default();
    let error = serde_json::from_str::<Value>(last).unwrap_or_default();
    let text = |key: &str| error["error"][key].as_str().map(str::to_owned);
    let kind = text("kind").unwrap_or_else(|| format!("exit code {code}"));
    Refusal::new(&kind, &text("message").unwrap_or_else(|| told.to_owned()))
}

/// `thinly serve` on one pool.
#[derive(Debug)]
pub(super) struct Resident {
    child: Child,
    pub(super) socket: PathBuf,
}

impl Resident {
    /// Starts it, and waits until it has the pool; a command may have the claim for a moment yet.
    pub(super) fn start(pool: &str, directory: &Path) -> Result<Self> {
        let (socket, log) =
            (directory.join(format!("{pool}.sock")), directory.join(format!("{pool}.log")));
        let begun = Instant::now();
        let mut child = serve(pool, &socket, &log)?;
        loop {
            let told = fs::read_to_string(&log)?;
            if told.contains("\"attached\"") || told.contains("\"opened\"") {
                return Ok(Self { child, socket });
            }
            if let Some(status) = child.try_wait()? {
                let is_held = status.code() == Some(Exit::InUse.code().into());
                ensure!(
                    is_held && begun.elapsed() < START_MAX,
                    "thinly serve {pool} ended with {status}: {told}"
                );
                child = serve(pool, &socket, &log)?;
            }
            if begun.elapsed() > START_MAX {
                child.kill()?;
                bail!("thinly serve {pool} does not come up: {told}");
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Ends it in order.
    pub(super) fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "thinly serve ended with {status}");
        Ok(())
    }
}

/// A soak that failed leaves no process behind.
impl Drop for Resident {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
