//! `thinly dm`: any dm device as the kernel sees it, whoever made it.
//!
//! The verbs are dmsetup's. What a known target says is decoded into named fields; `--raw` gives
//! the kernel's own text, `--json` the same for a program. Nothing is changed but by `message`.

mod decode;
mod device;
mod guard;
mod render;
mod verbs;

use std::io::Write;

use anyhow::Result;
use clap::{Args, Subcommand};
use thinly_engine::dm::Control;

pub use device::DeviceArgument;

/// Looks at dm devices as the kernel sees them.
#[derive(Debug, Args)]
#[command(long_about = "\
Looks at dm devices as the kernel sees them: those of Thinly, of LVM, of anyone.

A DEVICE is a name (as in /dev/mapper), a path, MAJOR:MINOR, or uuid=UUID. What a linear, thin-pool \
or thin target says is shown as named fields; --raw shows the kernel's text instead. Nothing is \
changed, except by `message --yes`.")]
pub struct DmArguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists the dm devices of this host.
    #[command(after_long_help = "\
Examples:
  thinly dm list                          every dm device
  thinly dm list --uuid-prefix THINLY-    those of Thinly
  thinly dm list --raw                    names and numbers only, from one command to the kernel")]
    List(ListArguments),

    /// Shows what the kernel says of a device as a whole.
    #[command(after_long_help = "\
Examples:
  thinly dm info vg-lv
  thinly dm info /dev/dm-3 --json
  thinly dm info 253:3")]
    Info(DeviceOnly),

    /// Shows a device's table: which target serves which sectors.
    #[command(after_long_help = "\
Examples:
  thinly dm table vg-pool-tpool
  thinly dm table vg-pool-tpool --inactive    the table that the next resume swaps in
  thinly dm table vg-lv --raw                 as `dmsetup create` takes it")]
    Table(TableArguments),

    /// Shows what a device's targets say of themselves.
    #[command(after_long_help = "\
Examples:
  thinly dm status vg-pool-tpool            space, mode and transaction id of a pool
  thinly dm status vg-pool-tpool --flush    the same after the pool has committed
  thinly dm status vg-thin --raw")]
    Status(StatusArguments),

    /// Lists the devices below a device.
    #[command(after_long_help = "\
Examples:
  thinly dm deps vg-pool-tpool
  thinly dm deps vg-pool-tpool --json")]
    Deps(DeviceOnly),

    /// Sends a message to a device's target. This changes things.
    #[command(after_long_help = "\
Devices of Thinly take only reserve_metadata_snap, release_metadata_snap and @stats messages from \
here: whatever else is done behind their catalogue's back loses volumes.

Examples:
  thinly dm message --yes vg-lv @stats_list
  thinly dm message --yes vg-pool-tpool reserve_metadata_snap")]
    Message(MessageArguments),

    /// Lists the targets that the kernel has loaded, and its version.
    #[command(after_long_help = "\
Examples:
  thinly dm targets
  thinly dm targets --json")]
    Targets(FormatArguments),
}

#[derive(Debug, Clone, Copy, Args)]
struct FormatArguments {
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    /// Keeps the kernel's text as it is, without naming its fields.
    #[arg(long)]
    raw: bool,
}

#[derive(Debug, Args)]
struct ListArguments {
    /// Only devices whose name starts so.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    name_prefix: String,
    /// Only devices whose uuid starts so.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    uuid_prefix: String,
    #[command(flatten)]
    format: FormatArguments,
}

#[derive(Debug, Args)]
struct DeviceOnly {
    /// Name, path, MAJOR:MINOR or uuid=UUID.
    device: DeviceArgument,
    #[command(flatten)]
    format: FormatArguments,
}

#[derive(Debug, Args)]
struct TableArguments {
    /// Name, path, MAJOR:MINOR or uuid=UUID.
    device: DeviceArgument,
    /// The table that was loaded and waits for the next resume.
    #[arg(long)]
    inactive: bool,
    #[command(flatten)]
    format: FormatArguments,
}

#[derive(Debug, Args)]
struct StatusArguments {
    /// Name, path, MAJOR:MINOR or uuid=UUID.
    device: DeviceArgument,
    /// Lets a pool commit first, so that its numbers are those on disk.
    #[arg(long)]
    flush: bool,
    #[command(flatten)]
    format: FormatArguments,
}

#[derive(Debug, Args)]
struct MessageArguments {
    /// Really sends it.
    #[arg(long)]
    yes: bool,
    /// Name, path, MAJOR:MINOR or uuid=UUID.
    device: DeviceArgument,
    /// The message's words.
    #[arg(required = true, value_name = "WORD")]
    words: Vec<String>,
    #[command(flatten)]
    format: FormatArguments,
}

/// Runs the verb and writes what it found to `out`.
pub fn run(arguments: &DmArguments, out: &mut dyn Write) -> Result<()> {
    let control = Control::open()?;
    match &arguments.verb {
        Verb::List(arguments) => verbs::list(&control, arguments, out),
        Verb::Info(arguments) => verbs::info(&control, arguments, out),
        Verb::Table(arguments) => verbs::table(&control, arguments, out),
        Verb::Status(arguments) => verbs::status(&control, arguments, out),
        Verb::Deps(arguments) => verbs::deps(&control, arguments, out),
        Verb::Message(arguments) => verbs::message(&control, arguments, out),
        Verb::Targets(arguments) => verbs::targets(&control, *arguments, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        dm: DmArguments,
    }

    #[test]
    fn every_verb_has_an_example_of_itself() {
        let mut command = Cli::command();
        command.build();
        let verbs: Vec<String> =
            command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
        assert_eq!(
            verbs,
            ["list", "info", "table", "status", "deps", "message", "targets", "help"]
        );
        for verb in verbs.iter().filter(|verb| *verb != "help") {
            let help = command.find_subcommand_mut(verb).unwrap().render_long_help().to_string();
            assert!(help.contains(&format!("Examples:\n  thinly dm {verb}")), "{help}");
            assert!(help.contains("--json"), "{help}");
        }
    }

    #[test]
    fn every_example_parses() {
        let mut command = Cli::command();
        command.build();
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            let examples = verb.get_after_long_help().unwrap().to_string();
            for example in examples.lines().filter_map(|line| line.strip_prefix("  thinly dm ")) {
                // What explains an example stands after two spaces.
                let words = example.split("  ").next().unwrap().split_whitespace();
                // A path in an example need not exist where the test runs.
                let words =
                    words.map(|word| if word.starts_with("/dev/") { "dm-name" } else { word });
                Cli::try_parse_from(std::iter::once("dm").chain(words)).unwrap();
            }
        }
    }

    #[test]
    fn a_message_needs_words() {
        assert!(Cli::try_parse_from(["dm", "message", "--yes", "name"]).is_err());
        assert!(
            Cli::try_parse_from(["dm", "message", "--yes", "name", "create_thin", "0"]).is_ok()
        );
    }
}
