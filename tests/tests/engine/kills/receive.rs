//! A receiver that is killed: the stream goes on from its token or is given up, and what is there in the end is the
//! snapshot or nothing.

use anyhow::{Context, Result, bail, ensure};
use thinly_engine::catalogue::Incoming;
use thinly_engine::pool::{Pool, VolumeAccess};
use thinly_engine::stream::ResumeToken;

use super::recover;
use super::strace::{Call, End, attempt, calls_of, picked, run};
use crate::support::{Bed, active, fill, holds, mib, name};

/// What each MiB of the two snapshots holds. There is more that differs than is written before the first note.
const ONE: [u8; 6] = [1, 2, 3, 4, 5, 6];
const TWO: [u8; 9] = [0x21, 0x22, 0x23, 0x24, 0x25, 0, 0, 0, 0x29];

/// How far a stream came, as anybody sees it.
enum Found {
    Nothing,
    Half(Incoming),
    All,
}

struct Streams {
    bed: Bed,
    directory: tempfile::TempDir,
}

impl Streams {
    /// A pool with a volume and two snapshots of it, which is sent to itself.
    fn new() -> Result<Self> {
        let bed = Bed::new(&[1 << 30])?;
        let pool = bed.attach()?;
        let web = active(&pool, "web", mib(8))?;
        write(&web, &ONE)?;
        pool.snapshot(&name("web"), &name("one"))?;
        pool.resize(&name("web"), mib(10))?;
        write(&web, &TWO)?;
        pool.snapshot(&name("web"), &name("two"))?;
        pool.release()?;
        let streams = Self { bed, directory: tempfile::tempdir_in("/scratch")? };
        streams.send("one", &[])?;
        streams.send("two", &["--from", &streams.path("one")])?;
        Ok(streams)
    }

    fn path(&self, volume: &str) -> String {
        format!("{}/{volume}", self.bed.pool)
    }

    fn file(&self, stream: &str) -> String {
        self.directory.path().join(stream).display().to_string()
    }

    fn send(&self, snapshot: &str, more: &[&str]) -> Result<()> {
        let (path, file) = (self.path(snapshot), self.file(snapshot));
        let _ = std::fs::remove_file(&file);
        run(&own(&[&["send", &path, "--out", &file][..], more].concat()))
    }

    fn receive(&self, snapshot: &str) -> Vec<String> {
        own(&["receive", &self.path("in"), "--in", &self.file(snapshot)])
    }

    fn found(&self, snapshot: &str) -> Result<Found> {
        let volumes = self.bed.engine.volumes(&self.bed.pool)?;
        let of = |wanted: &str| volumes.iter().find(|volume| volume.name.as_str() == wanted);
        let received = of("in").and_then(|volume| volume.received.clone());
        let incoming = received.as_ref().and_then(|received| received.incoming.clone());
        let source = of(snapshot).context("the sender's is gone")?.uuid;
        let arrived = received.and_then(|received| received.last).map(|last| last.source);
        match (of(&format!("in@{snapshot}")), incoming) {
            (Some(_), None) if arrived == Some(source) => Ok(Found::All),
            (None, Some(incoming)) if incoming.source == source => Ok(Found::Half(incoming)),
            // Before a whole one there is no volume, before a difference its base is all that came.
            (None, None)
                if of("in").is_some() == (snapshot == "two") && arrived != Some(source) =>
            {
                Ok(Found::Nothing)
            }
            (there, incoming) => {
                bail!(
                    "{}, {incoming:?}, {arrived:?}",
                    if there.is_some() { "there" } else { "not" }
                )
            }
        }
    }

    fn goes_on(&self, snapshot: &str, incoming: &Incoming) -> Result<()> {
        let Incoming { source: snapshot_uuid, base, durable: offset, .. } = incoming;
        let token = ResumeToken { snapshot: *snapshot_uuid, base: *base, offset: *offset };
        let rest = format!("rest-of-{snapshot}");
        let file = self.file(&rest);
        let _ = std::fs::remove_file(&file);
        let (path, token) = (self.path(snapshot), token.to_string());
        run(&own(&["send", &path, "--resume", &token, "--out", &file]))?;
        let rest = [self.receive(&rest), own(&["--resume"])].concat();
        run(&rest)
    }

