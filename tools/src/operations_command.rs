//! `thinly operations`.
#![forbid(unsafe_code)]

use std::path::Path;

use thinly_engine::pool::Engine;

use crate::admin::{Done, Told, ask_recent};
use crate::args::Operations;
use crate::console::Console;
use crate::failure::Failure;
use crate::json::OperationsJson;
use crate::render;

pub(crate) fn run(
    console: Console<'_>,
    socket: &Path,
    arguments: &Operations,
) -> Result<(), Failure> {
    let untold = |why: String| {
        // A pool that is not there is told of as everywhere.
        let pool = Engine::new()?.view(&arguments.pool)?.name.to_string();
        Err(Failure::NotTold { pool, socket: socket.to_owned(), why })
    };
    match ask_recent(socket, &arguments.pool) {
        Ok(Told::Operations(operations)) => {
            console.answer(&operations, || render::operation_table(&operations.operations))
        }
        Ok(Told::NotHeld) => untold("the process there does not hold this pool".to_owned()),
        Ok(Told::Unknown) => untold("the process there is of an older version".to_owned()),
        Err(error) => untold(error.to_string()),
    }
}

/// The answer of the process that did them.
pub(crate) fn answer(console: Console<'_>, done: &[Done]) -> Result<(), Failure> {
    let value = OperationsJson::own(done);
    console.answer(&value, || render::operation_table(&value.operations))
}
