//! Which command of ours is compared with which tool.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::Path;

use anyhow::Result;

use super::child::Clock;
use super::image::Image;
use super::report::{Row, Side};
use crate::program::{self, command};

/// A word that stands for the image.
const FILE: &str = "FILE";
/// A word that stands for a snapshot.
const OLDER: &str = "OLDER";
/// A word that stands for the snapshot that was taken after it.
const NEWER: &str = "NEWER";

/// Two commands with the same answer.
#[derive(Debug)]
pub(super) struct Comparison {
    /// What is asked.
    name: &'static str,
    /// The tool and its words.
    rival: &'static [&'static str],
    /// The words after `thinly`.
    ours: &'static [&'static str],
}

/// All of them; a command that this `thinly` does not have is left out of its row.
pub(super) const COMPARISONS: &[Comparison] = &[
    Comparison {
        name: "exclusive and shared space",
        rival: &["thin_ls", "-o", "DEV,MAPPED,EXCLUSIVE,SHARED", FILE],
        ours: &["image", "ls", "--exclusive", FILE],
    },
    Comparison {
        name: "neighbouring snapshots",
        rival: &["thin_delta", "--thin1", OLDER, "--thin2", NEWER, FILE],
        ours: &["image", "diff", FILE, "--thin1", OLDER, "--thin2", NEWER],
    },
    Comparison { name: "check", rival: &["thin_check", FILE], ours: &["image", "check", FILE] },
];

impl Comparison {
    /// Times both on an image; `None` where there is nothing to ask.
    pub(super) fn measure(
        &self,
        clock: &Clock,
        thinly: Option<&Path>,
        image: &Image,
    ) -> Result<Option<Row>> {
        let (Some(rival), Some(ours)) = (words(self.rival, image), words(self.ours, image)) else {
            return Ok(None);
        };
        let mut rival = rival;
        if let (Some(program), Some(name)) = (rival.first_mut(), self.rival.first()) {
            *program = program::path(name).into();
        }
        let thinly = thinly.filter(|thinly| knows(thinly, self.ours));
        let ours = thinly.map(|thinly| {
            let words: Vec<OsString> =
                std::iter::once(thinly.as_os_str().to_owned()).chain(ours).collect();
            clock.median(&words)
        });
        Ok(Some(Row {
            image: image.facts.name,
            question: self.name,
            ours: ours.transpose()?.map(|measured| Side::new(self.ours, measured)),
            rival: Side::new(self.rival, clock.median(&rival)?),
        }))
    }
}

/// The words of a command on an image; `None` when they name snapshots that it does not have.
fn words(words: &[&str], image: &Image) -> Option<Vec<OsString>> {
    let word = |word: &&str| match *word {
        FILE => Some(image.path().as_os_str().to_owned()),
        OLDER => image.neighbours.map(|(older, _)| older.to_string().into()),
        NEWER => image.neighbours.map(|(_, newer)| newer.to_string().into()),
        other => Some(other.into()),
    };
    words.iter().map(word).collect()
}

/// Whether a command has the verb and all its options.
fn knows(thinly: &Path, words: &[&str]) -> bool {
    let verb = words.iter().take_while(|word| !word.starts_with("--") && **word != FILE);
    let help = program::output(command(thinly).args(verb).arg("--help"));
    let help = help.map(|help| String::from_utf8_lossy(&help).into_owned());
    let options = words.iter().filter(|word| word.starts_with("--"));
    help.is_ok_and(|help| options.into_iter().all(|option| help.contains(option)))
}
