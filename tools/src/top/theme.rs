//! What colours mean here. None of them says what no word says as well.
#![forbid(unsafe_code)]

use ratatui::style::{Color, Modifier, Style};
use thinly_engine::plan::Severity;

/// How something is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    /// It is so.
    #[default]
    Plain,
    /// It went or goes well.
    Good,
    /// Somebody should look at it in time.
    Warn,
    /// Something is not served.
    Bad,
    /// It matters less.
    Dim,
}

impl Tone {
    /// Of what is wrong.
    pub(super) const fn of(severity: Severity) -> Self {
        match severity {
            Severity::Warning => Self::Warn,
            Severity::Error => Self::Bad,
        }
    }
}

/// How tones look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Theme {
    has_colours: bool,
}

impl Theme {
    /// With colours, unless the environment has a `NO_COLOR` that is not empty.
    pub(super) fn of_environment() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { has_colours: !refused }
    }

    #[cfg(test)]
    pub(super) const fn new(has_colours: bool) -> Self {
        Self { has_colours }
    }

    pub(super) fn style(self, tone: Tone) -> Style {
        let (colour, modifier) = match tone {
            Tone::Plain => return Style::new(),
            Tone::Good => (Color::Green, Modifier::empty()),
            Tone::Warn => (Color::Yellow, Modifier::empty()),
            Tone::Bad => (Color::Red, Modifier::BOLD),
            Tone::Dim => return Style::new().add_modifier(Modifier::DIM),
        };
        let style = Style::new().add_modifier(modifier);
        if self.has_colours { style.fg(colour) } else { style }
    }

    /// The title of a part; of the one that has the keys it stands out.
    pub(super) fn title(is_focused: bool) -> Style {
        if is_focused {
            Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD)
        } else {
            Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
        }
    }

    pub(super) fn header(self) -> Style {
        self.style(Tone::Dim)
    }

    /// The row that is chosen.
    pub(super) fn chosen() -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}
