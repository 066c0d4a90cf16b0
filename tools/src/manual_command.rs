//! `thinly completions` and `thinly man`: both come from the arguments' own description.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::args::{Cli, Completions, Man as ManArguments};
use crate::console::Console;
use crate::failure::Failure;
use crate::json::{CompletionsJson, PageJson};

pub(crate) fn completions(console: Console<'_>, arguments: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "thinly", &mut script);
    let value = CompletionsJson {
        shell: arguments.shell.to_string(),
        script: String::from_utf8_lossy(&script).into_owned(),
    };
    console.answer(&value, || value.script.clone())
}

pub(crate) fn man(console: Console<'_>, arguments: &ManArguments) -> Result<(), Failure> {
    let mut root = Cli::command();
    root.build();
    if let Some(directory) = &arguments.out {
        return write_pages(console, root, directory);
    }
    let value = page(root)?;
    console.answer(&value, || value.text.clone().unwrap_or_default())
}

fn write_pages(console: Console<'_>, root: Command, directory: &Path) -> Result<(), Failure> {
    let mut values = Vec::new();
    for command in with_subcommands(root) {
        let PageJson { page, text, .. } = page(command)?;
        let file = directory.join(&page);
        fs::write(&file, text.unwrap_or_default()).map_err(|source| Failure::File {
            action: "write",
            path: file.clone(),
            source,
        })?;
        values.push(PageJson { page, file: Some(file), text: None });
    }
    console
        .answer(&values, || format!("{} pages written to {}\n", values.len(), directory.display()))
}

fn with_subcommands(command: Command) -> Vec<Command> {
    // What only the program itself calls has no page.
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    let mut all: Vec<Command> = shown.cloned().flat_map(with_subcommands).collect();
    all.insert(0, command);
    all
}

fn page(command: Command) -> Result<PageJson, Failure> {
    let page = Man::new(command).section("8").source(concat!("thinly ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    page.render(&mut text).map_err(Failure::Output)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(PageJson { page: page.get_filename(), file: None, text: Some(text) })
}
