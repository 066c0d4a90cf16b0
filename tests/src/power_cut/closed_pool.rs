//! A pool on a disk in memory, read as an open would read it before anything is loaded.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};
use thinly_engine::aligned::AlignedBuffer;
use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::catalogue::Catalogue;
use thinly_engine::journal::{self, Media, MediaError, UNIT_BYTES_MIN};
use thinly_engine::layout::{Label, LabelRead, LabelState, LinearSegment, Role, read_labels};
use thinly_engine::metadata::{BlockSource, MetadataError, Superblock, settled_superblock};
use thinly_engine::plan::Tail;
use thinly_engine::units::METADATA_BLOCK_BYTES;

use crate::log_writes::DiskImage;

/// Where labels can be: both ends of the disk.
const LABEL_AREA_BYTES: usize = 1 << 20;

/// Reads the labels of disks in memory. The reader takes a device, so both ends of the disk are
/// copied into a file when they have changed.
#[derive(Debug)]
pub(super) struct LabelReader {
    file: tempfile::NamedTempFile,
    device: BlockDevice,
    areas: Vec<u8>,
    label: Option<Label>,
}

impl LabelReader {
    /// A reader whose file is in this directory.
    pub(super) fn new(directory: &Path, length: u64) -> Result<Self> {
        let file = tempfile::NamedTempFile::new_in(directory)?;
        file.as_file().set_len(length)?;
        let device = BlockDevice::open_any(file.path(), Access::ReadOnly)?;
        Ok(Self { file, device, areas: Vec::new(), label: None })
    }

    /// The label that counts; `None` when there is none.
    pub(super) fn read(&mut self, image: &DiskImage) -> Result<Option<&Label>> {
        let bytes = image.bytes();
        let tail = bytes.len() - LABEL_AREA_BYTES;
        let areas = [&bytes[..LABEL_AREA_BYTES], &bytes[tail..]].concat();
        if areas != self.areas {
            let file: &File = self.file.as_file();
            file.write_all_at(&areas[..LABEL_AREA_BYTES], 0)?;
            file.write_all_at(&areas[LABEL_AREA_BYTES..], u64::try_from(tail)?)?;
            self.areas = areas;
            self.label = match read_labels(&self.device)? {
                LabelRead::Good(label) | LabelRead::OneTorn { label, .. } => Some(label),
                _ => None,
            };
        }
        Ok(self.label.as_ref())
    }
}

/// What an open would know of the pool.
#[derive(Debug)]
pub(super) struct ClosedPool<'a> {
    pub(super) catalogue: Catalogue,
    pub(super) tail: Tail,
    /// Counts the regions that the journal has begun.
    pub(super) journal_epoch: u64,
    pub(super) superblock: Superblock,
    pub(super) metadata: Region<'a>,
    pub(super) data: Region<'a>,
}

impl<'a> ClosedPool<'a> {
    /// Reads labels, journal and superblock; `None` when the labels do not say that there is a pool.
    pub(super) fn read(image: &'a DiskImage, labels: &mut LabelReader) -> Result<Option<Self>> {
        let label = labels.read(image)?;
        let Some(label) = label.filter(|label| label.state == LabelState::Live) else {
            return Ok(None);
        };
        let at = label.placements.first().context("the label names no journal")?;
        let place = at.offset.get()..at.offset.get() + at.length.get();
        let media = Region { image, name: "journal", parts: vec![place] };
        let loaded = journal::load(&media, label.pool_uuid)?;
        let catalogue = Catalogue::replay(loaded.payloads.iter().map(Vec::as_slice))?;
        let tail = match loaded.position.tail {
            journal::Tail::Clean => Tail::Clean,
            journal::Tail::Damaged { .. } => Tail::Damaged,
        };
        let journal_epoch = loaded.position.epoch;
        let metadata = Region::of(image, &catalogue, Role::Metadata, "metadata")?;
        let data = Region::of(image, &catalogue, Role::Data, "data")?;
        let superblock = settled_superblock(&metadata)?;
        Ok(Some(Self { catalogue, tail, journal_epoch, superblock, metadata, data }))
    }
}

