//! Which key does what. Pure.
#![forbid(unsafe_code)]

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::rows::Order;

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    /// So many rows down, or up below zero.
    Move(i32),
    /// A page down or up.
    Page(i32),
    First,
    Last,
    NextPane,
    PreviousPane,
    Details,
    NextOrder,
    Order(Order),
    Reverse,
    BeginFilter,
    Type(char),
    Erase,
    KeepFilter,
    DropFilter,
    Pause,
    Slower,
    Faster,
    Help,
    /// Closes what lies over the screen.
    Close,
}

/// What keys go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The tables.
    Tables,
    /// The filter that is being written.
    Filter,
    /// What lies over the screen.
    Overlay,
}

/// Every key with what it does, for the help.
pub(super) const HELP: [(&str, &str); 15] = [
    ("Up Down j k", "move"),
    ("PgUp PgDn", "move by a page"),
    ("Home End g G", "first, last"),
    ("Tab Shift-Tab", "next, previous part"),
    ("Enter", "details of the volume or pool"),
    ("s", "sort volumes by the next column"),
    ("e m z n", "sort by exclusive, mapped, size, name"),
    ("r", "reverse the order"),
    ("/", "filter volumes by name"),
    ("  Enter, Esc", "  keep the filter, drop it"),
    ("p", "pause, go on"),
    ("+ -", "look less often, more often"),
    ("? h", "this help"),
    ("Esc", "close, drop the filter, quit"),
    ("q Ctrl-C", "quit"),
];

/// What a key does.
pub(super) fn action(key: KeyEvent, mode: Mode) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return (key.code == KeyCode::Char('c')).then_some(Action::Quit);
    }
    match mode {
        Mode::Filter => in_filter(key.code),
        Mode::Overlay => in_overlay(key.code),
        Mode::Tables => in_tables(key.code),
    }
}

const fn in_filter(code: KeyCode) -> Option<Action> {
    Some(match code {
        KeyCode::Enter => Action::KeepFilter,
        KeyCode::Esc => Action::DropFilter,
        KeyCode::Backspace => Action::Erase,
        KeyCode::Char(letter) => Action::Type(letter),
        _ => return None,
    })
}

const fn in_overlay(code: KeyCode) -> Option<Action> {
    Some(match code {
        KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | '?' | 'h') => Action::Close,
        _ => return movement(code),
    })
}

const fn in_tables(code: KeyCode) -> Option<Action> {
    Some(match code {
        KeyCode::Char('q') | KeyCode::Esc => Action::Quit,
        KeyCode::Tab => Action::NextPane,
        KeyCode::BackTab => Action::PreviousPane,
        KeyCode::Enter => Action::Details,
        KeyCode::Char('s') => Action::NextOrder,
        KeyCode::Char('e') => Action::Order(Order::Exclusive),
        KeyCode::Char('m') => Action::Order(Order::Mapped),
        KeyCode::Char('z') => Action::Order(Order::Size),
        KeyCode::Char('n') => Action::Order(Order::Name),
        KeyCode::Char('r') => Action::Reverse,
        KeyCode::Char('/') => Action::BeginFilter,
        KeyCode::Char('p') => Action::Pause,
        KeyCode::Char('+' | '=') => Action::Slower,
        KeyCode::Char('-') => Action::Faster,
        KeyCode::Char('?' | 'h') => Action::Help,
        _ => return movement(code),
    })
}

const fn movement(code: KeyCode) -> Option<Action> {
    Some(match code {
        KeyCode::Up | KeyCode::Char('k') => Action::Move(-1),
        KeyCode::Down | KeyCode::Char('j') => Action::Move(1),
        KeyCode::PageUp => Action::Page(-1),
        KeyCode::PageDown | KeyCode::Char(' ') => Action::Page(1),
        KeyCode::Home | KeyCode::Char('g') => Action::First,
        KeyCode::End | KeyCode::Char('G') => Action::Last,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: KeyCode, mode: Mode) -> Option<Action> {
        action(KeyEvent::new(code, KeyModifiers::NONE), mode)
    }

    #[test]
    fn letters_are_text_while_a_filter_is_written() {
        let q = KeyCode::Char('q');
        assert_eq!(of(q, Mode::Tables), Some(Action::Quit));
        assert_eq!(of(q, Mode::Filter), Some(Action::Type('q')));
        assert_eq!(of(q, Mode::Overlay), Some(Action::Close));
        assert_eq!(of(KeyCode::Esc, Mode::Filter), Some(Action::DropFilter));
        assert_eq!(of(KeyCode::Esc, Mode::Tables), Some(Action::Quit));
    }

    #[test]
    fn control_c_quits_everywhere_and_nothing_else_with_control_does_anything() {
        for mode in [Mode::Tables, Mode::Filter, Mode::Overlay] {
            let with = |letter| KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
            assert_eq!(action(with('c'), mode), Some(Action::Quit));
            assert_eq!(action(with('q'), mode), None);
        }
    }

    #[test]
    fn letters_and_arrows_move_alike() {
        for mode in [Mode::Tables, Mode::Overlay] {
            for (one, other) in [
                (KeyCode::Up, 'k'),
                (KeyCode::Down, 'j'),
                (KeyCode::Home, 'g'),
                (KeyCode::End, 'G'),
            ] {
                assert!(of(one, mode).is_some());
                assert_eq!(of(one, mode), of(KeyCode::Char(other), mode));
            }
        }
        assert_eq!(of(KeyCode::Char('='), Mode::Tables), Some(Action::Slower));
        assert_eq!(of(KeyCode::F(1), Mode::Tables), None);
    }

    #[test]
    fn every_key_of_the_help_does_something() {
        for (keys, _) in HELP {
            for key in keys.split(' ').filter(|key| key.chars().count() == 1) {
                let letter = key.chars().next().unwrap();
                assert!(of(KeyCode::Char(letter), Mode::Tables).is_some(), "{key}");
            }
        }
    }
}
