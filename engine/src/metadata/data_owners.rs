//! Who reaches each data block.
//!
//! Memory: one byte for each data block of a stretch of 4096 in which any is mapped, as long as at
//! most 254 devices own blocks of the stretch alone; four bytes in a stretch with more.
#![forbid(unsafe_code)]

use super::owner::Owner;

/// Data blocks that are kept together.
const STRETCH_BLOCKS: usize = 4096;
/// Owners that a stretch of bytes can tell apart: nobody, several, and 254 more.
const PALETTE_MAX: usize = 256;

/// Who reaches each of a number of data blocks.
#[derive(Debug)]
pub(super) struct DataOwners {
    total_blocks: u64,
    stretches: Vec<Option<Stretch>>,
}

/// The owners of one stretch of blocks.
#[derive(Debug)]
enum Stretch {
    /// Each block is a place in the palette.
    Narrow { palette: Vec<Owner>, blocks: Box<[u8]> },
    /// Too many owners for that.
    Wide(Box<[Owner]>),
}

impl DataOwners {
    /// Nobody reaches any of `total_blocks` blocks yet.
    pub(super) fn new(total_blocks: u64) -> Self {
        let count = usize::try_from(total_blocks).unwrap_or(0).div_ceil(STRETCH_BLOCKS);
        Self { total_blocks, stretches: std::iter::repeat_with(|| None).take(count).collect() }
    }

    /// How many blocks there are.
    pub(super) fn total_blocks(&self) -> u64 {
        self.total_blocks
    }

    /// Notes that `owner` reaches `block`; `false` when there is no such block.
    pub(super) fn claim(&mut self, block: u64, owner: Owner) -> bool {
        if block >= self.total_blocks {
            return false;
        }
        let place = usize::try_from(block).unwrap_or(usize::MAX);
        let Some(stretch) = self.stretches.get_mut(place / STRETCH_BLOCKS) else {
            return false;
        };
        stretch.get_or_insert_with(Stretch::new).claim(place % STRETCH_BLOCKS, owner);
        true
    }

    /// Every run of blocks with the same owner, in order: its first block, its length, who it is.
    /// Runs that nobody reaches are left out.
    pub(super) fn runs(&self, take: &mut dyn FnMut(u64, u64, Owner)) {
        let mut first = 0;
        for stretch in &self.stretches {
            if let Some(stretch) = stretch {
                stretch.runs(first, take);
            }
            first += STRETCH_BLOCKS as u64;
        }
    }
}

impl Stretch {
    fn new() -> Self {
        Self::Narrow {
            palette: vec![Owner::NOBODY, Owner::SEVERAL],
            blocks: vec![0; STRETCH_BLOCKS].into_boxed_slice(),
        }
    }

    fn claim(&mut self, place: usize, owner: Owner) {
        if let Self::Narrow { palette, blocks } = self {
            let Some(slot) = blocks.get_mut(place) else { return };
            let before = palette.get(usize::from(*slot)).copied().unwrap_or(Owner::SEVERAL);
            let after = before.and(owner);
            if after == before {
                return;
            }
            // The newest owners first: a leaf's mappings come one after the other.
            let known = palette.iter().rposition(|known| *known == after).or_else(|| {
                (palette.len() < PALETTE_MAX).then(|| {
                    palette.push(after);
                    palette.len() - 1
                })
            });
            match known.and_then(|known| u8::try_from(known).ok()) {
                Some(known) => *slot = known,
                None => self.widen(place, after),
            }
            return;
        }
        if let Self::Wide(blocks) = self
            && let Some(slot) = blocks.get_mut(place)
        {
            *slot = slot.and(owner);
        }
    }

    #[cold]
    fn widen(&mut self, place: usize, owner: Owner) {
        let mut wide: Box<[Owner]> = (0..STRETCH_BLOCKS).map(|place| self.owner(place)).collect();
        if let Some(slot) = wide.get_mut(place) {
            *slot = owner;
        }
        *self = Self::Wide(wide);
    }

    fn owner(&self, place: usize) -> Owner {
        let found = match self {
            Self::Narrow { palette, blocks } => {
                blocks.get(place).and_then(|known| palette.get(usize::from(*known)))
            }
            Self::Wide(blocks) => blocks.get(place),
        };
        found.copied().unwrap_or(Owner::NOBODY)
    }

    fn runs(&self, first: u64, take: &mut dyn FnMut(u64, u64, Owner)) {
        let mut run = (first, 0, Owner::NOBODY);
        for (place, block) in (0..STRETCH_BLOCKS).zip(first..) {
            let owner = self.owner(place);
            if owner != run.2 {
                if run.2 != Owner::NOBODY {
                    take(run.0, run.1, run.2);
                }
                run = (block, 0, owner);
            }
            run.1 += 1;
        }
        if run.2 != Owner::NOBODY {
            take(run.0, run.1, run.2);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_plain_map(
            // Few owners or many, over two stretches and past their end.
            claims in prop::collection::vec((4000_u64..8300, 0_usize..400), 0..3000),
            owners in 1_usize..400,
        ) {
            let total = 8200;
            let mut owned = DataOwners::new(total);
            let mut plain: BTreeMap<u64, Owner> = BTreeMap::new();
            for (block, number) in claims {
                let owner = if number == 0 { Owner::SEVERAL } else { Owner::number(number % owners) };
                prop_assert_eq!(owned.claim(block, owner), block < total);
                if block < total {
                    let slot = plain.entry(block).or_insert(Owner::NOBODY);
                    *slot = match *slot {
                        Owner::NOBODY => owner,
                        before if before == owner => owner,
                        _ => Owner::SEVERAL,
                    };
                }
            }
            let mut found = BTreeMap::new();
            owned.runs(&mut |first, length, owner| {
                found.extend((first..first + length).map(|block| (block, owner)));
            });
            prop_assert_eq!(found, plain);
        }
    }

    #[test]
    fn a_stretch_with_every_owner_is_kept_right() {
        let mut owned = DataOwners::new(4096);
        for number in 0..4096 {
            assert!(owned.claim(u64::try_from(number).unwrap(), Owner::number(number)));
        }
        let mut runs = Vec::new();
        owned.runs(&mut |first, length, owner| runs.push((first, length, owner.single())));
        let expected: Vec<_> = (0..4096).map(|n| (u64::try_from(n).unwrap(), 1, Some(n))).collect();
        assert_eq!(runs, expected);
    }
}
