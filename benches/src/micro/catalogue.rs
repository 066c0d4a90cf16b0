//! The state in memory: what a create changes, and what an open rebuilds.

use std::hint::black_box;
use std::path::Path;

use anyhow::Result;
use thinly_engine::catalogue::{Catalogue, PoolIdentity, PoolName, Record, Timestamp, VolumeName};
use thinly_engine::units::{BlockSize, Bytes};
use uuid::Uuid;

use super::Piece;

/// Who the pool is.
pub fn identity() -> Result<PoolIdentity> {
    Ok(PoolIdentity {
        uuid: Uuid::from_u128(1),
        name: PoolName::new("pool")?,
        created_at: Timestamp(1),
        block_size: BlockSize::DEFAULT,
        extent: Bytes::new(4 << 20),
        discard_passdown: true,
    })
}

/// The creation of one volume of many.
pub fn new_volume(number: usize) -> Result<Record> {
    Ok(Record::VolumeCreated {
        // Spread as random ones are, and the same in every run.
        uuid: Uuid::from_u128((number as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_0cc9)),
        name: VolumeName::new(&format!("pvc-{number:08}"))?,
        size: Bytes::new(1 << 30),
        created_at: Timestamp(1),
    })
}

fn filled(count: usize) -> Result<Catalogue> {
    let mut catalogue = Catalogue::new(identity()?);
    for number in 0..count {
        catalogue.apply(new_volume(number)?)?;
    }
    Ok(catalogue)
}

pub(super) fn record(_: &Path) -> Result<Piece> {
    let record = new_volume(4711)?;
    Ok(Box::new(move || {
        black_box(Record::decode(&black_box(&record).encode())?);
        Ok(())
    }))
}

pub(super) fn change<const COUNT: usize>(_: &Path) -> Result<Piece> {
    let mut catalogue = filled(COUNT)?;
    let created = new_volume(COUNT)?;
    let Record::VolumeCreated { uuid, .. } = created else { anyhow::bail!("no volume") };
    Ok(Box::new(move || {
        let created = created.clone();
        catalogue.check(&created)?;
        catalogue.apply(created)?;
        let deleted = Record::Deleted { uuid };
        catalogue.check(&deleted)?;
        catalogue.apply(deleted)?;
        Ok(())
    }))
}

pub(super) fn replay(_: &Path) -> Result<Piece> {
    let payloads: Vec<Vec<u8>> = filled(1000)?.checkpoint().iter().map(Record::encode).collect();
    Ok(Box::new(move || {
        black_box(Catalogue::replay(payloads.iter().map(Vec::as_slice))?);
        Ok(())
    }))
}

pub(super) fn checkpoint(_: &Path) -> Result<Piece> {
    let catalogue = filled(1000)?;
    Ok(Box::new(move || {
        for record in catalogue.checkpoint() {
            black_box(record.encode());
        }
        Ok(())
    }))
}
