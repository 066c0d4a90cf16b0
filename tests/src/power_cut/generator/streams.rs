//! Streams that are received: a fixed life of some, and the next step of one by chance.

use super::super::model::{Model, ModelVolume};
use super::super::op::Op;
use super::super::stream::Stream;
use super::{BLOCK_BYTES, Generator, MIB, SIZE_MAX, VOLUMES_MAX};

impl Generator {
    /// A whole snapshot and differences to it that are received: under a writer that dies, across a close, and given up.
    pub(super) fn streams(&mut self) -> Vec<Op> {
        let named = str::to_owned;
        let begin = |size, source, base, resume| {
            let stream = Stream { source, base, snapshot: format!("in@{source}") };
            Op::BeginReceive { name: named("in"), size, stream, resume }
        };
        let note = |source, durable| Op::NoteReceived { name: named("in"), source, durable };
        let finish = |source| {
            let snapshot = format!("in@{source}");
            Op::FinishReceive { name: named("in"), source, snapshot }
        };
        let write =
            |own: &mut Self, at: u64, synced| own.write("in", at * BLOCK_BYTES, 64 << 10, synced);
        vec![
            begin(2 * MIB, 1, None, false),
            write(self, 0, false),
            write(self, 1, false),
            note(1, 2 * BLOCK_BYTES),
            write(self, 2, false),
            Op::Abandon,
            write(self, 3, false),
            note(1, 4 * BLOCK_BYTES),
            finish(1),
            begin(3 * MIB, 2, Some(1), false),
            write(self, 0, false),
            write(self, 18, false),
            note(2, 19 * BLOCK_BYTES),
            Op::Close,
            Op::Open,
            begin(3 * MIB, 2, Some(1), true),
            write(self, 20, true),
            Op::Beside {
                ops: vec![
                    note(2, 21 * BLOCK_BYTES),
                    Op::Snapshot { origin: named("base"), name: named("base@3") },
                ],
            },
            finish(2),
            begin(3 * MIB, 3, Some(2), false),
            write(self, 1, false),
            Op::Deactivate { name: named("in") },
            Op::Rollback { name: named("in"), to: named("in@2") },
            begin(3 * MIB, 5, Some(2), false),
            write(self, 2, false),
            Op::Delete { name: named("in@1") },
            Op::Reap,
        ]
    }

    /// The next thing to do of some stream.
    pub(super) fn some_stream(&mut self, model: &Model) -> Option<Op> {
        let has_room = model.volumes.len() + 2 <= VOLUMES_MAX;
        let halves: Vec<_> =
            model.volumes.iter().filter(|(_, volume)| volume.half.is_some()).collect();
        if let Some((name, volume)) = self.chance.pick(&halves).copied()
            && self.chance.below(5) > 0
        {
            let (name, half) = (name.clone(), volume.half.as_ref()?);
            let Stream { source, snapshot, .. } = half.stream.clone();
            if volume.access.is_none() {
                let (size, stream) = (volume.size, half.stream.clone());
                return Some(Op::BeginReceive { name, size, stream, resume: true });
            }
            if self.chance.below(3) > 0 {
                let durable = (half.durable + BLOCK_BYTES).min(volume.size);
                return Some(Op::NoteReceived { name, source, durable });
            }
            return has_room.then_some(Op::FinishReceive { name, source, snapshot });
        }
        let (source, snapshot) = (self.number(), self.name("a"));
        let is_base = |volume: &ModelVolume| {
            let there = volume.arrived.is_some_and(|(_, identity)| {
                model.volumes.values().any(|other| other.identity == identity)
            });
            there && !volume.is_changed && volume.half.is_none() && volume.access.is_none()
        };
        let bases: Vec<_> = model.volumes.iter().filter(|(_, volume)| is_base(volume)).collect();
        let (name, size, base) = match self.chance.pick(&bases).copied() {
            Some((name, volume)) => {
                let size = (volume.size + self.chance.below(2) * MIB).min(SIZE_MAX);
                (name.clone(), size, volume.arrived.map(|(source, _)| source))
            }
            None => (self.name("i"), 2 * MIB, None),
        };
        let stream = Stream { source, base, snapshot };
        has_room.then_some(Op::BeginReceive { name, size, stream, resume: false })
    }
}
