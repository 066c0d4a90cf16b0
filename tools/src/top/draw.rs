//! The model as a screen.
#![forbid(unsafe_code)]

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use thinly_engine::catalogue::Timestamp;

use super::columns::{Cell, Column, first_shown, lines};
use super::model::{Model, Pane};
use super::panes::{
    EVENT_COLUMNS, OPERATION_COLUMNS, VOLUME_COLUMNS, event_row, headline, operation_row,
    operation_title, volume_row, volume_title,
};
use super::theme::{Theme, Tone};
use super::{overlay, pool_pane};

/// Below this only the part that has the keys is shown.
const ALL_PARTS_HEIGHT: u16 = 16;
/// From here on events and operations stand side by side.
const SIDE_BY_SIDE_WIDTH: u16 = 110;
/// From here on shares have bars.
const BARS_WIDTH: u16 = 70;

/// How everything is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) theme: Theme,
    pub(super) now: Timestamp,
}

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, model: &mut Model, look: Look) {
    let whole = frame.area();
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)])
            .areas(whole);
    frame.render_widget(Line::raw(headline(model, look.now)), head);
    let is_small = body.height < ALL_PARTS_HEIGHT;
    let are_pools_seen = !is_small || model.pane == Pane::Pools;
    if is_small {
        draw_pane(frame, body, model, look, model.pane);
    } else {
        draw_all(frame, body, model, look);
    }
    frame.render_widget(footer(model, look.theme, are_pools_seen), foot);
    if let Some(over) = model.overlay {
        overlay::draw(frame, body, model, over);
    }
}

fn draw_all(frame: &mut Frame<'_>, body: Rect, model: &mut Model, look: Look) {
    let problems =
        model.chosen_pool().map_or(0, |pool| pool_pane::problem_lines(pool, look.theme).len());
    let wanted = 2 + model.pools().len().max(1) + problems;
    let quarter = body.height / 4;
    let pools = u16::try_from(wanted).unwrap_or(u16::MAX).min(body.height / 3).max(3);
    let [top, middle, bottom] = Layout::vertical([
        Constraint::Length(pools),
        Constraint::Min(3),
        Constraint::Length(quarter.max(4)),
    ])
    .areas(body);
    draw_pane(frame, top, model, look, Pane::Pools);
    draw_pane(frame, middle, model, look, Pane::Volumes);
    if body.width >= SIDE_BY_SIDE_WIDTH {
        let [one, _, other] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Length(2), Constraint::Fill(1)])
                .areas(bottom);
        draw_pane(frame, one, model, look, Pane::Events);
        draw_pane(frame, other, model, look, Pane::Operations);
    } else if model.pane == Pane::Operations {
        draw_pane(frame, bottom, model, look, Pane::Operations);
    } else {
        draw_pane(frame, bottom, model, look, Pane::Events);
    }
}

/// A part: its title, its header, its rows, and which of them is chosen.
struct Part<'a> {
    title: String,
    columns: &'a [Column],
    rows: Vec<Vec<Cell>>,
    chosen: Option<usize>,
    first: usize,
    /// Lines below the rows.
    notes: Vec<Line<'static>>,
}

fn draw_pane(frame: &mut Frame<'_>, area: Rect, model: &mut Model, look: Look, pane: Pane) {
    if area.height == 0 || area.width == 0 {
        return;
    }
    let room = usize::from(area.height).saturating_sub(2);
    let is_focused = model.pane == pane;
    if is_focused {
        model.page = room.max(1);
    }
    let part = match pane {
        Pane::Pools => pools(model, area.width >= BARS_WIDTH, room, look.theme),
        Pane::Volumes => volumes(model, room, look.now),
        Pane::Events => events(model),
        Pane::Operations => operations(model),
    };
    let (header, rows) = lines(part.columns, &part.rows, usize::from(area.width), look.theme);
    let title = format!("{:<width$}", part.title, width = usize::from(area.width));
    let mut text = vec![Line::styled(title, Theme::title(is_focused)), header];
    let marked = rows.into_iter().enumerate().map(|(at, line)| {
        if part.chosen == Some(at) && is_focused { line.style(Theme::chosen()) } else { line }
    });
    let shown = room.saturating_sub(part.notes.len());
    text.extend(marked.skip(part.first).take(shown));
    text.extend(part.notes);
    frame.render_widget(Paragraph::new(text), area);
}