    /// As the message of a refused use says.
    fn is_given_up(&self, snapshot: &str) -> Result<()> {
        let pool = self.bed.attach()?;
        if snapshot == "one" {
            pool.delete(&name("in"))?;
        } else {
            pool.deactivate(&name("in"))?;
            pool.rollback(&name("in"), &name("in@one"))?;
            assert_holds(&pool, "in", &ONE)?;
        }
        Ok(pool.release()?)
    }

    fn forget(&self, volumes: &[&str]) -> Result<()> {
        let pool = self.bed.attach()?;
        let there = pool.volumes()?;
        for volume in volumes {
            if there.iter().any(|there| there.name.as_str() == *volume) {
                pool.delete(&name(volume))?;
            }
        }
        pool.release()?;
        recover(&self.bed)
    }

    /// One kill, and all that may follow from it.
    fn kill(&self, snapshot: &str, call: &Call, is_given_up: bool) -> Result<End> {
        let end = attempt(&self.receive(snapshot), call)?;
        recover(&self.bed)?;
        let found = self.found(snapshot)?;
        ensure!(end == End::Killed || matches!(found, Found::All), "answered and not there");
        match found {
            Found::Half(_) if is_given_up => self.is_given_up(snapshot)?,
            Found::Half(incoming) => self.goes_on(snapshot, &incoming)?,
            Found::Nothing if is_given_up => {}
            Found::Nothing => run(&self.receive(snapshot))?,
            Found::All => {}
        }
        let pool = self.bed.attach()?;
        if matches!(self.found(snapshot)?, Found::All) {
            let (arrived, content) = (format!("in@{snapshot}"), content_of(snapshot));
            assert_holds(&pool, &arrived, content)?;
            assert_holds(&pool, "in", content)?;
        } else {
            ensure!(is_given_up, "it did not go on");
        }
        pool.release()?;
        Ok(end)
    }
}

fn content_of(snapshot: &str) -> &'static [u8] {
    if snapshot == "one" { &ONE } else { &TWO }
}

fn own(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn write(device: &std::path::Path, content: &[u8]) -> Result<()> {
    (0..).zip(content).try_for_each(|(at, byte)| fill(device, mib(at), mib(1), *byte))
}

fn assert_holds(pool: &Pool, volume: &str, content: &[u8]) -> Result<()> {
    let view = pool.activate(&name(volume), VolumeAccess::ReadOnly)?;
    let device = view.device.context("no device")?;
    for (at, byte) in (0..).zip(content) {
        ensure!(holds(&device, mib(at), mib(1), *byte)?, "{volume} at {at} MiB is not {byte}");
    }
    Ok(pool.deactivate(&name(volume)).map(drop)?)
}

#[test]
fn a_kill_at_any_call_of_a_receiver_leaves_a_stream_that_goes_on() -> Result<()> {
    let streams = Streams::new()?;
    let (mut killed, mut turn) = (0, 0);
    for snapshot in ["one", "two"] {
        let all: &[&str] =
            if snapshot == "one" { &["in@one", "in"] } else { &["in@two", "in@one", "in"] };
        let ready = || if snapshot == "two" { run(&streams.receive("one")) } else { Ok(()) };
        ready()?;
        let calls = calls_of(&streams.receive(snapshot))?;
        streams.forget(all)?;
        for call in picked(&calls, 37) {
            ready()?;
            turn += 1;
            let end = streams.kill(snapshot, call, turn % 2 == 0);
            let end = end.with_context(|| format!("{snapshot}, killed at {call:?}"))?;
            killed += usize::from(end == End::Killed);
            streams.forget(all)?;
        }
    }
    ensure!(killed > 0, "nothing was killed");
    // Whatever happened, what was sent is as it was.
    let pool = streams.bed.attach()?;
    assert_holds(&pool, "one", &ONE)?;
    assert_holds(&pool, "two", &TWO)?;
    pool.release()?;
    println!(
        "proof kills: operations=2 killed={killed} acknowledged=2 lost=0 leaked=0 suspended=0"
    );
    Ok(())
}
