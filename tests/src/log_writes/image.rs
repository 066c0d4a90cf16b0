//! A disk in memory, onto which a log is replayed.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};

use super::format::{LogEntry, WriteLog};

const SECTOR_BYTES: usize = 512;

/// How much is written at a time when the image goes to a device.
const STEP_BYTES: usize = 64 << 10;

/// A disk as it stands at one moment of a log.
pub struct DiskImage {
    bytes: Vec<u8>,
}

/// What was at a place before it was overwritten.
#[derive(Debug)]
pub struct Overwritten {
    offset: usize,
    bytes: Vec<u8>,
}

impl DiskImage {
    /// A disk of zeros.
    pub fn new(length: u64) -> Result<Self> {
        Ok(Self { bytes: vec![0; usize::try_from(length)?] })
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Replays one entry; a discarded range reads as zeros. Returns what was there.
    pub fn apply(&mut self, log: &WriteLog, entry: &LogEntry) -> Result<Option<Overwritten>> {
        self.apply_sectors(log, entry, &mut |_| true)
    }

    /// Replays the sectors of an entry that are wanted.
    pub fn apply_sectors(
        &mut self,
        log: &WriteLog,
        entry: &LogEntry,
        is_wanted: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<Overwritten>> {
        if !entry.changes_disk() {
            return Ok(None);
        }
        let (offset, length) = (usize::try_from(entry.offset)?, usize::try_from(entry.length)?);
        let new = if entry.is_discard() { vec![0; length] } else { log.data(entry)? };
        let place = offset
            .checked_add(length)
            .and_then(|end| self.bytes.get_mut(offset..end))
            .with_context(|| format!("{length} bytes at {offset} lie beyond the disk's end"))?;
        let before = Overwritten { offset, bytes: place.to_vec() };
        let sectors = place.chunks_mut(SECTOR_BYTES).zip(new.chunks(SECTOR_BYTES)).enumerate();
        for (index, (sector, new)) in sectors {
            if is_wanted(index) {
                sector.copy_from_slice(new);
            }
        }
        Ok(Some(before))
    }

    /// Takes replayed entries back, the last one first.
    pub fn restore(&mut self, overwritten: Vec<Overwritten>) {
        for old in overwritten.into_iter().rev() {
            if let Some(place) = self.bytes.get_mut(old.offset..old.offset + old.bytes.len()) {
                place.copy_from_slice(&old.bytes);
            }
        }
    }

    /// Writes what is not zero to a file or device of zeros.
    pub fn write_to(&self, file: &File) -> io::Result<()> {
        for (offset, step) in (0_u64..).step_by(STEP_BYTES).zip(self.bytes.chunks(STEP_BYTES)) {
            if step.iter().any(|byte| *byte != 0) {
                file.write_all_at(step, offset)?;
            }
        }
        file.sync_all()
    }
}

impl fmt::Debug for DiskImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiskImage({} bytes)", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::testing::{Line, log_of};
    use super::*;

    #[test]
    fn a_log_is_replayed_step_by_step_and_taken_back() {
        let log = log_of(&[
            Line::Write(1, 7, 2),
            Line::Write(2, 8, 1),
            Line::Flush,
            Line::Discard(1, 1),
            Line::Mark("end"),
        ]);
        let mut image = DiskImage::new(4 * 512).unwrap();
        let sectors = |image: &DiskImage| {
            [0, 512, 1024, 1536].map(|at| (image.bytes()[at], image.bytes()[at + 511]))
        };
        let mut undone = Vec::new();
        let wanted = [[0, 7, 7, 0], [0, 7, 8, 0], [0, 7, 8, 0], [0, 0, 8, 0], [0, 0, 8, 0]];
        for (entry, wanted) in log.entries().iter().zip(wanted) {
            undone.extend(image.apply(&log, entry).unwrap());
            assert_eq!(sectors(&image), wanted.map(|byte| (byte, byte)));
        }
        image.restore(undone);
        assert!(image.bytes().iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_write_can_be_torn_between_sectors_and_must_lie_on_the_disk() {
        let log = log_of(&[Line::Write(0, 7, 3), Line::Write(3, 7, 2)]);
        let [torn, beyond] = log.entries() else { panic!() };
        let mut image = DiskImage::new(4 * 512).unwrap();
        image.apply_sectors(&log, torn, &mut |sector| sector == 1).unwrap();
        assert_eq!([0, 512, 1024].map(|at| image.bytes()[at]), [0, 7, 0]);
        assert!(image.apply(&log, beyond).is_err());
    }

    #[test]
    fn only_what_is_not_zero_is_written_out() {
        let log = log_of(&[Line::Write(129, 7, 1)]);
        let mut image = DiskImage::new(256 << 10).unwrap();
        image.apply(&log, &log.entries()[0]).unwrap();
        let file = tempfile::tempfile().unwrap();
        image.write_to(&file).unwrap();
        let mut bytes = vec![1; 128 << 10];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, image.bytes()[..128 << 10]);
        assert_eq!(file.metadata().unwrap().len(), 128 << 10, "the rest is a hole");
    }
}
