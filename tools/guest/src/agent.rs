//! The agent inside the guest: reads commands from a virtio-serial port and runs them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::kernel_log::KernelLog;
use crate::protocol::{Body, Exec, Frame, GREETING, PORT_NAME, read_frame, write_frame};

/// Output of a command whose children keep its pipes open is waited for this long after it ended.
const LATE_OUTPUT: Duration = Duration::from_secs(2);

/// The search path of every command.
pub const GUEST_PATH: &str =
    "/opt/thinly/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Set for every command in the guest, so that a kernel test knows where it is.
pub const IN_GUEST: &str = "THINLY_IN_GUEST";

#[derive(Clone)]
struct Port(Arc<Mutex<File>>);

impl Port {
    fn send(&self, channel: u32, body: Body) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(e) = write_frame(&mut *file, &Frame { channel, body }) {
            eprintln!("agent: cannot answer the host: {e}");
        }
    }
}

/// A command on its way.
struct Running {
    group: Pid,
    is_killed: Arc<AtomicBool>,
    stdin: Option<ChildStdin>,
    log: Arc<Mutex<Option<KernelLog>>>,
}

/// Serves the host until the port fails. Does not return while the guest is well.
pub fn serve() -> Result<()> {
    let path = find_port()?;
    let file =
        OpenOptions::new().read(true).write(true).open(&path).with_context(|| path.clone())?;
    let mut reader = PortReader(file.try_clone()?);
    let port = Port(Arc::new(Mutex::new(file)));
    port.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(GREETING)?;
    let running = Arc::new(Mutex::new(HashMap::<u32, Running>::new()));
    while let Some(frame) = read_frame(&mut reader)? {
        let mut table = running.lock().unwrap_or_else(PoisonError::into_inner);
        match frame.body {
            Body::Exec(exec) => match start(frame.channel, &exec, &port, &running) {
                Ok(entry) => drop(table.insert(frame.channel, entry)),
                Err(e) => port.send(frame.channel, Body::Failed(format!("{e:#}"))),
            },
            Body::Stdin(bytes) => {
                let stdin = table.get_mut(&frame.channel).and_then(|entry| entry.stdin.as_mut());
                if let Some(stdin) = stdin {
                    // A command that no longer reads is its own affair.
                    let _ = stdin.write_all(&bytes);
                }
            }
            Body::StdinEnd => {
                if let Some(entry) = table.get_mut(&frame.channel) {
                    entry.stdin = None;
                }
            }
            Body::Kill => {
                if let Some(entry) = table.get(&frame.channel) {
                    entry.is_killed.store(true, Ordering::SeqCst);
                    let _ = killpg(entry.group, Signal::SIGKILL);
                }
            }
            Body::Diagnose => {
                let log = table.get(&frame.channel).map(|entry| Arc::clone(&entry.log));
                port.send(frame.channel, Body::KernelLog(diagnosis(log.as_deref())));
            }
            other => eprintln!("agent: not for the guest: {other:?}"),
        }
    }
    Ok(())
}

/// A port whose other end is not connected reads as ended; it is not, the host comes back.
struct PortReader(File);

impl Read for PortReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer)? {
                0 => thread::sleep(Duration::from_millis(20)),
                length => return Ok(length),
            }
        }
    }
}

