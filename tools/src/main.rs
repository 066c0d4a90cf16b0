//! Entry point: reads the arguments, runs the verb, reports how it ended.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    ExitCode::from(thinly::run(&arguments).code())
}
