//! Where answers, warnings and events go: answers to standard output, all else to standard error,
//! or both to whoever asked this process over its socket.
#![forbid(unsafe_code)]

use std::fmt::Debug;
use std::io::{self, BufWriter, Write};

use serde::Serialize;

use crate::failure::Failure;
use crate::json::{ErrorJson, WarningJson};

/// What reads the answers.
pub(crate) trait Output: Debug + Sync {
    /// Takes an answer.
    fn answer(&self, text: &str) -> io::Result<()>;

    /// Takes a line of anything else. Nobody is left to be told when that fails.
    fn aside(&self, line: &str);
}

/// The process's own streams.
#[derive(Debug)]
struct Streams;

impl Output for Streams {
    fn answer(&self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
    }

    fn aside(&self, line: &str) {
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
}

/// The two ways to answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console<'a> {
    json: bool,
    output: &'a dyn Output,
}

impl Console<'static> {
    /// Answers on the process's own streams.
    pub(crate) const fn new(json: bool) -> Self {
        Self { json, output: &Streams }
    }
}

impl<'a> Console<'a> {
    /// Answers to somebody else.
    pub(crate) const fn to(output: &'a dyn Output, json: bool) -> Self {
        Self { json, output }
    }

    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Answers: `human` makes the text for people, `value` the same for programs.
    pub(crate) fn answer<T: Serialize>(
        self,
        value: &T,
        human: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let text = if self.json { to_json(value)? } else { human() };
        self.write_answer(&text)
    }

    /// Answers a program with what is too long to be held in memory.
    pub(crate) fn stream<T: Serialize>(self, value: &T) -> Result<(), Failure> {
        let mut out = BufWriter::with_capacity(1 << 16, self.writer());
        serde_json::to_writer_pretty(&mut out, value)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out))
            .and_then(|()| out.flush())
            .or_else(|error| match error.kind() {
                io::ErrorKind::BrokenPipe => Ok(()),
                _ => Err(Failure::Output(error)),
            })
    }

    /// A reader that went away has what it wanted: that is success.
    pub(crate) fn write_answer(self, text: &str) -> Result<(), Failure> {
        match self.output.answer(text) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
            _ => Ok(()),
        }
    }

    /// Takes an answer that is too long to be made at once; only text may be written to it.
    pub(crate) fn writer(self) -> impl Write + use<'a> {
        Stream(self.output)
    }

    /// Passes a line on as it is.
    pub(crate) fn aside(self, line: &str) {
        self.output.aside(line);
    }

    /// A hint for people only.
    pub(crate) fn hint(self, text: &str) {
        if !self.json {
            self.output.aside(text);
        }
    }

    /// Something that the caller should know and that is no failure.
    pub(crate) fn warn(self, message: &str) {
        if self.json {
            let value = WarningJson::new(message);
            self.output
                .aside(&serde_json::to_string(&value).unwrap_or_else(|_| message.to_owned()));
        } else {
            self.output.aside(&format!("warning: {message}"));
        }
    }

    /// Why the command ends without success.
    pub(crate) fn fail(self, failure: &Failure) {
        let message = failure.message();
        if self.json {
            let value = ErrorJson::new(&message, failure.exit());
            self.output.aside(&serde_json::to_string(&value).unwrap_or(message));
        } else {
            self.output.aside(&format!("error: {message}"));
        }
    }

    /// One line of a resident's log.
    pub(crate) fn event<T: Serialize>(self, value: &T, human: &str) {
        if self.json {
            self.output.aside(&serde_json::to_string(value).unwrap_or_else(|_| human.to_owned()));
        } else {
            self.output.aside(human);
        }
    }
}

/// An answer in parts. Each is whole text: nothing here cuts one.
#[derive(Debug)]
struct Stream<'a>(&'a dyn Output);

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.answer(text).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn to_json<T: Serialize>(value: &T) -> Result<String, Failure> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::Output(io::Error::other(error)))?;
    text.push('\n');
    Ok(text)
}
