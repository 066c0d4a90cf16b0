//! What happened between two samples.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use thinly_engine::catalogue::Timestamp;
use thinly_engine::plan::{Health, Severity, changes};
use thinly_engine::pool::{PoolView, VolumeState, VolumeView};
use thinly_engine::units::Bytes;
use uuid::Uuid;

use super::sample::Sample;
use super::theme::Tone;
use crate::json::{pool_state, volume_state};
use crate::size::human;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// When it was seen.
    pub(crate) at: Timestamp,
    /// The pool.
    pub(crate) pool: String,
    /// What kind of thing it is, in one word.
    pub(crate) word: &'static str,
    /// A sentence about it.
    pub(crate) message: String,
    /// How it is to be taken.
    pub(crate) tone: Tone,
}

/// What happened from one sample to the next.
pub(super) fn events(before: &Sample, now: &Sample) -> Vec<Event> {
    let mut seen = Seen { at: now.at, pool: String::new(), events: Vec::new() };
    for pool in &now.pools {
        seen.pool = pool.name.to_string();
        match before.pools.iter().find(|old| old.uuid == pool.uuid) {
            Some(old) => seen.pool_changed(old, pool),
            None => seen.tell(Tone::Plain, "appeared", pool_state(pool.state)),
        }
        if let (Some(old), Some(new)) =
            (before.volumes.get(&pool.uuid), now.volumes.get(&pool.uuid))
        {
            seen.volumes_changed(old, new);
        }
    }
    // A look that failed shows nothing: what it does not show may still be there.
    for old in before.pools.iter().filter(|_| now.troubles.is_empty()) {
        if !now.pools.iter().any(|pool| pool.uuid == old.uuid) {
            seen.pool = old.name.to_string();
            seen.tell(Tone::Bad, "gone", "it is on no disk of this machine any more");
        }
    }
    seen.events
}

struct Seen {
    at: Timestamp,
    pool: String,
    events: Vec<Event>,
}

impl Seen {
    fn tell(&mut self, tone: Tone, word: &'static str, message: impl Into<String>) {
        let (at, pool, message) = (self.at, self.pool.clone(), message.into());
        self.events.push(Event { at, pool, word, message, tone });
    }

    fn pool_changed(&mut self, old: &PoolView, new: &PoolView) {
        if old.name != new.name {
            self.tell(Tone::Plain, "renamed", format!("it was {}", old.name));
        }
        if old.state != new.state {
            let text = format!("{}, was {}", pool_state(new.state), pool_state(old.state));
            self.tell(Tone::Plain, "state", text);
        }
        if let Some(health) = new.health.filter(|_| old.health != new.health) {
            let tone = if health == Health::Writable { Tone::Good } else { Tone::Bad };
            let was = old.health.map_or(String::new(), |was| format!(", was {was}"));
            self.tell(tone, "health", format!("{health}{was}"));
        }
        let (old_conditions, new_conditions) = (old.conditions(), new.conditions());
        let (begun, over) = changes(&old_conditions, &new_conditions);
        for condition in begun {
            let tone = Tone::of(condition.severity);
            let text = format!("{}: {}", condition.reason, condition.message);
            self.tell(tone, "condition", text);
        }
        for condition in over {
            self.tell(Tone::Good, "recovered", condition.reason.as_str());
        }
        self.space_changed(old, new);
        if old.writer != new.writer {
            let text = match new.writer {
                Some(process) => format!("held by process {process}"),
                None => "held by nobody".to_owned(),
            };
            self.tell(Tone::Plain, "writer", text);
        }
    }

    fn space_changed(&mut self, old: &PoolView, new: &PoolView) {
        if let (Some(was), Some(is)) = (&old.usage, &new.usage) {
            self.resized("data", was.total_data, is.total_data);
            self.resized("metadata", was.total_metadata, is.total_metadata);
        }
        if old.devices.len() != new.devices.len() {
            let text = format!("{} disks, were {}", new.devices.len(), old.devices.len());
            self.tell(Tone::Plain, "disks", text);
        }
        match (old.tombstones.is_empty(), new.tombstones.is_empty()) {
            (true, false) => {
                let count = new.tombstones.len();
                self.tell(Tone::Plain, "reaping", format!("{count} deleted thin ids wait"));
            }
            (false, true) => self.tell(Tone::Good, "reaped", "all that was deleted is freed"),
            _ => {}
        }
    }

    fn resized(&mut self, what: &str, was: Bytes, is: Bytes) {
        if was != is {
            let text = format!("{what} {}, was {}", human(is), human(was));
            self.tell(Tone::Good, "grown", text);
        }
    }

