//! The messages and services of the Container Storage Interface 1.12, generated from
//! `proto/csi.proto`. In a crate of its own so that our lints need no exceptions for it, and so
//! that tests can be a client without the driver.
#![forbid(unsafe_code)]
#![allow(
    missing_docs,
    missing_debug_implementations,
    rust_2018_idioms,
    clippy::all,
    clippy::pedantic,
    rustdoc::all,
    reason = "generated code"
)]

tonic::include_proto!("csi.v1");
