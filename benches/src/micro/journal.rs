//! The journal without a disk: packing, checksums, bookkeeping.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use thinly_engine::catalogue::Record;
use thinly_engine::journal::{Journal, Options, load};
use uuid::Uuid;

use super::catalogue::new_volume;
use super::{Memory, Piece};

const POOL: Uuid = Uuid::from_u128(1);
const MEDIUM_BYTES: usize = 8 << 20;
/// What waits together when 32 callers meet a write in progress.
const GROUP: usize = 32;

fn journal() -> Result<Journal> {
    let medium = Memory::zeroed(MEDIUM_BYTES);
    Journal::format(&medium, POOL, [new_volume(0)?.encode()])?;
    let position = load(&medium, POOL)?.position;
    Ok(Journal::resume(Arc::new(medium), &position, Options::default())?)
}

/// Moves to the other region when one is half full, as a pool does.
fn make_room(journal: &Journal, payload: &[u8]) -> Result<()> {
    if journal.needs_checkpoint() {
        journal.begin_checkpoint()?.write([payload.to_vec()])?;
    }
    Ok(())
}

pub(super) fn commit(_: &Path) -> Result<Piece> {
    let journal = journal()?;
    let payload = new_volume(4711)?.encode();
    Ok(Box::new(move || {
        journal.commit(payload.clone())?;
        make_room(&journal, &payload)
    }))
}

pub(super) fn group(_: &Path) -> Result<Piece> {
    let journal = journal()?;
    let payload = new_volume(4711)?.encode();
    Ok(Box::new(move || {
        for _ in 0..GROUP {
            // Waited for below, all at once.
            let _ticket = journal.append(payload.clone())?;
        }
        journal.wait_for_all()?;
        make_room(&journal, &payload)
    }))
}

pub(super) fn load_1000(_: &Path) -> Result<Piece> {
    let medium = Memory::zeroed(MEDIUM_BYTES);
    let records: Vec<Record> = (0..1000).map(new_volume).collect::<Result<_>>()?;
    Journal::format(&medium, POOL, records.iter().map(Record::encode))?;
    Ok(Box::new(move || {
        black_box(load(&medium, POOL)?);
        Ok(())
    }))
}
