//! The bytes of the log, as `drivers/md/dm-log-writes.c` writes them.
//!
//! Block 0 is the head. Every entry is a block of its own, followed by the blocks that were written;
//! a discard has no data behind it, and a mark's text lies in the entry's own block. Numbers are
//! little-endian. A block has the size of a logical block of the disk that is logged.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const ENTRY_BYTES: usize = 32;

const FLUSH: u64 = 1 << 0;
const FUA: u64 = 1 << 1;
const DISCARD: u64 = 1 << 2;
const MARK: u64 = 1 << 3;
const METADATA: u64 = 1 << 4;

/// One entry: a write, a flush, a discard or a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Where it was written on the disk, in bytes.
    pub offset: u64,
    /// How much was written or discarded, in bytes.
    pub length: u64,
    /// The text of a mark.
    pub mark: Option<String>,
    flags: u64,
    /// Where its data is in the log, in bytes.
    data_offset: u64,
}

impl LogEntry {
    /// Everything that completed before this one was submitted is durable.
    pub const fn is_flush(&self) -> bool {
        self.flags & FLUSH != 0
    }

    /// This one itself was durable when it completed.
    pub const fn is_forced(&self) -> bool {
        self.flags & FUA != 0
    }

    /// Its range holds nothing of worth any more.
    pub const fn is_discard(&self) -> bool {
        self.flags & DISCARD != 0
    }

    /// Whether it changes the disk.
    pub const fn changes_disk(&self) -> bool {
        self.length > 0
    }
}

/// A log that was recorded.
#[derive(Debug)]
pub struct WriteLog {
    file: File,
    entries: Vec<LogEntry>,
}

impl WriteLog {
    /// Reads the heads of all entries of a log, from a device or an image of it.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Self::read(file).with_context(|| format!("the log on {}", path.display()))
    }

    fn read(file: File) -> Result<Self> {
        let mut head = [0; ENTRY_BYTES];
        file.read_exact_at(&mut head, 0)?;
        ensure!(number(&head, 0) == MAGIC, "it is no log of dm-log-writes");
        ensure!(number(&head, 1) == VERSION, "its version {} is not known", number(&head, 1));
        let (count, block_bytes) = (number(&head, 2), number(&head, 3) & u64::from(u32::MAX));
        ensure!(
            block_bytes.is_power_of_two() && (512..=65536).contains(&block_bytes),
            "its blocks cannot have {block_bytes} bytes"
        );
        let mut entries = Vec::new();
        let mut at = block_bytes;
        for index in 0..count {
            let entry = read_entry(&file, at, block_bytes)
                .with_context(|| format!("entry {index} at byte {at}"))?;
            at = entry.data_offset;
            if !entry.is_discard() {
                at = at.checked_add(entry.length).context("an entry without end")?;
            }
            entries.push(entry);
        }
        Ok(Self { file, entries })
    }

    /// The entries, oldest first.
    pub fn entries(&self) -> &[LogEntry] {
        &self.entries
    }

    /// What an entry wrote.
    pub fn data(&self, entry: &LogEntry) -> Result<Vec<u8>> {
        if entry.is_discard() {
            bail!("a discard has no data");
        }
        let mut data = vec![0; usize::try_from(entry.length)?];
        self.file.read_exact_at(&mut data, entry.data_offset)?;
        Ok(data)
    }
}

fn read_entry(file: &File, at: u64, block_bytes: u64) -> Result<LogEntry> {
    let mut block = vec![0; usize::try_from(block_bytes)?];
    file.read_exact_at(&mut block, at)?;
    let flags = number(&block, 2);
    if flags & !(FLUSH | FUA | DISCARD | MARK | METADATA) != 0 {
        bail!("flags {flags:#x} are not known");
    }
    let in_bytes = |index| -> Result<u64> {
        number(&block, index).checked_mul(block_bytes).context("a number too large")
    };
    let mark = if flags & MARK == 0 {
        None
    } else {
        let length = usize::try_from(number(&block, 3))?;
        let text = block.get(ENTRY_BYTES..).and_then(|rest| rest.get(..length));
        Some(String::from_utf8(text.context("a mark longer than its block")?.to_vec())?)
    };
    Ok(LogEntry {
        offset: in_bytes(0)?,
        length: in_bytes(1)?,
        mark,
        flags,
        data_offset: at + block_bytes,
    })
}

