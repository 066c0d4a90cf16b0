//! Moves the journal to its other region, which then begins with a snapshot of the state.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::mem;

use super::error::{JournalError, MediaError};
use super::format::frame_bytes;
use super::place::{Place, region_bytes_for};
use super::stream::Stream;
use super::writer::{Journal, State};

/// While more than this has been appended meanwhile, it is written before appends are held up.
const CATCH_UP_BYTES: usize = 64 << 10;
/// How often that is tried: a caller that appends faster than the medium writes must not keep a
/// checkpoint from ending.
const CATCH_UP_ROUNDS: u32 = 16;

/// A checkpoint that has begun: records appended from now on are carried over by the journal.
///
/// Dropping it gives the checkpoint up; the journal goes on in its region.
#[derive(Debug)]
#[must_use = "a checkpoint that is dropped was not made"]
pub struct Checkpoint<'a> {
    journal: &'a Journal,
    /// Whether the journal still collects for this checkpoint, rather than for a later one.
    collects: Cell<bool>,
}

impl Journal {
    /// Marks the point that the snapshot describes.
    ///
    /// Called under the lock that guards the caller's state: the records given to
    /// [`Checkpoint::write`] must describe that state as it is now, with everything appended
    /// before this call and nothing appended after it. Copy what is needed under the lock, or
    /// read from an immutable version of the state; the writing itself needs no lock.
    pub fn begin_checkpoint(&self) -> Result<Checkpoint<'_>, JournalError> {
        let mut state = self.lock();
        state.check_poison()?;
        if state.catch_up.is_some() {
            return Err(JournalError::CheckpointRunning);
        }
        state.catch_up = Some(Vec::new());
        Ok(Checkpoint { journal: self, collects: Cell::new(true) })
    }

    /// Begins and writes a checkpoint, for a caller whose state cannot change meanwhile.
    pub fn checkpoint(
        &self,
        records: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<(), JournalError> {
        self.begin_checkpoint()?.write(records)
    }
}

impl Drop for Checkpoint<'_> {
    fn drop(&mut self) {
        if self.collects.get() {
            self.journal.lock().catch_up = None;
        }
    }
}

impl Checkpoint<'_> {
    /// Writes the snapshot and switches to it; on return the old region is sealed.
    ///
    /// Appends go on in the old region until the last step, which waits for the write in progress
    /// and takes one write of what was appended last, one of the header and one of the seal.
    /// [`JournalError::Full`] leaves the journal as it was. A failed write poisons it.
    pub fn write(self, records: impl IntoIterator<Item = Vec<u8>>) -> Result<(), JournalError> {
        let journal = self.journal;
        let result = self.stream(records);
        match result {
            Err(JournalError::Media(source)) => Err(journal.lock().set_poison(source)),
            other => other,
        }
    }

    fn stream(&self, records: impl IntoIterator<Item = Vec<u8>>) -> Result<(), JournalError> {
        let journal = self.journal;
        let media = journal.media.as_ref();
        let place = {
            let state = journal.lock();
            let old = &state.place;
            let unit_bytes = old.unit_bytes.max(media.unit_bytes());
            let epoch = state.newest_epoch.max(old.epoch) + 1;
            Place::new(old.pool, old.region.other(), epoch, unit_bytes, region_bytes_for(media)?)
        };
        Stream::erase(media, &place)?;
        let mut stream = Stream::new(media, place);
        for record in records {
            stream.push(record)?;
        }
        for _ in 0..CATCH_UP_ROUNDS {
            let Some(appended) = self.take_catch_up() else { break };
            appended.into_iter().try_for_each(|record| stream.push(record))?;
        }
        stream.flush()?;
        self.switch(stream)
    }

    /// What was appended meanwhile, if it is much.
    fn take_catch_up(&self) -> Option<Vec<Vec<u8>>> {
        let mut state = self.journal.lock();
        let catch_up = state.catch_up.as_mut()?;
        let bytes: usize = catch_up.iter().map(|record| frame_bytes(record.len())).sum();
        (bytes > CATCH_UP_BYTES).then(|| mem::take(catch_up))
    }

    /// The critical section: no record is written or acknowledged between its first and last line.
    fn switch(&self, mut stream: Stream<'_>) -> Result<(), JournalError> {
        let journal = self.journal;
        let mut state = journal.turns.claim(journal.lock());
        if let Err(poisoned) = state.check_poison() {
            journal.turns.end_for_all(state);
            return Err(poisoned);
        }
        let appended = state.catch_up.take().unwrap_or_default();
        self.collects.set(false);
        if let Err(full) = move_to(&mut state, &stream, &appended) {
            journal.turns.end_for_all(state);
            return Err(full);
        }
        // Appends from here on are numbered and reserved in the new region, and stay pending.
        let first_sequence = state.next_sequence;
        let old = mem::replace(&mut state.place, stream.place.clone());
        state.newest_epoch = stream.place.epoch;
        drop(state);

        let finish = || -> Result<Stream<'_>, JournalError> {
            appended.into_iter().try_for_each(|record| stream.push(record))?;
            stream.flush()?;
            stream.finish(first_sequence, old.epoch)?;
            let sealed =
                old.write_seal(journal.media.as_ref(), stream.place.epoch, first_sequence)?;
            stream.counters.writes += 1;
            stream.counters.bytes_written += sealed;
            Ok(stream)
        };
        let finished = finish();

        let mut state = journal.lock();
        let result = match finished {
            Ok(stream) => {
                state.records_offset = stream.end_offset;
                state.end_offset = stream.end_offset;
                state.durable_sequence = first_sequence;
                state.must_checkpoint = false;
                journal.count(stream.counters);
                Ok(())
            }
            Err(JournalError::Media(source)) => Err(state.set_poison(source)),
            // The room was booked, so this cannot be; the new place is not valid all the same.
            Err(other) => Err(state.set_poison(MediaError::Io {
                action: "writing",
                medium: journal.media.name(),
                offset: 0,
                length: 0,
                source: io::Error::other(other),
            })),
        };
        journal.turns.end_for_all(state);
        result
    }
}

/// Books the new region's room: the rest of the checkpoint must fit before anything is given up.
fn move_to(
    state: &mut State,
    stream: &Stream<'_>,
    appended: &[Vec<u8>],
) -> Result<(), JournalError> {
    let needed_bytes = stream.packed_bytes(appended);
    let free_bytes = stream.place.region_bytes - stream.end_offset;
    if needed_bytes > free_bytes {
        return Err(JournalError::Full { needed_bytes, free_bytes });
    }
    state.end_offset = stream.end_offset + needed_bytes;
    state.reserved_bytes = 0;
    // All of them are in the snapshot or among `appended`.
    state.pending.clear();
    Ok(())
}
