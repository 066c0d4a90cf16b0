//! A backup from arbitrary bytes.
#![forbid(unsafe_code)]
#![allow(clippy::missing_panics_doc, reason = "a broken promise is told by a panic")]

use uuid::Uuid;

use super::backup::{decode, encode};
use crate::fuzzing::asks;

/// Input: a byte of choices (0: right the checksum, 1: expect the pool that the file names), then a
/// backup.
pub fn backup(data: &[u8]) -> bool {
    let Some((&flags, bytes)) = data.split_first() else { return false };
    let mut bytes = bytes.to_vec();
    if asks(flags, 0)
        && let Some((body, crc)) = bytes.split_last_chunk_mut::<4>()
    {
        *crc = crc32fast::hash(body).to_le_bytes();
    }
    let named = bytes.get(12..28).and_then(|uuid| Uuid::from_slice(uuid).ok());
    let pool = named.filter(|_| asks(flags, 1)).unwrap_or_default();
    let Ok(catalogue) = decode(pool, &bytes) else { return false };
    assert_eq!(catalogue.pool().uuid, pool, "the catalogue is another pool's");
    let again = decode(pool, &encode(pool, &catalogue));
    assert!(again.is_ok_and(|again| again == catalogue), "a backup is read as it was written");
    true
}

#[cfg(test)]
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let catalogue = crate::catalogue::fuzz::used();
    let mut bytes = vec![0b11];
    bytes.extend(encode(catalogue.pool().uuid, &catalogue));
    vec![("used", bytes)]
}
