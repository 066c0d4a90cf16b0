//! `thinly send`.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;

use thinly_engine::aligned::AlignedBuffer;
use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::catalogue::VolumeKind;
use thinly_engine::metadata::DiffKind;
use thinly_engine::pool::{ByteRange, Engine, PoolError, VolumeDiff, VolumeView};
use thinly_engine::stream::{PAYLOAD_BYTES_MAX, ResumeToken, StreamHeader, StreamWriter, Totals};
use thinly_engine::units::Bytes;
use uuid::Uuid;

use crate::args::{Compression, Send, VolumePath};
use crate::compression::Packer;
use crate::console::Console;
use crate::failure::Failure;
use crate::file::{create_new, refuse_existing};
use crate::json::SendJson;
use crate::progress::Progress;
use crate::size::human;
use crate::step::Steps;
use crate::volume_command::find;

pub(crate) fn run(console: Console<'_>, socket: &Path, arguments: &Send) -> Result<(), Failure> {
    match &arguments.out {
        Some(file) => refuse_existing(file)?,
        None if io::stdout().is_terminal() => {
            let text = "a stream is not for a terminal; give --out FILE, or a pipe to \
                        `thinly receive`";
            return Err(Failure::Usage(text.to_owned()));
        }
        None => {}
    }
    let engine = Engine::new()?;
    let volumes = engine.volumes(&arguments.snapshot.pool)?;
    let asked = Asked::new(arguments, &volumes)?;
    let header = asked.header();
    let steps = Steps { console, socket };
    let device = Activated::new(steps, &arguments.snapshot, asked.snapshot)?;
    let source = Source { engine: &engine, device: &device.path, header: &header, arguments };
    let sent = source.write_out(console);
    device.release(steps, &arguments.snapshot);
    let (totals, stream_bytes) = sent?;
    let Some(file) = arguments.out.clone() else { return Ok(()) };
    let value = SendJson {
        pool: arguments.snapshot.pool.clone(),
        snapshot: header.name.to_string(),
        source_uuid: header.snapshot,
        base_uuid: header.base,
        file,
        stream_bytes: stream_bytes.get(),
        start_bytes: header.start.get(),
        data_bytes: totals.data_bytes.get(),
        zero_bytes: totals.zero_bytes.get(),
    };
    console.answer(&value, || {
        let data = human(totals.data_bytes);
        format!("{}: {data} of data in {}\n", value.file.display(), human(stream_bytes))
    })
}

/// What is to be sent, found in the pool.
struct Asked<'a> {
    snapshot: &'a VolumeView,
    origin: Uuid,
    base: Option<&'a VolumeView>,
    start: Bytes,
}

impl<'a> Asked<'a> {
    fn new(arguments: &'a Send, volumes: &'a [VolumeView]) -> Result<Self, Failure> {
        let path = &arguments.snapshot;
        let pool = path.pool.as_str();
        let snapshot = find(volumes, pool, &path.volume)?;
        let origin = origin_of(path, snapshot)?;
        let base = match &arguments.from {
            Some(from) if from.pool != path.pool => {
                return Err(Failure::Usage(format!(
                    "{from} and {path} are not of the same pool, so nothing tells what changed \
                     between them; name two of one pool"
                )));
            }
            Some(from) => Some(find(volumes, pool, &from.volume)?),
            None => match arguments.resume.and_then(|token| token.base) {
                Some(base) => Some(of_token(path, volumes, base)?),
                None => None,
            },
        };
        if let Some(base) = base {
            check_base(path, snapshot, origin, base)?;
        }
        if let Some(token) = arguments.resume {
            check_token(path, snapshot, base, token)?;
        }
        let start = arguments.resume.map_or(Bytes::ZERO, |token| token.offset);
        Ok(Self { snapshot, origin, base, start })
    }

    /// All but the pool and its block size, which are told with the ranges.
    fn header(&self) -> StreamHeader {
        StreamHeader {
            snapshot: self.snapshot.uuid,
            base: self.base.map(|base| base.uuid),
            volume: self.origin,
            pool: Uuid::nil(),
            virtual_bytes: self.snapshot.virtual_bytes,
            start: self.start,
            created_at: self.snapshot.created_at,
            block_bytes: Bytes::ZERO,
            name: self.snapshot.name.clone(),
        }
    }
}

fn refuse<T>(text: String) -> Result<T, Failure> {
    Err(Failure::NotSendable(text))
}

/// Only what cannot change while it is read makes a stream that is one moment.
fn origin_of(path: &VolumePath, snapshot: &VolumeView) -> Result<Uuid, Failure> {
    match snapshot.kind {
        VolumeKind::Snapshot { origin, .. } => Ok(origin),
        VolumeKind::Blank | VolumeKind::Clone { .. } => refuse(format!(
            "{path} is a volume, which may change while it is read; take a snapshot with \
             `thinly snapshot create {path} NAME` and send {}/NAME",
            path.pool
        )),
    }
}

