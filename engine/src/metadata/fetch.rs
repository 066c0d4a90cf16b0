//! Reading many blocks with several reads in flight: a walk is a matter of latency on a device, and
//! of checksums on a file in memory, and threads help with both.
#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::error::MetadataError;
use super::field::BLOCK_BYTES;
use super::source::BlockSource;
use crate::aligned::AlignedBuffer;

/// The longest read: 256 KiB.
const SPAN_BLOCKS: u64 = 64;
/// Blocks that nobody asked for and that are read along rather than starting another read.
const GAP_BLOCKS: u64 = 3;
/// Below this many reads starting threads costs more than it gives.
const SPANS_WORTH_THREADS: usize = 4;

/// One read: blocks that lie close together.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    first: u64,
    count: u64,
    /// Which of the blocks asked for it covers.
    wanted: Range<usize>,
}

/// One block, as the caller gets it: what was found out about it beside its bytes.
pub(super) type Fetched<'a, T> = Result<(T, &'a [u8]), MetadataError>;

/// What takes each block.
type Take<'a, T> = dyn FnMut(usize, Fetched<'_, T>) -> Result<(), MetadataError> + 'a;

/// What a worker hands over: one long read, or each block by itself when that failed.
enum Batch<T> {
    Span(Span, AlignedBuffer, Vec<T>),
    Single(usize, Result<(AlignedBuffer, T), MetadataError>),
}

/// Reads `blocks`, which must ascend, and hands each to `take` with its place in the list, in any
/// order. `examine` runs beside the reads, on several threads. A block that cannot be read is
/// handed over as the error; an error of `take` ends it all.
pub(super) fn fetch<T: Send>(
    source: &dyn BlockSource,
    blocks: &[u64],
    examine: &(dyn Fn(usize, &[u8]) -> T + Sync),
    take: &mut Take<'_, T>,
) -> Result<(), MetadataError> {
    let spans = spans_of(blocks);
    let reader = Reader { source, blocks, examine, spare: Mutex::new(Vec::new()) };
    let workers = source.reads_in_flight().min(spans.len());
    if workers <= 1 || spans.len() < SPANS_WORTH_THREADS {
        return spans
            .into_iter()
            .try_for_each(|span| reader.read(span, &mut |batch| reader.deliver(batch, take)));
    }
    let next = AtomicUsize::new(0);
    let (spans, reader, next) = (&spans, &reader, &next);
    thread::scope(|scope| {
        let (send, receive) = sync_channel(workers * 2);
        for _ in 0..workers {
            let send = send.clone();
            scope.spawn(move || {
                while let Some(span) = spans.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // Nobody listens any more: the caller has met an error.
                    let gone = |_| MetadataError::Cancelled;
                    if reader.read(span.clone(), &mut |b| send.send(b).map_err(gone)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        receive.into_iter().try_for_each(|batch| reader.deliver(batch, take))
    })
}

/// What the threads share.
struct Reader<'a, T> {
    source: &'a dyn BlockSource,
    blocks: &'a [u64],
    examine: &'a (dyn Fn(usize, &[u8]) -> T + Sync),
    /// Buffers that were delivered: a fresh one costs more than the read of a cached page.
    spare: Mutex<Vec<AlignedBuffer>>,
}

impl<T> Reader<'_, T> {
    fn read(
        &self,
        span: Span,
        hand_over: &mut dyn FnMut(Batch<T>) -> Result<(), MetadataError>,
    ) -> Result<(), MetadataError> {
        let length = usize::try_from(span.count).unwrap_or(1) * BLOCK_BYTES;
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffer = spare.unwrap_or_else(|| {
            AlignedBuffer::zeroed(usize::try_from(SPAN_BLOCKS).unwrap_or(1) * BLOCK_BYTES)
        });
        buffer.set_length(length);
        if self.source.read_into(span.first, &mut buffer).is_ok() {
            let found = span
                .wanted
                .clone()
                .map(|place| (self.examine)(place, self.part(&span, &buffer, place)));
            let found = found.collect();
            return hand_over(Batch::Span(span, buffer, found));
        }
        // One bad sector must not take its neighbours away.
        for place in span.wanted {
            let block = self.blocks.get(place).copied().unwrap_or_default();
            let read = self.source.read_block(block).map(|bytes| {
                let found = (self.examine)(place, &bytes);
                (bytes, found)
            });
            hand_over(Batch::Single(place, read))?;
        }
        Ok(())
    }

    fn deliver(&self, batch: Batch<T>, take: &mut Take<'_, T>) -> Result<(), MetadataError> {
        match batch {
            Batch::Single(place, Ok((bytes, found))) => take(place, Ok((found, &bytes))),
            Batch::Single(place, Err(error)) => take(place, Err(error)),
            Batch::Span(span, buffer, found) => {
                for (place, found) in span.wanted.clone().zip(found) {
                    take(place, Ok((found, self.part(&span, &buffer, place))))?;
                }
                self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
                Ok(())
            }
        }
    }

    /// One block of a span.
    fn part<'b>(&self, span: &Span, buffer: &'b AlignedBuffer, place: usize) -> &'b [u8] {
        let block = self.blocks.get(place).copied().unwrap_or(span.first);
        let start = usize::try_from(block - span.first).unwrap_or(0) * BLOCK_BYTES;
        buffer.get(start..start + BLOCK_BYTES).unwrap_or_default()
    }
}

