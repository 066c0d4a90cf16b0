//! Short changes of a pool in the middle of a long command.
//!
//! A stream may take hours, and a pool has one writer: a command that held the claim for so long would
//! keep everybody else from changing anything. So it runs verbs, as a person would, each with the
//! claim for itself or handed to the process that holds the pool.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use clap::Parser as _;
use serde_json::Value;

use crate::admin;
use crate::args::Cli;
use crate::cli::dispatch;
use crate::console::{Console, Output};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;

/// Another command has the claim for a moment only.
const CLAIM_TRIES: u32 = 50;
const CLAIM_PAUSE: Duration = Duration::from_millis(100);

/// Runs verbs on behalf of a longer one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps<'a> {
    pub(crate) console: Console<'a>,
    pub(crate) socket: &'a Path,
}

impl Steps<'_> {
    /// Runs a verb and gives its answer. Its warnings are passed on.
    pub(crate) fn run(self, arguments: &[String]) -> Result<Value, Failure> {
        let words = std::iter::once("thinly").chain(arguments.iter().map(String::as_str));
        let words: Vec<OsString> = words.chain(["--json"]).map(OsString::from).collect();
        let cli = Cli::try_parse_from(&words).map_err(|error| Failure::Usage(error.to_string()))?;
        for attempt in 1.. {
            let heard = Heard::default();
            let console = Console::to(&heard, true);
            let ended = match dispatch(Context::alone(console), &cli) {
                Ok(()) => Ok(Exit::Success),
                Err(failure) if failure.is_claimed() => {
                    admin::ask(console, self.socket, (&words, &cli.command), failure)
                }
                Err(failure) => Err(failure),
            };
            match ended {
                Ok(Exit::Success) => {
                    heard.warnings().iter().for_each(|warning| self.console.warn(warning));
                    return heard.into_answer();
                }
                Ok(exit) => return Err(heard.into_failure(exit)),
                Err(Failure::NoResident { .. }) if attempt < CLAIM_TRIES => {
                    thread::sleep(CLAIM_PAUSE);
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(Value::Null)
    }
}

/// What a verb said.
#[derive(Debug, Default)]
struct Heard {
    answer: Mutex<String>,
    asides: Mutex<Vec<String>>,
}

impl Output for Heard {
    fn answer(&self, text: &str) -> io::Result<()> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
        Ok(())
    }

    fn aside(&self, line: &str) {
        self.asides.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned());
    }
}

impl Heard {
    fn into_answer(self) -> Result<Value, Failure> {
        let text = self.answer.into_inner().unwrap_or_else(PoisonError::into_inner);
        serde_json::from_str(&text).map_err(|error| Failure::Output(io::Error::other(error)))
    }

    fn warnings(&self) -> Vec<String> {
        self.told("warning")
    }

    fn into_failure(self, exit: Exit) -> Failure {
        let said = self.told("error").join("; ");
        let message =
            if said.is_empty() { "it was refused without a reason".to_owned() } else { said };
        Failure::Step { message, exit }
    }

    /// The messages of one kind.
    fn told(&self, kind: &str) -> Vec<String> {
        let asides = self.asides.lock().unwrap_or_else(PoisonError::into_inner);
        let message = |line: &String| -> Option<String> {
            let value: Value = serde_json::from_str(line).ok()?;
            Some(value[kind]["message"].as_str()?.to_owned())
        };
        asides.iter().filter_map(message).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_verb_says_is_told_apart() {
        let heard = Heard::default();
        let console = Console::to(&heard, true);
        console.warn("mind");
        console.fail(&Failure::Busy("resizing".to_owned()));
        console.write_answer("{\"a\": ").unwrap();
        console.write_answer("1}\n").unwrap();
        assert_eq!(heard.warnings(), ["mind"]);
        let failure = heard.told("error");
        assert_eq!(failure, ["resizing"]);
        assert_eq!(heard.into_answer().unwrap(), serde_json::json!({"a": 1}));
        let failure = Heard::default().into_failure(Exit::InUse);
        assert_eq!(failure.exit(), Exit::InUse);
    }
}
