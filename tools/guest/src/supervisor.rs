//! The process that owns one QEMU: it keeps the connection to the agent and serves any number of clients.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufReader, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::protocol::{Body, Frame, read_frame, skip_to_greeting, write_frame};
use crate::qemu;
use crate::qmp::{Events, Qmp};
use crate::run_dir::{AGENT_SOCKET, CONSOLE_LOG, CONTROL_SOCKET, QEMU_ARGS, QMP_SOCKET, RunDir};

/// A guest that has not come up by then never will.
const BOOT_TIMEOUT: Duration = Duration::from_mins(2);
/// A guest that nobody talks to for so long was forgotten.
const IDLE_LIMIT: Duration = Duration::from_hours(2);
/// A client that reads nothing for so long is cut off, so that the others go on.
const SLOW_CLIENT: Duration = Duration::from_mins(1);

/// The link to the agent in the guest.
#[derive(Default)]
struct Link {
    /// There is a connection, whether or not the agent has spoken.
    stream: Option<UnixStream>,
    /// The agent has spoken.
    is_ready: bool,
    /// How often an agent has spoken: counts boots.
    boots: u64,
}

struct Supervisor {
    run: RunDir,
    link: Mutex<Link>,
    link_changed: Condvar,
    clients: Mutex<HashMap<u32, UnixStream>>,
    next_channel: AtomicU32,
    qmp: Mutex<Qmp>,
    /// The guest goes down because we asked for it.
    reset_is_ours: AtomicBool,
    /// QEMU is to be started again when it has ended.
    restarts: AtomicBool,
    last_use: Mutex<Instant>,
}

/// Starts QEMU and serves until it ends. With `on_lease` it ends when standard input does.
pub fn run(run: RunDir, on_lease: bool) -> Result<()> {
    let _lock = run.lock()?;
    let args: Vec<String> = serde_json::from_slice(&fs::read(run.file(QEMU_ARGS))?)?;
    let (mut child, qmp, events) = start(&run, &args)?;
    let listener = run.listen(CONTROL_SOCKET)?;
    let shared = Arc::new(Supervisor {
        run,
        link: Mutex::default(),
        link_changed: Condvar::new(),
        clients: Mutex::default(),
        next_channel: AtomicU32::new(1),
        qmp: Mutex::new(qmp),
        reset_is_ours: AtomicBool::new(false),
        restarts: AtomicBool::new(false),
        last_use: Mutex::new(Instant::now()),
    });
    spawn(&shared, |shared| shared.follow_agent());
    spawn(&shared, move |shared| shared.follow_events(events));
    spawn(&shared, |shared| shared.end_when_idle());
    if on_lease {
        spawn(&shared, |shared| {
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            shared.quit();
        });
    }
    spawn(&shared, move |shared| {
        for stream in listener.incoming().flatten() {
            spawn(shared, move |shared| shared.serve(&stream));
        }
    });
    loop {
        let status = child.wait()?;
        if !shared.restarts.swap(false, Ordering::SeqCst) {
            shared.fail_clients(&format!("the guest has ended ({status})"));
            return Ok(());
        }
        let (next, qmp, events) = start(&shared.run, &args)?;
        child = next;
        *lock(&shared.qmp) = qmp;
        spawn(&shared, move |shared| shared.follow_events(events));
    }
}

/// Starts QEMU. Called by the main thread alone: the signal of a parent's death means the thread that started it.
fn start(run: &RunDir, args: &[String]) -> Result<(Child, Qmp, Events)> {
    let mut child = Command::new("setpriv")
        // QEMU ends with this process, however that ends.
        .args(["--pdeathsig", "KILL", "--", qemu::PROGRAM])
        .args(args)
        .current_dir(run.path())
        .stdin(Stdio::null())
        .spawn()
        .context("cannot start setpriv")?;
    let (qmp, events) = Qmp::open(connect(run, QMP_SOCKET, &mut child)?)?;
    Ok((child, qmp, events))
}

fn spawn(shared: &Arc<Supervisor>, work: impl FnOnce(&Arc<Supervisor>) + Send + 'static) {
    let shared = Arc::clone(shared);
    thread::spawn(move || work(&shared));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect(run: &RunDir, name: &str, child: &mut Child) -> Result<UnixStream> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match run.connect(name) {
            Ok(stream) => return Ok(stream),
            Err(e) if Instant::now() > deadline => return Err(e).context("QEMU does not listen"),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
        if let Some(status) = child.try_wait()? {
            bail!("QEMU ended at once ({status})");
        }
    }
}

impl Supervisor {
    /// Connects to the agent, again after each reset, and hands its frames to the clients.
    fn follow_agent(&self) {
        loop {
            let Ok(stream) = self.run.connect(AGENT_SOCKET) else {
                thread::sleep(Duration::from_millis(50));
                continue;
            };
            lock(&self.link).stream = stream.try_clone().ok();
            let mut reader = BufReader::new(stream);
            if skip_to_greeting(&mut reader).is_ok() {
                self.set_ready(true);
                while let Ok(Some(frame)) = read_frame(&mut reader) {
                    self.deliver(&frame);
                }
                self.set_ready(false);
            }
            if self.reset_is_ours.swap(false, Ordering::SeqCst) {
                self.fail_clients("the guest was reset");
            } else {
                // Let the dying kernel's last words arrive.
                thread::sleep(Duration::from_millis(200));
                let console = self.run.tail(CONSOLE_LOG, 60);
                self.fail_clients(&format!(
                    "the guest restarted by itself; its console:\n{console}"
                ));
            }
        }
    }