fn spans_of(blocks: &[u64]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for (place, &block) in blocks.iter().enumerate() {
        match spans.last_mut() {
            Some(span)
                if block <= span.first + span.count + GAP_BLOCKS
                    && block - span.first < SPAN_BLOCKS =>
            {
                span.count = block - span.first + 1;
                span.wanted.end = place + 1;
            }
            _ => spans.push(Span { first: block, count: 1, wanted: place..place + 1 }),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// An image whose blocks hold their own number; some cannot be read.
    struct Numbers {
        blocks: u64,
        bad: Vec<u64>,
    }

    impl BlockSource for Numbers {
        fn read_block(&self, block: u64) -> Result<AlignedBuffer, MetadataError> {
            if self.bad.contains(&block) || block >= self.blocks {
                let (device, block_count) = (self.name(), self.blocks);
                return Err(MetadataError::BeyondEnd { device, block, block_count });
            }
            Ok(AlignedBuffer::padded(&block.to_le_bytes(), BLOCK_BYTES))
        }

        fn block_count(&self) -> u64 {
            self.blocks
        }

        fn name(&self) -> String {
            "numbers".to_owned()
        }

        fn reads_in_flight(&self) -> usize {
            4
        }
    }

    fn number(bytes: &[u8]) -> u64 {
        super::super::field::u64_at(bytes, 0)
    }

    proptest! {
        #[test]
        fn every_block_comes_once_with_its_own_bytes(
            wanted in prop::collection::btree_set(0_u64..3000, 0..600),
            bad in prop::collection::vec(0_u64..3000, 0..20),
        ) {
            let blocks: Vec<u64> = wanted.into_iter().collect();
            let source = Numbers { blocks: 3000, bad: bad.clone() };
            let mut seen = BTreeMap::new();
            fetch(&source, &blocks, &|_, bytes| number(bytes), &mut |place, fetched| {
                let found = fetched.ok().map(|(found, bytes)| (found, number(bytes)));
                assert_eq!(seen.insert(place, found), None);
                Ok(())
            })
            .unwrap();
            let expected = blocks.iter().map(|block| {
                (!bad.contains(block)).then_some((*block, *block))
            });
            prop_assert_eq!(seen.into_values().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_error_of_the_caller_ends_it() {
        let source = Numbers { blocks: 100_000, bad: Vec::new() };
        let blocks: Vec<u64> = (0..100_000).step_by(10).collect();
        let mut taken = 0;
        let ended = fetch(&source, &blocks, &|_, _| (), &mut |_, _| {
            taken += 1;
            if taken == 5 { Err(MetadataError::Cancelled) } else { Ok(()) }
        });
        assert!(matches!(ended, Err(MetadataError::Cancelled)));
        assert_eq!(taken, 5);
    }

    #[test]
    fn close_blocks_share_a_read() {
        let spans = spans_of(&[5, 6, 10, 14, 68, 69, 200]);
        let shape: Vec<_> = spans.iter().map(|s| (s.first, s.count, s.wanted.clone())).collect();
        assert_eq!(shape, [(5, 10, 0..4), (68, 2, 4..6), (200, 1, 6..7)]);
    }
}
