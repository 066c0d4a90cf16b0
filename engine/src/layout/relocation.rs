//! Which extents go where when a device is to be emptied: pure.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use uuid::Uuid;

use super::extent_map::{ExtentError, ExtentMap};
use super::role::{Extents, Role};
use super::segment::Segment;

/// A run of extents on its way to another device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relocation {
    /// Where it is.
    pub from: Segment,
    /// The device that it goes to.
    pub device: Uuid,
    /// Its first extent there.
    pub device_start: Extents,
}

impl Relocation {
    /// The run as it will be.
    pub const fn target(&self) -> Segment {
        Segment { device: self.device, device_start: self.device_start, ..self.from }
    }

    /// All segments of its role, once it has arrived.
    pub fn applied(&self, map: &ExtentMap) -> Vec<Segment> {
        let from = self.from;
        let mut all = Vec::new();
        for segment in map.segments(from.role) {
            let holds = segment.device == from.device
                && segment.logical_start <= from.logical_start
                && segment.logical_end() >= from.logical_end();
            if holds {
                all.extend(parts_around(segment, from));
                all.push(self.target());
            } else {
                all.push(segment);
            }
        }
        all.sort_by_key(|segment| segment.logical_start);
        merged(all)
    }
}

/// Joins what continues each other, as the map does.
fn merged(segments: Vec<Segment>) -> Vec<Segment> {
    let mut joined: Vec<Segment> = Vec::with_capacity(segments.len());
    for segment in segments {
        match joined.last_mut() {
            Some(last) if last.continues_with(&segment) => {
                last.count = Extents::new(last.count.get() + segment.count.get());
            }
            _ => joined.push(segment),
        }
    }
    joined
}

/// What is left of a segment in front of a part of it and behind it.
fn parts_around(segment: Segment, part: Segment) -> impl Iterator<Item = Segment> {
    let before = part.logical_start.saturating_sub(segment.logical_start);
    let skipped = Extents::new(before.get().saturating_add(part.count.get()));
    let behind = Segment {
        logical_start: Extents::new(segment.logical_start.get().saturating_add(skipped.get())),
        device_start: Extents::new(segment.device_start.get().saturating_add(skipped.get())),
        count: segment.count.saturating_sub(skipped),
        ..segment
    };
    let before = Segment { count: before, ..segment };
    [before, behind].into_iter().filter(|part| part.count > Extents::ZERO)
}

/// Extents that cannot be moved, by role and place in it.
pub type Stuck = BTreeSet<(Role, Extents)>;

/// The next run of a device that is to be emptied, at most `most` extents of it. `None` when all that
/// it still carries is the journal or stuck.
pub fn next_relocation(
    map: &ExtentMap,
    leaving: Uuid,
    most: Extents,
    stuck: &Stuck,
) -> Result<Option<Relocation>, ExtentError> {
    let mut on_it = map.segments_on(leaving).into_iter().filter(|on| on.role != Role::Journal);
    let Some(from) = on_it.find_map(|segment| first_movable(segment, most, stuck)) else {
        return Ok(None);
    };
    let role = from.role;
    let homes = homes(map, role, leaving);
    let beside = map.segments(role).into_iter().find(|segment| {
        segment.device != leaving && segment.logical_end() == Some(from.logical_start)
    });
    // Behind the extent before it, so that the two stay one segment.
    let beside = beside.and_then(|before| {
        let end = before.device_end()?;
        let runs = map.free_runs(before.device);
        let (start, free) = runs.into_iter().find(|(start, _)| *start == end)?;
        homes.contains(&before.device).then_some((before.device, start, free))
    });
    let first = homes.iter().find_map(|device| {
        let (start, free) = map.free_runs(*device).into_iter().next()?;
        Some((*device, start, free))
    });
    let Some((device, device_start, free)) = beside.or(first) else {
        return Err(ExtentError::NoRoom { role, needs: from.count, free: Extents::ZERO });
    };
    let count = from.count.min(free);
    Ok(Some(Relocation { from: Segment { count, ..from }, device, device_start }))
}

/// The first part of a segment that is not stuck.
fn first_movable(segment: Segment, most: Extents, stuck: &Stuck) -> Option<Segment> {
    let is_stuck = |at: u64| stuck.contains(&(segment.role, Extents::new(at)));
    let begin = segment.logical_start.get();
    let end = segment.logical_end()?.get();
    let first = (begin..end).find(|at| !is_stuck(*at))?;
    let limit = end.min(first.saturating_add(most.get()));
    let last = (first + 1..limit).find(|at| is_stuck(*at)).unwrap_or(limit);
    Some(Segment {
        logical_start: Extents::new(first),
        device_start: Extents::new(segment.device_start.get() + (first - begin)),
        count: Extents::new(last - first),
        ..segment
    })
}

/// Where a role goes: to devices that have it already, then to empty ones, then to any. So data comes
/// to a device for metadata alone only where nothing else is left.
fn homes(map: &ExtentMap, role: Role, leaving: Uuid) -> Vec<Uuid> {
    let rank = |device: &Uuid| {
        let on_it = map.segments_on(*device);
        match on_it.is_empty() {
            _ if on_it.iter().any(|on| on.role == role) => 0,
            true => 1,
            false => 2,
        }
    };
    let others = map.devices().iter().map(|space| space.device);
    let mut homes: Vec<Uuid> = others.filter(|uuid| *uuid != leaving).collect();
    homes.sort_by_key(rank);
    homes
}

/// Moves everything in thought: what the map looks like once a device carries the journal at most. An
/// error says that there is no room.
pub fn emptied(map: &ExtentMap, leaving: Uuid) -> Result<ExtentMap, ExtentError> {
    let mut map = map.clone();
    let needs: u64 = {
        let on_it = map.segments_on(leaving).into_iter();
        on_it.filter(|on| on.role != Role::Journal).map(|on| on.count.get()).sum()
    };
    let free = map.free_extents_total().saturating_sub(map.free_extents(leaving));
    let all = Extents::new(u64::MAX);
    loop {
        match next_relocation(&map, leaving, all, &Stuck::new()) {
            Ok(None) => return Ok(map),
            Ok(Some(relocation)) => {
                let segments = relocation.applied(&map);
                map.remove(relocation.from.role);
                map.insert(&segments)?;
            }
            Err(ExtentError::NoRoom { role, .. }) => {
                return Err(ExtentError::NoRoom { role, needs: Extents::new(needs), free });
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
#[path = "relocation_tests.rs"]
mod tests;
