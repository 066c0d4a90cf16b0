//! The journal under every crash, fault and interleaving that fits into memory.
#![forbid(unsafe_code)]

mod crash;
mod damage;
mod document;
mod failure;
mod faulty_disk;
mod file;
mod group;
mod mirrored;
mod model;
mod turns;

use std::sync::Arc;

use uuid::Uuid;

use super::testing::MemoryMedium;
use super::*;

/// The smallest journal: two regions of sixteen units.
const SMALL_BYTES: usize = 128 << 10;
const POOL: Uuid = Uuid::from_u128(0x7468_696e_6c79_0000_0000_0000_0000_0001);

/// A record that can be told from every other one, of a length that varies.
fn payload(number: usize) -> Vec<u8> {
    let length = match number % 7 {
        3 => 5000,
        5 => 0,
        6 => 4096 - 24,
        rest => 20 + rest * 61,
    };
    let mut bytes = format!("record {number} ").into_bytes();
    bytes.extend((0..length).map(|at| u8::try_from((at * 7 + number) % 251).unwrap()));
    bytes
}

fn formatted(length: usize) -> MemoryMedium {
    let medium = MemoryMedium::zeroed(length);
    Journal::format(&medium, POOL, []).unwrap();
    medium
}

fn reopen(bytes: Vec<u8>) -> MemoryMedium {
    MemoryMedium::new(bytes)
}

fn resume(medium: &MemoryMedium) -> (Journal, Vec<Vec<u8>>) {
    let loaded = load(medium, POOL).unwrap();
    let media = Arc::new(medium.clone());
    let journal = Journal::resume(media, &loaded.position, Options::default()).unwrap();
    (journal, loaded.payloads)
}
