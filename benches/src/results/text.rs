//! Results as text, for a person who watches the run.

use std::fmt;

use super::{Bound, Goal, Group, Table};

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "== {}: {}", self.name, self.title)?;
        for table in &self.tables {
            writeln!(f, "\n{table}")?;
        }
        if !self.goals.is_empty() {
            writeln!(f)?;
        }
        for goal in &self.goals {
            writeln!(f, "{goal}")?;
        }
        for failure in &self.failures {
            writeln!(f, "FAILED {failure}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.is_met() {
            Some(true) => "ok",
            Some(false) => "MISS",
            None => "",
        };
        let Self { what, figure, unit, bound } = self;
        let figure = number(*figure);
        write!(f, "{verdict:<5} {figure:>9} {unit:<5} {bound:<16} {what}")
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::AtMost(most) => format!("at most {}", number(*most)),
            Self::AtLeast(least) => format!("at least {}", number(*least)),
            Self::Shown => String::new(),
        };
        f.pad(&text)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = || std::iter::once(&self.columns).chain(&self.rows);
        let width = |column: usize| {
            lines().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
        };
        writeln!(f, "{}", self.title)?;
        for line in lines() {
            for (column, cell) in line.iter().enumerate() {
                let width = width(column).unwrap_or_default();
                if column == 0 {
                    write!(f, "{cell:<width$}")?;
                } else {
                    write!(f, "  {cell:>width$}")?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Three digits that count, and no more than two behind the point.
pub(crate) fn number(figure: f64) -> String {
    let decimals = match figure.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 || size == 0.0 => 2,
        _ => 4,
    };
    format!("{figure:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_says_what_was_asked_and_whether_it_is_met() {
        let mut group = Group::new("create", "Creating", "");
        group.goal("create against create_thin", 0.426, "x", Bound::AtMost(0.5));
        group.goal("throughput of 32 callers", 3.9, "x", Bound::AtLeast(4.0));
        group.goal("lvcreate", 743.0, "ms", Bound::Shown);
        let text = group.to_string();
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines[1], "ok         0.43 x     at most 0.50     create against create_thin");
        assert_eq!(lines[2], "MISS       3.90 x     at least 4.00    throughput of 32 callers");
        assert_eq!(lines[3], "            743 ms                     lvcreate");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new("medians, ms", &["operation", "us"]);
        table.row(["create", "1234"]);
        assert_eq!(table.to_string(), "medians, ms\noperation    us\ncreate     1234\n");
    }
}
