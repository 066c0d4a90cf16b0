//! All that is known and chosen: samples and actions go in. Pure.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use thinly_engine::pool::{PoolView, VolumeView};
use uuid::Uuid;

use super::events::{Event, events};
use super::interval::{longer, shorter};
use super::keys::{Action, Mode};
use super::rows::{Choice, Row};
use super::sample::{Reading, Resident, Sample};
use crate::json::OperationJson;

/// So many events are kept.
const EVENTS_MAX: usize = 500;

/// A part of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pane {
    Pools,
    Volumes,
    Events,
    Operations,
}

/// What lies over the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overlay {
    Help,
    Pool(Uuid),
    Volume(Uuid),
}

/// What an action leads to outside of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    Quit,
}

/// All that is known and chosen.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) sample: Option<Sample>,
    pub(super) readings: BTreeMap<Uuid, Reading>,
    /// The newest first.
    pub(super) events: VecDeque<Event>,
    pub(super) pool: Option<Uuid>,
    volume: Option<Uuid>,
    pub(super) pane: Pane,
    pub(super) choice: Choice,
    pub(super) is_filtering: bool,
    pub(super) overlay: Option<Overlay>,
    /// The first line shown of what lies over the screen, and of the two lists.
    pub(super) overlay_top: usize,
    pub(super) events_top: usize,
    pub(super) operations_top: usize,
    pub(super) is_paused: bool,
    pub(super) interval: Duration,
    /// How many rows a page has, as of the last drawing.
    pub(super) page: usize,
}

