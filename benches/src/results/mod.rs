//! What a run found: written by the groups, read by reports and by programs.
#![forbid(unsafe_code)]

mod text;

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::stage::Extent;

pub(crate) use text::number;

/// A run: the machine, and what every group found on it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// What it ran on.
    pub machine: Machine,
    /// How much was measured.
    pub extent: Extent,
    /// The groups, in the order in which they ran.
    pub groups: Vec<Group>,
}

/// What one group of measurements found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    /// Its name on the command line.
    pub name: String,
    /// Its heading.
    pub title: String,
    /// How it was measured, in Markdown.
    pub text: String,
    /// The figures that a goal stands on, or that belong beside one.
    pub goals: Vec<Goal>,
    /// The figures themselves.
    pub tables: Vec<Table>,
    /// Pictures of them.
    pub plots: Vec<Plot>,
    /// Exact numbers that are not what they must be: these fail a run, times never do.
    pub failures: Vec<String>,
}

impl Group {
    /// A group that has found nothing yet.
    pub fn new(name: &str, title: &str, text: &str) -> Self {
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            text: text.to_owned(),
            goals: Vec::new(),
            tables: Vec::new(),
            plots: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Adds a figure that has a goal.
    pub fn goal(&mut self, what: impl Into<String>, figure: f64, unit: &str, bound: Bound) {
        self.goals.push(Goal { what: what.into(), figure, unit: unit.to_owned(), bound });
    }
}

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// Anything: it stands beside the others to be seen.
    Shown,
}

/// A figure that says whether the engine is as good as it should be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Goal {
    /// What it is, with what it is compared with.
    pub what: String,
    /// What was measured.
    pub figure: f64,
    /// `x` for a ratio, `ms`, `us`, `bytes`, ...
    pub unit: String,
    /// What it should be.
    pub bound: Bound,
}

impl Goal {
    /// Whether it is what it should be; `None` where nothing is asked.
    pub fn is_met(&self) -> Option<bool> {
        match self.bound {
            Bound::AtMost(most) => Some(self.figure <= most),
            Bound::AtLeast(least) => Some(self.figure >= least),
            Bound::Shown => None,
        }
    }
}

/// Figures in rows; all cells are text that is ready to be shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Table {
    /// What it shows, with the unit where all columns have the same.
    pub title: String,
    /// The head of each column; the first one names the rows.
    pub columns: Vec<String>,
    /// The rows, each as long as the columns.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(title: impl Into<String>, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Self { title: title.into(), columns, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }
}

/// One axis of a picture.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Axis {
    /// What it shows, with its unit.
    pub label: String,
    /// Whether each step multiplies.
    pub is_logarithmic: bool,
}

impl Axis {
    /// An axis on which each step multiplies.
    pub fn logarithmic(label: &str) -> Self {
        Self { label: label.to_owned(), is_logarithmic: true }
    }

    /// An axis on which each step adds.
    pub fn linear(label: &str) -> Self {
        Self { label: label.to_owned(), is_logarithmic: false }
    }
}

/// A picture with lines.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plot {
    /// The name of its file, without an ending.
    pub file: String,
    /// Its heading.
    pub title: String,
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// The lines.
    pub series: Vec<Series>,
}

/// One line of a picture.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Series {
    /// What it shows.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}
