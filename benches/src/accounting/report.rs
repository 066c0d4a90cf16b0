//! The outcome of a run, for people and for programs.
#![forbid(unsafe_code)]

use std::fmt;

use serde::Serialize;

use super::child::Measured;
use super::image::ImageFacts;

const MIB: f64 = 1024.0 * 1024.0;

/// What a command took.
#[derive(Debug, Clone, Serialize)]
pub struct Side {
    /// Its words, `FILE` for the image.
    pub command: String,
    /// The median of its runs.
    #[serde(flatten)]
    pub measured: Measured,
}

impl Side {
    pub(super) fn new(words: &[&str], measured: Measured) -> Self {
        Self { command: words.join(" "), measured }
    }
}

/// One question, asked both ways.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The image.
    pub image: &'static str,
    /// What was asked.
    pub question: &'static str,
    /// Ours; `None` where there is no such command.
    pub ours: Option<Side>,
    /// The tool.
    pub rival: Side,
}

impl Row {
    /// How many times faster ours is.
    pub fn speedup(&self) -> Option<f64> {
        self.ratio(|measured| measured.wall_seconds)
    }

    /// How many times less processor time ours takes, which no disk has a part in.
    pub fn cpu_saving(&self) -> Option<f64> {
        self.ratio(|measured| measured.cpu_seconds)
    }

    /// How many times less memory ours takes.
    pub fn memory_saving(&self) -> Option<f64> {
        #[allow(clippy::cast_precision_loss, reason = "a ratio is told to a hundredth")]
        self.ratio(|measured| measured.peak_rss_bytes as f64)
    }

    fn ratio(&self, of: impl Fn(&Measured) -> f64) -> Option<f64> {
        self.ours.as_ref().map(|ours| of(&self.rival.measured) / of(&ours.measured))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
        };
        #[allow(clippy::cast_precision_loss, reason = "whole MiB are told")]
        let mib = |side: &Side| side.measured.peak_rss_bytes as f64 / MIB;
        let ours = self.ours.as_ref();
        write!(
            f,
            "{:<21} {:<27} {:>9} {:>9.3} {:>7} {:>7} {:>8} {:>8.0} {:>7}  {}",
            self.image,
            self.question,
            number(ours.map(|side| side.measured.wall_seconds), 3),
            self.rival.measured.wall_seconds,
            number(self.speedup(), 1),
            number(self.cpu_saving(), 1),
            number(ours.map(mib), 0),
            mib(&self.rival),
            number(self.memory_saving(), 1),
            self.rival.command.split(' ').next().unwrap_or_default(),
        )
    }
}

/// Everything that one run found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The version of thin-provisioning-tools.
    pub tools: String,
    /// How often each command was run, unless it takes long.
    pub runs: usize,
    /// What was asked about.
    pub images: Vec<ImageFacts>,
    /// The answers.
    pub rows: Vec<Row>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for image in &self.images {
            writeln!(f, "{:<21} {image}", image.name)?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "Against thin-provisioning-tools {}: medians of {} runs, times in s, memory in MiB",
            self.tools, self.runs
        )?;
        writeln!(
            f,
            "{:<21} {:<27} {:>9} {:>9} {:>7} {:>7} {:>8} {:>8} {:>7}  against",
            "image", "question", "time", "theirs", "ratio", "of cpu", "memory", "theirs", "ratio"
        )?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}
