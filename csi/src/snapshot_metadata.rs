//! The `SnapshotMetadata` service: which ranges a snapshot holds, and which differ between two.
//!
//! All ranges are found before the first is sent, and wait in a spool: however slowly a client reads, the pool's
//! metadata snapshot is not held for it.
#![forbid(unsafe_code)]

use std::iter::Peekable;
use std::pin::Pin;
use std::sync::Arc;

use thinly_csi_wire as wire;
use thinly_csi_wire::snapshot_metadata_server::SnapshotMetadata;
use thinly_csi_wire::{BlockMetadata, BlockMetadataType};
use thinly_engine::pool::{ByteRange, Engine, PoolError, VolumeDiff};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::ObjectKind;
use crate::driver::{Driver, Found};
use crate::failure::{OrStatus, status_of};
use crate::observe::about;
use crate::request::{check_map, check_required};

/// How many ranges one message holds: some 90 KB, far below what clients accept.
const RANGES_MAX: usize = 4096;

/// The `SnapshotMetadata` service.
#[derive(Debug)]
pub(crate) struct SnapshotMetadataService(pub(crate) Arc<Driver>);

/// Where a client's reading begins, and how much it takes at once.
#[derive(Debug, Clone, Copy)]
struct Page {
    starting_offset: u64,
    ranges_max: usize,
}

impl Page {
    fn new(starting_offset: i64, max_results: i32) -> Result<Self, Status> {
        let negative = |field| Status::invalid_argument(format!("{field} is negative"));
        let starting_offset =
            u64::try_from(starting_offset).map_err(|_| negative("starting_offset"))?;
        let ranges_max = match usize::try_from(max_results).map_err(|_| negative("max_results"))? {
            0 => RANGES_MAX,
            asked => asked.min(RANGES_MAX),
        };
        Ok(Self { starting_offset, ranges_max })
    }
}

type Answers<R> = Pin<Box<dyn Stream<Item = Result<R, Status>> + Send>>;

impl SnapshotMetadataService {
    /// What is not announced is not done either: nobody may come to rely on it.
    fn check(&self, secrets: &std::collections::BTreeMap<String, String>) -> Result<(), Status> {
        if !self.0.identity.alpha {
            return Err(Status::unimplemented(
                "SnapshotMetadata is not offered; see the capabilities",
            ));
        }
        self.0.refuse_unless_ready()?;
        check_map("secrets", secrets)
    }

    async fn messages(
        &self,
        (base, target): (Option<Found>, Found),
        page: Page,
    ) -> Result<Messages, Status> {
        let capacity = target.volume.size.get();
        if page.starting_offset > capacity {
            return Err(Status::out_of_range(format!(
                "starting_offset {} is beyond the snapshot, which has {capacity} bytes",
                page.starting_offset
            )));
        }
        let (pool, base) = (target.class.uuid, base.map(|base| base.volume.uuid));
        let found = find(pool, base, target.volume.uuid).await?;
        Ok(Messages::new(found, page))
    }
}

async fn find(pool: Uuid, base: Option<Uuid>, target: Uuid) -> Result<VolumeDiff, Status> {
    let work = move || {
        let engine = Engine::new().or_status()?;
        engine.diff_by_uuid(&pool.to_string(), base, target).or_status()
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Status::internal(format!("comparing snapshots failed: {error}")))?
}

#[tonic::async_trait]
impl SnapshotMetadata for SnapshotMetadataService {
    type GetMetadataAllocatedStream = Answers<wire::GetMetadataAllocatedResponse>;
    type GetMetadataDeltaStream = Answers<wire::GetMetadataDeltaResponse>;

    async fn get_metadata_allocated(
        &self,
        request: Request<wire::GetMetadataAllocatedRequest>,
    ) -> Result<Response<Self::GetMetadataAllocatedStream>, Status> {
        let request = request.into_inner();
        self.check(&request.secrets)?;
        check_required("snapshot_id", &request.snapshot_id)?;
        let page = Page::new(request.starting_offset, request.max_results)?;
        about(&request.snapshot_id);
        let target = self.0.need(&request.snapshot_id, ObjectKind::Snapshot)?;
        let answers = self.messages((None, target), page).await?.map(|message| {
            message.map(|message| wire::GetMetadataAllocatedResponse {
                block_metadata_type: BlockMetadataType::VariableLength.into(),
                volume_capacity_bytes: message.capacity_bytes,
                block_metadata: message.ranges,
            })
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(answers))))
    }

    async fn get_metadata_delta(
        &self,
        request: Request<wire::GetMetadataDeltaRequest>,
    ) -> Result<Response<Self::GetMetadataDeltaStream>, Status> {
        let request = request.into_inner();
        self.check(&request.secrets)?;
        check_required("base_snapshot_id", &request.base_snapshot_id)?;
        check_required("target_snapshot_id", &request.target_snapshot_id)?;
        let page = Page::new(request.starting_offset, request.max_results)?;
        about(&request.target_snapshot_id);
        let base = self.0.need(&request.base_snapshot_id, ObjectKind::Snapshot)?;
        let target = self.0.need(&request.target_snapshot_id, ObjectKind::Snapshot)?;
        if base.class.uuid != target.class.uuid {
            return Err(Status::invalid_argument(
                "the two snapshots are of different pools: nothing is shared between them",
            ));
        }
        let answers = self.messages((Some(base), target), page).await?.map(|message| {
            message.map(|message| wire::GetMetadataDeltaResponse {
                block_metadata_type: BlockMetadataType::VariableLength.into(),
                volume_capacity_bytes: message.capacity_bytes,
                block_metadata: message.ranges,
            })
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(answers))))
    }
}

