//! Appends records: ordered by the caller, grouped into writes by whoever waits.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use uuid::Uuid;

use super::error::{JournalError, MediaError};
use super::format::{PAYLOAD_BYTES_MAX, Region, UNIT_BYTES_MAX, WRITE_BYTES_TARGET, frame_bytes};
use super::frame::Kind;
use super::load::Position;
use super::media::Media;
use super::mirror;
use super::place::{Place, region_bytes_for};
use super::stream::Stream;
use super::turns::{Turn, Turns};
use crate::durations::{DurationCells, Durations};

/// What a caller may choose about a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How much of the room that the last checkpoint left may fill before the next one is due.
    ///
    /// Counted from the checkpoint's end, so that a large state does not ask for checkpoints all
    /// the time.
    pub checkpoint_percent: u8,
}

impl Default for Options {
    fn default() -> Self {
        Self { checkpoint_percent: 50 }
    }
}

/// An appended record; [`Journal::wait`] tells when it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a record is durable only once its ticket was waited for"]
pub struct Ticket {
    pub(super) sequence: u64,
}

impl Ticket {
    /// The record's number in the journal's life.
    pub fn sequence(self) -> u64 {
        self.sequence
    }
}

/// What a journal handle has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Durable writes, those of checkpoints included; erasing a region ahead is not.
    pub writes: u64,
    /// Their bytes, padding included.
    pub bytes_written: u64,
    /// The frames in them.
    pub frames: u64,
}

/// The one writer of a pool's journal; its methods may be called from any thread.
#[derive(Debug)]
pub struct Journal {
    pub(super) media: Arc<dyn Media>,
    options: Options,
    state: Mutex<State>,
    pub(super) turns: Turns,
    writes: AtomicU64,
    bytes_written: AtomicU64,
    frames: AtomicU64,
    flushes: DurationCells,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) place: Place,
    pub(super) records_offset: u64,
    /// Where the next write goes; only whoever has the turn moves it.
    pub(super) end_offset: u64,
    /// Room promised to records that are pending or being written, each as a write of its own.
    pub(super) reserved_bytes: u64,
    pub(super) next_sequence: u64,
    /// Every record below is durable.
    pub(super) durable_sequence: u64,
    /// The newest records, not yet taken by a write.
    pub(super) pending: VecDeque<Vec<u8>>,
    /// Who writes, and who waits for that.
    pub(super) turn: Turn,
    /// Copies of the records appended since a checkpoint began, while one runs.
    pub(super) catch_up: Option<Vec<Vec<u8>>>,
    pub(super) must_checkpoint: bool,
    pub(super) newest_epoch: u64,
    pub(super) poison: Option<Arc<MediaError>>,
}

