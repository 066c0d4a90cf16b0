//! The engine's failures in the codes of the specification.
#![forbid(unsafe_code)]

use std::error::Error;

use thinly_engine::pool::{ExitClass, PoolError};
use tonic::{Code, Status};

use crate::host::{HostError, HostErrorKind};

/// The whole chain of an error in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

const fn code_of(class: ExitClass) -> Code {
    match class {
        ExitClass::NotFound => Code::NotFound,
        ExitClass::Exists => Code::AlreadyExists,
        ExitClass::InUse | ExitClass::Damaged | ExitClass::Unsupported => Code::FailedPrecondition,
        ExitClass::Refused => Code::InvalidArgument,
        ExitClass::NoSpace => Code::ResourceExhausted,
        // Somebody may mend the pool: asking again makes sense.
        ExitClass::Degraded => Code::Unavailable,
        ExitClass::Permission => Code::PermissionDenied,
        _ => Code::Internal,
    }
}

/// A failure that has a code.
pub(crate) trait Coded: Error {
    /// The code of the specification.
    fn code(&self) -> Code;
}

impl Coded for PoolError {
    fn code(&self) -> Code {
        match self {
            // The handle is replaced by one that has recovered: soon it works again.
            Self::Poisoned { .. } => Code::Unavailable,
            error => code_of(error.exit_class()),
        }
    }
}

impl Coded for HostError {
    fn code(&self) -> Code {
        match self.kind() {
            HostErrorKind::NotFound => Code::NotFound,
            HostErrorKind::Exists => Code::AlreadyExists,
            HostErrorKind::Refused => Code::InvalidArgument,
            HostErrorKind::InUse | HostErrorKind::Unsupported => Code::FailedPrecondition,
            _ => Code::Internal,
        }
    }
}

/// The status for a failure.
pub(crate) fn status_of(error: &impl Coded) -> Status {
    Status::new(error.code(), chain(error))
}

/// The status of a failed call.
pub(crate) trait OrStatus<T> {
    fn or_status(self) -> Result<T, Status>;
}

impl<T, E: Coded> OrStatus<T> for Result<T, E> {
    fn or_status(self) -> Result<T, Status> {
        self.map_err(|error| status_of(&error))
    }
}

/// The status for a failure to grow: "no space" must be `OUT_OF_RANGE` here, because the resizer
/// repeats `RESOURCE_EXHAUSTED` for ever and lets nobody ask for less.
pub(crate) fn status_of_growth(error: &PoolError) -> Status {
    let status = status_of(error);
    match status.code() {
        Code::ResourceExhausted => Status::out_of_range(status.message()),
        _ => status,
    }
}