impl Model {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            sample: None,
            readings: BTreeMap::new(),
            events: VecDeque::new(),
            pool: None,
            volume: None,
            pane: Pane::Volumes,
            choice: Choice::default(),
            is_filtering: false,
            overlay: None,
            overlay_top: 0,
            events_top: 0,
            operations_top: 0,
            is_paused: false,
            interval,
            page: 10,
        }
    }

    /// Takes what was seen.
    pub(super) fn take(&mut self, sample: Sample) {
        let mut sample = sample;
        if let Some(before) = &self.sample {
            // Of what was seen together, the first stays on top.
            for event in events(before, &sample).into_iter().rev() {
                self.events.push_front(event);
            }
            self.events.truncate(EVENTS_MAX);
            // Of a pool that could not be looked at, the last look stands beside the trouble.
            for old in before.pools.iter().filter(|_| !sample.troubles.is_empty()) {
                if !sample.pools.iter().any(|pool| pool.uuid == old.uuid) {
                    sample.pools.push(old.clone());
                }
            }
            sample.pools.sort_by(|one, other| one.name.cmp(&other.name));
            // What was not asked for this time stays for whoever comes back to it.
            for (pool, volumes) in &before.volumes {
                if !sample.unread.contains_key(pool) {
                    sample.volumes.entry(*pool).or_insert_with(|| volumes.clone());
                }
            }
            for (pool, resident) in &before.residents {
                sample.residents.entry(*pool).or_insert_with(|| resident.clone());
            }
        }
        let is_there = |uuid: &Uuid| sample.pools.iter().any(|pool| pool.uuid == *uuid);
        self.pool = self.pool.filter(is_there).or(sample.pools.first().map(|pool| pool.uuid));
        sample.volumes.retain(|pool, _| sample.pools.iter().any(|one| one.uuid == *pool));
        self.sample = Some(sample);
    }

    /// Takes what the volumes of a pool hold alone.
    pub(super) fn take_reading(&mut self, pool: Uuid, reading: Reading) {
        self.readings.insert(pool, reading);
    }

    pub(super) const fn mode(&self) -> Mode {
        match (self.is_filtering, self.overlay) {
            (true, _) => Mode::Filter,
            (false, Some(_)) => Mode::Overlay,
            (false, None) => Mode::Tables,
        }
    }

    pub(super) fn pools(&self) -> &[PoolView] {
        self.sample.as_ref().map_or(&[], |sample| &sample.pools)
    }

    pub(super) fn chosen_pool(&self) -> Option<&PoolView> {
        self.pools().iter().find(|pool| Some(pool.uuid) == self.pool)
    }

    pub(super) fn pool_at(&self) -> usize {
        self.pools().iter().position(|pool| Some(pool.uuid) == self.pool).unwrap_or(0)
    }

    /// The volumes of the chosen pool; `None` while they have not been read.
    pub(super) fn rows(&self) -> Option<Vec<Row<'_>>> {
        let pool = self.pool?;
        let volumes = self.sample.as_ref()?.volumes.get(&pool)?;
        Some(self.choice.rows(volumes, self.readings.get(&pool)))
    }

    /// The volumes of the chosen pool, as far as they were read.
    pub(super) fn volumes(&self) -> &[VolumeView] {
        let (Some(sample), Some(pool)) = (&self.sample, self.pool) else { return &[] };
        sample.volumes.get(&pool).map_or(&[], Vec::as_slice)
    }

    /// Why the volumes of the chosen pool cannot be read.
    pub(super) fn unread(&self) -> Option<&String> {
        self.sample.as_ref()?.unread.get(&self.pool?)
    }

    pub(super) fn volume_at(&self, rows: &[Row<'_>]) -> usize {
        rows.iter().position(|row| Some(row.volume.uuid) == self.volume).unwrap_or(0)
    }

    pub(super) fn resident(&self) -> Option<&Resident> {
        self.sample.as_ref()?.residents.get(&self.pool?)
    }

    pub(super) fn operations(&self) -> &[OperationJson] {
        match self.resident() {
            Some(Resident::Tells(told)) => &told.operations,
            _ => &[],
        }
    }

    /// Does what a key asks for.
    pub(super) fn act(&mut self, action: Action) -> Effect {
        match action {
            Action::Quit => return Effect::Quit,
            Action::Move(by) => self.move_by(by as isize),
            Action::Page(by) => self.move_by(by as isize * self.page.max(1).cast_signed()),
            Action::First => self.move_by(isize::MIN / 2),
            Action::Last => self.move_by(isize::MAX / 2),
            Action::NextPane => self.pane = next(self.pane, 1),
            Action::PreviousPane => self.pane = next(self.pane, 3),
            Action::Details => self.show_details(),
            Action::NextOrder => self.choice.order = self.choice.order.next(),
            Action::Order(order) => self.choice.order = order,
            Action::Reverse => self.choice.is_reversed = !self.choice.is_reversed,
            Action::BeginFilter => {
                self.is_filtering = true;
                self.pane = Pane::Volumes;
            }
            Action::Type(letter) => self.choice.filter.push(letter),
            Action::Erase => drop(self.choice.filter.pop()),
            Action::KeepFilter => self.is_filtering = false,
            Action::DropFilter => {
                self.is_filtering = false;
                self.choice.filter.clear();
            }
            Action::Pause => self.is_paused = !self.is_paused,
            Action::Slower => self.interval = longer(self.interval),
            Action::Faster => self.interval = shorter(self.interval),
            Action::Help => self.lay(Some(Overlay::Help)),
            Action::Close => self.lay(None),
        }
        Effect::None
    }

    fn lay(&mut self, overlay: Option<Overlay>) {
        self.overlay = overlay;
        self.overlay_top = 0;
    }

    fn show_details(&mut self) {
        let shown = match self.pane {
            Pane::Volumes => self
                .rows()
                .and_then(|rows| rows.get(self.volume_at(&rows)).map(|row| row.volume.uuid))
                .map(Overlay::Volume),
            Pane::Pools => self.pool.map(Overlay::Pool),
            Pane::Events | Pane::Operations => None,
        };
        if shown.is_some() {
            self.lay(shown);
        }
    }

    fn move_by(&mut self, by: isize) {
        if self.overlay.is_some() {
            // Where it ends is known when it is drawn.
            self.overlay_top = self.overlay_top.saturating_add_signed(by);
            return;
        }
        match self.pane {
            Pane::Pools => {
                let at = moved(self.pool_at(), by, self.pools().len());
                self.pool = self.pools().get(at).map(|pool| pool.uuid);
            }
            Pane::Volumes => {
                let rows = self.rows().unwrap_or_default();
                let at = moved(self.volume_at(&rows), by, rows.len());
                self.volume = rows.get(at).map(|row| row.volume.uuid);
            }
            Pane::Events => self.events_top = moved(self.events_top, by, self.events.len()),
            Pane::Operations => {
                self.operations_top = moved(self.operations_top, by, self.operations().len());
            }
        }
    }
}

