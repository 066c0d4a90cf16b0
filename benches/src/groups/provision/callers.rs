//! Many callers at once: what a batch takes, by operation.
#![forbid(unsafe_code)]

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use thinly_engine::pool::Pool;

use super::contender::{Slot, Switching};
use super::turns::Slots;
use crate::pair::{Pair, in_turn};
use crate::results::{Bound, Group, Table};
use crate::samples::Samples;
use crate::stage::Extent;

/// How many call at a time.
const CALLERS: [usize; 3] = [1, 8, 32];
pub(super) const CALLERS_MOST: usize = 32;

/// Calls `work` for all slots, from that many threads, and tells how long it took from the first
/// call to the end of the last. The threads stand ready before.
pub(super) fn spread(
    callers: usize,
    slots: &[Slot],
    work: &(dyn Fn(Slot) -> Result<()> + Sync),
) -> Result<Duration> {
    let start = Barrier::new(callers);
    let call = |caller: usize| -> Result<(Instant, Instant)> {
        start.wait();
        let began = Instant::now();
        slots.iter().skip(caller).step_by(callers).try_for_each(|&slot| work(slot))?;
        Ok((began, Instant::now()))
    };
    let call = &call;
    let spans: Vec<(Instant, Instant)> = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..callers).map(|caller| scope.spawn(move || call(caller))).collect();
        let joined = threads.into_iter().map(|thread| {
            thread.join().map_err(|_| anyhow::anyhow!("a caller panicked")).flatten()
        });
        joined.collect::<Result<_>>()
    })?;
    let began = spans.iter().map(|(began, _)| *began).min().context("nobody called")?;
    let ended = spans.iter().map(|(_, ended)| *ended).max().context("nobody called")?;
    Ok(ended - began)
}

/// Both sides, and what there is for them.
#[derive(Clone, Copy)]
pub(super) struct Sides<'a> {
    pub(super) ours: &'a dyn Switching,
    pub(super) pool: &'a Pool,
    pub(super) bare: &'a dyn Switching,
    pub(super) slots: &'a Slots,
}

/// The middle times of one operation, for each number of callers.
type Row = (usize, Pair);

/// Measures creation and activation by many callers, and tells.
pub(super) fn callers(sides: Sides<'_>, extent: Extent, group: &mut Group) -> Result<()> {
    let rounds = extent.pick(1, 3, 7);
    // A bare create takes as long by many callers as by one, so fewer of them tell as much.
    let counts = extent.pick((32, 2), (256, 64), (512, 128));
    let mut creates = Vec::new();
    let mut writes_per_create = 0.0;
    for callers in CALLERS {
        let (pair, writes) = sides.creates(callers, counts, rounds)?;
        creates.push((callers, pair));
        writes_per_create = writes;
    }
    let mut activations = Vec::new();
    for callers in CALLERS {
        let count = extent.pick(callers.min(2), 2 * callers, 4 * callers);
        activations.push((callers, sides.creates_active(callers, count, extent.pick(1, 2, 5))?));
    }
    tell(group, &creates, "create", Bound::Shown);
    tell(group, &activations, "create + activate", Bound::AtMost(1.3));
    let most = format!("journal writes per create, {CALLERS_MOST} callers");
    group.goal(most, writes_per_create, "writes", Bound::AtMost(0.125));
    let gain = |ours: bool| {
        let median = |row: Option<&Row>| {
            row.map_or(f64::NAN, |(_, pair)| {
                let samples = if ours { &pair.ours } else { &pair.rival };
                samples.median().as_secs_f64()
            })
        };
        median(creates.first()) / median(creates.last())
    };
    let what = format!("creates a second, {CALLERS_MOST} callers against one");
    group.goal(&what, gain(true), "x", Bound::AtLeast(4.0));
    group.goal(format!("{what}: create_thin + status"), gain(false), "x", Bound::Shown);
    Ok(())
}

/// A row for each number of callers; the bound holds for one caller and for the most.
fn tell(group: &mut Group, rows: &[Row], name: &str, bound: Bound) {
    let title = format!("{name} by several callers: time of a batch, divided by its volumes, us");
    let columns = ["callers", "ours", "a second", "bare ioctls", "a second", "ratio"];
    let mut table = Table::new(title, &columns);
    for (callers, pair) in rows {
        let cells = |samples: &Samples| {
            let seconds = samples.median().as_secs_f64();
            [format!("{:.0}", seconds * 1e6), format!("{:.0}", 1.0 / seconds)]
        };
        let [ours, ours_rate] = cells(&pair.ours);
        let [bare, bare_rate] = cells(&pair.rival);
        let ratio = format!("{:.2}", pair.ratio());
        table.row([callers.to_string(), ours, ours_rate, bare, bare_rate, ratio]);
        let what = format!("{name}, {callers} callers, against bare ioctls by as many");
        let is_asked = *callers == 1 || *callers == CALLERS_MOST;
        group.goal(what, pair.ratio(), "x", if is_asked { bound } else { Bound::Shown });
    }
    group.tables.push(table);
}

