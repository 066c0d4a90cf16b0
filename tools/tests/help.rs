//! The help texts, as people read them, and what every verb must have.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use clap::{Command, CommandFactory};
use thinly::args::Cli;

fn leaves(command: &Command) -> Vec<Command> {
    if command.get_subcommands().next().is_none() {
        return vec![command.clone()];
    }
    command.get_subcommands().flat_map(leaves).collect()
}

fn built() -> Command {
    let mut root = Cli::command().term_width(100);
    root.build();
    root
}

fn name(command: &Command) -> String {
    command.get_bin_name().unwrap_or(command.get_name()).to_owned()
}

#[test]
fn the_help_of_every_verb() {
    let root = built();
    let mut commands = vec![root.clone()];
    commands.extend(root.get_subcommands().filter(|family| family.has_subcommands()).cloned());
    commands.extend(leaves(&root));
    for mut command in commands {
        let file = name(&command).replace(' ', "-");
        insta::assert_snapshot!(file, command.render_long_help().to_string());
    }
}

fn example_lines(help: &str) -> Vec<&str> {
    help.lines()
        .skip_while(|line| !matches!(*line, "Example:" | "Examples:"))
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| line.starts_with("thinly "))
        .collect()
}

#[test]
fn every_verb_has_an_example_that_parses() {
    for mut leaf in leaves(&built()) {
        let name = name(&leaf);
        let help = leaf.render_long_help().to_string();
        let lines = example_lines(&help);
        assert!(lines.iter().any(|line| line.starts_with(&name)), "{name} is not in its example");
        for line in lines {
            // What explains an example stands after two spaces, where its output goes after '>' or '|'.
            let line = line.split("  ").next().unwrap_or_default();
            let line = line.split(['>', '|']).next().unwrap_or_default();
            // `thinly dm` looks at a path while it parses; the node need not exist here.
            let words = line.split_whitespace().map(|word| match word {
                "/dev/dm-3" => "253:3",
                other => other,
            });
            if let Err(error) = Cli::command().try_get_matches_from(words) {
                panic!("{line}: {error}");
            }
        }
    }
}

#[test]
fn every_verb_and_every_argument_is_described_and_takes_json() {
    for leaf in leaves(&built()) {
        let name = name(&leaf);
        assert!(leaf.get_about().is_some(), "{name}");
        assert!(leaf.get_arguments().any(|argument| argument.get_id() == "json"), "{name}");
        for argument in leaf.get_arguments() {
            assert!(argument.get_help().is_some(), "{name}: {}", argument.get_id());
        }
    }
}
