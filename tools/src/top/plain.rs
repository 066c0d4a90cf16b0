//! Frames without a terminal: text for people, JSON for programs.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::thread;
use std::time::Instant;

use ratatui::text::Line;
use thinly_engine::pool::PoolView;
use uuid::Uuid;

use super::columns::{Cell, Column, lines};
use super::events::{Event, events};
use super::pace::pause_after;
use super::panes::{
    EVENT_COLUMNS, OPERATION_COLUMNS, VOLUME_COLUMNS, event_row, operation_row, volume_row,
};
use super::reader::{Chosen, Reader};
use super::rows::Choice;
use super::sample::{Reading, Resident, Sample};
use super::theme::Theme;
use super::{accountant, pool_pane};
use crate::args::Top;
use crate::console::Console;
use crate::failure::Failure;
use crate::json::TopJson;
use crate::progress::Progress;
use crate::time;

/// So wide that nothing is left out.
const ROOM: usize = 1000;

/// So many operations of each holder are told.
const OPERATIONS_SHOWN: usize = 10;

/// Readings by pool.
type Readings = HashMap<Uuid, Reading>;

/// Prints as many frames as were asked for.
pub(super) fn run(console: Console<'_>, reader: &Reader, arguments: &Top) -> Result<(), Failure> {
    let mut readings = Readings::new();
    let mut due: HashMap<Uuid, Instant> = HashMap::new();
    let mut before: Option<Sample> = None;
    for number in 0..arguments.count.unwrap_or(1) {
        if number > 0 {
            thread::sleep(arguments.interval);
        }
        let sample = reader.look(Chosen::All);
        for pool in &sample.pools {
            if due.get(&pool.uuid).is_some_and(|at| Instant::now() < *at) {
                continue;
            }
            let mut progress = Progress::new("reading metadata", !console.is_json());
            let reading = accountant::read(&reader.engine, pool.uuid, &mut |done, total| {
                progress.update(done, total);
            });
            progress.finish();
            due.insert(pool.uuid, Instant::now() + pause_after(reading.took));
            readings.insert(pool.uuid, reading);
        }
        let happened = before.as_ref().map_or_else(Vec::new, |before| events(before, &sample));
        print(console, arguments, &sample, &readings, &happened)?;
        before = Some(sample);
    }
    Ok(())
}

fn print(
    console: Console<'_>,
    arguments: &Top,
    sample: &Sample,
    readings: &Readings,
    happened: &[Event],
) -> Result<(), Failure> {
    let value = TopJson::new(sample, readings, happened);
    if console.is_json() && arguments.count.is_some() {
        // A document a line.
        let line = serde_json::to_string(&value)
            .map_err(|error| Failure::Output(std::io::Error::other(error)))?;
        return console.write_answer(&format!("{line}\n"));
    }
    console.answer(&value, || frame(sample, readings, happened))
}

/// A frame as text.
fn frame(sample: &Sample, readings: &Readings, happened: &[Event]) -> String {
    let mut text = vec![format!("thinly top  {} UTC", time::short(sample.at))];
    text.extend(sample.troubles.iter().map(|trouble| format!("cannot look: {trouble}")));
    let rows: Vec<_> = sample.pools.iter().map(|pool| pool_pane::row(pool, false)).collect();
    text.push(String::new());
    text.extend(table(&pool_pane::COLUMNS, &rows));
    for pool in &sample.pools {
        text.push(format!("\nPool {}:", pool.name));
        text.extend(volumes(sample, readings, pool));
        text.extend(operations(sample, pool));
    }
    if !happened.is_empty() {
        let rows: Vec<_> = happened.iter().map(event_row).collect();
        text.push("\nEvents:".to_owned());
        text.extend(table(&EVENT_COLUMNS, &rows));
    }
    text.join("\n") + "\n"
}

/// What is wrong with a pool, and its volumes.
fn volumes(sample: &Sample, readings: &Readings, pool: &PoolView) -> Vec<String> {
    let problems = pool_pane::problem_lines(pool, Theme::of_environment());
    let mut text: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let reading = readings.get(&pool.uuid);
    if let Some(Err(error)) = reading.map(|reading| &reading.exclusive) {
        text.push(format!("  exclusive not known: {error}"));
    }
    if let Some(volumes) = sample.volumes.get(&pool.uuid) {
        let rows = Choice::default().rows(volumes, reading);
        let rows: Vec<_> = rows.iter().map(volume_row).collect();
        text.extend(table(&VOLUME_COLUMNS, &rows));
    }
    if let Some(error) = sample.unread.get(&pool.uuid) {
        text.push(format!("  volumes cannot be read: {error}"));
    }
    text
}

/// What the holder of a pool did last.
fn operations(sample: &Sample, pool: &PoolView) -> Vec<String> {
    match sample.residents.get(&pool.uuid) {
        Some(Resident::Tells(told)) => {
            let mut text = vec![format!("Operations of process {}:", told.holder_pid)];
            let volumes = sample.volumes.get(&pool.uuid).map_or(&[][..], Vec::as_slice);
            let last = told.operations.iter().take(OPERATIONS_SHOWN);
            let rows: Vec<_> = last.map(|done| operation_row(done, volumes)).collect();
            text.extend(table(&OPERATION_COLUMNS, &rows));
            text
        }
        Some(Resident::Silent(why)) => vec![format!("Operations not told: {why}")],
        Some(Resident::None) => vec!["Operations: no resident".to_owned()],
        None => Vec::new(),
    }
}

fn table(columns: &[Column], rows: &[Vec<Cell>]) -> Vec<String> {
    let (header, rows) = lines(columns, rows, ROOM, Theme::of_environment());
    let line = |line: Line<'_>| line.to_string().trim_end().to_owned();
    std::iter::once(header).chain(rows).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{reading, sample};
    use super::*;

    #[test]
    fn a_frame_for_people() {
        let (before, mut now) = (sample(), sample());
        let usage = now.pools[0].usage.as_mut().unwrap();
        usage.used_data = usage.total_data;
        let key = now.pools[0].uuid;
        let happened = events(&before, &now);
        insta::assert_snapshot!(frame(&now, &Readings::from([(key, reading())]), &happened));
    }
}
