//! A partition table around the pool's part of a whole disk.
//!
//! A disk that carries only our label looks empty to installers, to mkfs and to storage operators.
//! One partition of our own type over the whole disk tells every one of them that it is taken.
//!
//! The table is made in memory by the `gpt` crate over the two ends of the disk and then written
//! like everything else here: aligned, past the page cache, durable.
#![forbid(unsafe_code)]

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gpt::disk::LogicalBlockSize;
use gpt::partition_types::{OperatingSystem, Type};
use gpt::{GptConfig, GptError, mbr::ProtectiveMBR};
use uuid::{Uuid, uuid};

use super::error::LayoutError;
use super::facts::DeviceFacts;
use super::sysfs::{System, partitions_of};
use crate::aligned::{ALIGNMENT_BYTES, AlignedBuffer};
use crate::block_device::{BlockDevice, DeviceNumber};
use crate::units::Bytes;

/// The type of a partition that a Thinly pool lives in: chosen at random, once.
pub const PARTITION_TYPE: Uuid = uuid!("2f79207c-6c8e-4c9a-95dc-094592b8667c");

/// The partition starts here and ends at a multiple of this.
const ALIGNMENT: u64 = 1 << 20;

/// How much of either end is written: the table, and what another table may have left around it.
const END_BYTES: u64 = 64 << 10;

/// A partition's name has room for this many UTF-16 units.
const NAME_UNITS_MAX: usize = 36;

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A partition table as bytes for the two ends of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GptImage {
    /// The bytes from zero on.
    pub head: Vec<u8>,
    /// Where the bytes of the tail go.
    pub tail_offset: u64,
    /// The bytes up to the end of the disk.
    pub tail: Vec<u8>,
    /// Where the partition starts.
    pub partition_offset: Bytes,
    /// How long the partition is.
    pub partition_bytes: Bytes,
}

impl GptImage {
    /// Makes the table for a disk of `size` bytes with blocks of `logical_block` bytes.
    pub fn new(pool_name: &str, size: Bytes, logical_block: u64) -> Result<Self, GptError> {
        let block = LogicalBlockSize::try_from(logical_block)?;
        let size = size.align_down(Bytes::new(logical_block)).get();
        let end = (size.saturating_sub(END_BYTES)) / ALIGNMENT * ALIGNMENT;
        let length = end.checked_sub(ALIGNMENT).filter(|length| *length > 0);
        let length = length.ok_or(GptError::NotEnoughSpace)?;

        let mut ends = DiskEnds::new(size);
        let protected = u32::try_from(size / logical_block - 1).unwrap_or(u32::MAX);
        let boot = ProtectiveMBR::with_lb_size(protected).to_bytes();
        ends.write_all(&boot)?;
        let config = GptConfig::new().writable(true).logical_block_size(block);
        let mut disk = config.create_from_device(ends, None)?;
        disk.add_partition_at(
            &partition_name(pool_name),
            1,
            ALIGNMENT / logical_block,
            length / logical_block,
            Type { guid: PARTITION_TYPE, os: OperatingSystem::Custom("Thinly".to_owned()) },
            0,
        )?;
        let ends = disk.write()?;
        Ok(Self {
            head: ends.head,
            tail_offset: ends.tail_offset,
            tail: ends.tail,
            partition_offset: Bytes::new(ALIGNMENT),
            partition_bytes: Bytes::new(length),
        })
    }
}

/// Writes a partition table with one partition over the whole disk; the caller has the kernel read
/// it again. The backup goes first: the head is what makes the disk look taken.
pub fn write_gpt(
    device: &BlockDevice,
    pool_name: &str,
    logical_block: u64,
) -> Result<GptImage, LayoutError> {
    let failed = |source| LayoutError::PartitionTable { path: device.path().to_owned(), source };
    let image = GptImage::new(pool_name, device.size(), logical_block).map_err(failed)?;
    device.write_at(image.tail_offset, &AlignedBuffer::padded(&image.tail, ALIGNMENT_BYTES))?;
    device.write_at(0, &AlignedBuffer::padded(&image.head, ALIGNMENT_BYTES))?;
    Ok(image)
}

