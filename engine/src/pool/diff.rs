//! What differs between two volumes or snapshots of a pool, or what one of them holds.
#![forbid(unsafe_code)]

use uuid::Uuid;

use super::error::PoolError;
use super::located::Located;
use super::metadata_view::{MetadataView, read_metadata};
use super::spool::{Spool, Spooled};
use crate::catalogue::{Catalogue, PoolName, ThinState, VolumeName};
use crate::dm::Dm;
use crate::metadata::{DiffKind, DiffRange, diff as diff_devices};
use crate::units::{BlockSize, Bytes, ThinId};

/// How often a volume may get another thin id between the look at its name and the one at its mappings.
const ATTEMPTS: u32 = 10;

/// A range of bytes that differs in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// Where it begins.
    pub offset: Bytes,
    /// How long it is: whole blocks, unless the volume ends inside of one.
    pub length: Bytes,
    /// How it differs.
    pub kind: DiffKind,
}

/// What differs between two volumes or snapshots.
#[derive(Debug)]
pub struct VolumeDiff {
    /// The pool's name.
    pub pool: PoolName,
    /// The pool's identity.
    pub pool_uuid: Uuid,
    /// How finely the pool can tell: a range is as long as this or a multiple.
    pub block_bytes: Bytes,
    /// The virtual size of the first one; `None` when there is only one.
    pub from_bytes: Option<Bytes>,
    /// The virtual size of the second one.
    pub to_bytes: Bytes,
    /// Metadata nodes that were read.
    pub nodes_read: u64,
    /// The ranges, ascending; with only one volume all that it maps, as added.
    pub ranges: ByteRanges,
}

/// Gives ranges that were found already: nothing is held while they are read.
#[derive(Debug)]
pub struct ByteRanges {
    spooled: Spooled,
    block_size: BlockSize,
    from_bytes: Bytes,
    to_bytes: Bytes,
    all_removed: bool,
}

impl Iterator for ByteRanges {
    type Item = Result<ByteRange, PoolError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.spooled.next()? {
                Ok(range) => {
                    if let Some(range) = self.in_bytes(range) {
                        return Some(Ok(range));
                    }
                }
                Err(source) => return Some(Err(PoolError::Spool { source })),
            }
        }
    }
}

impl ByteRanges {
    /// A range as far as it lies inside of the volume that shows it.
    fn in_bytes(&self, range: DiffRange) -> Option<ByteRange> {
        let kind = if self.all_removed { DiffKind::Removed } else { range.kind };
        let size = match kind {
            DiffKind::Removed => self.from_bytes,
            DiffKind::Added | DiffKind::Changed => self.to_bytes,
        };
        let block = self.block_size.bytes().get();
        let offset = range.virtual_block.checked_mul(block).filter(|at| *at < size.get())?;
        let length = range.length.get().saturating_mul(block).min(size.get() - offset);
        Some(ByteRange { offset: Bytes::new(offset), length: Bytes::new(length), kind })
    }
}

/// A volume or snapshot as it is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked<'a> {
    Name(&'a VolumeName),
    /// Another one may get its name at any time.
    Uuid(Uuid),
}

/// One side as the catalogue has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Side {
    /// `None`: it maps nothing yet.
    id: Option<ThinId>,
    size: Bytes,
}

type Sides = (Option<Side>, Side);

/// Compares two volumes or snapshots; without `from`, gives what `to` maps.
pub(super) fn diff(
    dm: &dyn Dm,
    located: &Located,
    from: Option<Asked<'_>>,
    to: Asked<'_>,
) -> Result<VolumeDiff, PoolError> {
    let sides = |catalogue: &Catalogue| -> Result<Sides, PoolError> {
        let from = from.map(|asked| side(catalogue, located, asked)).transpose()?;
        Ok((from, side(catalogue, located, to)?))
    };
    for _ in 0..ATTEMPTS {
        let (catalogue, _) = located.read_catalogue()?;
        let asked = sides(&catalogue)?;
        let needs: Vec<ThinId> =
            asked.0.iter().chain([&asked.1]).filter_map(|side| side.id).collect();
        let found = read_metadata(dm, located, &needs, |view| {
            // A rollback or a deletion may have come between.
            if sides(view.catalogue)? != asked {
                return Ok(None);
            }
            compare(view, located, asked).map(Some)
        })?;
        if let Some(found) = found {
            return Ok(found);
        }
    }
    Err(PoolError::MovingTree { pool: located.found.name.clone(), attempts: ATTEMPTS })
}

