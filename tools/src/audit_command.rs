//! `thinly audit`.
#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::path::Path;

use thinly_engine::pool::Engine;

use crate::args::Audit as Arguments;
use crate::audit::Audit;
use crate::console::Console;
use crate::failure::Failure;
use crate::file;
use crate::handles::parse_handles;
use crate::json::AuditJson;
use crate::render;

pub(crate) fn run(console: Console<'_>, arguments: &Arguments) -> Result<(), Failure> {
    let file = &arguments.handles;
    let bytes = if file.as_os_str() == "-" { read_input(file)? } else { file::read(file)? };
    let handles = parse_handles(&bytes)
        .map_err(|source| Failure::HandleList { file: file.clone(), source })?;
    let engine = Engine::new()?;
    let pool = engine.view(&arguments.pool)?;
    // By its uuid: between the two looks another pool may get the name.
    let volumes = engine.volumes(&pool.uuid.to_string())?;
    let audit = Audit::of(pool.uuid, &volumes, &handles);
    let name = pool.name.as_str();
    console.answer(&AuditJson::new(name, &audit), || render::audit_page(name, &audit))?;
    if audit.agrees() {
        return Ok(());
    }
    Err(Failure::Differs {
        pool: name.to_owned(),
        unnamed: audit.unnamed.len(),
        dangling: audit.dangling.len(),
    })
}

fn read_input(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).map_err(|source| Failure::File {
        action: "read",
        path: file.to_owned(),
        source,
    })?;
    Ok(bytes)
}