/// A place among `count`, moved and kept among them.
fn moved(at: usize, by: isize, count: usize) -> usize {
    at.saturating_add_signed(by).min(count.saturating_sub(1))
}

fn next(pane: Pane, steps: usize) -> Pane {
    const ALL: [Pane; 4] = [Pane::Pools, Pane::Volumes, Pane::Events, Pane::Operations];
    let at = ALL.iter().position(|one| *one == pane).unwrap_or(0);
    ALL[(at + steps) % ALL.len()]
}

#[cfg(test)]
mod tests {
    use thinly_engine::catalogue::Timestamp;

    use super::super::fixture::{model, sample};
    use super::super::rows::Order;
    use super::*;

    fn chosen(model: &Model) -> String {
        let rows = model.rows().unwrap();
        rows[model.volume_at(&rows)].volume.name.to_string()
    }

    #[test]
    fn what_is_chosen_stays_chosen_when_rows_move() {
        let mut model = model();
        assert_eq!(chosen(&model), "monday");
        model.act(Action::Move(1));
        assert_eq!(chosen(&model), "web");
        model.act(Action::Order(Order::Name));
        assert_eq!(chosen(&model), "web");
        model.act(Action::Move(100));
        assert_eq!(chosen(&model), "young");
        model.act(Action::First);
        assert_eq!(chosen(&model), "db");
        model.act(Action::Last);
        assert_eq!(chosen(&model), "young");
    }

    #[test]
    fn a_pool_that_goes_gives_way_to_the_first_one() {
        let mut model = model();
        model.act(Action::PreviousPane);
        assert_eq!(model.pane, Pane::Pools);
        model.act(Action::Last);
        assert_eq!(model.chosen_pool().unwrap().name.as_str(), "p1");
        let mut now = sample();
        now.pools.pop();
        model.take(now);
        assert_eq!(model.chosen_pool().unwrap().name.as_str(), "p0");
        assert_eq!(model.events[0].word, "gone");
        let at = Timestamp(9_000);
        model.take(Sample { at, pools: Vec::new(), ..sample() });
        assert!(model.chosen_pool().is_none() && model.rows().is_none());
        for action in [Action::Move(1), Action::Details, Action::Last] {
            assert_eq!(model.act(action), Effect::None);
        }
    }

    #[test]
    fn a_look_that_failed_leaves_what_was_seen() {
        let mut model = model();
        let troubles = vec!["a disk cannot be read".to_owned()];
        model.take(Sample { pools: Vec::new(), troubles, ..sample() });
        assert_eq!(model.pools().len(), 2);
        assert!(model.events.is_empty());
    }

    #[test]
    fn panes_go_round_and_a_filter_is_written_kept_and_dropped() {
        let mut model = model();
        for _ in 0..4 {
            model.act(Action::NextPane);
        }
        assert_eq!(model.pane, Pane::Volumes);
        model.act(Action::BeginFilter);
        for letter in "webx".chars() {
            model.act(Action::Type(letter));
        }
        assert!(model.rows().unwrap().is_empty());
        model.act(Action::Erase);
        model.act(Action::KeepFilter);
        assert_eq!((chosen(&model).as_str(), model.mode()), ("web", Mode::Tables));
        model.act(Action::BeginFilter);
        model.act(Action::DropFilter);
        assert_eq!(model.rows().unwrap().len(), 4);
    }

    #[test]
    fn details_are_of_what_is_chosen() {
        let mut model = model();
        model.act(Action::Details);
        let uuid = model.rows().unwrap()[0].volume.uuid;
        assert_eq!((model.overlay, model.mode()), (Some(Overlay::Volume(uuid)), Mode::Overlay));
        model.act(Action::Close);
        model.pane = Pane::Pools;
        model.act(Action::Details);
        assert_eq!(model.overlay, model.pool.map(Overlay::Pool));
        model.act(Action::Close);
        model.pane = Pane::Events;
        model.act(Action::Details);
        assert_eq!(model.overlay, None);
    }

    #[test]
    fn events_do_not_grow_without_end() {
        let mut model = model();
        for number in 0..EVENTS_MAX as u64 {
            let mut now = sample();
            now.pools[0].writer = (number % 2 == 0).then_some(7);
            now.pools[1].writer = (number % 2 == 0).then_some(8);
            model.take(now);
        }
        assert_eq!(model.events.len(), EVENTS_MAX);
    }
}
