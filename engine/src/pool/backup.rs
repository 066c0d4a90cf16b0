//! The catalogue as a file, and back.
//!
//! ```text
//! magic "THINLYBK" | version u32 | pool uuid 16 | count u32 | count x (length u32, record) | CRC-32
//! ```
//!
//! Little-endian; the CRC covers everything before it.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::sync::Arc;

use uuid::Uuid;

use super::claim::claim;
use super::error::PoolError;
use super::kernel::node_of;
use super::located::{Located, linear_segments};
use super::open::{is_open, require_superblock};
use super::segmented::Segmented;
use super::stack::{Stack, remove};
use crate::catalogue::{Catalogue, Epoch, Record};
use crate::dm::Dm;
use crate::journal::Journal;
use crate::layout::Role;
use crate::metadata::list_devices;
use crate::plan::{Finding, ForeignPool, KernelView, Tail, reconcile};
use crate::units::TransactionId;

const MAGIC: &[u8; 8] = b"THINLYBK";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 8 + 4 + 16 + 4;

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreReport {
    /// Volumes and snapshots in the catalogue now.
    pub volume_count: usize,
    /// What the comparison with the pool's device tree showed.
    pub findings: Vec<Finding>,
}

/// The catalogue of a pool, open or closed, as bytes for a file.
pub(super) fn backup(located: &Located) -> Result<Vec<u8>, PoolError> {
    let (catalogue, _) = located.read_catalogue()?;
    Ok(encode(located.uuid(), &catalogue))
}

