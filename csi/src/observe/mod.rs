//! What people and programs see of the driver while it runs: a line and a number for every call,
//! metrics, and whether it is ready.
//!
//! Requests are never logged as a whole: they hold secrets and the context of volumes.
#![forbid(unsafe_code)]

mod endpoint;
mod exclusive;
mod layer;
mod pools;
mod rpc;
mod sample;

#[cfg(test)]
mod table_tests;

/// Tells the call's span what the call is about: the name or identifier that the client gave.
pub(crate) fn about(object: &str) {
    tracing::Span::current().record("object", object);
}

/// Tells the call's span what it made.
pub(crate) fn made(id: &impl std::fmt::Display) {
    tracing::Span::current().record("id", tracing::field::display(id));
}

pub(crate) use endpoint::{Metrics, serve};
pub(crate) use layer::ObserveLayer;
pub(crate) use rpc::{code_name, is_reading};
