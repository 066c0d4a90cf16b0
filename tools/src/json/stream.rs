//! Streams that were written or received.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A stream that was written into a file.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct SendJson {
    pub pool: String,
    pub snapshot: String,
    pub source_uuid: Uuid,
    pub base_uuid: Option<Uuid>,
    pub file: PathBuf,
    pub stream_bytes: u64,
    pub start_bytes: u64,
    pub data_bytes: u64,
    pub zero_bytes: u64,
}

/// A stream that was received.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct ReceiveJson {
    pub pool: String,
    pub volume: String,
    pub snapshot: String,
    pub source_uuid: Uuid,
    pub base_uuid: Option<Uuid>,
    pub stream_bytes: u64,
    pub start_bytes: u64,
    pub data_bytes: u64,
    pub zero_bytes: u64,
}

/// How far a stream came that broke.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct TokenJson {
    pub pool: String,
    pub volume: String,
    pub source_uuid: Uuid,
    pub base_uuid: Option<Uuid>,
    pub durable_bytes: u64,
    pub token: String,
}

/// A volume that a stream may be written to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct ReceivingJson {
    pub device: PathBuf,
    pub snapshot: String,
    pub block_bytes: u64,
    pub durable_bytes: u64,
}
