//! Which whole blocks of what is read are zeros, as runs of bounded length.
#![forbid(unsafe_code)]

use std::ops::Range;

/// Looks at bytes in ascending order, in pieces of any length.
#[derive(Debug)]
pub(super) struct ZeroRuns {
    block: u64,
    longest: u64,
    /// Whether the block that is being read was zeros from its first byte on.
    is_zero: bool,
    run: Range<u64>,
}

impl ZeroRuns {
    /// For blocks of so many bytes, and runs of at most so many or one block.
    pub(super) fn new(block: u64, longest: u64) -> Self {
        let block = block.max(1);
        Self { block, longest: longest.max(block), is_zero: false, run: 0..0 }
    }

    /// Takes the next bytes; gives each run that is complete.
    pub(super) fn read<E>(
        &mut self,
        mut offset: u64,
        mut bytes: &[u8],
        give: &mut dyn FnMut(Range<u64>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            let start = offset - offset % self.block;
            let end = start + self.block;
            let length = usize::try_from(end - offset).unwrap_or(usize::MAX).min(bytes.len());
            let (part, rest) = bytes.split_at(length);
            self.is_zero = (self.is_zero || offset == start) && is_zero(part);
            offset += length as u64;
            bytes = rest;
            if offset == end {
                if self.is_zero {
                    self.add(start..end, give)?;
                }
                self.is_zero = false;
            }
        }
        Ok(())
    }

    /// Gives the last run.
    pub(super) fn end<E>(self, give: &mut dyn FnMut(Range<u64>) -> Result<(), E>) -> Result<(), E> {
        if self.run.is_empty() { Ok(()) } else { give(self.run) }
    }

    fn add<E>(
        &mut self,
        block: Range<u64>,
        give: &mut dyn FnMut(Range<u64>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.run.end == block.start && block.end - self.run.start <= self.longest {
            self.run.end = block.end;
            return Ok(());
        }
        let run = std::mem::replace(&mut self.run, block);
        if run.is_empty() { Ok(()) } else { give(run) }
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<64>();
    chunks.iter().all(|chunk| *chunk == [0; 64]) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn runs_of(
        ranges: &[(u64, &[u8])],
        piece: usize,
        (block, longest): (u64, u64),
    ) -> Vec<Range<u64>> {
        let mut runs = ZeroRuns::new(block, longest);
        let mut found = Vec::new();
        let mut give = |run| -> Result<(), Infallible> {
            found.push(run);
            Ok(())
        };
        for (first, bytes) in ranges {
            for (number, part) in bytes.chunks(piece).enumerate() {
                runs.read(first + (number * piece) as u64, part, &mut give).unwrap();
            }
        }
        runs.end(&mut give).unwrap();
        found
    }

    #[test]
    fn only_whole_blocks_of_zeros_count() {
        let mut bytes = vec![0; 1000];
        bytes[250] = 1;
        let whole = |found: &[Range<u64>]| found.iter().map(|run| run.end - run.start).sum::<u64>();
        let found = runs_of(&[(0, &bytes)], 70, (100, 300));
        assert_eq!(found, [0..200, 300..600, 600..900, 900..1000]);
        assert_eq!(whole(&found), 900);
        // The volume ends inside of its last block.
        assert_eq!(runs_of(&[(0, &bytes[..199])], 1000, (100, 300)), [0..100, 0..0][..1]);
        // What lies between two ranges was not read.
        let zeros = [0; 100];
        assert_eq!(runs_of(&[(100, &zeros), (300, &zeros)], 64, (100, 300)), [100..200, 300..400]);
        assert_eq!(runs_of(&[(50, &zeros)], 64, (100, 300)), []);
    }

    proptest! {
        #[test]
        fn runs_are_the_blocks_of_zeros_however_they_are_read(
            blocks in prop::collection::vec((any::<bool>(), 0_usize..96), 1..40),
            piece in 1_usize..400,
            longest in 1_u64..700,
        ) {
            let mut bytes = vec![0_u8; blocks.len() * 96];
            for (number, (is_zero, at)) in blocks.iter().enumerate() {
                if !is_zero {
                    bytes[number * 96 + at] = 0xff;
                }
            }
            let found = runs_of(&[(0, &bytes)], piece, (96, longest));
            let zeros: Vec<u64> = (0..).zip(&blocks)
                .filter(|(_, (is_zero, _))| *is_zero).map(|(number, _)| number * 96).collect();
            let flat = found.iter().flat_map(|run| run.clone().step_by(96));
            prop_assert_eq!(flat.collect::<Vec<_>>(), zeros);
            prop_assert!(found.iter().all(|run| run.end - run.start <= longest.max(96)));
        }
    }
}
