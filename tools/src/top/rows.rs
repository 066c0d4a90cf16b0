//! The volumes of a pool in the order that is asked for. Pure.
#![forbid(unsafe_code)]

use std::cmp::Ordering;

use thinly_engine::pool::VolumeView;
use thinly_engine::units::Bytes;

use super::sample::Reading;

/// What volumes are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Order {
    /// What frees most first.
    #[default]
    Exclusive,
    /// What maps most first.
    Mapped,
    /// The largest first.
    Size,
    /// By name.
    Name,
}

impl Order {
    pub(super) const fn next(self) -> Self {
        match self {
            Self::Exclusive => Self::Mapped,
            Self::Mapped => Self::Size,
            Self::Size => Self::Name,
            Self::Name => Self::Exclusive,
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Exclusive => "exclusive",
            Self::Mapped => "mapped",
            Self::Size => "size",
            Self::Name => "name",
        }
    }
}

/// A volume with what it holds alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) volume: &'a VolumeView,
    pub(super) exclusive: Option<Bytes>,
}

/// How volumes are chosen and sorted.
#[derive(Debug, Clone, Default)]
pub(super) struct Choice {
    pub(super) order: Order,
    pub(super) is_reversed: bool,
    /// Part of a name, in any case.
    pub(super) filter: String,
}

impl Choice {
    /// The volumes whose names contain the filter; those of equal rank by name.
    pub(super) fn rows<'a>(
        &self,
        volumes: &'a [VolumeView],
        reading: Option<&Reading>,
    ) -> Vec<Row<'a>> {
        let wanted = self.filter.to_lowercase();
        let named = |volume: &&VolumeView| volume.name.as_str().to_lowercase().contains(&wanted);
        let row = |volume: &'a VolumeView| {
            let exclusive = reading.and_then(|reading| reading.of(volume.uuid));
            Row { volume, exclusive }
        };
        let mut rows: Vec<Row<'a>> = volumes.iter().filter(named).map(row).collect();
        rows.sort_by(|one, other| self.compare(one, other));
        rows
    }

    fn compare(&self, one: &Row<'_>, other: &Row<'_>) -> Ordering {
        let by_name = one.volume.name.cmp(&other.volume.name);
        let largest_first = |of: fn(&Row<'_>) -> Option<Bytes>| of(other).cmp(&of(one));
        let ordering = match self.order {
            Order::Exclusive => largest_first(|row| row.exclusive),
            Order::Mapped => largest_first(|row| row.volume.mapped_bytes),
            Order::Size => largest_first(|row| Some(row.volume.virtual_bytes)),
            Order::Name => by_name,
        };
        let ordering = if self.is_reversed { ordering.reverse() } else { ordering };
        ordering.then(by_name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{reading, sample};
    use super::*;

    fn names(choice: &Choice, reading: Option<&Reading>) -> Vec<String> {
        let sample = sample();
        let volumes = &sample.volumes[&sample.pools[0].uuid];
        let rows = choice.rows(volumes, reading);
        rows.iter().map(|row| row.volume.name.to_string()).collect()
    }

    #[test]
    fn every_order_and_its_reverse() {
        let read = reading();
        for (order, expected) in [
            (Order::Exclusive, ["monday", "web", "db", "young"]),
            (Order::Mapped, ["web", "monday", "db", "young"]),
            (Order::Size, ["web", "db", "monday", "young"]),
            (Order::Name, ["db", "monday", "web", "young"]),
        ] {
            let choice = Choice { order, ..Choice::default() };
            assert_eq!(names(&choice, Some(&read)), expected, "{order:?}");
        }
        let reversed = Choice { is_reversed: true, ..Choice::default() };
        assert_eq!(names(&reversed, Some(&read)), ["young", "db", "web", "monday"]);
        let by_size = Choice { order: Order::Size, is_reversed: true, ..Choice::default() };
        assert_eq!(names(&by_size, Some(&read)), ["young", "db", "monday", "web"]);
    }

    #[test]
    fn without_a_reading_names_decide() {
        assert_eq!(names(&Choice::default(), None), ["db", "monday", "web", "young"]);
    }

    #[test]
    fn a_filter_is_part_of_a_name_in_any_case() {
        let choice = Choice { filter: "ON".to_owned(), ..Choice::default() };
        assert_eq!(names(&choice, None), ["monday"]);
    }

    #[test]
    fn orders_go_round() {
        let mut order = Order::default();
        let mut words = Vec::new();
        for _ in 0..4 {
            words.push(order.word());
            order = order.next();
        }
        assert_eq!((order, words), (Order::Exclusive, vec!["exclusive", "mapped", "size", "name"]));
    }
}