fn side(catalogue: &Catalogue, located: &Located, asked: Asked<'_>) -> Result<Side, PoolError> {
    let found = match asked {
        Asked::Name(name) => catalogue.find(name),
        Asked::Uuid(uuid) => catalogue.volume(uuid),
    };
    let Some(volume) = found else {
        let name = match asked {
            Asked::Name(name) => name.clone(),
            Asked::Uuid(uuid) => VolumeName::new(&uuid.to_string())?,
        };
        return Err(PoolError::NoVolume { pool: located.name.clone(), name });
    };
    match volume.thin {
        ThinState::Lost(id) => Err(PoolError::VolumeLost { name: volume.name.clone(), id }),
        ThinState::Pending | ThinState::Ready(_) => {
            Ok(Side { id: volume.thin.id(), size: volume.size })
        }
    }
}

fn compare(
    view: &MetadataView<'_>,
    located: &Located,
    (from, to): Sides,
) -> Result<VolumeDiff, PoolError> {
    let mut spool = Spool::default();
    let mut sink = |range| spool.push(range).map_err(|source| PoolError::Spool { source });
    let from_id = from.and_then(|side| side.id);
    // Against one that maps nothing, all that the other one maps is gone or new.
    let report = match (from_id, to.id) {
        (from, Some(to)) => diff_devices(view.source, view.superblock, from, to, &mut sink)?,
        (Some(from), None) => diff_devices(view.source, view.superblock, None, from, &mut sink)?,
        (None, None) => crate::metadata::DiffReport::default(),
    };
    let spooled = spool.finish().map_err(|source| PoolError::Spool { source })?;
    let block_size = view.superblock.data_block_size;
    let from_bytes = from.map(|side| side.size);
    Ok(VolumeDiff {
        pool: located.name.clone(),
        pool_uuid: located.uuid(),
        block_bytes: block_size.bytes(),
        from_bytes,
        to_bytes: to.size,
        nodes_read: report.nodes_read,
        ranges: ByteRanges {
            spooled,
            block_size,
            from_bytes: from_bytes.unwrap_or_default(),
            to_bytes: to.size,
            all_removed: to.id.is_none(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{DataBlocks, Sectors};

    fn cut(all_removed: bool, ranges: &[(u64, u64, DiffKind)]) -> Vec<(u64, u64, DiffKind)> {
        let mut spool = Spool::default();
        for (virtual_block, length, kind) in ranges.iter().copied() {
            let length = DataBlocks::new(length);
            spool.push(DiffRange { virtual_block, length, kind }).unwrap();
        }
        let ranges = ByteRanges {
            spooled: spool.finish().unwrap(),
            block_size: BlockSize::new(Sectors::new(128)).unwrap(),
            from_bytes: Bytes::new(10 << 16),
            to_bytes: Bytes::new((5 << 16) + 512),
            all_removed,
        };
        let plain = |range: ByteRange| (range.offset.get(), range.length.get(), range.kind);
        ranges.map(|range| plain(range.unwrap())).collect()
    }

    #[test]
    fn ranges_end_where_the_volume_that_shows_them_ends() {
        use DiffKind::{Added, Changed, Removed};
        let ranges = [(0, 2, Changed), (4, 3, Added), (6, 1, Added), (8, 9, Removed)];
        let (block, odd) = (1 << 16, (1 << 16) + 512);
        let expected =
            [(0, 2 * block, Changed), (4 * block, odd, Added), (8 * block, 2 * block, Removed)];
        assert_eq!(cut(false, &ranges), expected);
        assert_eq!(cut(true, &[(9, 2, Added)]), [(9 * block, block, Removed)]);
        assert_eq!(cut(false, &[(u64::MAX, u64::MAX, Added), (u64::MAX >> 16, 1, Added)]), []);
    }
}