fn pools(model: &Model, has_bars: bool, room: usize, theme: Theme) -> Part<'static> {
    let rows: Vec<_> = model.pools().iter().map(|pool| pool_pane::row(pool, has_bars)).collect();
    let mut notes =
        model.chosen_pool().map_or_else(Vec::new, |pool| pool_pane::problem_lines(pool, theme));
    // The chosen pool is seen, whatever is wrong with it.
    notes.truncate(room.saturating_sub(1));
    if rows.is_empty() {
        let text = if model.sample.is_some() { "  no pools" } else { "  looking at the disks" };
        notes.push(Line::styled(text, theme.style(Tone::Dim)));
    }
    let chosen = model.pool_at();
    let first = first_shown(chosen, rows.len(), room.saturating_sub(notes.len()).max(1));
    let title = "POOLS".to_owned();
    Part { title, columns: &pool_pane::COLUMNS, rows, chosen: Some(chosen), first, notes }
}

fn volumes(model: &Model, room: usize, now: Timestamp) -> Part<'static> {
    let found = model.rows();
    let rows = found.as_deref().unwrap_or_default();
    let chosen = model.volume_at(rows);
    let notes = match &found {
        Some(rows) if rows.is_empty() => vec![Line::raw("  no volumes")],
        None if model.pool.is_some() => vec![match model.unread() {
            Some(error) => Line::raw(format!("  cannot be read: {error}")),
            None => Line::raw("  reading"),
        }],
        _ => Vec::new(),
    };
    Part {
        title: volume_title(model, now),
        columns: &VOLUME_COLUMNS,
        rows: rows.iter().map(volume_row).collect(),
        chosen: Some(chosen),
        first: first_shown(chosen, rows.len(), room.max(1)),
        notes,
    }
}

fn events(model: &Model) -> Part<'static> {
    let rows: Vec<_> = model.events.iter().map(event_row).collect();
    let notes = if rows.is_empty() { vec![Line::raw("  none so far")] } else { Vec::new() };
    let first = model.events_top.min(rows.len().saturating_sub(1));
    let title = "EVENTS since the start".to_owned();
    Part { title, columns: &EVENT_COLUMNS, rows, chosen: None, first, notes }
}

fn operations(model: &Model) -> Part<'static> {
    let done = model.operations();
    let first = model.operations_top.min(done.len().saturating_sub(1));
    Part {
        title: operation_title(model),
        columns: &OPERATION_COLUMNS,
        rows: done.iter().map(|one| operation_row(one, model.volumes())).collect(),
        chosen: None,
        first,
        notes: Vec::new(),
    }
}

/// What went wrong with looking; where the pools are not seen, what is worst of the chosen one; or
/// the keys.
fn footer(model: &Model, theme: Theme, are_pools_seen: bool) -> Line<'static> {
    let trouble = model.sample.as_ref().and_then(|sample| sample.troubles.first());
    if let Some(trouble) = trouble {
        return Line::styled(format!("cannot look: {trouble}"), theme.style(Tone::Bad));
    }
    let worst = model.chosen_pool().filter(|_| !are_pools_seen && !model.is_filtering);
    if let Some(pool) = worst
        && let Some(worst) = pool.conditions().first()
    {
        let text = format!("{}: {}", pool.name, worst.reason);
        return Line::styled(text, theme.style(Tone::of(worst.severity)));
    }
    let keys = if model.is_filtering {
        "filter by name: Enter keeps it, Esc drops it"
    } else {
        "q quit  ? help  Tab next part  Enter details  s sort  r reverse  / filter  p pause"
    };
    Line::styled(keys, theme.style(Tone::Dim))
}
