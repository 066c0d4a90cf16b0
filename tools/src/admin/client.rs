//! The side of the command that found its pool held by somebody else.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::{self, BufReader};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::change::Change;
use super::protocol::{Reply, Request, read_reply, send};
use crate::adopt_command::node_of;
use crate::args::Command;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::json::OperationsJson;

/// How long the holder of a pool may take to tell what it did: it waits for nothing to do so.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the process behind `socket` to run a command that failed because its pool is held, and
/// passes its answer on. `refused` is that failure: it stands when nobody else can help.
pub(crate) fn ask(
    console: Console<'_>,
    socket: &Path,
    (arguments, command): (&[OsString], &Command),
    refused: Failure,
) -> Result<Exit, Failure> {
    if Change::of(command).is_none() {
        return Err(refused);
    }
    let Some(arguments) = meant_here(console, arguments, command)? else { return Err(refused) };
    let unreachable = |refused: &Failure, why: &str| Failure::NoResident {
        refused: refused.message(),
        socket: socket.to_owned(),
        why: why.to_owned(),
    };
    let stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(error) => return Err(unreachable(&refused, &error.to_string())),
    };
    let broken = |source: io::Error| Failure::ResidentGone { socket: socket.to_owned(), source };
    send(&stream, &Request { arguments }).map_err(broken)?;
    let mut replies = BufReader::new(stream);
    loop {
        match read_reply(&mut replies).map_err(broken)? {
            Reply::Answer(text) => console.write_answer(&text)?,
            Reply::Aside(line) => console.aside(&line),
            Reply::Exit(code) => return Ok(Exit::from_code(code)),
            Reply::NotHeld => {
                return Err(unreachable(&refused, "the process there does not hold this pool"));
            }
        }
    }
}

/// The arguments as they are meant where they were given: a resident in a container has another host
/// name. `None` when they are no text.
fn meant_here(
    console: Console<'_>,
    arguments: &[OsString],
    command: &Command,
) -> Result<Option<Vec<String>>, Failure> {
    let text = |argument: &OsString| argument.to_str().map(str::to_owned);
    let mut texts: Option<Vec<String>> = arguments.iter().map(text).collect();
    if let (Some(texts), Command::Adopt(arguments)) = (&mut texts, command)
        && arguments.node.is_none()
    {
        texts.extend(["--node".to_owned(), node_of(console, arguments)?]);
    }
    Ok(texts)
}

/// What came of asking a holder what it did.
#[derive(Debug)]
pub(crate) enum Told {
    /// The operations.
    Operations(OperationsJson),
    /// Whoever listens does not hold the pool.
    NotHeld,
    /// It does not know the question: it is older than this program.
    Unknown,
}

/// Asks the process behind `socket` what it did last in a pool.
pub(crate) fn ask_recent(socket: &Path, pool: &str) -> io::Result<Told> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let arguments = ["thinly", "operations", pool, "--json"].map(str::to_owned).to_vec();
    send(&stream, &Request { arguments })?;
    let mut replies = BufReader::new(stream);
    let mut told = Told::Unknown;
    loop {
        match read_reply(&mut replies)? {
            Reply::Answer(text) => told = Told::Operations(serde_json::from_str(&text)?),
            Reply::Aside(_) => {}
            Reply::Exit(_) => return Ok(told),
            Reply::NotHeld => return Ok(Told::NotHeld),
        }
    }
}