fn of_token<'a>(
    path: &VolumePath,
    volumes: &'a [VolumeView],
    base: Uuid,
) -> Result<&'a VolumeView, Failure> {
    let found = volumes.iter().find(|volume| volume.uuid == base);
    found.map_or_else(
        || {
            refuse(format!(
                "the token goes on with a difference to snapshot {base}, which pool {} does not \
                 have any more; send all of {path} to a new name",
                path.pool
            ))
        },
        Ok,
    )
}

fn check_base(
    path: &VolumePath,
    snapshot: &VolumeView,
    origin: Uuid,
    base: &VolumeView,
) -> Result<(), Failure> {
    let base_path = VolumePath { pool: path.pool.clone(), volume: base.name.clone() };
    let base_origin = origin_of(&base_path, base)?;
    if base.uuid == snapshot.uuid {
        return refuse(format!("{path} is no difference to itself; name an earlier snapshot"));
    }
    if base_origin != origin {
        return refuse(format!(
            "{base_path} is a snapshot of another volume than {path}; name one of the same volume"
        ));
    }
    if base.created_at > snapshot.created_at {
        return refuse(format!("{base_path} is newer than {path}; name the older one with --from"));
    }
    Ok(())
}

fn check_token(
    path: &VolumePath,
    snapshot: &VolumeView,
    base: Option<&VolumeView>,
    token: ResumeToken,
) -> Result<(), Failure> {
    if token.snapshot != snapshot.uuid {
        return refuse(format!(
            "the token goes on with snapshot {}, and {path} is {}; name the snapshot that was sent",
            token.snapshot, snapshot.uuid
        ));
    }
    if token.base != base.map(|base| base.uuid) {
        return refuse(format!(
            "the token goes on with a stream of {path} with another --from; leave --from out"
        ));
    }
    if token.offset > snapshot.virtual_bytes {
        return refuse(format!(
            "the token goes on behind the end of {path}; it is of another pool"
        ));
    }
    Ok(())
}

/// A snapshot's device, for as long as it is read.
struct Activated {
    path: std::path::PathBuf,
    /// Whether it was there before.
    was_active: bool,
}

impl Activated {
    fn new(steps: Steps<'_>, path: &VolumePath, snapshot: &VolumeView) -> Result<Self, Failure> {
        let words = ["volume", "activate", &path.to_string()].map(str::to_owned);
        let answer = steps.run(&words)?;
        let device = answer["device"].as_str().ok_or_else(|| {
            Failure::NotSendable(format!("{path} has no device after its activation"))
        })?;
        Ok(Self { path: device.into(), was_active: snapshot.device.is_some() })
    }

    /// Whoever else has it open keeps it: that is no failure of what was sent.
    fn release(self, steps: Steps<'_>, path: &VolumePath) {
        if !self.was_active {
            let _ = steps.run(&["volume", "deactivate", &path.to_string()].map(str::to_owned));
        }
    }
}

/// What a stream is made of.
struct Source<'a> {
    engine: &'a Engine,
    device: &'a Path,
    header: &'a StreamHeader,
    arguments: &'a Send,
}

impl Source<'_> {
    fn write_out(&self, console: Console<'_>) -> Result<(Totals, Bytes), Failure> {
        if let Some(file) = &self.arguments.out {
            return create_new(file, |out| self.write(console, out));
        }
        let out = io::stdout().as_fd().try_clone_to_owned().map_err(Failure::StreamOutput)?;
        self.write(console, &mut File::from(out))
    }

    fn write(&self, console: Console<'_>, out: &mut File) -> Result<(Totals, Bytes), Failure> {
        // Held open, it cannot be deleted; the ranges are all known before the first is read.
        let device = BlockDevice::open(self.device, Access::ReadOnly).map_err(PoolError::from)?;
        let found = self.found()?;
        let (pool, block_bytes) = (found.pool_uuid, found.block_bytes);
        let header = StreamHeader { pool, block_bytes, ..self.header.clone() };
        let mut progress = Progress::new("sending (MiB)", !console.is_json());
        let fail = Failure::StreamOutput;
        let mut stream = Ranges {
            device,
            writer: StreamWriter::new(io::BufWriter::new(out), &header).map_err(fail)?,
            packer: packer(self.arguments.compress)?,
            block_bytes: found.block_bytes.get(),
            buffer: AlignedBuffer::zeroed(PAYLOAD_BYTES_MAX),
        };
        let mib = |bytes: u64| bytes >> 20;
        for range in found.ranges {
            let Some(range) = rest_of(range?, self.header.start.get()) else { continue };
            progress.update(mib(range.offset.get()), mib(self.header.virtual_bytes.get()));
            stream.send(range, &mut |at| {
                progress.update(mib(at), mib(self.header.virtual_bytes.get()));
            })?;
        }
        let sent = stream.writer.finish().map_err(fail)?;
        progress.finish();
        Ok(sent)
    }

    fn found(&self) -> Result<VolumeDiff, Failure> {
        let pool = &self.arguments.snapshot.pool;
        Ok(self.engine.diff_by_uuid(pool, self.header.base, self.header.snapshot)?)
    }
}