/// A number of 64 bits by its place; short input reads as zero.
fn number(bytes: &[u8], index: usize) -> u64 {
    let at = index * 8;
    let bytes: Option<[u8; 8]> = bytes.get(at..at + 8).and_then(|field| field.try_into().ok());
    u64::from_le_bytes(bytes.unwrap_or_default())
}

/// Logs made by hand.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// What a hand-made log consists of; offsets and lengths in sectors of 512 bytes.
    pub(crate) enum Line {
        Write(u64, u8, u64),
        Forced(u64, u8, u64),
        FlushWith(u64, u8, u64),
        Flush,
        Discard(u64, u64),
        Mark(&'static str),
    }

    fn block(sector: u64, count: u64, flags: u64, text: &str) -> Vec<u8> {
        let mut bytes: Vec<u8> = [sector, count, flags, text.len() as u64]
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .chain(text.bytes())
            .collect();
        bytes.resize(512, 0);
        bytes
    }

    /// The bytes of a log.
    pub(crate) fn bytes_of(lines: &[Line]) -> Vec<u8> {
        let mut bytes = block(MAGIC, VERSION, lines.len() as u64, "");
        bytes[24..28].copy_from_slice(&512_u32.to_le_bytes());
        for line in lines {
            let (sector, fill, count, flags) = match *line {
                Line::Write(sector, fill, count) => (sector, fill, count, METADATA),
                Line::Forced(sector, fill, count) => (sector, fill, count, FUA),
                Line::FlushWith(sector, fill, count) => (sector, fill, count, FLUSH),
                Line::Flush => (0, 0, 0, FLUSH),
                Line::Discard(sector, count) => (sector, 0, count, DISCARD),
                Line::Mark(text) => {
                    bytes.extend(block(0, 0, MARK, text));
                    continue;
                }
            };
            bytes.extend(block(sector, count, flags, ""));
            if flags & DISCARD == 0 {
                bytes.extend(vec![fill; usize::try_from(count).unwrap() * 512]);
            }
        }
        bytes
    }

    /// A log in a file that is gone with its handle.
    pub(crate) fn log_of(lines: &[Line]) -> WriteLog {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes_of(lines), 0).unwrap();
        WriteLog::read(file).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Line, bytes_of, log_of};
    use super::*;

    const LINES: [Line; 5] = [
        Line::Write(8, 7, 2),
        Line::Discard(100, 50),
        Line::Flush,
        Line::Mark("ack"),
        Line::Forced(3, 9, 1),
    ];

    #[test]
    fn every_kind_of_entry_is_read() {
        let log = log_of(&LINES);
        let [write, discard, flush, mark, forced] = log.entries() else { panic!("{log:?}") };
        assert_eq!((write.offset, write.length), (4096, 1024));
        assert!(!write.is_flush() && !write.is_forced() && write.changes_disk());
        assert_eq!(log.data(write).unwrap(), [7; 1024]);
        assert!(discard.is_discard() && log.data(discard).is_err());
        assert_eq!((discard.offset, discard.length), (51200, 25600));
        assert!(flush.is_flush() && !flush.changes_disk());
        assert_eq!(mark.mark.as_deref(), Some("ack"));
        assert!(forced.is_forced());
        assert_eq!(log.data(forced).unwrap(), [9; 512]);
    }

    #[test]
    fn what_is_no_log_is_refused() {
        let bytes = bytes_of(&LINES);
        let refused = |at: usize, byte: u8, word: &str| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(&bytes, 0).unwrap();
            let error = format!("{:#}", WriteLog::read(file).unwrap_err());
            assert!(error.contains(word), "{error}");
        };
        refused(0, 0, "no log");
        refused(8, 2, "version 2");
        refused(25, 0, "0 bytes");
        refused(512 + 16, 0xff, "flags");
        // One entry more than there is.
        refused(16, 6, "entry 5");
    }
}