/// Extents of the disk as one run of bytes.
#[derive(Debug)]
pub(super) struct Region<'a> {
    image: &'a DiskImage,
    name: &'static str,
    parts: Vec<Range<u64>>,
}

impl<'a> Region<'a> {
    fn of(
        image: &'a DiskImage,
        catalogue: &Catalogue,
        role: Role,
        name: &'static str,
    ) -> Result<Self> {
        let extent = catalogue.pool().extent;
        let lines: Option<Vec<LinearSegment>> = catalogue
            .segments()
            .iter()
            .filter(|segment| segment.role == role)
            .map(|segment| segment.to_linear(extent))
            .collect();
        let mut lines = lines.context("a segment beyond all bounds")?;
        lines.sort_by_key(|line| line.logical_start);
        let parts = lines.iter().map(|line| {
            let start = line.device_offset.to_bytes().get();
            start..start + line.length.to_bytes().get()
        });
        Ok(Self { image, name, parts: parts.collect() })
    }

    /// Where it is on the disk.
    pub(super) fn places(&self) -> &[Range<u64>] {
        &self.parts
    }

    fn length(&self) -> u64 {
        self.parts.iter().map(|part| part.end - part.start).sum()
    }

    /// A run of bytes that lies inside one extent.
    pub(super) fn bytes(&self, offset: u64, length: usize) -> io::Result<&'a [u8]> {
        let mut offset = offset;
        for part in &self.parts {
            let part_length = part.end - part.start;
            if offset < part_length {
                let start = usize::try_from(part.start + offset).map_err(io::Error::other)?;
                let bytes = self.image.bytes().get(start..start + length);
                return bytes.ok_or_else(|| io::ErrorKind::UnexpectedEof.into());
            }
            offset -= part_length;
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    /// All of it, as a file that other tools read.
    pub(super) fn write_to(&self, file: &File) -> Result<()> {
        let mut offset = 0;
        for part in &self.parts {
            let length = part.end - part.start;
            file.write_all_at(self.bytes(offset, usize::try_from(length)?)?, offset)?;
            offset += length;
        }
        Ok(())
    }
}

impl BlockSource for Region<'_> {
    fn read_block(&self, block: u64) -> Result<AlignedBuffer, MetadataError> {
        let beyond = |_| MetadataError::BeyondEnd {
            device: self.name.to_owned(),
            block,
            block_count: self.block_count(),
        };
        let offset = block.saturating_mul(METADATA_BLOCK_BYTES);
        Ok(AlignedBuffer::padded(self.bytes(offset, 4096).map_err(beyond)?, 4096))
    }

    fn block_count(&self) -> u64 {
        self.length() / METADATA_BLOCK_BYTES
    }

    fn name(&self) -> String {
        self.name.to_owned()
    }
}

impl Region<'_> {
    fn refuse(&self, action: &'static str, offset: u64, source: io::Error) -> MediaError {
        MediaError::Io { action, medium: self.name.to_owned(), offset, length: 0, source }
    }
}

impl Media for Region<'_> {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn size_bytes(&self) -> u64 {
        self.length()
    }

    fn unit_bytes(&self) -> u32 {
        UNIT_BYTES_MIN
    }

    fn read_at(&self, offset: u64, buffer: &mut AlignedBuffer) -> Result<(), MediaError> {
        let bytes = self.bytes(offset, buffer.len());
        buffer.copy_from_slice(bytes.map_err(|error| self.refuse("reading", offset, error))?);
        Ok(())
    }

    fn write_at(&self, offset: u64, _: &AlignedBuffer) -> Result<(), MediaError> {
        Err(self.refuse("writing", offset, io::ErrorKind::ReadOnlyFilesystem.into()))
    }

    fn zero_range(&self, offset: u64, _: u64) -> Result<(), MediaError> {
        Err(self.refuse("zeroing", offset, io::ErrorKind::ReadOnlyFilesystem.into()))
    }

    fn flush(&self) -> Result<(), MediaError> {
        Ok(())
    }
}