pub(super) fn encode(pool: Uuid, catalogue: &Catalogue) -> Vec<u8> {
    let records = catalogue.checkpoint();
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(pool.as_bytes());
    bytes.extend(u32::try_from(records.len()).unwrap_or(u32::MAX).to_le_bytes());
    for record in records {
        let record = record.encode();
        bytes.extend(u32::try_from(record.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(record);
    }
    let crc = crc32fast::hash(&bytes);
    bytes.extend(crc.to_le_bytes());
    bytes
}

pub(super) fn decode(pool: Uuid, bytes: &[u8]) -> Result<Catalogue, PoolError> {
    let bad = |why: &str| PoolError::BadBackup { why: why.to_owned() };
    let split = bytes.len().checked_sub(4).filter(|body| *body >= HEADER_BYTES);
    let (body, crc) = bytes.split_at(split.ok_or_else(|| bad("the file is too short"))?);
    if !body.starts_with(MAGIC) {
        return Err(bad("it is no backup of a pool's catalogue"));
    }
    if crc != crc32fast::hash(body).to_le_bytes() {
        return Err(bad("its checksum does not match; the file is damaged"));
    }
    if body[8..12] != VERSION.to_le_bytes() {
        return Err(bad("it was written by a newer release; use that one"));
    }
    if body[12..28] != *pool.as_bytes() {
        let found = Uuid::from_slice(&body[12..28]).unwrap_or_default();
        return Err(bad(&format!("it belongs to pool {found}, not to {pool}")));
    }
    let mut rest = &body[HEADER_BYTES..];
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (length, after) =
            rest.split_first_chunk::<4>().ok_or_else(|| bad("a record is cut off"))?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let record = after.get(..length).ok_or_else(|| bad("a record is cut off"))?;
        records.push(record);
        rest = &after[length..];
    }
    let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
    if body[28..HEADER_BYTES] != count.to_le_bytes() {
        return Err(bad("it does not hold as many records as it says"));
    }
    let catalogue = Catalogue::replay(records)?;
    if catalogue.pool().uuid != pool {
        return Err(bad(&format!("its records belong to pool {}", catalogue.pool().uuid)));
    }
    Ok(catalogue)
}

/// Writes a backup's catalogue over the journal of a closed pool.
///
/// The backup may be older than the pool. What the pool has and the backup does not know becomes an
/// orphan, never a tombstone; what the backup knows and the pool does not have is lost.
pub(super) fn restore(
    dm: &Arc<dyn Dm>,
    located: &Located,
    bytes: &[u8],
    accept: Option<TransactionId>,
) -> Result<RestoreReport, PoolError> {
    located.require_whole()?;
    if is_open(&**dm, located)? {
        return Err(PoolError::AlreadyOpen { pool: located.found.name.clone() });
    }
    let mut catalogue = decode(located.uuid(), bytes)?;
    located.require_complete(&catalogue)?;
    let metadata = Segmented::open(located, &linear_segments(&catalogue, Role::Metadata)?)?;
    let superblock = require_superblock(&metadata, &catalogue, located)?;
    let found = superblock.transaction_id;
    let epoch = catalogue.epoch();
    if !epoch.accepts(found) && accept != Some(found) {
        let (expected, epoch) = (epoch.expected(), epoch.number());
        return Err(ForeignPool { found, expected, epoch }.into());
    }
    catalogue.restart_epoch(found);
    let devices = Some(list_devices(&metadata, &superblock)?);
    let view = KernelView { transaction_id: found, devices, loaded: BTreeSet::default() };
    let outcome = reconcile(&catalogue, Tail::Damaged, &view)?;
    for record in outcome.records {
        catalogue.apply(record)?;
    }
    rewrite_journal(dm, located, &catalogue)?;
    let findings =
        outcome.findings.into_iter().filter(|finding| *finding != Finding::DamagedTail).collect();
    Ok(RestoreReport { volume_count: catalogue.volume_count(), findings })
}

/// Writes a whole catalogue as a new journal, under the claim, and lets the devices go again.
pub(super) fn rewrite_journal(
    dm: &Arc<dyn Dm>,
    located: &Located,
    catalogue: &Catalogue,
) -> Result<(), PoolError> {
    let mut stack = Stack::new(Arc::clone(dm));
    let names = &located.names;
    let uuid = names.role_uuid("journal")?;
    let number = stack.linear(located, &names.journal, &uuid, &located.journal_segments()?)?;
    let linear = Arc::new(claim(located, &node_of(number))?);
    let media = located.journal_of_linear(&linear)?;
    let records = catalogue.checkpoint();
    Journal::format(&*media, located.uuid(), records.iter().map(Record::encode))?;
    // Both keep the linear open, and what is open cannot be removed.
    drop(media);
    drop(linear);
    remove(&**dm, &names.journal)
}

impl Catalogue {
    /// Takes the pool's transaction id as it is found: the sequence of writers begins anew.
    pub(super) fn restart_epoch(&mut self, found: TransactionId) {
        let epoch = self.epoch().number() + 1;
        self.set_epoch(Epoch::Released { epoch, transaction_id: found });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::fixture::empty_catalogue;

    fn catalogue(pool: Uuid) -> Catalogue {
        empty_catalogue(pool)
    }

    #[test]
    fn a_backup_round_trips_and_every_damaged_byte_is_refused() {
        let pool = Uuid::from_u128(9);
        let catalogue = catalogue(pool);
        let bytes = encode(pool, &catalogue);
        assert_eq!(decode(pool, &bytes).unwrap(), catalogue);
        for position in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[position] ^= 1;
            assert!(decode(pool, &damaged).is_err(), "byte {position}");
            assert!(decode(pool, &bytes[..position]).is_err(), "cut at {position}");
        }
        let other = decode(Uuid::from_u128(8), &bytes).unwrap_err();
        assert!(other.to_string().contains("belongs to pool"), "{other}");
    }

    #[test]
    fn a_whole_file_with_another_pools_records_or_too_few_is_refused() {
        let pool = Uuid::from_u128(9);
        let bytes = encode(pool, &catalogue(pool));
        let refused = |offset: usize, byte: u8, pool| {
            let mut changed = bytes[..bytes.len() - 4].to_vec();
            changed[offset] = byte;
            let crc = crc32fast::hash(&changed).to_le_bytes();
            decode(pool, &[&changed[..], &crc].concat()).unwrap_err().to_string()
        };
        let other = refused(27, 8, Uuid::from_u128(8));
        assert!(other.contains("its records belong to pool"), "{other}");
        let count = refused(28, 9, pool);
        assert!(count.contains("as many records"), "{count}");
    }
}
