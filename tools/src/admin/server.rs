//! The side of the process that holds pools.
#![forbid(unsafe_code)]

use std::fmt::Debug;
use std::fs;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};
use thinly_engine::catalogue::VolumeName;
use thinly_engine::pool::Pool;
use uuid::Uuid;

use super::change::Change;
use super::protocol::{Reply, Request, read_request, send};
use super::recent::Recent;
use crate::args::{Cli, Command};
use crate::cli::{dispatch, report};
use crate::console::{Console, Output};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::operations_command;
use crate::socket::{SocketError, listen};

/// How long the other side may be silent while it is its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// How an attempt to change a pool ended.
#[derive(Debug)]
pub enum Entry {
    /// The work was done, well or not.
    Done,
    /// The pool is not held here.
    NotHeld,
    /// It cannot be done now, and why.
    Busy(String),
}

/// A process that holds pools.
pub trait Residence: Debug + Send + Sync {
    /// Runs `work` on the pool of this name or uuid, while nobody else changes those of its volumes
    /// and snapshots that have one of these names.
    fn enter(&self, pool: &str, volumes: &[&VolumeName], work: &mut dyn FnMut(&Pool)) -> Entry;

    /// The uuid of the pool of this name or uuid, if it is held here. It waits for no change.
    fn identify(&self, pool: &str) -> Option<Uuid>;

    /// What was done here last.
    fn recent(&self) -> &Recent;
}

/// Runs changes for commands that found their pool held by this process.
#[derive(Debug)]
pub struct AdminServer {
    path: PathBuf,
    listener: UnixListener,
    thread: JoinHandle<()>,
}

impl AdminServer {
    /// Listens at `path`, for this user alone.
    pub fn start(path: &Path, residence: Arc<dyn Residence>) -> Result<Self, SocketError> {
        let listener = listen(path)?;
        let fail = |action| move |source| SocketError::Io { action, path: path.to_owned(), source };
        let accepting = listener.try_clone().map_err(fail("listening at"))?;
        let thread = thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || accept(&accepting, &*residence))
            .map_err(fail("starting a thread for"))?;
        Ok(Self { path: path.to_owned(), listener, thread })
    }

    /// Takes no more, and waits for the changes that are running.
    pub fn stop(self) {
        // The next process may not find a socket that nobody serves.
        let _ = fs::remove_file(&self.path);
        let how = nix::sys::socket::Shutdown::Both;
        if nix::sys::socket::shutdown(self.listener.as_raw_fd(), how).is_ok() {
            let _ = self.thread.join();
        }
    }
}

/// Serves until the listener is shut down, and then until the last one is served.
fn accept(listener: &UnixListener, residence: &dyn Residence) {
    thread::scope(|scope| {
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    // Without a thread for it the caller sees a closed connection.
                    let _ = thread::Builder::new()
                        .spawn_scoped(scope, move || serve(&stream, residence));
                }
                // What a listener that was shut down says.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
                // Out of file descriptors, say: it passes.
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    });
}

fn serve(stream: &UnixStream, residence: &dyn Residence) {
    let asked = stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
        .and_then(|()| read_request(stream));
    // Who says nothing, or nonsense, gets no answer.
    if let Ok(request) = asked {
        // Whatever the work leaves behind a panic is what a crash leaves: the engine recovers it.
        let last = catch_unwind(AssertUnwindSafe(|| answer(&request, &Peer(stream), residence)))
            .unwrap_or(Reply::Exit(Exit::Internal.code()));
        let _ = send(stream, &last);
    }
    let _ = stream.shutdown(Shutdown::Both);
}

/// Whoever asked.
#[derive(Debug)]
struct Peer<'a>(&'a UnixStream);

impl Output for Peer<'_> {
    fn answer(&self, text: &str) -> io::Result<()> {
        send(self.0, &Reply::Answer(text.to_owned()))
    }

    fn aside(&self, line: &str) {
        let _ = send(self.0, &Reply::Aside(line.to_owned()));
    }
}

fn answer(request: &Request, output: &dyn Output, residence: &dyn Residence) -> Reply {
    let parsed = Cli::command()
        .try_get_matches_from(&request.arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches).map(|cli| (cli, words_of(&matches))));
    let (cli, operation) = match parsed {
        Ok(parsed) => parsed,
        // They parse in the command that sends them: the two are of different versions.
        Err(error) => {
            let console = Console::to(output, request.arguments.iter().any(|one| one == "--json"));
            return refuse(console, Failure::Usage(error.to_string()));
        }
    };
    let console = Console::to(output, cli.json);
    if let Command::Operations(arguments) = &cli.command {
        return tell_recent(console, residence, &arguments.pool);
    }
    let Some(change) = Change::of(&cli.command) else {
        let text = "the process that holds the pool does not run this command for others";
        return refuse(console, Failure::Usage(text.to_owned()));
    };
    let (mut outcome, mut uuid, begun) = (Ok(()), None, Instant::now());
    let entry = residence.enter(change.pool, &change.volumes, &mut |pool| {
        uuid = Some(pool.identity().uuid);
        outcome = dispatch(Context::within(console, pool), &cli);
    });
    match entry {
        Entry::Done => {
            let exit = report(console, outcome);
            let names: Vec<String> = change.volumes.iter().map(ToString::to_string).collect();
            let object = (!names.is_empty()).then(|| names.join(","));
            let (took, recent) = (begun.elapsed(), residence.recent());
            recent.note(uuid, &operation, object.as_deref(), took, exit.kind());
            Reply::Exit(exit.code())
        }
        Entry::NotHeld => Reply::NotHeld,
        Entry::Busy(why) => refuse(console, Failure::Busy(why)),
    }
}