impl Journal {
    /// Makes a new journal of `pool` that holds `records`, over whatever the medium held.
    ///
    /// Nothing valid is on the medium before the very last write.
    pub fn format(
        media: &dyn Media,
        pool: Uuid,
        records: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<(), JournalError> {
        let region_bytes = region_bytes_for(media)?;
        for region in Region::BOTH {
            let place = Place::new(pool, region, 1, media.unit_bytes(), region_bytes);
            Stream::erase(media, &place)?;
        }
        let place = Place::new(pool, Region::A, 1, media.unit_bytes(), region_bytes);
        let mut stream = Stream::new(media, place);
        for record in records {
            stream.push(record)?;
        }
        stream.flush()?;
        stream.finish(1, 0)?;
        Ok(())
    }

    /// Goes on where a load ended. The caller holds the pool's claim since before that load.
    ///
    /// Brings the copies of a mirror into step and closes an older region that a crash left open.
    /// After a damaged tail the journal takes no record until a checkpoint has moved it to the
    /// other region, see [`Journal::needs_checkpoint`]; the damaged one stays as it is until the
    /// checkpoint after that.
    pub fn resume(
        media: Arc<dyn Media>,
        position: &Position,
        options: Options,
    ) -> Result<Self, JournalError> {
        let survey = &position.survey;
        media.flush()?;
        mirror::settle(
            media.copies(),
            position.best_copy,
            &position.unsettled,
            survey.header.region_bytes,
        )?;
        if let Some(older) = &survey.unsealed {
            let place = Place::of_header(older);
            place.write_seal(media.as_ref(), survey.header.epoch, survey.header.first_sequence)?;
        }
        let state = State {
            place: Place::of_header(&survey.header),
            records_offset: survey.header.records_offset,
            end_offset: survey.extent.end_offset,
            reserved_bytes: 0,
            next_sequence: survey.extent.next_sequence,
            durable_sequence: survey.extent.next_sequence,
            pending: VecDeque::new(),
            turn: Turn::default(),
            catch_up: None,
            must_checkpoint: survey.extent.damaged_at.is_some()
                || media.unit_bytes() > survey.header.unit_bytes,
            newest_epoch: survey.newest_epoch,
            poison: None,
        };
        Ok(Self {
            media,
            options,
            state: Mutex::new(state),
            turns: Turns::default(),
            writes: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            flushes: DurationCells::default(),
        })
    }

    /// Gives a record its place in the order, without any I/O.
    ///
    /// Called under the lock that guards the caller's state, so that the order here is the order
    /// of the changes. On an error nothing was appended and the change must not be made.
    pub fn append(&self, payload: Vec<u8>) -> Result<Ticket, JournalError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(JournalError::PayloadTooLarge {
                bytes: payload.len() as u64,
                max_bytes: PAYLOAD_BYTES_MAX as u64,
            });
        }
        let mut state = self.lock();
        state.check_poison()?;
        if state.must_checkpoint {
            return Err(JournalError::CheckpointRequired);
        }
        let needed_bytes = state.place.worst_bytes(payload.len());
        let free_bytes =
            state.place.region_bytes.saturating_sub(state.end_offset + state.reserved_bytes);
        if needed_bytes > free_bytes {
            return Err(JournalError::Full { needed_bytes, free_bytes });
        }
        state.reserved_bytes += needed_bytes;
        if let Some(catch_up) = &mut state.catch_up {
            catch_up.push(payload.clone());
        }
        state.pending.push_back(payload);
        let sequence = state.next_sequence;
        state.next_sequence += 1;
        Ok(Ticket { sequence })
    }

    /// Returns once the record is durable: writes it, and all others that wait, or waits for the
    /// write that somebody else makes.
    pub fn wait(&self, ticket: Ticket) -> Result<(), JournalError> {
        let mut state = self.lock();
        while state.durable_sequence <= ticket.sequence {
            state.check_poison()?;
            state = if state.turn.writing {
                self.turns.wait(state, ticket.sequence)
            } else if state.pending.is_empty() {
                return Err(JournalError::UnknownTicket { sequence: ticket.sequence });
            } else if self.write_batch(state)? > ticket.sequence {
                return Ok(());
            } else {
                self.lock()
            };
        }
        Ok(())
    }

    /// Returns once every record appended so far is durable, whoever appended it.
    pub fn wait_for_all(&self) -> Result<(), JournalError> {
        let next = self.lock().next_sequence;
        next.checked_sub(1).map_or(Ok(()), |sequence| self.wait(Ticket { sequence }))
    }

    /// Appends a record and waits until it is durable.
    pub fn commit(&self, payload: Vec<u8>) -> Result<(), JournalError> {
        let ticket = self.append(payload)?;
        self.wait(ticket)
    }

    /// Whether a checkpoint is due, or even required before the next record.
    pub fn needs_checkpoint(&self) -> bool {
        let state = self.lock();
        let room = state.place.region_bytes - state.records_offset;
        let used = (state.end_offset + state.reserved_bytes).saturating_sub(state.records_offset);
        state.must_checkpoint
            || used.saturating_mul(100)
                > room.saturating_mul(u64::from(self.options.checkpoint_percent))
    }

    /// What this handle has written so far.
    pub fn counters(&self) -> Counters {
        Counters {
            writes: self.writes.load(Ordering::Relaxed),
            bytes_written: self.bytes_written.load(Ordering::Relaxed),
            frames: self.frames.load(Ordering::Relaxed),
        }
    }

    /// How long the writes of records took until they were durable; checkpoints are not among them.
    pub fn flush_durations(&self) -> Durations {
        self.flushes.read()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, added: Counters) {
        self.writes.fetch_add(added.writes, Ordering::Relaxed);
        self.bytes_written.fetch_add(added.bytes_written, Ordering::Relaxed);
        self.frames.fetch_add(added.frames, Ordering::Relaxed);
    }

    /// Writes the oldest pending records as one write, without holding the lock meanwhile. Gives
    /// the sequence below which everything is durable.
    fn write_batch(&self, mut state: MutexGuard<'_, State>) -> Result<u64, JournalError> {
        let first_sequence = state.next_sequence - state.pending.len() as u64;
        let batch = state.take_batch();
        let place = state.place.clone();
        let offset = state.end_offset;
        state.turn.begin(first_sequence + batch.len() as u64);
        drop(state);

        let buffer = place.pack(offset, Kind::Record, first_sequence, &batch);
        let began = Instant::now();
        let written = self.media.write_at(place.base() + offset, &buffer);
        self.flushes.count(began.elapsed());

        let mut state = self.lock();
        if let Err(source) = written {
            let poisoned = state.set_poison(source);
            self.turns.end_for_all(state);
            return Err(poisoned);
        }
        let length = buffer.len() as u64;
        state.end_offset += length;
        let promised: u64 = batch.iter().map(|payload| place.worst_bytes(payload.len())).sum();
        state.reserved_bytes -= promised;
        state.durable_sequence += batch.len() as u64;
        let durable_sequence = state.durable_sequence;
        self.count(Counters { writes: 1, bytes_written: length, frames: batch.len() as u64 });
        self.turns.end_write(state);
        Ok(durable_sequence)
    }
}

impl State {
    pub(super) fn check_poison(&self) -> Result<(), JournalError> {
        match &self.poison {
            Some(source) => Err(JournalError::Poisoned { source: Arc::clone(source) }),
            None => Ok(()),
        }
    }

    /// Closes the journal for good; the first failure is the one that is told.
    pub(super) fn set_poison(&mut self, source: MediaError) -> JournalError {
        let source = Arc::clone(self.poison.get_or_insert_with(|| Arc::new(source)));
        JournalError::Poisoned { source }
    }

    fn take_batch(&mut self) -> Vec<Vec<u8>> {
        let mut bytes = 0;
        let fitting = self.pending.iter().take_while(|payload| {
            let is_first = bytes == 0;
            bytes += frame_bytes(payload.len());
            is_first || bytes <= WRITE_BYTES_TARGET
        });
        let count = fitting.count();
        self.pending.drain(..count).collect()
    }
}

const _: () = assert!(WRITE_BYTES_TARGET.is_multiple_of(UNIT_BYTES_MAX as usize));
