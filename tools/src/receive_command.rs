//! `thinly receive`.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read};
use std::path::Path;

use thinly_engine::catalogue::VolumeName;
use thinly_engine::pool::Engine;
use thinly_engine::stream::{Piece, ResumeToken, StreamHeader, StreamReader, Totals};

use crate::args::{Receive, VolumePath};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::json::{ReceiveJson, ReceivingJson, TokenJson};
use crate::progress::Progress;
use crate::size::human;
use crate::step::Steps;
use crate::stream_target::StreamTarget;
use crate::volume_command::find;

/// How much is written before the catalogue says so for the first time; twice as much each time after
/// that, up to the most that a `kill -9` may cost.
const NOTE_BYTES_MIN: u64 = 4 << 20;
const NOTE_BYTES_MAX: u64 = 64 << 20;

pub(crate) fn run(console: Console<'_>, socket: &Path, arguments: &Receive) -> Result<(), Failure> {
    if arguments.token {
        return tell_token(console, &arguments.volume);
    }
    let input = open_input(arguments.input.as_deref())?;
    let reader = StreamReader::new(BufReader::new(input))?;
    let header = reader.header().clone();
    let steps = Steps { console, socket };
    let begun = begin(steps, arguments, &header)?;
    let mut receiver = Receiver {
        steps,
        path: &arguments.volume,
        header: &header,
        reader,
        applied: 0,
        noted: begun.durable_bytes,
    };
    let ended = receiver.receive(&begun);
    let stream_bytes = receiver.reader.read_bytes();
    let totals = ended.inspect_err(|_| receiver.give_up(console))?;
    let finished = steps.run(&words(&arguments.volume, "finish", &header, &[]))?;
    let value = ReceiveJson {
        pool: arguments.volume.pool.clone(),
        volume: arguments.volume.volume.to_string(),
        snapshot: finished["name"].as_str().unwrap_or(&begun.snapshot).to_owned(),
        source_uuid: header.snapshot,
        base_uuid: header.base,
        stream_bytes: stream_bytes.get(),
        start_bytes: header.start.get(),
        data_bytes: totals.data_bytes.get(),
        zero_bytes: totals.zero_bytes.get(),
    };
    console.answer(&value, || {
        let (path, data) = (&arguments.volume, human(totals.data_bytes));
        format!("{path} holds what {}/{} is: {data} came\n", path.pool, value.snapshot)
    })
}

fn open_input(path: Option<&Path>) -> Result<Box<dyn Read>, Failure> {
    match path {
        Some(path) => {
            let failed = |source| Failure::File { action: "read", path: path.to_owned(), source };
            Ok(Box::new(File::open(path).map_err(failed)?))
        }
        None if io::stdin().is_terminal() => {
            let text = "a stream does not come from a terminal; give --in FILE, or a pipe from \
                        `thinly send`";
            Err(Failure::Usage(text.to_owned()))
        }
        None => Ok(Box::new(io::stdin().lock())),
    }
}

fn tell_token(console: Console<'_>, path: &VolumePath) -> Result<(), Failure> {
    let volumes = Engine::new()?.volumes(&path.pool)?;
    let volume = find(&volumes, &path.pool, &path.volume)?;
    let incoming = volume.received.as_ref().and_then(|received| received.incoming.as_ref());
    let Some(incoming) = incoming else {
        return Err(Failure::NotSendable(format!(
            "nothing is being received into {path}, so there is nothing to go on with; \
             `thinly volume show {path} --json` has what arrived last in received_uuid"
        )));
    };
    let (snapshot, base, offset) = (incoming.source, incoming.base, incoming.durable);
    let value = TokenJson {
        pool: path.pool.clone(),
        volume: path.volume.to_string(),
        source_uuid: snapshot,
        base_uuid: base,
        durable_bytes: offset.get(),
        token: ResumeToken { snapshot, base, offset }.to_string(),
    };
    console.answer(&value, || format!("{}\n", value.token))
}

/// What the snapshot is called here: names of a pool are for volumes and snapshots together, so that
/// of the volume stands in front.
fn name_here(arguments: &Receive, header: &StreamHeader) -> Result<VolumeName, Failure> {
    if let Some(name) = &arguments.snapshot {
        return Ok(name.clone());
    }
    let there = header.name.as_str();
    let own = there.split_once('@').map_or(there, |(_, own)| own);
    VolumeName::new(&format!("{}@{own}", arguments.volume.volume)).map_err(|error| {
        Failure::Usage(format!(
            "the snapshot cannot be called that here: {error}; name it by --snapshot"
        ))
    })
}

fn begin(
    steps: Steps<'_>,
    arguments: &Receive,
    header: &StreamHeader,
) -> Result<ReceivingJson, Failure> {
    let mut more = vec![
        format!("--size-bytes={}", header.virtual_bytes.get()),
        format!("--start-bytes={}", header.start.get()),
        format!("--snapshot={}", name_here(arguments, header)?),
    ];
    more.extend(arguments.resume.then(|| "--resume".to_owned()));
    let answer = steps.run(&words(&arguments.volume, "begin", header, &more))?;
    serde_json::from_value(answer).map_err(|error| Failure::Output(io::Error::other(error)))
}

