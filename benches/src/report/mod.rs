//! The documentation of a run: written anew by every `make bench`, never by hand.
#![forbid(unsafe_code)]

mod markdown;
mod picture;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::results::Run;

/// What stands before the figures: it is the same for every run.
const PREFACE: &str = include_str!("preface.md");
/// The document, and the directory of its pictures.
const DOCUMENT: &str = "benchmarks.md";
const PICTURES: &str = "benchmarks";

/// Writes the document and its pictures into a directory.
pub fn write(runs: &[Run], directory: &Path) -> Result<()> {
    let pictures = directory.join(PICTURES);
    fs::create_dir_all(&pictures).with_context(|| format!("making {}", pictures.display()))?;
    for plot in runs.iter().flat_map(|run| &run.groups).flat_map(|group| &group.plots) {
        let file = pictures.join(format!("{}.svg", plot.file));
        let text = picture::svg(plot).with_context(|| format!("drawing {}", plot.file))?;
        fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    let document = directory.join(DOCUMENT);
    let text = markdown::document(PREFACE, &by_machine(runs), PICTURES);
    fs::write(&document, text).with_context(|| format!("writing {}", document.display()))
}

/// Runs of one extent on the same machine as one, in the order in which the machines come.
fn by_machine(runs: &[Run]) -> Vec<Run> {
    let mut joined: Vec<Run> = Vec::new();
    for run in runs {
        match joined
            .iter_mut()
            .find(|known| (&known.machine, known.extent) == (&run.machine, run.extent))
        {
            Some(known) => known.groups.extend(run.groups.iter().cloned()),
            None => joined.push(run.clone()),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn the_document_in_the_tree_is_of_this_preface() {
        let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let text = fs::read_to_string(docs.join(DOCUMENT)).unwrap();
        assert!(text.starts_with(PREFACE), "the preface changed: `make bench` writes it anew");
        for line in text.lines() {
            let Some((_, link)) = line.split_once("](benchmarks/") else { continue };
            let file = docs.join(PICTURES).join(link.trim_end_matches(')'));
            assert!(file.exists(), "{} is shown and not there", file.display());
        }
    }
}
