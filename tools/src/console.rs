//! Where answers, warnings and events go: answers to standard output, all else to standard error.
#![forbid(unsafe_code)]

use std::io::{self, Write};

use serde::Serialize;

use crate::failure::Failure;
use crate::json::{ErrorJson, WarningJson};

/// The two ways to answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    json: bool,
}

impl Console {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
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
        write_answer(&text)
    }

    /// A hint for people only.
    pub(crate) fn hint(self, text: &str) {
        if !self.json {
            write_error_line(text);
        }
    }

    /// Something that the caller should know and that is no failure.
    pub(crate) fn warn(self, message: &str) {
        if self.json {
            let value = WarningJson::new(message);
            write_error_line(&serde_json::to_string(&value).unwrap_or_else(|_| message.to_owned()));
        } else {
            write_error_line(&format!("warning: {message}"));
        }
    }

    /// Why the command ends without success.
    pub(crate) fn fail(self, failure: &Failure) {
        let message = failure.message();
        if self.json {
            let value = ErrorJson::new(&message, failure.exit());
            write_error_line(&serde_json::to_string(&value).unwrap_or(message));
        } else {
            write_error_line(&format!("error: {message}"));
        }
    }

    /// One line of a resident's log.
    pub(crate) fn event<T: Serialize>(self, value: &T, human: &str) {
        if self.json {
            write_error_line(&serde_json::to_string(value).unwrap_or_else(|_| human.to_owned()));
        } else {
            write_error_line(human);
        }
    }
}

fn to_json<T: Serialize>(value: &T) -> Result<String, Failure> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::Output(io::Error::other(error)))?;
    text.push('\n');
    Ok(text)
}

/// A reader that went away has what it wanted: that is success.
pub(crate) fn write_answer(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(()),
    }
}

fn write_error_line(line: &str) {
    // Nobody is left to be told when standard error itself fails.
    let _ = writeln!(io::stderr().lock(), "{line}");
}
