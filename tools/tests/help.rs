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

#[test]
fn every_verb_has_an_example_that_parses() {
    for mut leaf in leaves(&built()) {
        let name = name(&leaf);
        let help = leaf.render_long_help().to_string();
        let (_, example) = help.split_once("Example:\n").unwrap_or_else(|| panic!("{name}"));
        let lines: Vec<&str> = example
            .lines()
            .map_while(|line| line.strip_prefix("  "))
            .filter(|line| line.starts_with("thinly "))
            .collect();
        assert!(lines.iter().any(|line| line.starts_with(&name)), "{name} is not in its example");
        for line in lines {
            let words = line.split('>').next().unwrap_or_default().split_whitespace();
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
