//! The pools, and what is wrong with the chosen one.
#![forbid(unsafe_code)]

use ratatui::text::{Line, Span};
use thinly_engine::plan::Health;
use thinly_engine::pool::{PoolState, PoolView};
use thinly_engine::units::Bytes;

use super::columns::{Cell, Column, bar, left, right, toned};
use super::theme::{Theme, Tone};
use crate::json::pool_state;
use crate::size::{human, percent};

pub(super) const COLUMNS: [Column; 10] = [
    left("POOL", 0),
    left("HEALTH", 1),
    left("DATA", 2),
    left("METADATA", 3),
    right("SIZE", 4),
    right("VOLUMES", 5),
    right("SNAPSHOTS", 6),
    right("REAPING", 7),
    left("GROWS", 8),
    left("WRITER", 9),
];

const BAR_WIDTH: usize = 10;

/// From here on a share is told as a warning.
const NEARLY_FULL: u64 = 80;

/// A row.
pub(super) fn row(pool: &PoolView, has_bars: bool) -> Vec<Cell> {
    let share = |used: Bytes, total: Bytes| {
        let percent = percent(used, total);
        let tone = match percent {
            100.. => Tone::Bad,
            NEARLY_FULL.. => Tone::Warn,
            _ => Tone::Plain,
        };
        let bar = if has_bars { format!("{} ", bar(percent, BAR_WIDTH)) } else { String::new() };
        toned(format!("{bar}{percent:>3} %"), tone)
    };
    let usage = |of: fn(&thinly_engine::pool::Usage) -> (Bytes, Bytes)| {
        pool.usage.as_ref().map_or_else(nothing, |usage| {
            let (used, total) = of(usage);
            share(used, total)
        })
    };
    vec![
        pool.name.to_string().into(),
        health(pool),
        usage(|usage| (usage.used_data, usage.total_data)),
        usage(|usage| (usage.used_metadata, usage.total_metadata)),
        pool.usage.as_ref().map_or_else(nothing, |usage| human(usage.total_data).into()),
        pool.volume_count.to_string().into(),
        pool.snapshot_count.to_string().into(),
        reaping(pool),
        grows(pool).into(),
        pool.writer.map_or_else(nothing, |process| process.to_string().into()),
    ]
}

/// What is wrong with a pool: a line for each condition and each problem that no condition tells.
pub(super) fn problem_lines(pool: &PoolView, theme: Theme) -> Vec<Line<'static>> {
    let conditions = pool.conditions();
    let line = |tone, text: String| Line::from(Span::styled(text, theme.style(tone)));
    let mut lines: Vec<Line<'static>> = conditions
        .iter()
        .map(|it| line(Tone::of(it.severity), format!("  {}: {}", it.reason, it.message)))
        .collect();
    if lines.is_empty() {
        let problems = pool.problems.iter().map(|problem| format!("  {problem}"));
        lines.extend(problems.map(|text| line(Tone::Warn, text)));
    }
    lines
}

/// The kernel's word of an open pool, the state of another one.
fn health(pool: &PoolView) -> Cell {
    match (pool.health, pool.state) {
        (Some(Health::Writable), PoolState::Open) => toned("rw", Tone::Good),
        (Some(health), _) if health != Health::Writable => toned(health.to_string(), Tone::Bad),
        (_, PoolState::Open) => "open".into(),
        (_, PoolState::Incomplete | PoolState::Damaged) => toned(pool_state(pool.state), Tone::Bad),
        _ => toned(pool_state(pool.state), Tone::Dim),
    }
}

/// What deleted volumes still map, and how many they are.
fn reaping(pool: &PoolView) -> Cell {
    match (pool.tombstones.len(), pool.reaping_bytes) {
        (0, _) => nothing(),
        (count, Some(bytes)) => format!("{} in {count}", human(bytes)).into(),
        (count, None) => format!("{count}").into(),
    }
}

/// How it is extended by itself, and whether its disks have anything left for that.
fn grows(pool: &PoolView) -> String {
    let policy = pool.policy.as_ref();
    let auto = policy.and_then(|policy| policy.auto_extend);
    let mut parts = vec![match auto {
        Some(auto) => format!("at {} %", auto.at_percent),
        None => "by hand".to_owned(),
    }];
    if pool.unused == Some(Bytes::ZERO) {
        parts.push("disks full".to_owned());
    }
    if let Some(reserve) = policy.map(|policy| policy.reserve).filter(|kept| *kept != Bytes::ZERO) {
        parts.push(format!("{} kept", human(reserve)));
    }
    parts.join(", ")
}

pub(super) fn nothing() -> Cell {
    toned("-", Tone::Dim)
}
