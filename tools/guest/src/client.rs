//! A guest as its users see it: start, run commands, reset, stop.

use std::fs;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::image;
use crate::init::serial;
use crate::initramfs;
use crate::kernel::Kernel;
use crate::kvm::Accelerator;
use crate::payload;
use crate::protocol::{Body, Exec, Frame, read_frame, write_frame};
use crate::qemu::{self, Machine};
use crate::run_dir::{
    AGENT_SOCKET, CONSOLE_LOG, CONTROL_SOCKET, QEMU_ARGS, QMP_SOCKET, RunDir, SUPERVISOR_LOG,
};
use crate::shell;
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
        match self.supervisor.as_mut() {
            Some(child) => drop(child.wait()?),
            None => {
                let deadline = Instant::now() + Duration::from_secs(20);
                while self.run.lock().is_err() && Instant::now() < deadline {
                    thread::sleep(Duration::from_millis(20));
                }
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

/// Writes what the guest is made of and returns QEMU's command line.
fn prepare(
    spec: &Spec,
    cache: &Cache,
    kernel: &Kernel,
    root: &Path,
    run: &RunDir,
) -> Result<Vec<String>> {
    let initramfs = run.file("initramfs");
    initramfs::write(kernel, &initramfs)?;
    let payload = run.file("payload.img");
    payload::write(spec, &payload)?;
    let scratch = run.file("scratch.img");
    let lazily = ["-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"];
    shell::make_ext4(&scratch, spec.scratch_gib << 30, None, &lazily)?;
    let disks = match &spec.keep_disks {
        Some(dir) => std::path::absolute(dir)?,
        None => run.file("disks"),
    };
    fs::create_dir_all(&disks)?;
    let accelerator = Accelerator::choose(cache, &kernel.image, &initramfs, run.path())?;
    let mut machine = Machine::new(accelerator, spec.cpus, spec.memory_mib);
    machine.boot(&kernel.image, Path::new("initramfs"), "", CONSOLE_LOG);
    machine.sockets(AGENT_SOCKET, QMP_SOCKET);
    // First, so that they are vda, vdb and so on.
    for (index, disk) in spec.disks.0.iter().enumerate() {
        let file = qemu::disk_file(&disks, index);
        if !file.exists() {
            fs::File::create(&file)?.set_len(disk.size_bytes)?;
        }
        machine.disk(&file, &qemu::disk_serial(index), disk.block_bytes);
    }
    machine.read_only_disk(root, serial::ROOT);
    machine.read_only_disk(&kernel.modules_image, serial::MODULES);
    machine.read_only_disk(Path::new("payload.img"), serial::PAYLOAD);
    machine.disk(Path::new("scratch.img"), serial::SCRATCH, 512);
    Ok(machine.into_args())
}

/// One command's frames.
struct Conversation {
    stream: UnixStream,
    frames: Receiver<io::Result<Option<Frame>>>,
}

impl Conversation {
    fn open(run: &RunDir, first: Body) -> Result<Self> {
        let stream = run.connect(CONTROL_SOCKET).context("the guest is not running")?;
        let mut reader = stream.try_clone()?;
        let (sender, frames) = mpsc::channel();
        thread::spawn(move || {
            loop {
                let frame = read_frame(&mut reader);
                let is_last = !matches!(frame, Ok(Some(_)));
                if sender.send(frame).is_err() || is_last {
                    break;
                }
            }
        });
        let mut conversation = Self { stream, frames };
        conversation.tell(first)?;
        Ok(conversation)
    }

    fn tell(&mut self, body: Body) -> Result<()> {
        Ok(write_frame(&mut self.stream, &Frame { channel: 0, body })?)
    }

    fn pass_stdin(&self) -> Result<()> {
        let mut stream = self.stream.try_clone()?;
        thread::spawn(move || {
            let mut buffer = vec![0; 16 << 10];
            loop {
                let body = match io::stdin().read(&mut buffer) {
                    Ok(0) | Err(_) => Body::StdinEnd,
                    Ok(length) => Body::Stdin(buffer[..length].to_vec()),
                };
                let is_last = matches!(body, Body::StdinEnd);
                if write_frame(&mut stream, &Frame { channel: 0, body }).is_err() || is_last {
                    break;
                }
            }
        });
        Ok(())
    }

    /// Passes output on until the command ends; `None` when its time is over first.
    fn listen(&self, timeout: Duration, say: &mut impl FnMut(Output<'_>)) -> Result<Option<i32>> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.next(deadline)? {
                None => return Ok(None),
                Some(Body::Exit(code)) => return Ok(Some(code)),
                Some(body) => pass_on(&body, say),
            }
        }
    }

    fn wait_for_log(&self, timeout: Duration, say: &mut impl FnMut(Output<'_>)) -> Result<bool> {
        let deadline = Instant::now() + timeout;
        while let Some(body) = self.next(deadline)? {
            pass_on(&body, say);
            if matches!(body, Body::KernelLog(_)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn next(&self, deadline: Instant) -> Result<Option<Body>> {
        match self.frames.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Ok(Ok(Some(Frame { body: Body::Failed(why), .. }))) => bail!(why),
            Ok(Ok(Some(frame))) => Ok(Some(frame.body)),
            Ok(Ok(None)) | Err(RecvTimeoutError::Disconnected) => {
                bail!("the connection to the guest has ended")
            }
            Ok(Err(e)) => Err(e).context("the connection to the guest"),
        }
    }
}

fn pass_on(body: &Body, say: &mut impl FnMut(Output<'_>)) {
    match body {
        Body::Stdout(bytes) => say(Output::Stdout(bytes)),
        Body::Stderr(bytes) => say(Output::Stderr(bytes)),
        Body::KernelLog(text) => say(Output::KernelLog(text)),
        _ => {}
    }
}