/// Takes a table off a disk that holds nothing but one partition of our type; any other table, and
/// a damaged one, stays. Tells whether it was taken. The head goes first: it makes the disk look taken.
pub fn wipe_own_gpt(device: &BlockDevice, logical_block: u64) -> Result<bool, LayoutError> {
    let mut ends = DiskEnds::new(device.size().align_down(Bytes::new(logical_block)).get());
    for (offset, end) in [(0, &mut ends.head), (ends.tail_offset, &mut ends.tail)] {
        let mut bytes = AlignedBuffer::zeroed(end.len());
        device.read_at(offset, &mut bytes)?;
        end.copy_from_slice(&bytes);
    }
    let zeros = AlignedBuffer::zeroed(ends.head.len());
    let tail_offset = ends.tail_offset;
    let is_own = LogicalBlockSize::try_from(logical_block).is_ok_and(|block| {
        let config = GptConfig::new().writable(false).logical_block_size(block);
        config.open_from_device(ends).is_ok_and(|disk| {
            let used = disk.partitions().values().filter(|partition| partition.is_used());
            used.map(|partition| partition.part_type_guid.guid).eq([PARTITION_TYPE])
        })
    });
    if is_own {
        device.write_at(0, &zeros)?;
        device.write_at(tail_offset, &zeros)?;
    }
    Ok(is_own)
}

/// Whether the device is a whole disk that should get a partition table before it is used.
pub fn needs_partition(facts: &DeviceFacts) -> bool {
    !facts.is_partition && facts.dm_uuid.is_none() && facts.takes_partitions
}

/// The node of a disk's partition, when the kernel shows it.
pub fn find_partition(
    system: &System,
    disk: DeviceNumber,
    partition: u32,
) -> Result<Option<(PathBuf, DeviceNumber)>, LayoutError> {
    let children = partitions_of(&system.block_dir(disk))?;
    let child = children.into_iter().find(|child| child.index == partition);
    Ok(child.map(|child| (system.node(&child.name), child.number)))
}

/// Waits until partition 1 of a disk has its node, for at most `patience`.
pub fn wait_for_partition(
    system: &System,
    path: &Path,
    disk: DeviceNumber,
    patience: Duration,
) -> Result<PathBuf, LayoutError> {
    let start = Instant::now();
    loop {
        if let Some((node, number)) = find_partition(system, disk, 1)?
            && system.node_number(&node) == Some(number)
        {
            return Ok(node);
        }
        if start.elapsed() >= patience {
            let waited_ms = start.elapsed().as_millis();
            return Err(LayoutError::NoPartition { path: path.to_owned(), waited_ms });
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// `thinly:` and as many whole characters of the pool's name as a partition's name can hold.
fn partition_name(pool_name: &str) -> String {
    let mut name = String::new();
    let mut units = 0;
    for character in "thinly:".chars().chain(pool_name.chars()) {
        units += character.len_utf16();
        if units > NAME_UNITS_MAX {
            break;
        }
        name.push(character);
    }
    name
}

/// The two ends of a disk of any length, as something that can be read, written and sought in.
#[derive(Debug)]
struct DiskEnds {
    size: u64,
    position: u64,
    head: Vec<u8>,
    tail_offset: u64,
    tail: Vec<u8>,
}

impl DiskEnds {
    fn new(size: u64) -> Self {
        let zeros = || vec![0; usize::try_from(END_BYTES).unwrap_or(0)];
        let tail_offset = size.saturating_sub(END_BYTES);
        Self { size, position: 0, head: zeros(), tail_offset, tail: zeros() }
    }

    /// Does `act` at the current position, inside the end that this position is in.
    fn at_position(
        &mut self,
        act: impl FnOnce(&mut Cursor<&mut [u8]>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let (start, end): (u64, &mut [u8]) = if self.position >= self.tail_offset {
            (self.tail_offset, &mut self.tail)
        } else if self.position < END_BYTES {
            (0, &mut self.head)
        } else {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        };
        let mut cursor = Cursor::new(end);
        cursor.set_position(self.position - start);
        let done = act(&mut cursor)?;
        self.position += done as u64;
        Ok(done)
    }
}

impl Read for DiskEnds {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.at_position(|end| end.read(buffer))
    }
}

impl Write for DiskEnds {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.at_position(|end| end.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for DiskEnds {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
#[path = "gpt_tests.rs"]
mod tests;