    fn volumes_changed(&mut self, old: &[VolumeView], new: &[VolumeView]) {
        let by_uuid = |list: &'_ [VolumeView]| -> BTreeMap<Uuid, usize> {
            list.iter().enumerate().map(|(at, volume)| (volume.uuid, at)).collect()
        };
        let (before, after) = (by_uuid(old), by_uuid(new));
        for volume in new {
            match before.get(&volume.uuid).and_then(|at| old.get(*at)) {
                Some(was) => self.volume_changed(was, volume),
                None => self.tell(Tone::Plain, "created", volume.name.to_string()),
            }
        }
        for volume in old.iter().filter(|volume| !after.contains_key(&volume.uuid)) {
            self.tell(Tone::Plain, "deleted", volume.name.to_string());
        }
    }

    fn volume_changed(&mut self, was: &VolumeView, is: &VolumeView) {
        let name = &is.name;
        if was.name != is.name {
            self.tell(Tone::Plain, "renamed", format!("{} is now {name}", was.name));
        }
        if was.virtual_bytes != is.virtual_bytes {
            let (was, is) = (human(was.virtual_bytes), human(is.virtual_bytes));
            self.tell(Tone::Plain, "resized", format!("{name}: {is}, was {was}"));
        }
        if was.state != is.state {
            let tone = match is.state {
                VolumeState::Lost | VolumeState::Suspended => Tone::of(Severity::Error),
                _ => Tone::Plain,
            };
            let text =
                format!("{name}: {}, was {}", volume_state(is.state), volume_state(was.state));
            self.tell(tone, "volume", text);
        }
    }
}

#[cfg(test)]
mod tests {
    use thinly_engine::pool::PoolState;
    use thinly_engine::units::ThinId;

    use super::super::fixture::{pool, sample, volume};
    use super::*;

    fn told(before: &Sample, now: &Sample) -> Vec<String> {
        let line = |event: Event| format!("{} {}: {}", event.pool, event.word, event.message);
        events(before, now).into_iter().map(line).collect()
    }

    #[test]
    fn nothing_happens_between_two_equal_samples() {
        let before = sample();
        let now = Sample { at: Timestamp(before.at.0 + 2000), ..before.clone() };
        assert_eq!(told(&before, &now), [] as [&str; 0]);
    }

    #[test]
    fn a_pool_that_fills_and_recovers_is_told_once_each() {
        let (before, mut full) = (sample(), sample());
        let usage = full.pools[0].usage.as_mut().unwrap();
        usage.used_data = usage.total_data;
        full.pools[0].health = Some(Health::OutOfDataSpace);
        let lines = told(&before, &full);
        assert_eq!(lines[0], "p0 health: out_of_data_space, was rw");
        assert!(lines[1].starts_with("p0 condition: ThinPoolOutOfDataSpace: "), "{lines:?}");
        assert!(lines[2].starts_with("p0 condition: DataNearlyFull: 100 %"), "{lines:?}");
        assert_eq!(lines.len(), 3);
        let tones: Vec<Tone> = events(&before, &full).iter().map(|event| event.tone).collect();
        assert_eq!(tones, [Tone::Bad, Tone::Bad, Tone::Warn]);
        let lines = told(&full, &before);
        assert_eq!(lines[0], "p0 health: rw, was out_of_data_space");
        assert_eq!(
            lines[1..],
            ["p0 recovered: ThinPoolOutOfDataSpace", "p0 recovered: DataNearlyFull"]
        );
    }

    #[test]
    fn growth_disks_freeing_writers_and_states_are_told() {
        let (before, mut now) = (sample(), sample());
        let changed = &mut now.pools[0];
        let usage = changed.usage.as_mut().unwrap();
        usage.total_data = Bytes::new(200 << 30);
        changed.devices.push(changed.devices[0].clone());
        changed.tombstones = vec![ThinId::new(7).unwrap()];
        changed.writer = Some(42);
        now.pools[1].state = PoolState::Open;
        assert_eq!(
            told(&before, &now),
            [
                "p0 grown: data 200.00 GiB, was 100.00 GiB",
                "p0 disks: 2 disks, were 1",
                "p0 reaping: 1 deleted thin ids wait",
                "p0 writer: held by process 42",
                "p1 state: open, was closed",
            ]
        );
        assert!(told(&now, &before).contains(&"p0 reaped: all that was deleted is freed".into()));
    }

    #[test]
    fn volumes_come_change_and_go() {
        let (before, mut now) = (sample(), sample());
        let key = now.pools[0].uuid;
        let volumes = now.volumes.get_mut(&key).unwrap();
        volumes.remove(1);
        volumes[0].virtual_bytes = Bytes::new(20 << 30);
        volumes[0].state = VolumeState::Suspended;
        volumes.push(volume("new", 99, 1 << 30));
        assert_eq!(
            told(&before, &now),
            [
                "p0 resized: db: 20.00 GiB, was 10.00 GiB",
                "p0 volume: db: suspended, was active",
                "p0 created: new",
                "p0 deleted: monday",
            ]
        );
    }

    #[test]
    fn a_pool_is_gone_only_when_everything_could_be_looked_at() {
        let (before, mut now) = (sample(), sample());
        now.pools.remove(1);
        assert_eq!(told(&before, &now), ["p1 gone: it is on no disk of this machine any more"]);
        now.troubles.push("a disk cannot be read".to_owned());
        assert_eq!(told(&before, &now), [] as [&str; 0]);
        assert_eq!(told(&now, &before), ["p1 appeared: closed"]);
        let _ = pool("p1", 1);
    }
}
