//! Who waits for whom: those whose record is being written, those whose record goes with the next
//! write, and a checkpoint that wants no write to run.
//!
//! One condition for all of them would wake every caller after every write, most of them to find
//! that their record is still to be written. Here a write wakes those it carried, and of the others
//! one, who writes next.
#![forbid(unsafe_code)]

use std::sync::{Condvar, MutexGuard, PoisonError};

use super::writer::State;

/// The places where callers wait. Who waits, and for which write, is in [`Turn`], under the lock.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Two are enough: one for the write that runs, one for the next. A record that did not fit
    /// into the next is woken with it and waits again.
    rooms: [Condvar; 2],
    free: Condvar,
}

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Somebody is writing frames of this place, or switching to the next one.
    pub(super) writing: bool,
    /// Writes of records begun so far; its last bit names the room of the write that runs.
    writes: usize,
    /// Records below go with the last write begun, or one before it.
    taken_below: u64,
    /// Callers in each room.
    waiting: [usize; 2],
    /// Checkpoints that wait for the end of a write.
    claims: usize,
}

impl Turn {
    /// Begins a write of the records below `sequence`.
    pub(super) fn begin(&mut self, sequence: u64) {
        self.writing = true;
        self.writes += 1;
        self.taken_below = sequence;
    }

    /// Callers whose records are not durable yet and who are not writing.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.iter().sum()
    }

    fn room_of(&self, sequence: u64) -> usize {
        let ahead = usize::from(sequence >= self.taken_below);
        (self.writes + ahead) % 2
    }
}

impl Turns {
    /// Waits until something changes for a record that is not durable, while somebody writes.
    pub(super) fn wait<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        sequence: u64,
    ) -> MutexGuard<'a, State> {
        let room = state.turn.room_of(sequence);
        state.turn.waiting[room] += 1;
        let mut state = self.rooms[room].wait(state).unwrap_or_else(PoisonError::into_inner);
        state.turn.waiting[room] -= 1;
        state
    }

    /// Waits until nobody writes, and takes the turn.
    pub(super) fn claim<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while state.turn.writing {
            state.turn.claims += 1;
            state = self.free.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.turn.claims -= 1;
        }
        state.turn.writing = true;
        state
    }

    /// Ends a write of records: gives the lock back and wakes those it carried, and of the others
    /// one, and a checkpoint. These two take what they find first: whoever loses waits for the end
    /// of the winner's turn, which tells it again.
    pub(super) fn end_write(&self, mut state: MutexGuard<'_, State>) {
        state.turn.writing = false;
        let (written, next) = (state.turn.writes % 2, (state.turn.writes + 1) % 2);
        let waiting = state.turn.waiting;
        let claims = state.turn.claims;
        // Whoever is woken wants the lock.
        drop(state);
        // A wake is a system call, also where nobody waits.
        if waiting[written] > 0 {
            self.rooms[written].notify_all();
        }
        if waiting[next] > 0 {
            self.rooms[next].notify_one();
        }
        if claims > 0 {
            self.free.notify_all();
        }
    }

    /// Ends a turn after which anybody's record may be durable, or refused for ever.
    pub(super) fn end_for_all(&self, mut state: MutexGuard<'_, State>) {
        state.turn.writing = false;
        drop(state);
        for condition in self.rooms.iter().chain([&self.free]) {
            condition.notify_all();
        }
    }
}
