//! Backups by what the driver says of a snapshot and of the difference to the next one.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Result, ensure};
use thinly_csi_wire as wire;
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_csi_wire::{BlockMetadata, BlockMetadataType};
use thinly_tests::csi::{Client, CsiBed, block, from_snapshot, range};
use thinly_tests::{gib, sh};
use tonic::{Code, Status};

use crate::support::{Judge, elsewhere, mib};

/// One answer: how long the snapshot is, and its messages.
#[derive(Debug, PartialEq)]
struct Told {
    capacity_bytes: i64,
    messages: Vec<Vec<(i64, i64)>>,
}

impl Told {
    fn new(messages: Vec<(i32, i64, Vec<BlockMetadata>)>) -> Result<Self> {
        let capacity_bytes = messages.first().map_or(0, |message| message.1);
        for (kind, capacity, _) in &messages {
            ensure!(*kind == BlockMetadataType::VariableLength as i32, "type {kind}");
            ensure!(*capacity == capacity_bytes, "{capacity} after {capacity_bytes}");
        }
        let pairs = |ranges: Vec<BlockMetadata>| {
            ranges.into_iter().map(|range| (range.byte_offset, range.size_bytes)).collect()
        };
        let told = Self {
            capacity_bytes,
            messages: messages.into_iter().map(|(_, _, ranges)| pairs(ranges)).collect(),
        };
        let mut end = 0;
        for (offset, size) in told.ranges() {
            ensure!(offset >= end && size > 0, "{offset} after {end}: {told:?}");
            end = offset + size;
        }
        ensure!(end <= capacity_bytes, "beyond the end: {told:?}");
        Ok(told)
    }

    fn ranges(&self) -> Vec<(i64, i64)> {
        self.messages.concat()
    }

    fn bytes(&self) -> i64 {
        self.ranges().iter().map(|(_, size)| size).sum()
    }
}

fn allocated(
    client: &Client,
    id: &str,
    (starting_offset, max_results): (i64, i32),
) -> Result<Result<Told>, Status> {
    let request = wire::GetMetadataAllocatedRequest {
        snapshot_id: id.to_owned(),
        starting_offset,
        max_results,
        ..Default::default()
    };
    let call = async { client.metadata().get_metadata_allocated(request).await };
    let parts = |it: wire::GetMetadataAllocatedResponse| {
        (it.block_metadata_type, it.volume_capacity_bytes, it.block_metadata)
    };
    Ok(Told::new(client.answers(call)?.into_iter().map(parts).collect()))
}

fn delta(
    client: &Client,
    [base, target]: [&str; 2],
    (starting_offset, max_results): (i64, i32),
) -> Result<Result<Told>, Status> {
    let request = wire::GetMetadataDeltaRequest {
        base_snapshot_id: base.to_owned(),
        target_snapshot_id: target.to_owned(),
        starting_offset,
        max_results,
        ..Default::default()
    };
    let call = async { client.metadata().get_metadata_delta(request).await };
    let parts = |it: wire::GetMetadataDeltaResponse| {
        (it.block_metadata_type, it.volume_capacity_bytes, it.block_metadata)
    };
    Ok(Told::new(client.answers(call)?.into_iter().map(parts).collect()))
}

/// Publishes a volume as a block device; gives its path.
fn publish(bed: &CsiBed, client: &Client, id: &str, name: &str) -> Result<String> {
    let capability = block(Mode::SingleNodeWriter);
    let (staging, target) = (bed.staging(name)?, bed.target(name)?);
    client.stage(id, &staging, &capability)?;
    client.publish(id, (&staging, &target), &capability, false)?;
    Ok(target)
}

/// What a snapshot holds, read from a copy of it as a backup program does.
fn read(bed: &CsiBed, client: &Client, snapshot: &str, name: &str) -> Result<Vec<u8>> {
    let volume = client.create_volume(wire::CreateVolumeRequest {
        name: name.to_owned(),
        capacity_range: range(SIZE),
        volume_capabilities: vec![block(Mode::SingleNodeWriter)],
        volume_content_source: Some(from_snapshot(snapshot)),
        ..Default::default()
    })?;
    Ok(std::fs::read(publish(bed, client, &volume.volume_id, name)?)?)
}

const SIZE: i64 = mib(48);

/// Copies ranges of one into the other.
fn copy(from: &[u8], to: &mut [u8], ranges: &[(i64, i64)]) -> Result<()> {
    for (offset, size) in ranges {
        let range = usize::try_from(*offset)?..usize::try_from(offset + size)?;
        to[range.clone()].copy_from_slice(&from[range]);
    }
    Ok(())
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length / 8).flat_map(|_| next()).collect()
}

