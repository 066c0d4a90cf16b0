//! One lock a volume, and pins on thin ids: who may change what, and what may not be freed.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::units::ThinId;

/// Locks of volumes and pins of thin ids.
#[derive(Debug, Default)]
pub(super) struct Locks {
    held: Mutex<Held>,
    freed: Condvar,
    pins: Mutex<HashMap<ThinId, usize>>,
}

/// Volumes that are locked, and how many callers wait for one.
#[derive(Debug, Default)]
struct Held {
    volumes: HashSet<Uuid>,
    waiting: usize,
}

/// Takes a mutex whose holder cannot leave the data half-changed: a panic elsewhere is no reason
/// to stop resuming devices.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Locks {
    /// Waits until all of `volumes` are free and takes them at once, so that two groups over the
    /// same volumes cannot hold one each and wait for the other.
    pub(super) fn volumes(&self, volumes: &[Uuid]) -> VolumeLock<'_> {
        let mut held = lock(&self.held);
        while volumes.iter().any(|volume| held.volumes.contains(volume)) {
            held.waiting += 1;
            held = self.freed.wait(held).unwrap_or_else(PoisonError::into_inner);
            held.waiting -= 1;
        }
        held.volumes.extend(volumes);
        VolumeLock { locks: self, volumes: volumes.to_vec() }
    }

    /// Keeps a thin id from being reaped while something reads it.
    pub(super) fn pin(&self, id: ThinId) -> Pin<'_> {
        *lock(&self.pins).entry(id).or_default() += 1;
        Pin { locks: self, id }
    }

    /// Whether something reads a thin id.
    pub(super) fn is_pinned(&self, id: ThinId) -> bool {
        lock(&self.pins).contains_key(&id)
    }
}

/// Volumes that nobody else changes; released on drop.
#[derive(Debug)]
pub(super) struct VolumeLock<'a> {
    locks: &'a Locks,
    volumes: Vec<Uuid>,
}

impl Drop for VolumeLock<'_> {
    fn drop(&mut self) {
        let mut held = lock(&self.locks.held);
        for volume in &self.volumes {
            held.volumes.remove(volume);
        }
        let is_awaited = held.waiting > 0;
        drop(held);
        // A wake is a system call, also where nobody waits.
        if is_awaited {
            self.locks.freed.notify_all();
        }
    }
}

/// A thin id that is not reaped; released on drop.
#[derive(Debug)]
pub(super) struct Pin<'a> {
    locks: &'a Locks,
    id: ThinId,
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        let mut pins = lock(&self.locks.pins);
        if let Some(count) = pins.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn overlapping_groups_exclude_each_other_and_never_deadlock() {
        let locks = Locks::default();
        let volumes: Vec<Uuid> = (0..3).map(Uuid::from_u128).collect();
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for turn in 0..4 {
                let (locks, volumes, inside) = (&locks, &volumes, &inside);
                scope.spawn(move || {
                    for round in 0..200 {
                        // Every pair of these sets overlaps.
                        let first = (turn + round) % 3;
                        let set = [volumes[first], volumes[(first + 1) % 3]];
                        let _lock = locks.volumes(&set);
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }

    #[test]
    fn a_pin_counts() {
        let locks = Locks::default();
        let id = ThinId::new(4).unwrap();
        let first = locks.pin(id);
        let second = locks.pin(id);
        drop(first);
        assert!(locks.is_pinned(id));
        drop(second);
        assert!(!locks.is_pinned(id));
    }
}
