//! Results in Markdown.

use std::fmt::Write;

use crate::machine::Machine;
use crate::results::{Bound, Goal, Group, Run, Table, number};

/// The whole document.
pub(super) fn document(preface: &str, runs: &[Run], pictures: &str) -> String {
    let mut text = preface.to_owned();
    // Writing into a String cannot fail.
    let _ = write_all(&mut text, runs, pictures);
    text
}

fn write_all(text: &mut String, runs: &[Run], pictures: &str) -> std::fmt::Result {
    writeln!(text, "\n## The machines of these figures\n")?;
    writeln!(text, "| what ran | extent | kernel | processors | memory | disks |")?;
    writeln!(text, "|---|---|---|---|---|---|")?;
    for run in runs {
        machine(text, run)?;
    }
    writeln!(text, "\n## All goals\n")?;
    writeln!(text, "| figure | measured | goal | |\n|---|---|---|---|")?;
    let groups = || runs.iter().flat_map(|run| &run.groups);
    for goal in groups().flat_map(|group| &group.goals).filter(|goal| goal.is_met().is_some()) {
        goal_row(text, goal)?;
    }
    for group in groups() {
        write_group(text, group, pictures)?;
    }
    Ok(())
}

fn machine(text: &mut String, run: &Run) -> std::fmt::Result {
    let Machine { kernel, processor, processor_count, memory_mib, is_emulated, disks } =
        &run.machine;
    let extent = format!("{:?}", run.extent).to_lowercase();
    let names: Vec<&str> = run.groups.iter().map(|group| group.name.as_str()).collect();
    let emulated = if *is_emulated { ", **emulated**" } else { "" };
    let mut models: Vec<String> = disks
        .iter()
        .map(|disk| {
            let cache = if disk.has_write_cache { "write cache" } else { "no write cache" };
            format!("{} of {} GiB, {cache}", disk.model, disk.size_gib)
        })
        .collect();
    models.dedup();
    writeln!(
        text,
        "| {} | {extent} | {kernel} | {processor_count} of {processor}{emulated} | {memory_mib} MiB | {} |",
        names.join(", "),
        if models.is_empty() { "none used".to_owned() } else { models.join("; ") },
    )
}

fn goal_row(text: &mut String, goal: &Goal) -> std::fmt::Result {
    let verdict = match goal.is_met() {
        Some(true) => "met",
        Some(false) => "**missed**",
        None => "",
    };
    let Goal { what, figure, unit, bound } = goal;
    writeln!(text, "| {what} | {} {unit} | {bound} | {verdict} |", number(*figure))
}

fn write_group(text: &mut String, group: &Group, pictures: &str) -> std::fmt::Result {
    writeln!(text, "\n## {}\n\n{}", group.title, group.text.trim())?;
    for plot in &group.plots {
        writeln!(text, "\n![{}]({pictures}/{}.svg)", plot.title, plot.file)?;
    }
    for table in &group.tables {
        write_table(text, table)?;
    }
    let shown: Vec<&Goal> =
        group.goals.iter().filter(|goal| matches!(goal.bound, Bound::Shown)).collect();
    if !shown.is_empty() {
        writeln!(text, "\nBeside it:\n")?;
    }
    for Goal { what, figure, unit, .. } in shown {
        writeln!(text, "* {what}: {} {unit}", number(*figure))?;
    }
    for failure in &group.failures {
        writeln!(text, "\n**Failed:** {failure}")?;
    }
    Ok(())
}

fn write_table(text: &mut String, table: &Table) -> std::fmt::Result {
    writeln!(text, "\n{}:\n", table.title)?;
    writeln!(text, "| {} |", table.columns.join(" | "))?;
    let ruler = table.columns.iter().enumerate();
    let ruler: Vec<&str> =
        ruler.map(|(column, _)| if column == 0 { "---" } else { "--:" }).collect();
    writeln!(text, "|{}|", ruler.join("|"))?;
    for row in &table.rows {
        writeln!(text, "| {} |", row.join(" | "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::Extent;

    #[test]
    fn goals_come_first_and_what_is_only_shown_stays_in_its_group() {
        let mut group = Group::new("create", "Creating", "By turns.");
        group.goal("create", 0.4, "x", Bound::AtMost(0.5));
        group.goal("callers", 3.0, "x", Bound::AtLeast(4.0));
        group.goal("lvcreate", 743.0, "ms", Bound::Shown);
        let mut table = Table::new("Medians, us", &["operation", "ours"]);
        table.row(["create", "1"]);
        group.tables.push(table);
        let machine = Machine {
            kernel: "6.12".to_owned(),
            processor: "a processor".to_owned(),
            processor_count: 2,
            memory_mib: 3000,
            is_emulated: true,
            disks: Vec::new(),
        };
        let text = document(
            "# Preface\n",
            &[Run { machine, extent: Extent::Quick, groups: vec![group] }],
            "pictures",
        );
        let expected = "# Preface\n
## The machines of these figures\n
| what ran | extent | kernel | processors | memory | disks |
|---|---|---|---|---|---|
| create | quick | 6.12 | 2 of a processor, **emulated** | 3000 MiB | none used |\n
## All goals\n
| figure | measured | goal | |
|---|---|---|---|
| create | 0.40 x | at most 0.50 | met |
| callers | 3.00 x | at least 4.00 | **missed** |\n
## Creating\n
By turns.\n
Medians, us:\n
| operation | ours |
|---|--:|
| create | 1 |\n
Beside it:\n
* lvcreate: 743 ms\n";
        assert_eq!(text, expected);
    }
}
