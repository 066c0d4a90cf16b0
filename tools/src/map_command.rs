//! `thinly map`.
#![forbid(unsafe_code)]

use thinly_engine::pool::Engine;

use crate::args::Map;
use crate::console::Console;
use crate::failure::Failure;
use crate::file;
use crate::json::MapJson;
use crate::progress::Progress;
use crate::svg::{BAR_COUNT, CELL_COUNT, pool_map};

pub(crate) fn run(console: Console<'_>, arguments: &Map) -> Result<(), Failure> {
    file::refuse_existing(&arguments.out)?;
    let engine = Engine::new()?;
    let mut progress = Progress::new("reading metadata", !console.is_json());
    let read = engine.map(&arguments.pool, CELL_COUNT, BAR_COUNT, &mut |done, total| {
        progress.update(done, total);
    });
    progress.finish();
    let map = read?;
    let drawing = pool_map(&map);
    file::write_new(&arguments.out, drawing.as_bytes())?;
    let value = MapJson::new(&map, &arguments.out, drawing.len());
    console.answer(&value, || {
        format!("map of pool {} written to {}\n", value.pool, value.file.display())
    })
}