fn words(path: &VolumePath, step: &str, header: &StreamHeader, more: &[String]) -> Vec<String> {
    let mut words = vec!["receive-step".to_owned(), path.to_string(), step.to_owned()];
    words.push(format!("--source={}", header.snapshot));
    words.extend(header.base.map(|base| format!("--base={base}")));
    words.extend_from_slice(more);
    words
}

/// A stream on its way to a device.
struct Receiver<'a, R> {
    steps: Steps<'a>,
    path: &'a VolumePath,
    header: &'a StreamHeader,
    reader: StreamReader<R>,
    /// All that the stream says before it was written.
    applied: u64,
    /// What the catalogue says to be on disk.
    noted: u64,
}

impl<R: Read> Receiver<'_, R> {
    fn receive(&mut self, begun: &ReceivingJson) -> Result<Totals, Failure> {
        let mut target = StreamTarget::open(&begun.device, begun.block_bytes)?;
        let console = self.steps.console;
        let mut progress = Progress::new("receiving (MiB)", !console.is_json());
        let ended = self.apply(&mut target, &mut progress);
        progress.finish();
        // Each range was checked before it was written: what is written counts, however it ended.
        let flushed = target.flush();
        drop(target);
        if ended.is_err() && flushed.is_ok() {
            let _ = self.note();
        }
        ended.and_then(|totals| flushed.map(|()| totals)).map_err(|failure| {
            let pool = self.path.pool.clone();
            if failure.is_out_of_blocks() { Failure::FullMidStream { pool } } else { failure }
        })
    }

    fn apply(
        &mut self,
        target: &mut StreamTarget,
        progress: &mut Progress,
    ) -> Result<Totals, Failure> {
        // A volume that is made of the stream alone reads as zeros where nothing came.
        let is_whole = self.header.base.is_none();
        let size = self.header.virtual_bytes.get();
        let (mut unnoted, mut patience) = (0, NOTE_BYTES_MIN);
        loop {
            match self.reader.next_piece()? {
                Piece::End(totals) => return Ok(totals),
                Piece::Zero { .. } if is_whole => {}
                Piece::Zero { offset, length } => target.zero(offset.get(), length.get())?,
                Piece::Data { offset, length, encoding, payload } => {
                    target.write(offset.get(), length.get(), (encoding, payload))?;
                    unnoted += length.get();
                }
            }
            self.applied = self.reader.reached().get();
            progress.update(self.applied >> 20, size >> 20);
            if unnoted >= patience {
                target.flush()?;
                self.note_unless_busy()?;
                (unnoted, patience) = (0, (patience * 2).min(NOTE_BYTES_MAX));
            }
        }
    }

    /// Says in the catalogue how far all is on disk; the caller has flushed.
    fn note(&mut self) -> Result<(), Failure> {
        if self.applied > self.noted {
            let durable = [format!("--durable-bytes={}", self.applied)];
            self.steps.run(&words(self.path, "note", self.header, &durable))?;
            self.noted = self.applied;
        }
        Ok(())
    }

    /// Somebody else changes the pool for long: the stream goes on, and the next note says it all.
    fn note_unless_busy(&mut self) -> Result<(), Failure> {
        match self.note() {
            Err(failure) if failure.exit() == Exit::InUse => Ok(()),
            noted => noted,
        }
    }

    /// After a failure: tells what is kept. The device goes, unless another receiver has it.
    fn give_up(&self, console: Console<'_>) {
        let path = self.path;
        let _ = self.steps.run(&["volume", "deactivate", &path.to_string()].map(str::to_owned));
        console.warn(&format!(
            "{path} keeps what came, up to byte {} of {}: send on from what `thinly receive {path} \
             --token` prints, or give it up",
            self.noted, self.header.virtual_bytes
        ));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use thinly_engine::catalogue::Timestamp;
    use thinly_engine::units::Bytes;
    use uuid::Uuid;

    use super::*;
    use crate::args::{Cli, Command};

    #[test]
    fn a_snapshot_is_called_by_its_volume_here_and_its_name_there() {
        let header = |name: &str| StreamHeader {
            snapshot: Uuid::nil(),
            base: None,
            volume: Uuid::nil(),
            pool: Uuid::nil(),
            virtual_bytes: Bytes::ZERO,
            start: Bytes::ZERO,
            created_at: Timestamp(0),
            block_bytes: Bytes::ZERO,
            name: VolumeName::new(name).unwrap(),
        };
        let called = |line: &str, name: &str| {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            let Command::Receive(arguments) = cli.command else { panic!("{line}") };
            name_here(&arguments, &header(name)).map(|name| name.to_string())
        };
        assert_eq!(called("thinly receive p/web", "monday").unwrap(), "web@monday");
        assert_eq!(called("thinly receive p/web", "db@mon@day").unwrap(), "web@mon@day");
        assert_eq!(called("thinly receive p/web --snapshot x", "monday").unwrap(), "x");
        let error = called("thinly receive p/web", &"n".repeat(128)).unwrap_err();
        assert!(error.to_string().contains("--snapshot"), "{error}");
    }
}