    fn set_ready(&self, is_ready: bool) {
        let mut link = lock(&self.link);
        link.is_ready = is_ready;
        link.boots += u64::from(is_ready);
        if !is_ready {
            link.stream = None;
        }
        drop(link);
        self.link_changed.notify_all();
    }

    /// A guest that resets itself throws away what the agent was saying; only a new connection is in step again.
    fn follow_events(&self, mut events: Events) {
        while let Some(event) = events.next_event() {
            if event == "RESET"
                && let Some(stream) = &lock(&self.link).stream
            {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    fn end_when_idle(&self) {
        loop {
            thread::sleep(Duration::from_secs(10));
            let mut last_use = lock(&self.last_use);
            if !lock(&self.clients).is_empty() {
                *last_use = Instant::now();
            } else if last_use.elapsed() > IDLE_LIMIT {
                eprintln!("nobody has used the guest for {} minutes", IDLE_LIMIT.as_secs() / 60);
                self.quit();
            }
        }
    }

    fn quit(&self) {
        let _ = lock(&self.qmp).quit();
    }

    fn deliver(&self, frame: &Frame) {
        let mut clients = lock(&self.clients);
        let Some(client) = clients.get_mut(&frame.channel) else { return };
        if let Err(e) = write_frame(client, frame) {
            eprintln!("client {}: {e}", frame.channel);
            let _ = client.shutdown(Shutdown::Both);
            clients.remove(&frame.channel);
        }
    }

    fn fail_clients(&self, why: &str) {
        let clients = std::mem::take(&mut *lock(&self.clients));
        for (channel, mut client) in clients {
            let _ =
                write_frame(&mut client, &Frame { channel, body: Body::Failed(why.to_owned()) });
        }
    }

    /// Serves one client: its first frame says what it came for.
    fn serve(&self, stream: &UnixStream) {
        *lock(&self.last_use) = Instant::now();
        let _ = stream.set_write_timeout(Some(SLOW_CLIENT));
        let channel = self.next_channel.fetch_add(1, Ordering::SeqCst);
        let Ok(mut reader) = stream.try_clone() else { return };
        let Ok(Some(first)) = read_frame(&mut reader) else { return };
        let answer = match first.body {
            Body::Exec(_) => match self.conversation(channel, stream, first.body, &mut reader) {
                Ok(()) => return,
                Err(e) => Body::Failed(format!("{e:#}")),
            },
            Body::WaitReady => answer(self.wait_for_boot(1)),
            Body::Reset => answer(self.reset()),
            Body::Down => {
                self.quit();
                Body::Done
            }
            other => Body::Failed(format!("not for the supervisor: {other:?}")),
        };
        let _ = write_frame(&mut &*stream, &Frame { channel, body: answer });
    }

    /// Passes frames from the client to the agent; `deliver` does the other way.
    fn conversation(
        &self,
        channel: u32,
        stream: &UnixStream,
        first: Body,
        reader: &mut impl Read,
    ) -> Result<()> {
        self.wait_for_boot(1)?;
        lock(&self.clients).insert(channel, stream.try_clone()?);
        let mut body = first;
        loop {
            if let Err(e) = self.tell_agent(channel, body) {
                lock(&self.clients).remove(&channel);
                return Err(e);
            }
            match read_frame(reader) {
                Ok(Some(frame)) => body = frame.body,
                Ok(None) | Err(_) => break,
            }
        }
        // The client is gone: what it started must not stay. Killing what has ended does nothing.
        if lock(&self.clients).remove(&channel).is_some() {
            let _ = self.tell_agent(channel, Body::Kill);
        }
        Ok(())
    }

    fn tell_agent(&self, channel: u32, body: Body) -> Result<()> {
        let mut link = lock(&self.link);
        let is_ready = link.is_ready;
        match link.stream.as_mut().filter(|_| is_ready) {
            Some(stream) => Ok(write_frame(stream, &Frame { channel, body })?),
            None => bail!("the guest is not up"),
        }
    }

    /// Cuts the power and switches it on again. A new QEMU, not its reset command: after a reset the emulator throws
    /// away what it had translated page by page, which takes a minute in a guest that has run for a while.
    fn reset(&self) -> Result<()> {
        let boots = lock(&self.link).boots;
        self.reset_is_ours.store(true, Ordering::SeqCst);
        self.restarts.store(true, Ordering::SeqCst);
        self.quit();
        self.wait_for_boot(boots + 1)
    }

    /// Waits until the guest has come up that often, and is up.
    fn wait_for_boot(&self, boots: u64) -> Result<()> {
        let link = lock(&self.link);
        let (link, _) = self
            .link_changed
            .wait_timeout_while(link, BOOT_TIMEOUT, |link| !link.is_ready || link.boots < boots)
            .unwrap_or_else(PoisonError::into_inner);
        if link.is_ready && link.boots >= boots {
            return Ok(());
        }
        let console = self.run.tail(CONSOLE_LOG, 60);
        bail!("the guest did not come up in {} s; its console:\n{console}", BOOT_TIMEOUT.as_secs())
    }
}

fn answer(result: Result<()>) -> Body {
    match result {
        Ok(()) => Body::Done,
        Err(e) => Body::Failed(format!("{e:#}")),
    }
}