fn find_port() -> Result<String> {
    for _ in 0..500 {
        for entry in fs::read_dir("/sys/class/virtio-ports").into_iter().flatten().flatten() {
            let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
            if name.trim() == PORT_NAME {
                return Ok(format!("/dev/{}", entry.file_name().to_string_lossy()));
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    anyhow::bail!("no virtio-serial port named {PORT_NAME}")
}

fn start(
    channel: u32,
    exec: &Exec,
    port: &Port,
    running: &Arc<Mutex<HashMap<u32, Running>>>,
) -> Result<Running> {
    let (program, args) = exec.argv.split_first().context("an empty command")?;
    let log = Arc::new(Mutex::new(KernelLog::from_now().ok()));
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        .env("PATH", GUEST_PATH)
        .env("HOME", "/root")
        .env("LANG", "C.UTF-8")
        .env("TMPDIR", "/tmp")
        .env(IN_GUEST, "1")
        // There is no udev in the guest: dmsetup and lvm make their own nodes and wait for nobody.
        .env("DM_DISABLE_UDEV", "1")
        .env("DISKS", std::env::var("DISKS").unwrap_or_default())
        .envs(&exec.env)
        .current_dir(if exec.cwd.is_empty() { "/root" } else { &exec.cwd })
        .process_group(0)
        .stdin(if exec.has_stdin { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program} in the guest"))?;
    let group = Pid::from_raw(i32::try_from(child.id())?);
    let stdin = child.stdin.take();
    let is_killed = Arc::new(AtomicBool::new(false));
    let (port, running) = (port.clone(), Arc::clone(running));
    let waiter = Waiter {
        channel,
        port,
        group,
        is_killed: Arc::clone(&is_killed),
        log: Arc::clone(&log),
        wants_log: exec.log_on_failure,
    };
    thread::spawn(move || {
        waiter.finish(child);
        running.lock().unwrap_or_else(PoisonError::into_inner).remove(&channel);
    });
    Ok(Running { group, is_killed, stdin, log })
}

struct Waiter {
    channel: u32,
    port: Port,
    group: Pid,
    is_killed: Arc<AtomicBool>,
    log: Arc<Mutex<Option<KernelLog>>>,
    wants_log: bool,
}

impl Waiter {
    fn finish(&self, mut child: Child) {
        let (ended, readers) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            self.forward(stdout, Body::Stdout, ended.clone());
        }
        if let Some(stderr) = child.stderr.take() {
            self.forward(stderr, Body::Stderr, ended);
        }
        let code = child.wait().map_or(255, exit_code);
        for _ in 0..2 {
            let _ = readers.recv_timeout(LATE_OUTPUT);
        }
        // A killed command has ended when all it started has: what hangs in the kernel must not pass for ended.
        while self.is_killed.load(Ordering::SeqCst) && killpg(self.group, None).is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
        if self.wants_log && code != 0 {
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            let text = log.as_mut().map(KernelLog::read).unwrap_or_default();
            self.port.send(self.channel, Body::KernelLog(text));
        }
        self.port.send(self.channel, Body::Exit(code));
    }

    fn forward(
        &self,
        mut from: impl Read + Send + 'static,
        wrap: fn(Vec<u8>) -> Body,
        ended: mpsc::Sender<()>,
    ) {
        let (port, channel) = (self.port.clone(), self.channel);
        thread::spawn(move || {
            let mut buffer = vec![0; 32 << 10];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                port.send(channel, wrap(buffer[..length].to_vec()));
            }
            let _ = ended.send(());
        });
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255)
}

/// Which processes are in uninterruptible sleep, where in the kernel, and what the kernel says of them.
fn diagnosis(log: Option<&Mutex<Option<KernelLog>>>) -> String {
    let mut text = String::from("processes in uninterruptible sleep:\n");
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name is in parentheses and may hold anything, so the state is what follows the last one.
        if stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('D')) {
            let head = stat.rsplit_once(')').map_or("", |(head, _)| head);
            let stack = fs::read_to_string(entry.path().join("stack")).unwrap_or_default();
            let _ = write!(text, "  {head})\n{stack}");
        }
    }
    text.push_str("kernel log since the command's start, blocked tasks last:\n");
    let log = log.map(|log| log.lock().unwrap_or_else(PoisonError::into_inner));
    match log {
        Some(mut log) => match log.as_mut() {
            Some(log) => text.push_str(&log.with_blocked_tasks()),
            None => text.push_str("(the kernel log cannot be read)\n"),
        },
        None => text.push_str("(the command has ended)\n"),
    }
    text
}
