//! What a volume gave back.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use serde::Serialize;
use thinly_engine::pool::{TrimReport, ZeroReport};
use thinly_engine::units::Bytes;

/// The answer of `volume trim`.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct TrimJson {
    pub name: String,
    pub filesystem: Option<String>,
    pub mount_point: Option<PathBuf>,
    pub read_bytes: Option<u64>,
    pub trimmed_bytes: u64,
    pub mapped_before_bytes: Option<u64>,
    pub mapped_after_bytes: Option<u64>,
}

impl TrimJson {
    /// By its filesystem.
    #[must_use]
    pub fn of_filesystem(name: &str, report: &TrimReport) -> Self {
        Self {
            name: name.to_owned(),
            filesystem: Some(report.filesystem.clone()),
            mount_point: report.mount_point.clone(),
            read_bytes: None,
            trimmed_bytes: report.trimmed_bytes.get(),
            mapped_before_bytes: report.mapped_before.map(Bytes::get),
            mapped_after_bytes: report.mapped_after.map(Bytes::get),
        }
    }

    /// By what is on it.
    #[must_use]
    pub fn of_zeros(name: &str, report: &ZeroReport) -> Self {
        Self {
            name: name.to_owned(),
            filesystem: None,
            mount_point: None,
            read_bytes: Some(report.read_bytes.get()),
            trimmed_bytes: report.zero_bytes.get(),
            mapped_before_bytes: report.mapped_before.map(Bytes::get),
            mapped_after_bytes: report.mapped_after.map(Bytes::get),
        }
    }
}
