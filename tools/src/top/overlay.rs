//! What lies over the screen: the help, and all that is known of a volume or pool.
#![forbid(unsafe_code)]

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Clear, Paragraph, Wrap};

use super::keys::HELP;
use super::model::{Model, Overlay};
use super::theme::Theme;
use crate::render;
use crate::size::human;

/// Draws it over `body`.
pub(super) fn draw(frame: &mut Frame<'_>, body: Rect, model: &mut Model, overlay: Overlay) {
    let text = match overlay {
        Overlay::Help => help(),
        Overlay::Pool(_) => model.chosen_pool().map_or_else(gone, render::pool_page),
        Overlay::Volume(uuid) => {
            let rows = model.rows().unwrap_or_default();
            rows.iter().find(|row| row.volume.uuid == uuid).map_or_else(gone, |row| {
                let exclusive = row.exclusive.map_or_else(|| "not known".to_owned(), human);
                format!("{}\nHeld by it alone: {exclusive}\n", render::volume_page(row.volume))
            })
        }
    };
    let title = match overlay {
        Overlay::Help => "HELP (Esc closes)",
        Overlay::Pool(_) => "POOL (Esc closes)",
        Overlay::Volume(_) => "VOLUME (Esc closes)",
    };
    if body.height == 0 {
        return;
    }
    let [top, rest] = ratatui::layout::Layout::vertical([
        ratatui::layout::Constraint::Length(1),
        ratatui::layout::Constraint::Min(0),
    ])
    .areas(body);
    let count = text.lines().count();
    model.overlay_top = model.overlay_top.min(count.saturating_sub(1));
    model.page = usize::from(rest.height).max(1);
    let scroll = u16::try_from(model.overlay_top).unwrap_or(u16::MAX);
    frame.render_widget(Clear, body);
    let width = usize::from(top.width);
    frame.render_widget(Line::styled(format!("{title:<width$}"), Theme::title(true)), top);
    let page = Paragraph::new(text).wrap(Wrap { trim: false }).scroll((scroll, 0));
    frame.render_widget(page, rest);
}

fn gone() -> String {
    "It is not there any more.\n".to_owned()
}

fn help() -> String {
    HELP.map(|(keys, what)| format!("{keys:<15}{what}\n")).concat()
}
