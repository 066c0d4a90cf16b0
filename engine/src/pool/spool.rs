//! Ranges that wait for a reader, so that nothing is held open for it.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};

use crate::metadata::{DiffKind, DiffRange};
use crate::units::DataBlocks;

/// How many ranges stay in memory: a few hundred KiB. More go to an unlinked file in the temporary directory, 17 bytes
/// each.
const MEMORY_RANGES_MAX: usize = 10_000;
const RECORD_BYTES: usize = 17;

/// Takes ranges.
#[derive(Debug, Default)]
pub(super) struct Spool {
    memory: Vec<DiffRange>,
    file: Option<BufWriter<File>>,
}

impl Spool {
    pub(super) fn push(&mut self, range: DiffRange) -> io::Result<()> {
        if self.memory.len() < MEMORY_RANGES_MAX {
            self.memory.push(range);
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(BufWriter::new(tempfile::tempfile()?)),
        };
        file.write_all(&encode(range))
    }

    pub(super) fn finish(self) -> io::Result<Spooled> {
        let file = match self.file {
            Some(file) => {
                let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.rewind()?;
                Some(BufReader::new(file))
            }
            None => None,
        };
        Ok(Spooled { memory: self.memory.into_iter(), file })
    }
}

/// Gives them back in their order.
#[derive(Debug)]
pub(super) struct Spooled {
    memory: std::vec::IntoIter<DiffRange>,
    file: Option<BufReader<File>>,
}

impl Iterator for Spooled {
    type Item = io::Result<DiffRange>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(range) = self.memory.next() {
            return Some(Ok(range));
        }
        let mut record = [0; RECORD_BYTES];
        match self.file.as_mut()?.read_exact(&mut record) {
            Ok(()) => Some(Ok(decode(record))),
            Err(error) => {
                self.file = None;
                (error.kind() != io::ErrorKind::UnexpectedEof).then_some(Err(error))
            }
        }
    }
}

fn encode(range: DiffRange) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..8].copy_from_slice(&range.virtual_block.to_le_bytes());
    record[8..16].copy_from_slice(&range.length.get().to_le_bytes());
    record[16] = match range.kind {
        DiffKind::Added => 0,
        DiffKind::Changed => 1,
        DiffKind::Removed => 2,
    };
    record
}

fn decode(record: [u8; RECORD_BYTES]) -> DiffRange {
    let number = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&record[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    let kind = match record[16] {
        0 => DiffKind::Added,
        1 => DiffKind::Changed,
        _ => DiffKind::Removed,
    };
    DiffRange { virtual_block: number(0), length: DataBlocks::new(number(8)), kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_comes_back_in_its_order() {
        for count in [0, 1, MEMORY_RANGES_MAX, MEMORY_RANGES_MAX + 1, MEMORY_RANGES_MAX * 3] {
            let range = |n: usize| DiffRange {
                virtual_block: u64::MAX - n as u64,
                length: DataBlocks::new(n as u64 + 1),
                kind: [DiffKind::Added, DiffKind::Changed, DiffKind::Removed][n % 3],
            };
            let mut spool = Spool::default();
            (0..count).for_each(|n| spool.push(range(n)).unwrap());
            assert_eq!(spool.file.is_some(), count > MEMORY_RANGES_MAX);
            let back: Vec<DiffRange> = spool.finish().unwrap().map(Result::unwrap).collect();
            assert_eq!(back, (0..count).map(range).collect::<Vec<_>>());
        }
    }
}
