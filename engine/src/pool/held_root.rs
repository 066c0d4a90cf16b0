//! The metadata snapshot of a pool, shared by all our readers, whichever process they are in.
//!
//! There is one at most, the kernel does not say whose it is, and while it is held what is freed stays allocated. Taking
//! it and giving it back needs no writer's claim: it changes no thin device and no transaction id, it is no part of the
//! catalogue, and the kernel orders it with every other message by its own lock. So a command reads a pool that the
//! driver holds.
//!
//! # Who may release it
//!
//! A file under /run notes the block of ours with the boot's id. Every reader holds a shared lock on it; whoever gets
//! the exclusive one is alone, and only then is anything reserved, released or written to the note:
//!
//! * on the way in, alone: a snapshot that the note names was left by a killed process of ours and is released; one
//!   that it does not name is another tool's, reported and left; then one is reserved and noted;
//! * on the way in, not alone: the others' snapshot is used when note and pool agree on it;
//! * on the way out, alone: it is released and the note emptied. Not alone: the others go on.
//!
//! Locks die with their process, so a kill anywhere leaves the next reader alone with what there is:
//!
//! | killed | leaves | the next reader |
//! |---|---|---|
//! | before the reserve message | `reserving`, no snapshot | reserves |
//! | between the message and the note | `reserving`, a snapshot | releases it: there was none when that was noted |
//! | while reading | a note that names the snapshot | releases it |
//! | between the release and the emptied note | a note, no snapshot | reserves |
//!
//! A snapshot of another tool could be taken for ours only when that tool reserved it after such a kill within one
//! message, before our next reader, and in the last row into the very same block. What goes wrong then is that tool's
//! read, never the pool.
//!
//! Changing a lock is two steps, in which another reader may come first, release and reserve anew. So the note is
//! compared with the pool after the shared lock is held: from then on nobody of ours can change either.
#![forbid(unsafe_code)]

use std::thread;
use std::time::Duration;

use super::error::PoolError;
use super::handle::Pool;
use super::held_note::{HeldNote, Noted, forget_held};
use super::located::Located;
use crate::dm::{Dm, PoolMessage, PoolUsage, ThinPoolStatus};
use crate::plan::{Finding, Health, Operation};
use crate::units::DataBlocks;

/// How long a reader waits for a moment in which note and pool agree, or in which it is alone.
const PAUSE: Duration = Duration::from_millis(20);
/// How often it looks for agreement. Each failure is a reader that reserved or released in between.
const ATTEMPTS: u32 = 250;
/// How often it looks whether the readers of an older snapshot are gone: for a minute.
const OLDER_ATTEMPTS: u32 = 3000;

/// A place among the readers of a pool's metadata snapshot; given up when it is dropped.
#[derive(Debug)]
pub(super) struct HeldRoot<'a> {
    door: Door<'a>,
    is_left: bool,
}

impl<'a> HeldRoot<'a> {
    /// Finds or takes the pool's metadata snapshot. One that others hold serves when `is_fresh` says so; otherwise this
    /// waits until they are gone and takes a new one.
    pub(super) fn enter(
        dm: &'a dyn Dm,
        located: &'a Located,
        is_fresh: &dyn Fn() -> Result<bool, PoolError>,
    ) -> Result<Self, PoolError> {
        let door = Door { dm, located, note: HeldNote::open(located.uuid())? };
        door.join(is_fresh)?;
        Ok(Self { door, is_left: false })
    }

    /// The pool's data blocks, which the snapshot does not tell.
    pub(super) fn total_data_blocks(&self) -> Result<DataBlocks, PoolError> {
        Ok(self.door.usage()?.total_data_blocks)
    }

    /// Ends this reader; the last one gives the snapshot back.
    pub(super) fn leave(mut self) -> Result<(), PoolError> {
        self.is_left = true;
        self.door.leave()
    }
}

impl Drop for HeldRoot<'_> {
    fn drop(&mut self) {
        if !self.is_left {
            // What fails here is left noted, and the next reader releases it.
            let _ = self.door.leave();
        }
    }
}

/// Where readers come in and go out.
#[derive(Debug)]
struct Door<'a> {
    dm: &'a dyn Dm,
    located: &'a Located,
    note: HeldNote,
}

