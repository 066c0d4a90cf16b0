//! Two pools of the engine, one with few volumes and one with many, in turns.
#![forbid(unsafe_code)]

use anyhow::Result;
use thinly_engine::catalogue::VolumeName;
use thinly_engine::pool::Pool;

use super::callers::{CALLERS_MOST, spread};
use super::contender::{Contender, Ours};
use super::turns::Slots;
use crate::pair::Pair;
use crate::results::{Bound, Group, Table};

/// Rounds that are not counted.
const WARM_UP_ROUNDS: usize = 3;

/// Measures on a pool with `many` volumes, and on an empty one that is given `few`.
pub(super) fn growth(
    (pool_many, many): (&Pool, usize),
    (pool_few, few): (&Pool, usize),
    slots: &Slots,
    rounds: usize,
    group: &mut Group,
) -> Result<()> {
    let origin = VolumeName::new("origin")?;
    let [with_few, with_many] = [pool_few, pool_many].map(|pool| Ours { pool, origin: &origin });
    spread(CALLERS_MOST, &slots.take_many(few)?, &|slot| with_few.create(slot))?;
    let (mut create, mut create_active) = (Pair::default(), Pair::default());
    let warm_up_rounds = WARM_UP_ROUNDS.min(rounds - 1);
    for turn in 0..warm_up_rounds + rounds {
        let slots = slots.take_many(2)?;
        let many_first = turn.is_multiple_of(2);
        let mut uncounted = Pair::default();
        let is_counted = turn >= warm_up_rounds;
        let pair = if is_counted { &mut create } else { &mut uncounted };
        pair.push_turn(many_first, || with_many.create(slots[0]), || with_few.create(slots[0]))?;
        let pair = if is_counted { &mut create_active } else { &mut uncounted };
        pair.push_turn(
            many_first,
            || with_many.create_active(slots[1]),
            || with_few.create_active(slots[1]),
        )?;
        for side in [&with_many, &with_few] {
            side.delete(&slots[..1])?;
            side.delete_active(slots[1])?;
            side.reap()?;
        }
    }
    let title = format!("The engine alone, pools in turns, {rounds} rounds, us");
    let columns = ["operation", "volumes", "median", "p90", "volumes", "median", "p90", "ratio"];
    let mut table = Table::new(title, &columns);
    let rows = [
        ("create", &create, Bound::AtMost(1.1)),
        ("create + activate", &create_active, Bound::Shown),
    ];
    for (name, pair, bound) in rows {
        let micros = |time: std::time::Duration| format!("{:.0}", time.as_secs_f64() * 1e6);
        table.row([
            name.to_owned(),
            few.to_string(),
            micros(pair.rival.median()),
            micros(pair.rival.p90()),
            many.to_string(),
            micros(pair.ours.median()),
            micros(pair.ours.p90()),
            format!("{:.2}", pair.ratio()),
        ]);
        let what = format!("{name} with {many} volumes, against {few}");
        group.goal(what, pair.ratio(), "x", bound);
    }
    group.tables.push(table);
    Ok(())
}