/// The words of the verb: `volume create`.
fn words_of(matches: &ArgMatches) -> String {
    let mut words = Vec::new();
    let mut inner = matches.subcommand();
    while let Some((word, matches)) = inner {
        words.push(word);
        inner = matches.subcommand();
    }
    words.join(" ")
}

/// Of a pool that is held here, whatever is being changed in it at this moment.
fn tell_recent(console: Console<'_>, residence: &dyn Residence, pool: &str) -> Reply {
    let Some(uuid) = residence.identify(pool) else { return Reply::NotHeld };
    let told = operations_command::answer(console, &residence.recent().of(uuid));
    Reply::Exit(report(console, told).code())
}

fn refuse(console: Console<'_>, failure: Failure) -> Reply {
    Reply::Exit(report(console, Err(failure)).code())
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write};

    use super::super::protocol::read_reply;
    use super::*;

    /// Holds no pool, and says so in the way that it is told to.
    #[derive(Debug)]
    struct Empty {
        busy: bool,
        recent: Recent,
    }

    fn empty(busy: bool) -> Arc<Empty> {
        let recent = Recent::default();
        let took = Duration::from_millis(1234);
        recent.note(Some(Uuid::nil()), "volume create", Some("web"), took, "ok");
        Arc::new(Empty { busy, recent })
    }

    impl Residence for Empty {
        fn enter(&self, _: &str, _: &[&VolumeName], _: &mut dyn FnMut(&Pool)) -> Entry {
            if self.busy { Entry::Busy("it is being resized".to_owned()) } else { Entry::NotHeld }
        }

        fn identify(&self, pool: &str) -> Option<Uuid> {
            (pool == "known").then(Uuid::nil)
        }

        fn recent(&self) -> &Recent {
            &self.recent
        }
    }

    fn ask(path: &Path, line: &str) -> Vec<Reply> {
        let mut stream = UnixStream::connect(path).unwrap();
        stream.write_all(line.as_bytes()).unwrap();
        let mut replies = BufReader::new(stream);
        std::iter::from_fn(|| read_reply(&mut replies).ok()).collect()
    }

    fn line(arguments: &[&str]) -> String {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        serde_json::to_string(&Request { arguments }).unwrap() + "\n"
    }

    #[test]
    fn it_refuses_what_it_must_and_ends_when_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("thinly.sock");
        let server = AdminServer::start(&path, empty(false)).unwrap();
        let delete = line(&["thinly", "volume", "delete", "p/v"]);
        assert_eq!(ask(&path, &delete), [Reply::NotHeld]);
        assert_eq!(ask(&path, "nonsense\n"), []);
        let replies = ask(&path, &line(&["thinly", "pool", "destroy", "p", "--yes", "--json"]));
        let [Reply::Aside(why), Reply::Exit(2)] = replies.as_slice() else {
            panic!("{replies:?}");
        };
        assert!(why.contains("does not run this command for others"), "{why}");
        let replies = ask(&path, &line(&["thinly", "volume", "explode", "p/v"]));
        assert!(matches!(replies.as_slice(), [Reply::Aside(_), Reply::Exit(2)]), "{replies:?}");
        // A second one finds the place taken.
        let second = AdminServer::start(&path, empty(true));
        assert!(matches!(second, Err(SocketError::Served { .. })));
        server.stop();
        assert!(!path.exists());
        let server = AdminServer::start(&path, empty(true)).unwrap();
        let replies = ask(&path, &delete);
        let [Reply::Aside(why), Reply::Exit(5)] = replies.as_slice() else {
            panic!("{replies:?}");
        };
        assert!(why.contains("it is being resized"), "{why}");
        server.stop();
    }

    #[test]
    fn it_tells_what_was_done_even_while_nothing_can_be_changed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("thinly.sock");
        let server = AdminServer::start(&path, empty(true)).unwrap();
        let replies = ask(&path, &line(&["thinly", "operations", "known", "--json"]));
        let [Reply::Answer(text), Reply::Exit(0)] = replies.as_slice() else {
            panic!("{replies:?}");
        };
        assert!(text.contains("volume create") && text.contains("1.234"), "{text}");
        let replies = ask(&path, &line(&["thinly", "operations", "elsewhere"]));
        assert_eq!(replies, [Reply::NotHeld]);
        server.stop();
    }

    #[test]
    fn a_verb_is_called_by_its_words() {
        let of =
            |line: &str| words_of(&Cli::command().try_get_matches_from(line.split(' ')).unwrap());
        assert_eq!(of("thinly --json volume create p/v --size 1G"), "volume create");
        assert_eq!(of("thinly adopt p/v"), "adopt");
    }
}
