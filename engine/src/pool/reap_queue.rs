//! Which tombstone is next: small ones never wait for large ones.
//!
//! How large one is shows only when it is looked at. A large one then waits for one of the places
//! that large ones may take; with several workers one place is never theirs.
#![forbid(unsafe_code)]

use std::collections::{BTreeSet, VecDeque};

use crate::metadata::Unshared;
use crate::units::ThinId;

/// A tombstone that is emptied before its delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Large {
    pub(super) id: ThinId,
    /// What it maps, shared blocks included.
    pub(super) mapped_blocks: u64,
    /// What only it reaches.
    pub(super) unshared: Unshared,
}

/// What a worker does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Find out what a tombstone holds.
    Look(ThinId),
    /// Empty a large one.
    Empty(Large),
    /// Overwrite what a tombstone alone holds, then free it.
    Erase(ThinId),
    /// Somebody is at work and may leave more to do.
    Wait,
    /// Nothing is left.
    Done,
}

/// Tombstones that wait, and how many are being worked on.
#[derive(Debug)]
pub(super) struct Queue {
    known: BTreeSet<ThinId>,
    fresh: VecDeque<ThinId>,
    large: VecDeque<Large>,
    /// What is overwritten first. It comes when all others are gone: what it shared with one of
    /// these alone would be freed by that one, as it is.
    to_erase: VecDeque<ThinId>,
    /// Whether something that is not to be erased is held and stays.
    is_held: bool,
    busy: usize,
    busy_large: usize,
    places_for_large: usize,
}

impl Queue {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            known: BTreeSet::new(),
            fresh: VecDeque::new(),
            large: VecDeque::new(),
            to_erase: VecDeque::new(),
            is_held: false,
            busy: 0,
            busy_large: 0,
            places_for_large: workers.saturating_sub(1).max(1),
        }
    }

    /// Adds those that it has never had; tells whether there are any.
    pub(super) fn add(&mut self, ids: impl IntoIterator<Item = ThinId>) -> bool {
        let before = self.fresh.len();
        self.fresh.extend(ids.into_iter().filter(|id| self.known.insert(*id)));
        self.fresh.len() > before
    }

    /// Puts one that is to be erased behind all others.
    pub(super) fn end_last(&mut self, id: ThinId) {
        self.end(None);
        self.to_erase.push_back(id);
    }

    /// One that is not to be erased stays: what it shares with others cannot be theirs alone.
    pub(super) fn end_held(&mut self) {
        self.end(None);
        self.is_held = true;
    }

    /// How many it was ever given.
    pub(super) fn total(&self) -> u64 {
        self.known.len() as u64
    }

    /// How many nobody has dealt with.
    pub(super) fn left(&self) -> u64 {
        (self.fresh.len() + self.large.len() + self.to_erase.len()) as u64
    }

    /// Whether a second worker would find something to do, now or when more are deleted meanwhile.
    pub(super) fn wants_help(&self) -> bool {
        self.busy_large + self.large.len() > 0 || self.fresh.len() + self.busy > 1
    }

    /// What a worker does next; unless it waits or is done, [`Queue::end`] or
    /// [`Queue::end_large`] follows.
    pub(super) fn next(&mut self) -> Next {
        if let Some(id) = self.fresh.pop_front() {
            self.busy += 1;
            return Next::Look(id);
        }
        if self.busy_large < self.places_for_large
            && let Some(large) = self.large.pop_front()
        {
            self.busy_large += 1;
            return Next::Empty(large);
        }
        if self.busy + self.busy_large > 0 {
            return Next::Wait;
        }
        if !self.is_held
            && let Some(id) = self.to_erase.pop_front()
        {
            self.busy_large += 1;
            return Next::Erase(id);
        }
        Next::Done
    }

    /// One that was looked at is dealt with, or is large and waits for its place.
    pub(super) fn end(&mut self, large: Option<Large>) {
        self.busy = self.busy.saturating_sub(1);
        self.large.extend(large);
    }

    /// A large one is dealt with.
    pub(super) fn end_large(&mut self) {
        self.busy_large = self.busy_large.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> ThinId {
        ThinId::new(number).unwrap()
    }

    fn large(number: u32) -> Large {
        Large { id: id(number), mapped_blocks: 9, unshared: Unshared::default() }
    }

    /// Takes one, and finds that it is large.
    fn look(queue: &mut Queue, number: u32) {
        assert_eq!(queue.next(), Next::Look(id(number)));
        queue.end(Some(large(number)));
    }

    #[test]
    fn a_small_one_passes_all_that_are_large() {
        let mut queue = Queue::new(2);
        assert!(queue.add([id(1), id(2), id(3)]));
        look(&mut queue, 1);
        look(&mut queue, 2);
        assert_eq!(queue.next(), Next::Look(id(3)), "before any large one");
        queue.end(None);
        assert_eq!(queue.next(), Next::Empty(large(1)));
        assert_eq!(queue.next(), Next::Wait, "the other place is for small ones");
        assert!(queue.wants_help());
        assert!(queue.add([id(3), id(4)]), "one that was deleted meanwhile");
        assert_eq!(queue.next(), Next::Look(id(4)));
        queue.end(None);
        queue.end_large();
        assert_eq!(queue.next(), Next::Empty(large(2)));
        assert_eq!((queue.total(), queue.left()), (4, 0));
        queue.end_large();
        assert_eq!(queue.next(), Next::Done);
        assert!(!queue.add([id(1), id(4)]), "none comes twice");
    }

    #[test]
    fn what_is_to_be_erased_comes_last_and_never_beside_one_that_stays() {
        let mut queue = Queue::new(2);
        queue.add([id(1), id(2), id(3)]);
        assert_eq!(queue.next(), Next::Look(id(1)));
        queue.end_last(id(1));
        look(&mut queue, 2);
        assert_eq!(queue.next(), Next::Look(id(3)));
        queue.end_last(id(3));
        assert_eq!(queue.next(), Next::Empty(large(2)));
        assert_eq!(queue.next(), Next::Wait, "they may share blocks with that one");
        queue.end_large();
        assert_eq!(queue.next(), Next::Erase(id(1)));
        assert_eq!(queue.next(), Next::Wait, "one after the other: these may share blocks too");
        assert!(queue.add([id(4)]));
        assert_eq!(queue.next(), Next::Look(id(4)));
        queue.end_held();
        queue.end_large();
        assert_eq!((queue.next(), queue.left()), (Next::Done, 1));
    }

    #[test]
    fn a_single_worker_gets_through_and_needs_no_help_for_a_single_small_one() {
        let mut queue = Queue::new(1);
        queue.add([id(1)]);
        assert!(!queue.wants_help());
        look(&mut queue, 1);
        assert_eq!(queue.next(), Next::Empty(large(1)));
        queue.end_large();
        assert_eq!(queue.next(), Next::Done);
    }
}