impl Door<'_> {
    fn join(&self, is_fresh: &dyn Fn() -> Result<bool, PoolError>) -> Result<(), PoolError> {
        self.usage()?;
        for _ in 0..ATTEMPTS {
            let is_alone = self.note.try_alone()?;
            if is_alone {
                self.reserve()?;
            }
            self.note.share()?;
            if !self.agrees()? {
                // Whoever reserves or releases at this moment must come to be alone.
                self.note.unlock()?;
                thread::sleep(PAUSE);
                continue;
            }
            if is_alone || is_fresh()? {
                return Ok(());
            }
            self.wait_alone()?;
            self.reserve()?;
            self.note.share()?;
            if self.agrees()? {
                return Ok(());
            }
        }
        Err(PoolError::NoHeldRoot { pool: self.located.name.clone() })
    }

    /// Whether the snapshot that the pool has is the one that the note names.
    fn agrees(&self) -> Result<bool, PoolError> {
        let noted = self.note.read()?;
        Ok(self.usage()?.held_root.is_some_and(|block| noted == Noted::Held(block)))
    }

    fn wait_alone(&self) -> Result<(), PoolError> {
        for _ in 0..OLDER_ATTEMPTS {
            if self.note.try_alone()? {
                return Ok(());
            }
            thread::sleep(PAUSE);
        }
        Err(PoolError::OlderHeldRoot { pool: self.located.name.clone() })
    }

    /// Takes a new snapshot. Only for one that is alone.
    fn reserve(&self) -> Result<(), PoolError> {
        match (self.note.read()?, self.usage()?.held_root) {
            (_, None) => {}
            (Noted::Held(ours), Some(block)) if ours == block => {
                self.send(PoolMessage::ReleaseMetadataSnap)?;
            }
            (Noted::Reserving, Some(_)) => self.send(PoolMessage::ReleaseMetadataSnap)?,
            (_, Some(block)) => return Err(self.foreign(block)),
        }
        self.note.write(Noted::Reserving)?;
        if let Err(error) = self.send(PoolMessage::ReserveMetadataSnap) {
            // Another tool may have come first.
            self.note.write(Noted::Nothing)?;
            let held = self.usage()?.held_root;
            return Err(held.map_or(error, |block| self.foreign(block)));
        }
        match self.usage()?.held_root {
            Some(block) => self.note.write(Noted::Held(block)),
            None => Err(PoolError::NoHeldRoot { pool: self.located.name.clone() }),
        }
    }

    fn leave(&self) -> Result<(), PoolError> {
        if !self.note.try_alone()? {
            return Ok(());
        }
        if self.agrees()? {
            self.send(PoolMessage::ReleaseMetadataSnap)?;
        }
        self.note.write(Noted::Nothing)
    }

    fn foreign(&self, block: u64) -> PoolError {
        let pool_device = self.located.names.pool_device.to_string();
        PoolError::ForeignHeldRoot { pool: self.located.name.clone(), block, pool_device }
    }

    /// Sends a message and sees that the pool serves on: its answer does not say that its commit went well.
    fn send(&self, message: PoolMessage) -> Result<(), PoolError> {
        self.dm.pool_message(&self.located.names.pool_device, &message)?;
        self.usage().map(drop)
    }

    /// The numbers of a pool that serves messages.
    fn usage(&self) -> Result<PoolUsage, PoolError> {
        let status = self.dm.pool_status(&self.located.names.pool_device, false)?;
        let health = Health::of(&status);
        match status {
            ThinPoolStatus::Working(usage) if health.serves_messages() => Ok(usage),
            _ => {
                let operation = "its metadata was read";
                Err(PoolError::WentDegraded { health, operation, advice: health.advice() })
            }
        }
    }
}

impl Pool {
    /// Releases the metadata snapshot of a pool that was just brought up: whoever took it went with the pool's devices.
    pub(super) fn release_stale_root(&mut self, block: u64) {
        forget_held(self.identity.uuid);
        let message = PoolMessage::ReleaseMetadataSnap;
        let released = self
            .announce(Operation::Allocate)
            .and_then(|()| Ok(self.dm.pool_message(&self.names.pool_device, &message)?));
        if released.is_ok() {
            self.findings.push(Finding::StaleMetadataSnapshot { block });
        }
    }
}
