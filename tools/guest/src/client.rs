//! A guest as its users see it: start, run commands, reset, stop.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::assembly::prepare;
use crate::cache::Cache;
use crate::conversation::Conversation;
use crate::image;
use crate::kernel::Kernel;
use crate::protocol::{Body, Exec, Frame, read_frame, write_frame};
use crate::run_dir::{CONSOLE_LOG, CONTROL_SOCKET, QEMU_ARGS, RunDir, SUPERVISOR_LOG};
use crate::spec::Spec;

/// How long a wedged guest may take to say what is blocked.
const DIAGNOSIS_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a killed command may take to end; one that takes longer hangs in the kernel.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether a guest ends with the process that started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// It ends when the starting process does, however that ends.
    Lease,
    /// It stays until it is told to go.
    Stays,
}

/// A running guest.
#[derive(Debug)]
pub struct Guest {
    run: RunDir,
    /// Its standard input is the lease: closed with this process.
    supervisor: Option<Child>,
    is_ours: bool,
}

/// How a command in the guest ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// By itself, with this code.
    Exit(i32),
    /// It was killed after its time; `guest_is_stuck` when even that did not end it.
    TimedOut {
        /// A kill did not end it: it hangs in the kernel, and the guest is of no more use.
        guest_is_stuck: bool,
    },
}

/// A piece of what a command says.
#[derive(Debug)]
pub enum Output<'a> {
    /// Standard output.
    Stdout(&'a [u8]),
    /// Standard error.
    Stderr(&'a [u8]),
    /// The kernel log since the command's start.
    KernelLog(&'a str),
}

impl Guest {
    /// Starts a guest and waits until it is up.
    pub fn start(spec: &Spec, dir: Option<&Path>, lifetime: Lifetime) -> Result<Self> {
        let cache = Cache::open()?;
        let kernel = Kernel::get(&cache, spec.kernel)?;
        let root = image::root_image(&cache)?;
        let run = RunDir::create(&cache, dir)?;
        let machine =
            prepare(spec, &cache, &kernel, &root, &run).inspect_err(|_| drop(run.remove()))?;
        fs::write(run.file(QEMU_ARGS), serde_json::to_vec_pretty(&machine)?)?;
        let log = fs::File::create(run.file(SUPERVISOR_LOG))?;
        let mut command = Command::new("/proc/self/exe");
        command.arg("supervise").arg(run.path()).stdout(log.try_clone()?).stderr(log);
        match lifetime {
            Lifetime::Lease => command.arg("--lease").stdin(Stdio::piped()),
            Lifetime::Stays => command.stdin(Stdio::null()),
        };
        // In a group of its own, so that an interrupt typed at a terminal reaches only the client.
        let supervisor = command.process_group(0).spawn().context("cannot start the supervisor")?;
        let mut guest =
            Self { run, supervisor: Some(supervisor), is_ours: lifetime == Lifetime::Lease };
        guest.wait_for_supervisor()?;
        guest.ask(Body::WaitReady)?;
        Ok(guest)
    }

    /// A guest that was started before.
    pub fn attach(dir: &Path) -> Result<Self> {
        Ok(Self { run: RunDir::open(dir)?, supervisor: None, is_ours: false })
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.run.path()
    }

    /// Presses the reset button and waits until the guest is up again. Its disks stay as they are.
    pub fn reset(&self) -> Result<()> {
        self.ask(Body::Reset)
    }

    /// Stops the guest and removes its directory.
    pub fn down(mut self) -> Result<()> {
        self.end()
    }

    /// Runs a command, passing on what it says as it says it.
    pub fn exec(
        &self,
        exec: Exec,
        timeout: Duration,
        mut say: impl FnMut(Output<'_>),
    ) -> Result<Outcome> {
        let has_stdin = exec.has_stdin;
        let mut conversation = Conversation::open(&self.run, Body::Exec(exec))?;
        if has_stdin {
            conversation.pass_stdin()?;
        }
        if let Some(code) = conversation.listen(timeout, &mut say)? {
            return Ok(Outcome::Exit(code));
        }
        conversation.tell(Body::Diagnose)?;
        if !conversation.wait_for_log(DIAGNOSIS_TIMEOUT, &mut say)? {
            let console = self.run.tail(CONSOLE_LOG, 100);
            say(Output::KernelLog(&format!(
                "(the guest does not answer; its console:)\n{console}\n"
            )));
            return Ok(Outcome::TimedOut { guest_is_stuck: true });
        }
        conversation.tell(Body::Kill)?;
        let ended = conversation.listen(KILL_TIMEOUT, &mut say)?;
        Ok(Outcome::TimedOut { guest_is_stuck: ended.is_none() })
    }

    fn wait_for_supervisor(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.run.connect(CONTROL_SOCKET).is_err() {
            let ended = self.supervisor.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() || Instant::now() > deadline {
                bail!("QEMU did not start:\n{}", self.run.tail(SUPERVISOR_LOG, 20));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn ask(&self, body: Body) -> Result<()> {
        let mut stream = self.run.connect(CONTROL_SOCKET).context("the guest is not running")?;
        write_frame(&mut stream, &Frame { channel: 0, body })?;
        match read_frame(&mut stream)?.map(|frame| frame.body) {
            Some(Body::Done) => Ok(()),
            Some(Body::Failed(why)) => bail!(why),
            None => bail!("the guest has ended; its console:\n{}", self.run.tail(CONSOLE_LOG, 30)),
            Some(other) => bail!("the supervisor answered {other:?}"),
        }
    }

    fn end(&mut self) -> Result<()> {
        self.is_ours = false;
        if self.run.connect(CONTROL_SOCKET).is_ok() {
            // The supervisor may be gone before its answer arrives.
            let _ = self.ask(Body::Down);
        }
        if let Some(child) = self.supervisor.as_mut() {
            child.wait()?;
        } else {
            let deadline = Instant::now() + Duration::from_secs(20);
            while self.run.lock().is_err() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(20));
            }
        }
        self.run.remove().with_context(|| format!("cannot remove {}", self.run.path().display()))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.is_ours {
            let _ = self.end();
        }
    }
}