/// The first turn is not counted; where there is but one to come, nothing is to be learnt.
fn first_turn(rounds: usize) -> usize {
    usize::from(rounds == 1)
}

impl Sides<'_> {
    /// Creates of inactive volumes, and how many journal writes each of ours took.
    fn creates(
        &self,
        callers: usize,
        (count, count_bare): (usize, usize),
        rounds: usize,
    ) -> Result<(Pair, f64)> {
        let mut pair = Pair::default();
        let (mut writes, mut created) = (0, 0);
        for turn in first_turn(rounds)..=rounds {
            let (ours, bare) = (self.slots.take_many(count)?, self.slots.take_many(count_bare)?);
            let before = self.pool.counters().journal.writes;
            self.turn(callers, turn, (&ours, &bare), &mut pair, &|side, slot| side.create(slot))?;
            if turn > 0 {
                writes += self.pool.counters().journal.writes - before;
                created += count;
            }
            spread(CALLERS_MOST, &ours, &|slot| self.ours.delete(&[slot]))?;
            spread(CALLERS_MOST, &bare, &|slot| self.bare.delete(&[slot]))?;
        }
        let created = u32::try_from(created)?;
        Ok((pair, f64::from(u32::try_from(writes)?) / f64::from(created)))
    }

    /// Creates of volumes with their devices.
    fn creates_active(&self, callers: usize, count: usize, rounds: usize) -> Result<Pair> {
        let mut pair = Pair::default();
        for turn in first_turn(rounds)..=rounds {
            let (ours, bare) = (self.slots.take_many(count)?, self.slots.take_many(count)?);
            self.turn(callers, turn, (&ours, &bare), &mut pair, &|side, slot| {
                side.create_active(slot).map(drop)
            })?;
            self.remove((&ours, &bare))?;
        }
        Ok(pair)
    }

    /// One batch of each; the first one is not counted.
    fn turn(
        &self,
        callers: usize,
        turn: usize,
        (ours, bare): (&[Slot], &[Slot]),
        pair: &mut Pair,
        work: &(dyn Fn(&dyn Switching, Slot) -> Result<()> + Sync),
    ) -> Result<()> {
        let batch = |side: &dyn Switching, slots: &[Slot]| {
            let time = spread(callers, slots, &|slot| work(side, slot))
                .with_context(|| format!("{callers} callers of {}", side.name()))?;
            Ok(((), time / u32::try_from(slots.len())?))
        };
        let (ours, bare) = (|| batch(self.ours, ours), || batch(self.bare, bare));
        let ((), ours, (), bare) = in_turn(turn.is_multiple_of(2), ours, bare)?;
        if turn > 0 {
            pair.push(ours, bare);
        }
        Ok(())
    }

    /// Takes active volumes away.
    fn remove(&self, (ours, bare): (&[Slot], &[Slot])) -> Result<()> {
        spread(CALLERS_MOST, ours, &|slot| self.ours.delete_active(slot))?;
        spread(CALLERS_MOST, bare, &|slot| self.bare.delete_active(slot))?;
        self.ours.reap()
    }

    /// Activation of volumes that are there: one by one, and by many.
    pub(super) fn activations(&self, count: usize, rounds: usize, group: &mut Group) -> Result<()> {
        let (ours, bare) = (self.slots.take_many(count)?, self.slots.take_many(count)?);
        for (side, slots) in [(self.ours, &ours), (self.bare, &bare)] {
            spread(CALLERS_MOST, slots, &|slot| side.create_active(slot).map(drop))?;
            spread(CALLERS_MOST, slots, &|slot| side.deactivate(slot))?;
        }
        let (mut alone, mut together) = (Pair::default(), Pair::default());
        for turn in 1..=rounds {
            for (callers, pair) in [(1, &mut alone), (CALLERS_MOST, &mut together)] {
                self.turn(callers, turn, (&ours, &bare), pair, &|side, slot| side.activate(slot))?;
                spread(CALLERS_MOST, &ours, &|slot| self.ours.deactivate(slot))?;
                spread(CALLERS_MOST, &bare, &|slot| self.bare.deactivate(slot))?;
            }
        }
        tell(
            group,
            &[(1, alone.clone()), (CALLERS_MOST, together.clone())],
            "activate",
            Bound::Shown,
        );
        let gain = |alone: &Samples, together: &Samples| {
            alone.median().as_secs_f64() / together.median().as_secs_f64()
        };
        let what = format!("activate {count} volumes, {CALLERS_MOST} threads against one by one");
        group.goal(&what, gain(&alone.ours, &together.ours), "x", Bound::AtLeast(8.0));
        let bare_gain = gain(&alone.rival, &together.rival);
        group.goal(format!("{what}: bare ioctls"), bare_gain, "x", Bound::Shown);
        spread(CALLERS_MOST, &ours, &|slot| self.ours.delete(&[slot]))?;
        spread(CALLERS_MOST, &bare, &|slot| self.bare.delete(&[slot]))?;
        self.ours.reap()
    }
}
