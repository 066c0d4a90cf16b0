//! The kernel's text forms: each operation reads a status, each activation writes a table.
#![allow(clippy::unnecessary_wraps, reason = "all pieces are made alike")]

use std::hint::black_box;
use std::path::Path;

use thinly_engine::block_device::DeviceNumber;
use thinly_engine::dm::{ThinPoolStatus, ThinStatus};
use thinly_engine::plan::thin_table;
use thinly_engine::units::{Sectors, ThinId};

use super::Piece;
use anyhow::Result;

const POOL: &str = "17 4161/262144 18042/1310720 - rw discard_passdown queue_if_no_space - 1024";

pub(super) fn thin_pool_status(_: &Path) -> Result<Piece> {
    Ok(Box::new(|| {
        black_box(black_box(POOL).parse::<ThinPoolStatus>()?);
        Ok(())
    }))
}

pub(super) fn thin_status(_: &Path) -> Result<Piece> {
    Ok(Box::new(|| {
        black_box(black_box("1843200 2097151").parse::<ThinStatus>()?);
        Ok(())
    }))
}

pub(super) fn table(_: &Path) -> Result<Piece> {
    let id = ThinId::new(4711)?;
    Ok(Box::new(move || {
        let pool = DeviceNumber { major: 253, minor: 17 };
        let table = thin_table(black_box(pool), id, Sectors::new(2_097_152));
        black_box(table.first().map(|line| line.target.parameters()));
        Ok(())
    }))
}
