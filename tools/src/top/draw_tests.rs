//! Screens, as people see them.

use crossterm::event::KeyCode;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};
use thinly_engine::catalogue::Timestamp;
use thinly_engine::plan::Health;

use super::draw::{Look, draw};
use super::fixture::{NOON, model, sample};
use super::keys::Action;
use super::model::{Model, Pane};
use super::sample::{Resident, Sample};
use super::theme::Theme;

fn drawn(model: &mut Model, size: (u16, u16), has_colours: bool) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    let look = Look { theme: Theme::new(has_colours), now: Timestamp(NOON.0 + 2000) };
    terminal.draw(|frame| draw(frame, model, look)).unwrap();
    terminal
}

fn screen(model: &mut Model, size: (u16, u16)) -> String {
    drawn(model, size, true).backend().to_string()
}

/// The model after `p0` ran full.
fn full() -> Model {
    let mut model = model();
    let mut now = sample();
    let usage = now.pools[0].usage.as_mut().unwrap();
    usage.used_data = usage.total_data;
    now.pools[0].health = Some(Health::OutOfDataSpace);
    model.take(now);
    model
}

#[test]
fn a_wide_screen_has_everything() {
    insta::assert_snapshot!(screen(&mut model(), (140, 30)));
}

#[test]
fn a_common_screen_with_a_full_pool() {
    insta::assert_snapshot!(screen(&mut full(), (80, 24)));
}

#[test]
fn a_small_screen_has_the_part_with_the_keys() {
    let mut model = full();
    insta::assert_snapshot!("small_volumes", screen(&mut model, (40, 10)));
    model.pane = Pane::Pools;
    insta::assert_snapshot!("small_pools", screen(&mut model, (40, 10)));
    model.pane = Pane::Events;
    insta::assert_snapshot!("small_events", screen(&mut model, (40, 10)));
}

#[test]
fn help_and_details_lie_over_the_screen() {
    let mut model = model();
    model.act(Action::Help);
    insta::assert_snapshot!("help", screen(&mut model, (80, 24)));
    model.act(Action::Close);
    model.act(Action::Details);
    insta::assert_snapshot!("details", screen(&mut model, (80, 24)));
}

#[test]
fn no_size_is_too_small_for_anything_that_is_shown() {
    let actions =
        [Action::NextPane, Action::NextPane, Action::NextPane, Action::NextPane, Action::Details];
    for size in [(0, 0), (1, 1), (1, 40), (200, 1), (3, 2), (40, 10), (39, 3)] {
        let mut model = full();
        for action in actions.into_iter().chain([Action::Last, Action::Help, Action::Last]) {
            model.act(action);
            drawn(&mut model, size, true);
        }
        drawn(&mut Model::new(std::time::Duration::from_secs(2)), size, true);
    }
}

#[test]
fn what_is_wrong_is_red_and_said_and_no_colour_is_used_when_none_is_wanted() {
    let find = |terminal: &Terminal<TestBackend>, word: &str| {
        let buffer = terminal.backend().buffer().clone();
        let text: String = buffer.content.iter().map(ratatui::buffer::Cell::symbol).collect();
        let at = text.find(word).unwrap_or_else(|| panic!("no {word}"));
        let cell = buffer.content[at].clone();
        let coloured = buffer.content.iter().filter(|cell| cell.fg != Color::Reset).count();
        (cell, coloured)
    };
    let (cell, coloured) = find(&drawn(&mut full(), (140, 30), true), "out_of_data_space");
    assert_eq!(cell.fg, Color::Red);
    assert!(coloured > 20);
    let (cell, coloured) = find(&drawn(&mut full(), (140, 30), false), "out_of_data_space");
    assert!(cell.modifier.contains(Modifier::BOLD));
    assert_eq!(coloured, 0);
}

#[test]
fn who_tells_of_operations_is_said() {
    let mut model = model();
    let key = model.pools()[0].uuid;
    for (resident, words) in [
        (Resident::None, "OPERATIONS: no resident"),
        (Resident::Silent("by process 7: it is of an older version".into()), "not told: by proc"),
    ] {
        let mut now = sample();
        now.residents.insert(key, resident);
        model.take(now);
        let text = screen(&mut model, (140, 30));
        assert!(text.contains(words), "{text}");
        assert!(!text.contains("NodeStageVolume"), "{text}");
    }
}

#[test]
fn troubles_and_volumes_that_cannot_be_read_are_told() {
    let mut model = model();
    let key = model.pools()[0].uuid;
    let mut now = Sample { troubles: vec!["a disk is odd".to_owned()], ..sample() };
    now.volumes.clear();
    now.unread.insert(key, "the journal is damaged".to_owned());
    model.take(now);
    let text = screen(&mut model, (80, 24));
    assert!(text.contains("cannot look: a disk is odd"), "{text}");
    assert!(text.contains("cannot be read: the journal is damaged"), "{text}");
}

#[test]
fn a_pause_a_filter_and_old_samples_are_said() {
    let mut model = model();
    model.act(Action::Pause);
    model.act(Action::BeginFilter);
    let key = crossterm::event::KeyEvent::from(KeyCode::Char('w'));
    let typed = super::keys::action(key, model.mode()).unwrap();
    model.act(typed);
    let text = screen(&mut model, (80, 24));
    assert!(text.contains("PAUSED") && text.contains("/w_"), "{text}");
    assert!(text.contains("web") && !text.contains("monday"), "{text}");
}
