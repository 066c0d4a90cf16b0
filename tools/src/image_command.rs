//! `thinly image ...`: dm-thin's metadata in a file, or on a device that no pool uses.
#![forbid(unsafe_code)]

use std::io::{self, BufWriter};
use std::path::Path;

use thinly_engine::metadata::{
    self, BlockSource, DiffRange, DumpReport, DumpRequest, MetadataError, MetadataUsage,
    Superblock, SuperblockState, UsageRequest,
};
use thinly_engine::pool::{ByteRange, PoolError};
use thinly_engine::units::{Bytes, DataBlocks, ThinId};

use crate::args::{ImageDiff, ImageDump, ImageLs, ImageVerb};
use crate::check_command;
use crate::console::Console;
use crate::diff_command;
use crate::failure::Failure;
use crate::file;
use crate::json::{ImageDeviceJson, ImageDiffJson, ImageDumpJson, ImageJson, Ranges};
use crate::progress::Progress;
use crate::render;

/// Bytes of a dump that are written at a time.
const WRITE_BYTES: usize = 256 << 10;

pub(crate) fn run(console: Console<'_>, verb: &ImageVerb) -> Result<(), Failure> {
    match verb {
        ImageVerb::Info(target) => info(console, &target.file),
        ImageVerb::Ls(arguments) => list(console, arguments),
        ImageVerb::Diff(arguments) => diff(console, arguments),
        ImageVerb::Check(target) => check_command::image(console, &target.file),
        ImageVerb::Dump(arguments) => dump(console, arguments),
    }
}

/// An image with a superblock that holds together.
struct Image {
    source: Box<dyn BlockSource>,
    superblock: Superblock,
}

impl Image {
    fn open(path: &Path) -> Result<Self, Failure> {
        let source = metadata::open_offline(path).map_err(refused)?;
        match metadata::read_superblock(&*source).map_err(refused)? {
            SuperblockState::Valid(superblock) => Ok(Self { source, superblock }),
            SuperblockState::Blank => {
                Err(refused(MetadataError::Blank { device: path.display().to_string() }))
            }
        }
    }
}

fn refused(error: MetadataError) -> Failure {
    PoolError::from(error).into()
}

fn info(console: Console<'_>, path: &Path) -> Result<(), Failure> {
    let Image { source, superblock } = Image::open(path)?;
    let device_count = match metadata::list_devices(&*source, &superblock) {
        Ok(devices) => Some(devices.len()),
        Err(damage) => {
            console.warn(&format!("the devices cannot be counted: {damage}"));
            None
        }
    };
    let value = ImageJson::new(path, &superblock, device_count);
    console.answer(&value, || render::image_page(&value))
}

fn list(console: Console<'_>, arguments: &ImageLs) -> Result<(), Failure> {
    let image = Image::open(&arguments.file)?;
    let block_size = image.superblock.data_block_size;
    let rows: Vec<ImageDeviceJson> = if arguments.exclusive {
        let devices = usage(console, &image)?.devices.into_iter();
        devices.map(|(id, usage)| ImageDeviceJson::with_usage(id, &usage, block_size)).collect()
    } else {
        let devices = metadata::list_devices(&*image.source, &image.superblock);
        let devices = devices.map_err(refused)?.into_iter();
        devices.map(|(id, details)| ImageDeviceJson::new(id, &details, block_size)).collect()
    };
    console.answer(&rows, || render::image_table(&rows))
}

fn diff(console: Console<'_>, arguments: &ImageDiff) -> Result<(), Failure> {
    let Image { source, superblock } = Image::open(&arguments.file)?;
    let block_bytes = superblock.data_block_size.bytes();
    let mut ranges = Vec::new();
    let bytes = |blocks: u64| Bytes::new(blocks.saturating_mul(block_bytes.get()));
    let mut found = |range: DiffRange| {
        let (offset, length) = (bytes(range.virtual_block), bytes(range.length.get()));
        ranges.push(Ok(ByteRange { offset, length, kind: range.kind }));
        Ok(())
    };
    metadata::diff(&*source, &superblock, arguments.thin1, arguments.thin2, &mut found)
        .map_err(refused)?;
    let is_single = arguments.thin1.is_none();
    if console.is_json() {
        return console.stream(&ImageDiffJson {
            file: &arguments.file,
            thin1: arguments.thin1.map(ThinId::get),
            thin2: arguments.thin2.get(),
            block_bytes: block_bytes.get(),
            ranges: Ranges::new(&mut ranges.into_iter(), is_single),
        });
    }
    diff_command::tell(console, block_bytes, is_single, ranges.into_iter())
}

