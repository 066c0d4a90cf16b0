//! Why a cluster did not answer.
#![forbid(unsafe_code)]

use std::error::Error;

use thiserror::Error;

/// How much is told of what a cluster says, in characters.
const MESSAGE_MAX: usize = 300;

/// A cluster that cannot be asked, or does not answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// Where it is, or who asks, is not known.
    #[error("the cluster's address and credentials cannot be had: {reason}")]
    Access {
        /// What was tried, and why it failed.
        reason: String,
    },
    /// The answer is no, for want of a right.
    #[error(
        "{action} is not allowed: {message}; docs/kubernetes-controller.md lists the rights that it takes"
    )]
    Forbidden {
        /// What was tried.
        action: String,
        /// What the cluster said.
        message: String,
    },
    /// The cluster answers with an error, or not at all.
    #[error("{action} failed: {reason}")]
    Call {
        /// What was tried.
        action: String,
        /// Why it failed.
        reason: String,
    },
}

impl ClusterError {
    /// The failure of something that was tried.
    pub fn of_call(action: impl Into<String>, error: &kube::Error) -> Self {
        let action = action.into();
        match error {
            kube::Error::Api(status) if status.is_forbidden() || status.code == 401 => {
                Self::Forbidden { action, message: short(&status.message) }
            }
            error => Self::Call { action, reason: told(error) },
        }
    }

    /// The same, said with the cluster's address: somebody may have meant another one.
    pub(crate) fn at(mut self, address: &str) -> Self {
        if let Self::Forbidden { action, .. } | Self::Call { action, .. } = &mut self {
            *action = format!("{action} at {address}");
        }
        self
    }

    /// Access that cannot be had.
    pub(crate) fn of_access(what: &str, error: &dyn Error) -> Self {
        Self::Access { reason: format!("{what}: {}", chain(error)) }
    }
}

/// The failure of a call in a few words: the cluster's own where it said any.
pub fn told(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", short(&status.message), status.code),
        error => chain(error),
    }
}

/// The beginning of a message in one line. What is no status is the page of something in between, of any
/// length.
fn short(message: &str) -> String {
    let words: Vec<&str> = message.split_whitespace().collect();
    words.join(" ").chars().take(MESSAGE_MAX).collect()
}

/// The whole chain of an error in one line. What an error repeats of its cause is told once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