/// What both answers hold.
#[derive(Debug, PartialEq)]
struct Message {
    capacity_bytes: i64,
    ranges: Vec<BlockMetadata>,
}

type Row = Result<ByteRange, PoolError>;

/// Ranges become messages: what touches is joined, whatever its kind, because a client reads all of it from the
/// target, which has zeros where something was removed.
struct Messages {
    rows: Peekable<Box<dyn Iterator<Item = Row> + Send>>,
    page: Page,
    block_bytes: u64,
    capacity_bytes: u64,
    is_first: bool,
}

impl Messages {
    fn new(found: VolumeDiff, page: Page) -> Self {
        let (block_bytes, capacity_bytes) = (found.block_bytes.get(), found.to_bytes.get());
        let rows: Box<dyn Iterator<Item = Row> + Send> = Box::new(found.ranges);
        Self { rows: rows.peekable(), page, block_bytes, capacity_bytes, is_first: true }
    }

    /// The next range in bytes: its offset and its end.
    fn next_range(&mut self) -> Option<Result<(u64, u64), Status>> {
        // The block that the client stopped in is told again, and nothing before it.
        let begin = self.page.starting_offset / self.block_bytes * self.block_bytes;
        let cut = |range: &ByteRange, capacity: u64| {
            let offset = range.offset.get();
            (offset.max(begin), (offset + range.length.get()).min(capacity))
        };
        loop {
            let (offset, mut end) = match self.rows.next()? {
                Ok(range) => cut(&range, self.capacity_bytes),
                Err(error) => return Some(Err(status_of(&error))),
            };
            while let Some(Ok(range)) = self.rows.peek()
                && range.offset.get() == end
            {
                end = cut(range, self.capacity_bytes).1.max(end);
                self.rows.next();
            }
            if offset < end && self.page.starting_offset < end {
                return Some(Ok((offset, end)));
            }
        }
    }
}

impl Iterator for Messages {
    type Item = Result<Message, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut ranges = Vec::new();
        while ranges.len() < self.page.ranges_max {
            match self.next_range() {
                Some(Ok((offset, end))) => ranges.push(BlockMetadata {
                    byte_offset: on_wire(offset),
                    size_bytes: on_wire(end - offset),
                }),
                Some(Err(status)) => return Some(Err(status)),
                None => break,
            }
        }
        // One without ranges says at least how long the snapshot is.
        if ranges.is_empty() && !self.is_first {
            return None;
        }
        self.is_first = false;
        Some(Ok(Message { capacity_bytes: on_wire(self.capacity_bytes), ranges }))
    }
}

fn on_wire(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use thinly_engine::metadata::DiffKind;
    use thinly_engine::units::Bytes;

    use super::*;

    const BLOCK: u64 = 64;

    fn messages(starting_offset: i64, max_results: i32) -> Vec<Vec<(i64, i64)>> {
        let ranges = [
            (0, 2, DiffKind::Added),
            (2, 1, DiffKind::Removed),
            (4, 2, DiffKind::Changed),
            (8, 1, DiffKind::Added),
            (9, 5, DiffKind::Removed),
        ];
        let rows = ranges.into_iter().map(|(block, count, kind)| {
            let (offset, length) = (Bytes::new(block * BLOCK), Bytes::new(count * BLOCK));
            Ok(ByteRange { offset, length, kind })
        });
        let rows: Box<dyn Iterator<Item = Row> + Send> = Box::new(rows);
        let messages = Messages {
            rows: rows.peekable(),
            page: Page::new(starting_offset, max_results).unwrap(),
            block_bytes: BLOCK,
            capacity_bytes: 10 * BLOCK + 7,
            is_first: true,
        };
        let plain = |message: Result<Message, Status>| {
            let message = message.unwrap();
            assert_eq!(message.capacity_bytes, 647);
            message.ranges.iter().map(|range| (range.byte_offset, range.size_bytes)).collect()
        };
        messages.map(plain).collect()
    }

    #[test]
    fn what_touches_is_one_range_and_none_is_beyond_the_end() {
        assert_eq!(messages(0, 0), [[(0, 192), (256, 128), (512, 135)]]);
        assert_eq!(messages(0, 2), [vec![(0, 192), (256, 128)], vec![(512, 135)]]);
        assert_eq!(messages(0, 1).len(), 3);
    }

    #[test]
    fn nothing_that_ends_before_the_offset_is_told() {
        assert_eq!(messages(64, 0), [[(64, 128), (256, 128), (512, 135)]]);
        assert_eq!(messages(191, 0)[0][0], (128, 64));
        assert_eq!(messages(192, 0)[0][0], (256, 128));
        assert_eq!(messages(646, 0), [[(640, 7)]]);
        assert_eq!(messages(647, 0), [[]]);
    }

    #[test]
    fn negative_numbers_are_refused() {
        assert!(Page::new(-1, 0).is_err() && Page::new(0, -1).is_err());
        assert_eq!(Page::new(0, i32::MAX).unwrap().ranges_max, RANGES_MAX);
    }
}