fn usage(console: Console<'_>, image: &Image) -> Result<MetadataUsage, Failure> {
    let Image { source, superblock } = image;
    let total_data_blocks = DataBlocks::new(superblock.data_space_map.total_blocks);
    let request = UsageRequest { total_data_blocks, set: &[] };
    let guess = superblock.metadata_space_map.allocated_blocks;
    let mut progress = Progress::new("reading metadata", !console.is_json());
    let usage = metadata::usage(&**source, superblock, &request, &mut |done| {
        progress.update(done, guess.max(done));
    });
    progress.finish();
    usage.map_err(refused)
}

fn dump(console: Console<'_>, arguments: &ImageDump) -> Result<(), Failure> {
    if let Some(out) = &arguments.out {
        file::refuse_existing(out)?;
    } else if console.is_json() {
        let message = "a dump is XML, which goes to --out FILE when the answer is JSON";
        return Err(Failure::Usage(message.to_owned()));
    }
    let Image { source, superblock } = Image::open(&arguments.file)?;
    let held = if arguments.held { Some(held_root(&*source, &superblock)?) } else { None };
    let request = DumpRequest {
        superblock: held.as_ref().unwrap_or(&superblock),
        total_data_blocks: DataBlocks::new(superblock.data_space_map.total_blocks),
        devices: &arguments.dev_id.iter().copied().collect(),
    };
    match &arguments.out {
        Some(out) => dump_to_file(console, &*source, &request, out),
        None => dump_to_console(console, &*source, &request),
    }
}

fn held_root(source: &dyn BlockSource, superblock: &Superblock) -> Result<Superblock, Failure> {
    let held = metadata::read_held_superblock(source, superblock).map_err(refused)?;
    held.ok_or_else(|| Failure::NothingHeld { file: source.name() })
}

fn dump_to_console(
    console: Console<'_>,
    source: &dyn BlockSource,
    request: &DumpRequest<'_>,
) -> Result<(), Failure> {
    let mut stream = BufWriter::with_capacity(WRITE_BYTES, console.writer());
    match metadata::dump(source, request, &mut stream, &mut |_, _| {}) {
        // A reader that went away has what it wanted.
        Err(MetadataError::WriteDump { source }) if source.kind() == io::ErrorKind::BrokenPipe => {
            Ok(())
        }
        Err(MetadataError::WriteDump { source }) => Err(Failure::Output(source)),
        outcome => outcome.map(|_| ()).map_err(refused),
    }
}

fn dump_to_file(
    console: Console<'_>,
    source: &dyn BlockSource,
    request: &DumpRequest<'_>,
    out: &Path,
) -> Result<(), Failure> {
    let mut progress = Progress::new("writing the dump", !console.is_json());
    let written = file::create_new(out, |created| {
        let mut stream = BufWriter::with_capacity(WRITE_BYTES, created);
        let mut report = |done, total| progress.update(done, total);
        metadata::dump(source, request, &mut stream, &mut report).map_err(refused)
    });
    progress.finish();
    let DumpReport { device_count, mapped_blocks, .. } = written?;
    let file_bytes = std::fs::metadata(out)
        .map_err(|source| Failure::File { action: "read", path: out.to_owned(), source })?
        .len();
    let value = ImageDumpJson {
        file: out.to_owned(),
        file_bytes,
        device_count,
        mapped_block_count: mapped_blocks.get(),
    };
    console.answer(&value, || {
        format!("{device_count} devices, {mapped_blocks} mappings written to {}\n", out.display())
    })
}
