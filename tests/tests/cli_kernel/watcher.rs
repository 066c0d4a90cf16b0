//! Somebody at a terminal: a program on a pseudo-terminal, and what an emulator makes of its output.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};
use tempfile::TempDir;

/// Far beyond what any screen takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// The screen, and what tells of changes to it.
type Shared = Arc<(Mutex<vt100::Parser>, Condvar)>;

/// A program on a terminal of its own. A shell has the terminal's session, as in life, so that the
/// terminal outlives the program and can be looked at.
pub(crate) struct Watcher {
    shell: Child,
    terminal: File,
    before: Termios,
    screen: Shared,
    reader: Option<JoinHandle<()>>,
    directory: TempDir,
}

impl Watcher {
    /// Runs `thinly` with these arguments.
    #[allow(clippy::disallowed_methods, reason = "the test runs the program that it tests")]
    pub(crate) fn start(arguments: &[&str], (columns, rows): (u16, u16)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let inner: OwnedFd = open(name, flags, Mode::empty()).unwrap();
        tcsetwinsize(&terminal, size(columns, rows)).unwrap();
        let before = tcgetattr(&inner).unwrap();
        // The inner shell tells its number and becomes the program.
        let script = format!(
            "sh -c 'echo $$ > {}; exec thinly \"$@\"' sh \"$@\"; echo left=$?; exec cat",
            directory.path().join("pid").display()
        );
        let shell = Command::new("setsid")
            .args(["--ctty", "bash", "-c", &script, "bash"])
            .args(arguments)
            .env("TERM", "xterm-256color")
            .stdin(Stdio::from(inner.try_clone().unwrap()))
            .stdout(Stdio::from(inner.try_clone().unwrap()))
            .stderr(Stdio::from(inner))
            .spawn()
            .unwrap();
        let terminal = File::from(terminal);
        let screen: Shared =
            Arc::new((Mutex::new(vt100::Parser::new(rows, columns, 0)), Condvar::new()));
        let reader = read(terminal.try_clone().unwrap(), Arc::clone(&screen));
        Self { shell, terminal, before, screen, reader: Some(reader), directory }
    }

    /// Waits until the screen is as wanted, and gives its text.
    pub(crate) fn wait(&self, what: &str, is_wanted: impl Fn(&vt100::Screen) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut parser = self.lock();
        while !is_wanted(parser.screen()) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let text = parser.screen().contents();
                drop(parser);
                panic!("{what} does not come:\n{text}");
            }
            parser = self.screen.1.wait_timeout(parser, left).unwrap().0;
        }
        parser.screen().contents()
    }

    /// Waits until the screen holds all of these words.
    pub(crate) fn wait_for(&self, words: &[&str]) -> String {
        self.wait(&format!("{words:?}"), |screen| {
            let text = screen.contents();
            words.iter().all(|word| text.contains(word))
        })
    }

    /// Waits until lines begin with these words, one below the other.
    pub(crate) fn wait_for_rows(&self, starts: &[&str]) -> String {
        self.wait(&format!("rows of {starts:?}"), |screen| {
            let text = screen.contents();
            let mut lines = text.lines();
            starts.iter().all(|start| {
                let begins = |line: &str| line.split_whitespace().next() == Some(*start);
                lines.any(begins)
            })
        })
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).unwrap();
    }

    /// The emulator learns of it first: a terminal does not draw in a size that it does not have.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        self.lock().screen_mut().set_size(rows, columns);
        tcsetwinsize(&self.terminal, size(columns, rows)).unwrap();
    }

    /// Sends a signal to the program alone.
    pub(crate) fn signal(&self, signal: Signal) {
        let text = std::fs::read_to_string(self.directory.path().join("pid")).unwrap();
        kill(Pid::from_raw(text.trim().parse().unwrap()), signal).unwrap();
    }

    /// Waits for the program's end: it must leave the terminal as it was, and end well.
    pub(crate) fn assert_left(mut self) {
        let text = self.wait("the end", |screen| screen.contents().contains("left="));
        assert!(text.contains("left=0"), "{text}");
        {
            let parser = self.lock();
            assert!(!parser.screen().alternate_screen(), "{text}");
            assert!(!parser.screen().hide_cursor(), "{text}");
        }
        let now = tcgetattr(&self.terminal).unwrap();
        assert!(now.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO));
        assert_eq!(
            (now.input_modes, now.output_modes, now.local_modes),
            (self.before.input_modes, self.before.output_modes, self.before.local_modes)
        );
        self.press("typed\r");
        // Once by the terminal, and once by who reads it: a line, so it is in cooked mode.
        self.wait("an echo", |screen| screen.contents().matches("typed").count() == 2);
    }

    fn lock(&self) -> MutexGuard<'_, vt100::Parser> {
        self.screen.0.lock().unwrap()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // The end of the session hangs the terminal up, which ends all that is on it.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

const fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Feeds the emulator until the terminal hangs up.
fn read(mut terminal: File, screen: Shared) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = terminal.read(&mut buffer) {
            screen.0.lock().unwrap().process(&buffer[..length]);
            screen.1.notify_all();
        }
    })
}
