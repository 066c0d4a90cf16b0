//! `thinly-guest`: builds, starts and drives the guest; inside it, its init and its agent.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use thinly_guest::cache::Cache;
use thinly_guest::client::{Guest, Lifetime, Outcome, Output};
use thinly_guest::kernel::{Kernel, Version};
use thinly_guest::protocol::Exec;
use thinly_guest::run_dir::{CONSOLE_LOG, RunDir};
use thinly_guest::spec::Spec;
use thinly_guest::terminal::RawTerminal;
use thinly_guest::test_run::{self, TestArgs};
use thinly_guest::{agent, image, init, supervisor, terminal, test_list};

/// What timeout(1) answers, too.
const TIMED_OUT: u8 = 124;

/// The guest in which the project's kernel tests run.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Build what the cache has not got yet.
    Build {
        /// The kernel: 6.12 or 6.1.
        #[arg(long, env = "KERNEL", default_value = "6.12")]
        kernel: Version,
    },
    /// Start a guest, run one command, stop it. Without a command: a shell.
    Run {
        #[command(flatten)]
        spec: Spec,
        /// Put the test programs of this package on the guest's path; may be repeated.
        #[arg(long = "cargo-tests", value_name = "PACKAGE")]
        packages: Vec<String>,
        #[command(flatten)]
        command: CommandArgs,
    },
    /// Run a package's tests in one guest.
    Test {
        #[command(flatten)]
        spec: Spec,
        #[command(flatten)]
        tests: TestArgs,
    },
    /// Start a guest that stays, and print its directory.
    Up {
        #[command(flatten)]
        spec: Spec,
        /// The guest's directory, instead of one in the cache.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Run a command in a guest that is up. Without a command: a shell.
    Exec {
        #[command(flatten)]
        guest: GuestDir,
        #[command(flatten)]
        command: CommandArgs,
    },
    /// Reset a guest as a power button would, and wait until it is up again. Its disks stay.
    Reboot {
        #[command(flatten)]
        guest: GuestDir,
    },
    /// Stop a guest and remove its directory.
    Down {
        #[command(flatten)]
        guest: GuestDir,
    },
    /// Print a guest's console.
    Console {
        #[command(flatten)]
        guest: GuestDir,
    },
    /// Own QEMU (started by the other commands).
    #[command(hide = true)]
    Supervise {
        dir: PathBuf,
        #[arg(long)]
        lease: bool,
    },
    /// Run commands for the host (started by the guest's init).
    #[command(hide = true)]
    Agent,
}

#[derive(Debug, Args)]
struct GuestDir {
    /// The directory that `up` printed.
    #[arg(long, env = "THINLY_GUEST")]
    dir: PathBuf,
}

#[derive(Debug, Args)]
struct CommandArgs {
    /// Seconds after which the command is killed, with what the kernel says of blocked tasks.
    #[arg(long, default_value_t = 1800)]
    timeout: u64,
    /// Pass standard input on.
    #[arg(long)]
    stdin: bool,
    /// A variable for the command, as in NAME=VALUE; may be repeated.
    #[arg(long = "env", value_name = "NAME=VALUE")]
    variables: Vec<String>,
    /// Print the kernel log since the command's start when it fails.
    #[arg(long)]
    log: bool,
    /// The command; a single word is given to a shell.
    #[arg(last = true)]
    command: Vec<String>,
}

fn main() -> ExitCode {
    // As the first process of the guest there are no arguments to read.
    let done = if std::process::id() == 1 {
        init::run().map(|()| 0)
    } else {
        perform(Cli::parse().command)
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            eprintln!("thinly-guest: {e:#}");
            ExitCode::from(125)
        }
    }
}

fn perform(action: Action) -> Result<u8> {
    match action {
        Action::Build { kernel } => {
            let cache = Cache::open()?;
            Kernel::get(&cache, kernel)?;
            image::root_image(&cache)?;
        }
        Action::Run { mut spec, packages, command } => {
            for package in &packages {
                spec.suites.extend(test_list::build(package)?);
            }
            let guest = Guest::start(&spec, None, Lifetime::Lease)?;
            return run_command(&guest, &command);
        }
        Action::Test { spec, tests } => {
            return Ok(u8::from(!test_run::run(spec, &tests)?));
        }
        Action::Up { spec, dir } => {
            let guest = Guest::start(&spec, dir.as_deref(), Lifetime::Stays)?;
            println!("{}", guest.dir().display());
        }
        Action::Exec { guest, command } => {
            return run_command(&Guest::attach(&guest.dir)?, &command);
        }
        Action::Reboot { guest } => Guest::attach(&guest.dir)?.reset()?,
        Action::Down { guest } => Guest::attach(&guest.dir)?.down()?,
        Action::Console { guest } => {
            let console = std::fs::read(RunDir::open(&guest.dir)?.file(CONSOLE_LOG))?;
            io::stdout().write_all(&console)?;
        }
        Action::Supervise { dir, lease } => supervisor::run(RunDir::open(&dir)?, lease)?,
        Action::Agent => agent::serve()?,
    }
    Ok(0)
}

fn run_command(guest: &Guest, args: &CommandArgs) -> Result<u8> {
    let mut env = BTreeMap::new();
    for variable in &args.variables {
        let (name, value) = variable.split_once('=').context("--env wants NAME=VALUE")?;
        env.insert(name.to_owned(), value.to_owned());
    }
    let is_shell = args.command.is_empty();
    let words = match args.command.as_slice() {
        [] if io::stdin().is_terminal() => terminal::shell_with_terminal(&mut env),
        [] => vec!["bash".to_owned()],
        [script] => vec!["bash".to_owned(), "-c".to_owned(), script.clone()],
        several => several.to_vec(),
    };
    let exec = Exec {
        argv: words,
        env,
        cwd: String::new(),
        has_stdin: args.stdin || is_shell,
        log_on_failure: args.log,
    };
    // A person thinks longer than any command runs.
    let timeout =
        if is_shell { Duration::from_hours(7 * 24) } else { Duration::from_secs(args.timeout) };
    let _raw = is_shell.then(RawTerminal::enter).transpose()?.flatten();
    let outcome = guest.exec(exec, timeout, |output| {
        // A reader who left, as in `| head`, does not matter to the command.
        let _ = match output {
            Output::Stdout(bytes) => {
                io::stdout().write_all(bytes).and_then(|()| io::stdout().flush())
            }
            Output::Stderr(bytes) => io::stderr().write_all(bytes),
            Output::KernelLog(text) => {
                writeln!(io::stderr(), "--- kernel log\n{text}--- end of kernel log")
            }
        };
    })?;
    Ok(match outcome {
        Outcome::Exit(code) => u8::try_from(code).unwrap_or(u8::MAX),
        Outcome::TimedOut { guest_is_stuck } => {
            let how = if guest_is_stuck { "and could not be killed" } else { "and was killed" };
            eprintln!("thinly-guest: the command took longer than {} s {how}", args.timeout);
            TIMED_OUT
        }
    })
}
