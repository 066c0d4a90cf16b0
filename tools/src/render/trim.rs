//! What a volume gave back.
#![forbid(unsafe_code)]

use thinly_engine::units::Bytes;

use crate::args::VolumePath;
use crate::json::TrimJson;
use crate::size::human;

/// One line: what it maps now, and what it did.
pub fn trim(path: &VolumePath, value: &TrimJson) -> String {
    let size = |bytes: Option<u64>| bytes.map_or_else(super::nothing, |it| human(Bytes::new(it)));
    let (before, after) = (size(value.mapped_before_bytes), size(value.mapped_after_bytes));
    format!("{path} maps {after}, and mapped {before} before\n")
}
