//! From the command line to an exit: parse, run, report.
#![forbid(unsafe_code)]

use std::ffi::OsString;

use clap::Parser;
use clap::error::ErrorKind;

use crate::args::{Cli, Command};
use crate::console::Console;
use crate::context::Context;
use crate::dm_command::{self, DmArguments};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::{
    admin, adopt_command, audit_command, diff_command, forget_command, image_command,
    manual_command, map_command, operations_command, pool_command, receive_command, receive_step,
    send_command, serve_command, snapshot_command, top, usage_command, volume_command,
};

/// Runs one command line and tells how it ended; failures are reported on standard error.
pub fn run(arguments: &[OsString]) -> Exit {
    match Cli::try_parse_from(arguments) {
        Ok(cli) => {
            let console = Console::new(cli.json);
            match dispatch(Context::alone(console), &cli) {
                Err(failure) if failure.is_claimed() => {
                    let asked = (arguments, &cli.command);
                    admin::ask(console, &cli.admin_socket, asked, failure)
                        .unwrap_or_else(|failure| report(console, Err(failure)))
                }
                outcome => report(console, outcome),
            }
        }
        Err(error) => refuse(arguments, &error),
    }
}

/// Says on standard error why a verb failed, in the form asked for.
pub(crate) fn report(console: Console<'_>, outcome: Result<(), Failure>) -> Exit {
    match outcome {
        Ok(()) => Exit::Success,
        Err(failure) => {
            console.fail(&failure);
            failure.exit()
        }
    }
}

/// Runs the verb.
pub(crate) fn dispatch(context: Context<'_>, cli: &Cli) -> Result<(), Failure> {
    let console = context.console;
    match &cli.command {
        Command::Pool { verb } => pool_command::run(context, verb),
        Command::Volume { verb } => volume_command::run(context, verb),
        Command::Snapshot { verb } => snapshot_command::run(context, verb),
        Command::Image { verb } => image_command::run(console, verb),
        Command::Adopt(arguments) => adopt_command::run(context, arguments),
        Command::Forget(arguments) => forget_command::run(context, arguments),
        Command::Audit(arguments) => audit_command::run(console, arguments),
        Command::Usage(arguments) => usage_command::run(console, arguments),
        Command::Operations(arguments) => {
            operations_command::run(console, &cli.admin_socket, arguments)
        }
        Command::Top(arguments) => top::run(console, &cli.admin_socket, arguments),
        Command::Map(arguments) => map_command::run(console, arguments),
        Command::Diff(arguments) => diff_command::run(console, arguments),
        Command::Send(arguments) => send_command::run(console, &cli.admin_socket, arguments),
        Command::Receive(arguments) => receive_command::run(console, &cli.admin_socket, arguments),
        Command::ReceiveStep(arguments) => receive_step::run(context, arguments),
        Command::Dm(arguments) => look_at_dm(console, arguments),
        Command::Serve(arguments) => serve_command::run(console, &cli.admin_socket, arguments),
        Command::Completions(arguments) => manual_command::completions(console, arguments),
        Command::Man(arguments) => manual_command::man(console, arguments),
    }
}

/// These verbs print JSON when their own `--json` is given, which the global one reaches too.
fn look_at_dm(console: Console<'_>, arguments: &DmArguments) -> Result<(), Failure> {
    let mut answer = Vec::new();
    dm_command::run(arguments, &mut answer).map_err(Failure::from_dm_command)?;
    console.write_answer(&String::from_utf8_lossy(&answer))
}

fn refuse(arguments: &[OsString], error: &clap::Error) -> Exit {
    // The arguments did not parse, so the flag is looked for by hand.
    let console = Console::new(arguments.iter().any(|argument| argument == "--json"));
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            report(console, console.write_answer(&error.render().to_string()))
        }
        _ if console.is_json() => report(console, Err(Failure::Usage(first_part(error)))),
        _ => {
            // Nobody is left to be told when standard error itself fails.
            let _ = error.print();
            Exit::Usage
        }
    }
}

/// What was wrong, without the usage lines that follow.
fn first_part(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let end = ["\n\nUsage:", "\n\nFor more information"].iter().filter_map(|mark| text.find(mark));
    text[..end.min().unwrap_or(text.len())].trim().to_owned()
}