fn packer(compression: Option<Compression>) -> Result<Packer, Failure> {
    Packer::new(compression).map_err(|source| Failure::System { action: "compress", source })
}

/// What of a range comes after `start`.
fn rest_of(range: ByteRange, start: u64) -> Option<ByteRange> {
    let end = range.offset.get().saturating_add(range.length.get());
    let offset = range.offset.get().max(start);
    let length = end.checked_sub(offset).filter(|length| *length > 0)?;
    Some(ByteRange { offset: Bytes::new(offset), length: Bytes::new(length), ..range })
}

/// Reads ranges and writes them out.
struct Ranges<W: Write> {
    device: BlockDevice,
    writer: StreamWriter<W>,
    packer: Packer,
    block_bytes: u64,
    buffer: AlignedBuffer,
}

impl<W: Write> Ranges<W> {
    fn send(&mut self, range: ByteRange, reached: &mut dyn FnMut(u64)) -> Result<(), Failure> {
        if range.kind == DiffKind::Removed {
            return self.writer.zero(range.offset, range.length).map_err(Failure::StreamOutput);
        }
        let most = PAYLOAD_BYTES_MAX as u64;
        let step = (most / self.block_bytes).max(1).saturating_mul(self.block_bytes).min(most);
        let (mut at, end) = (range.offset.get(), range.offset.get() + range.length.get());
        while at < end {
            let length = step.min(end - at);
            self.buffer.set_length(usize::try_from(length).unwrap_or(usize::MAX));
            self.device.read_at(at, &mut self.buffer).map_err(PoolError::from)?;
            self.send_read(at)?;
            at += length;
            reached(at);
        }
        Ok(())
    }

    /// Blocks of nothing but zeros take no room in the stream, nor in the pool that receives it.
    fn send_read(&mut self, at: u64) -> Result<(), Failure> {
        let block = usize::try_from(self.block_bytes).unwrap_or(usize::MAX);
        for (begin, end, is_zero) in runs(&self.buffer, block) {
            let offset = Bytes::new(at + begin as u64);
            let length = Bytes::new((end - begin) as u64);
            let written = if is_zero {
                self.writer.zero(offset, length)
            } else {
                let packed = self.packer.pack(&self.buffer[begin..end]);
                packed.and_then(|(how, payload)| self.writer.data(offset, length, how, payload))
            };
            written.map_err(Failure::StreamOutput)?;
        }
        Ok(())
    }
}

/// The runs of blocks that are all zeros, and of those that are not.
fn runs(data: &[u8], block: usize) -> Vec<(usize, usize, bool)> {
    let mut runs: Vec<(usize, usize, bool)> = Vec::new();
    let mut begin = 0;
    for piece in data.chunks(block) {
        let end = begin + piece.len();
        let is_zero = is_zero(piece);
        match runs.last_mut() {
            Some((_, last_end, of_zeros)) if *of_zeros == is_zero => *last_end = end,
            _ => runs.push((begin, end, is_zero)),
        }
        begin = end;
    }
    runs
}

fn is_zero(piece: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    piece.chunks(ZEROS.len()).all(|part| *part == ZEROS[..part.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_all_and_tell_zeros_apart() {
        assert_eq!(runs(&[], 4), []);
        assert_eq!(runs(&[0; 6], 4), [(0, 6, true)]);
        let data = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 3];
        assert_eq!(runs(&data, 4), [(0, 4, false), (4, 12, true), (12, 17, false)]);
        assert!(!is_zero(&[&[0; 5000][..], &[1]].concat()));
    }

    #[test]
    fn a_range_is_gone_on_with_where_the_last_stream_ended() {
        let range = |offset, length| ByteRange {
            offset: Bytes::new(offset),
            length: Bytes::new(length),
            kind: DiffKind::Added,
        };
        assert_eq!(rest_of(range(10, 5), 0), Some(range(10, 5)));
        assert_eq!(rest_of(range(10, 5), 12), Some(range(12, 3)));
        assert_eq!(rest_of(range(10, 5), 15), None);
    }
}
