//! One change of a pool: attach, operate, answer, free what waits, release.
#![forbid(unsafe_code)]

use thinly_engine::pool::{Engine, Pool};

use crate::console::Console;
use crate::context::Context;
use crate::failure::Failure;
use crate::progress::Progress;

/// Runs `operation` as the pool's writer and answers with `answer` as soon as the result is
/// durable; what deleted volumes held is freed after that, here or by the resident that holds the
/// pool.
pub(crate) fn change<T>(
    context: Context<'_>,
    pool: &str,
    operation: impl FnOnce(&Pool) -> Result<T, Failure>,
    answer: impl FnOnce(&T) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if let Some(held) = context.held {
        return operation(held).and_then(|result| answer(&result));
    }
    let console = context.console;
    let pool = Engine::new()?.attach(pool)?;
    warn_of_findings(console, &pool);
    let outcome = operation(&pool).and_then(|result| answer(&result));
    settle(console, pool, outcome.is_ok());
    outcome
}

/// What recovery saw when the pool was attached or opened.
pub(crate) fn warn_of_findings(console: Console<'_>, pool: &Pool) {
    for finding in pool.findings() {
        console.warn(&finding.to_string());
    }
}

/// Frees what waits, then lets the pool go. Both can be made up for by the next command, and the
/// operation itself is durable by now: a failure here is a warning.
pub(crate) fn settle(console: Console<'_>, pool: Pool, reap: bool) {
    if reap && let Err(error) = free_waiting(console, &pool) {
        console.warn(&format!("freeing deleted volumes stopped: {}", error.message()));
    }
    if let Err(error) = pool.release() {
        console.warn(&format!("the pool was not released in order: {error}"));
    }
}

fn free_waiting(console: Console<'_>, pool: &Pool) -> Result<(), Failure> {
    let mut progress = Progress::new("freeing deleted volumes", !console.is_json());
    let report = pool.reap(&mut |step| progress.update_reaped(step));
    progress.finish();
    let report = report?;
    if report.waiting > 0 {
        console.warn(&format!(
            "{} deleted volumes still wait to be freed; the next command goes on with it",
            report.waiting
        ));
    }
    Ok(())
}
