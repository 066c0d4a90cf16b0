//! Reading the kernel's lines: fields in order, and errors that quote the line.
#![forbid(unsafe_code)]

use std::str::{FromStr, SplitWhitespace};

use thiserror::Error;

/// A table, status or message that does not read as its target's text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TextError {
    /// The line ends too early.
    #[error("{what} {line:?} ends before its {field}; this kernel may write another format")]
    Missing {
        /// What was read, such as `thin-pool status`.
        what: &'static str,
        /// The field that is not there.
        field: &'static str,
        /// The whole line.
        line: String,
    },
    /// A field holds a value that it should not.
    #[error(
        "{what} {line:?} has {value:?} as its {field}, which is not known; \
         this kernel may write another format"
    )]
    Value {
        /// What was read, such as `thin-pool status`.
        what: &'static str,
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// The whole line.
        line: String,
    },
    /// More fields than the target takes.
    #[error("{what} {line:?} goes on after its last field with {value:?}; remove it")]
    Trailing {
        /// What was read, such as `thin table`.
        what: &'static str,
        /// The first field too many.
        value: String,
        /// The whole line.
        line: String,
    },
    /// The line is of another target.
    #[error("expected a {expected} target, the device has a {found} target there")]
    Kind {
        /// The target asked for.
        expected: &'static str,
        /// The target found.
        found: String,
    },
}

/// The fields of one line.
pub(super) struct Fields<'a> {
    what: &'static str,
    line: &'a str,
    rest: SplitWhitespace<'a>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(what: &'static str, line: &'a str) -> Self {
        Self { what, line, rest: line.split_whitespace() }
    }

    /// The next field, if the line goes on.
    pub(super) fn optional(&mut self) -> Option<&'a str> {
        self.rest.next()
    }

    /// The next field.
    pub(super) fn next(&mut self, field: &'static str) -> Result<&'a str, TextError> {
        self.rest.next().ok_or_else(|| TextError::Missing {
            what: self.what,
            field,
            line: self.line.to_owned(),
        })
    }

    /// The next field as a number.
    pub(super) fn number<T: FromStr>(&mut self, field: &'static str) -> Result<T, TextError> {
        let value = self.next(field)?;
        self.parse_number(field, value)
    }

    /// A part of a field as a number: digits only, as the kernel prints it.
    pub(super) fn parse_number<T: FromStr>(
        &self,
        field: &'static str,
        value: &str,
    ) -> Result<T, TextError> {
        if value.starts_with('+') {
            return Err(self.bad(field, value));
        }
        value.parse().map_err(|_| self.bad(field, value))
    }

    /// The next field as `used/total`.
    pub(super) fn fraction(&mut self, field: &'static str) -> Result<(u64, u64), TextError> {
        let value = self.next(field)?;
        let (used, total) = value.split_once('/').ok_or_else(|| self.bad(field, value))?;
        Ok((self.parse_number(field, used)?, self.parse_number(field, total)?))
    }

    /// The error for a field's unknown value.
    pub(super) fn bad(&self, field: &'static str, value: &str) -> TextError {
        TextError::Value {
            what: self.what,
            field,
            value: value.to_owned(),
            line: self.line.to_owned(),
        }
    }

    /// All that is left.
    pub(super) fn trailing(self) -> Vec<String> {
        self.rest.map(str::to_owned).collect()
    }

    /// Refuses anything that is left.
    pub(super) fn end(mut self) -> Result<(), TextError> {
        match self.rest.next() {
            None => Ok(()),
            Some(value) => Err(TextError::Trailing {
                what: self.what,
                value: value.to_owned(),
                line: self.line.to_owned(),
            }),
        }
    }
}