/// Two snapshots of a volume: written, rewritten, discarded, and written anew in between.
fn two_snapshots(bed: &CsiBed, client: &Client) -> Result<[String; 2]> {
    let volume = client.volume("origin", SIZE, &block(Mode::SingleNodeWriter))?.volume_id;
    let device = publish(bed, client, &volume, "origin")?;
    let write = |at_kib: u64, kib: usize, seed| -> Result<()> {
        let file = File::options().write(true).open(&device)?;
        file.write_all_at(&noise(seed, kib << 10), at_kib << 10)?;
        Ok(file.sync_all()?)
    };
    write(0, 3 << 10, 1)?;
    write(8 << 10, 8 << 10, 2)?;
    write(30 << 10, 4, 3)?;
    write((48 << 10) - 4, 4, 4)?;
    let first = client.create_snapshot(&volume, "first")?.snapshot_id;
    write(1 << 10, 100, 5)?;
    write(20 << 10, 1 << 10, 6)?;
    sh(&format!("blkdiscard -o {} -l {} {device}", 10 << 20, 4 << 20))?;
    write(12 << 10, 64, 7)?;
    write((48 << 10) - 4, 4, 8)?;
    let second = client.create_snapshot(&volume, "second")?.snapshot_id;
    write(2 << 10, 64, 9)?;
    Ok([first, second])
}

#[test]
fn a_backup_and_the_changes_since_make_the_second_snapshot() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start_with(&["--alpha"])?;
    let client = driver.client();
    let [first, second] = two_snapshots(&bed, client)?;
    let all = allocated(client, &first, (0, 0))??;
    let changes = delta(client, [&first, &second], (0, 0))??;
    ensure!((all.capacity_bytes, changes.capacity_bytes) == (SIZE, SIZE), "{all:?} {changes:?}");
    ensure!(all.bytes() < mib(14) && changes.bytes() < mib(8), "{all:?} {changes:?}");

    let (a, b) = (read(&bed, client, &first, "a")?, read(&bed, client, &second, "b")?);
    ensure!(a != b && a.len() == usize::try_from(SIZE)?);
    let mut backup = vec![0; a.len()];
    copy(&a, &mut backup, &all.ranges())?;
    ensure!(backup == a, "the backup of the first snapshot differs from it");
    copy(&b, &mut backup, &changes.ranges())?;
    ensure!(backup == b, "the first snapshot and the changes are not the second one");

    // Backwards it works as well, and against itself there is nothing.
    copy(&a, &mut backup, &delta(client, [&second, &first], (0, 0))??.ranges())?;
    ensure!(backup == a, "the way back differs");
    let none = delta(client, [&first, &first], (0, 0))??;
    ensure!(none.messages == [[]] && none.capacity_bytes == SIZE, "{none:?}");
    ensure!(bed.pool_view()?["held_root_block"].is_null(), "a metadata snapshot is held");
    driver.stop()
}

#[test]
fn reading_goes_on_where_it_was_interrupted() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start_with(&["--alpha"])?;
    let client = driver.client();
    let ids = two_snapshots(&bed, client)?;
    let ids = [ids[0].as_str(), ids[1].as_str()];
    let whole = delta(client, ids, (0, 0))??.ranges();
    ensure!(whole.len() > 3, "{whole:?}");
    for max_results in [1, 2, i32::MAX] {
        let paged = delta(client, ids, (0, max_results))??;
        ensure!(paged.ranges() == whole, "{paged:?}");
        let most = paged.messages.iter().map(Vec::len).max();
        ensure!(most <= usize::try_from(max_results).ok(), "{paged:?}");
    }
    let ends = whole.iter().map(|(offset, size)| offset + size);
    for offset in ends.flat_map(|end| [end - 1, end, end + 5]).filter(|offset| *offset <= SIZE) {
        let rest = delta(client, ids, (offset, 0))??.ranges();
        let covers = |at: i64| rest.iter().any(|(from, size)| (*from..from + size).contains(&at));
        ensure!(rest.iter().all(|(from, size)| from + size > offset), "from {offset}: {rest:?}");
        for (from, size) in &whole {
            let left = [(*from).max(offset), from + size - 1];
            let is_there =
                left.into_iter().filter(|at| (offset..from + size).contains(at)).all(covers);
            ensure!(is_there, "from {offset}: {from} is not in {rest:?}");
        }
    }
    let all = allocated(client, ids[0], (SIZE, 0))??;
    ensure!(all.messages == [[]], "{all:?}");
    driver.stop()
}

#[test]
fn bad_calls_are_refused() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start_with(&["--alpha"])?;
    let client = driver.client();
    let volume = client.volume("v", mib(4), &block(Mode::SingleNodeWriter))?.volume_id;
    let snapshot = client.create_snapshot(&volume, "s")?.snapshot_id;
    let mut judge = Judge::new(&bed, client)?;
    let elsewhere = elsewhere("snap");
    for (id, wanted) in [
        ("", Code::InvalidArgument),
        ("x", Code::NotFound),
        (&elsewhere, Code::NotFound),
        (&volume, Code::NotFound),
    ] {
        judge.hear(&format!("allocated {id}"), wanted, allocated(client, id, (0, 0)))?;
        for ids in [[id, &snapshot], [&snapshot, id]] {
            judge.hear(&format!("delta {ids:?}"), wanted, delta(client, ids, (0, 0)))?;
        }
    }
    let both = [snapshot.as_str(), snapshot.as_str()];
    for (page, wanted) in [
        ((-1, 0), Code::InvalidArgument),
        ((0, -1), Code::InvalidArgument),
        ((mib(4) + 1, 0), Code::OutOfRange),
        ((i64::MAX, 0), Code::OutOfRange),
    ] {
        judge.hear(&format!("from {page:?}"), wanted, allocated(client, &snapshot, page))?;
        judge.hear(&format!("from {page:?}"), wanted, delta(client, both, page))?;
    }
    judge.verdict()
}
