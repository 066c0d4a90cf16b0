//! Streams in the recorded work: what is asked of the engine for one, and the way on from each half-taken one.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use thinly_engine::catalogue::{Catalogue, Incoming, Volume, VolumeName};
use thinly_engine::pool::{Pool, ReceiveRequest, Receiving};
use thinly_engine::units::Bytes;
use uuid::Uuid;

/// What is received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stream {
    /// Stands for the snapshot's identity in the pool that it comes from.
    pub(super) source: u64,
    /// What it is a difference to.
    pub(super) base: Option<u64>,
    /// What the snapshot is to be called.
    pub(super) snapshot: String,
}

/// A stream of which a part came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Half {
    pub(super) stream: Stream,
    /// All before it is on disk.
    pub(super) durable: u64,
}

pub(super) fn identity(source: u64) -> Uuid {
    Uuid::from_u128(source.into())
}

/// What the catalogue says of a volume's stream must be what the model says.
pub(super) fn match_half(catalogue: &Catalogue, volume: &Volume, due: Option<&Half>) -> Result<()> {
    let incoming = incoming_of(catalogue, volume);
    let same = match (incoming, due) {
        (None, None) => true,
        (Some(found), Some(Half { stream, durable })) => {
            found.source == identity(stream.source)
                && found.base == stream.base.map(identity)
                && found.name.as_str() == stream.snapshot
                && found.durable.get() == *durable
        }
        _ => false,
    };
    ensure!(same, "{} receives {incoming:?}, not {due:?}", volume.name);
    Ok(())
}

pub(super) fn incoming_of<'a>(catalogue: &'a Catalogue, volume: &Volume) -> Option<&'a Incoming> {
    catalogue.received(volume.uuid).and_then(|received| received.incoming.as_ref())
}

/// Makes the device of a volume that a stream goes into.
pub(super) fn begin(
    pool: &Pool,
    (name, size): (&str, u64),
    stream: &Stream,
    resume: bool,
) -> Result<Receiving> {
    Ok(pool.begin_receive(&ReceiveRequest {
        name: VolumeName::new(name)?,
        size: Bytes::new(size),
        source: identity(stream.source),
        base: stream.base.map(identity),
        snapshot: VolumeName::new(&stream.snapshot)?,
        start: Bytes::ZERO,
        resume,
    })?)
}

/// Goes on with a stream that a cut left.
pub(super) fn go_on(pool: &Pool, volume: &Volume, incoming: &Incoming) -> Result<Receiving> {
    let going_on = pool.begin_receive(&ReceiveRequest {
        name: volume.name.clone(),
        size: volume.size,
        source: incoming.source,
        base: incoming.base,
        snapshot: incoming.name.clone(),
        start: incoming.durable,
        resume: true,
    })?;
    ensure!(going_on.durable == incoming.durable, "{going_on:?}, {incoming:?}");
    Ok(going_on)
}

/// Ends one half-taken stream and gives the next one up: both must be possible after any cut. No volume has a device.
pub(super) fn end_or_give_up(pool: &Pool, catalogue: &Catalogue) -> Result<()> {
    let halves =
        catalogue.volumes().filter_map(|volume| Some((volume, incoming_of(catalogue, volume)?)));
    for (volume, incoming) in halves {
        if incoming.source.as_u128().is_multiple_of(2) {
            pool.delete(&volume.name)?;
            continue;
        }
        go_on(pool, volume, incoming)?;
        let snapshot = pool.finish_receive(&volume.name, incoming.source)?;
        ensure!(snapshot.name == incoming.name, "{} came, not {}", snapshot.name, incoming.name);
        let left = pool.catalogue();
        let received = left.received(volume.uuid).context("what was received is forgotten")?;
        let arrived = received.last.context("nothing arrived")?;
        ensure!(received.incoming.is_none() && arrived.source == incoming.source, "{received:?}");
    }
    Ok(())
}
