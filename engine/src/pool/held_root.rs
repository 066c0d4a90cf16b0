//! The metadata snapshot of a pool: there is one at most, the kernel does not say whose it is, and while it is held
//! what is freed stays allocated. So ours is noted, and one that nobody can be reading is released.
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;

use uuid::Uuid;

use super::error::PoolError;
use super::handle::Pool;
use crate::dm::PoolMessage;
use crate::plan::{Finding, Operation};

/// A metadata snapshot that this handle holds.
pub(super) struct HeldRoot<'a> {
    pool: &'a Pool,
}

impl<'a> HeldRoot<'a> {
    /// Takes the pool's metadata snapshot. One that a killed copy of ours left is released first.
    pub(super) fn reserve(pool: &'a Pool) -> Result<Self, PoolError> {
        if let Some(block) = pool.held_block()?
            && noted(pool.identity.uuid) == Some(block)
        {
            pool.send_message(PoolMessage::ReleaseMetadataSnap)?;
        }
        pool.send_message(PoolMessage::ReserveMetadataSnap)?;
        let held = Self { pool };
        // The note comes after the message: a crash between them leaves a root that is reported and not released,
        // where the other order could release another tool's.
        if let Some(block) = pool.held_block()? {
            note(pool.identity.uuid, block);
        }
        Ok(held)
    }

    /// Gives it back.
    pub(super) fn release(self) -> Result<(), PoolError> {
        self.pool.send_message(PoolMessage::ReleaseMetadataSnap)?;
        let _ = fs::remove_file(path(self.pool.identity.uuid));
        Ok(())
    }
}

impl Pool {
    /// Releases the metadata snapshot of a pool that was just brought up: whoever took it went with the pool's devices.
    pub(super) fn release_stale_root(&mut self, block: u64) {
        let released = self
            .announce(Operation::Allocate)
            .and_then(|()| self.send_message(PoolMessage::ReleaseMetadataSnap));
        if released.is_ok() {
            self.findings.push(Finding::StaleMetadataSnapshot { block });
        }
    }

    fn held_block(&self) -> Result<Option<u64>, PoolError> {
        Ok(self.health()?.1.and_then(|usage| usage.held_root))
    }

    fn send_message(&self, message: PoolMessage) -> Result<(), PoolError> {
        Ok(self.dm.message(&self.names.pool_device, &message.to_string()).map(drop)?)
    }
}

/// Under /run, which does not outlive the boot.
fn path(pool: Uuid) -> PathBuf {
    PathBuf::from(format!("/run/thinly/{pool}.held"))
}

fn note(pool: Uuid, block: u64) {
    // Without the note the root is reported after a crash instead of released.
    let _ = fs::write(path(pool), format!("{block}\n"));
}

fn noted(pool: Uuid) -> Option<u64> {
    fs::read_to_string(path(pool)).ok()?.trim().parse().ok()
}
