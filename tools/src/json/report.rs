//! What goes to standard error: events, warnings and errors.
#![forbid(unsafe_code)]

use serde::Serialize;

use crate::exit::Exit;

/// One event of `thinly serve`.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct EventJson<'a> {
    pub event: &'static str,
    pub pool: Option<&'a str>,
    pub message: &'a str,
}

/// A failure, under the key `error`.
#[derive(Debug, Serialize)]
pub struct ErrorJson<'a> {
    error: ErrorBody<'a>,
}

#[derive(Debug, Serialize)]
struct ErrorBody<'a> {
    message: &'a str,
    kind: &'static str,
    exit_code: u8,
}

impl<'a> ErrorJson<'a> {
    /// A failure with its message and its exit.
    pub const fn new(message: &'a str, exit: Exit) -> Self {
        Self { error: ErrorBody { message, kind: exit.kind(), exit_code: exit.code() } }
    }
}

/// A warning, under the key `warning`.
#[derive(Debug, Serialize)]
pub struct WarningJson<'a> {
    warning: WarningBody<'a>,
}

#[derive(Debug, Serialize)]
struct WarningBody<'a> {
    message: &'a str,
}

impl<'a> WarningJson<'a> {
    /// A warning with its message.
    pub const fn new(message: &'a str) -> Self {
        Self { warning: WarningBody { message } }
    }
}
