//! A map that was written to a file.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use serde::Serialize;
use thinly_engine::metadata::CellBlocks;
use thinly_engine::pool::PoolMap;
use thinly_engine::units::DataBlocks;

/// A map that was written to a file.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct MapJson {
    pub pool: String,
    pub file: PathBuf,
    pub file_bytes: usize,
    pub block_bytes: u64,
    pub mapped_bytes: u64,
    pub shared_bytes: u64,
    pub total_data_bytes: u64,
    pub cell_count: usize,
    pub bar_count: usize,
}

impl MapJson {
    /// A map that takes `file_bytes` in `file`.
    #[must_use]
    pub fn new(map: &PoolMap, file: &Path, file_bytes: usize) -> Self {
        let bytes = |blocks| map.block_size.length_of(DataBlocks::new(blocks)).get();
        let sum = CellBlocks::sum(&map.cells);
        Self {
            pool: map.pool.to_string(),
            file: file.to_owned(),
            file_bytes,
            block_bytes: map.block_size.bytes().get(),
            mapped_bytes: bytes(sum.mapped()),
            shared_bytes: bytes(sum.shared),
            total_data_bytes: bytes(map.grid.total_data_blocks().get()),
            cell_count: map.grid.cell_count(),
            bar_count: map.bars.len(),
        }
    }
}
