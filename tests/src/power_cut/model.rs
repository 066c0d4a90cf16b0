//! What must be on the disk: the operations applied to plain maps.

use std::collections::BTreeMap;

use super::op::Op;
use super::stream::Half;

/// The unit of writes.
pub(crate) const CHUNK_BYTES: u64 = 4096;

/// A volume or snapshot as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ModelVolume {
    /// Its virtual size in bytes.
    pub(crate) size: u64,
    /// Which one it is, whatever its name.
    pub(crate) identity: u64,
    /// The identity of its origin, for a snapshot.
    pub(crate) origin: Option<u64>,
    /// Whether it has a device, and whether that may be written.
    pub(crate) access: Option<bool>,
    /// The numbers of the patterns that each chunk may hold, the latest one last; 0 is zeros. A
    /// chunk that is not here holds zeros.
    pub(crate) chunks: BTreeMap<u64, Vec<u64>>,
    /// The stream that it is in the middle of.
    pub(crate) half: Option<Half>,
    /// The source of the snapshot that arrived last, and its identity here.
    pub(crate) arrived: Option<(u64, u64)>,
    /// Whether it was written to since.
    pub(crate) is_changed: bool,
}

/// The pool as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Model {
    /// The pool's name, once it was made.
    pub(super) pool: Option<String>,
    /// Whether it is in the kernel.
    pub(super) is_open: bool,
    /// Whether nothing is left to be freed.
    pub(super) is_reaped: bool,
    /// How much it has grown.
    pub(super) grown_bytes: u64,
    /// How often.
    pub(super) growths: usize,
    /// Its volumes and snapshots by name.
    pub(super) volumes: BTreeMap<String, ModelVolume>,
    next_identity: u64,
}

impl ModelVolume {
    pub(crate) fn put(&mut self, offset: u64, length: u64, number: u64) {
        self.is_changed = true;
        for chunk in offset / CHUNK_BYTES..(offset + length) / CHUNK_BYTES {
            self.chunks.entry(chunk).or_insert_with(|| vec![0]).push(number);
        }
    }

    /// Everything that was written is durable.
    pub(crate) fn settle(&mut self) {
        for numbers in self.chunks.values_mut() {
            numbers.drain(..numbers.len().saturating_sub(1));
        }
    }

    /// What may be in a chunk.
    pub(crate) fn numbers(&self, chunk: u64) -> &[u64] {
        self.chunks.get(&chunk).map_or(&[0], Vec::as_slice)
    }
}

impl Model {
    /// What a power cut during an operation may leave; the answer never came.
    pub(super) fn during(&self, op: &Op) -> Vec<Self> {
        let mut model = self.clone();
        match op {
            // Any part of it may be there.
            Op::Write { name, offset, length, number, .. } => {
                model.put(name, *offset, *length, *number);
                vec![model]
            }
            Op::Discard { name, offset, length } => {
                model.put(name, *offset, *length, 0);
                vec![model]
            }
            // The volume grows after the record that the stream begins.
            Op::BeginReceive { name, .. } => {
                let after = self.after(op);
                let mut begun = after.clone();
                if let Some(volume) = self.volumes.get(name) {
                    begun.change(name, |begun| begun.size = volume.size);
                }
                vec![model, begun, after]
            }
            // Any of them may be there without the others.
            Op::Beside { ops } => ops.iter().fold(vec![model], |models, op| {
                models.iter().flat_map(|model| model.during(op)).collect()
            }),
            _ => {
                let after = self.after(op);
                model.is_reaped &= after.is_reaped;
                if model == after { vec![model] } else { vec![model, after] }
            }
        }
    }

    /// What must be there when an operation was acknowledged.
    pub(super) fn after(&self, op: &Op) -> Self {
        let mut model = self.clone();
        match op {
            Op::CreatePool { name } => {
                model.pool = Some(name.clone());
                model.is_open = true;
            }
            Op::Create { name, size } => {
                model.insert(name, ModelVolume { size: *size, ..ModelVolume::default() });
            }
            Op::Activate { name, writable } => {
                model.change(name, |volume| volume.access = Some(*writable));
            }
            Op::Write { name, offset, length, number, synced } => {
                model.put(name, *offset, *length, *number);
                if *synced {
                    model.change(name, ModelVolume::settle);
                }
            }
            Op::Discard { name, offset, length } => model.put(name, *offset, *length, 0),
            Op::Snapshot { origin, name } => model.snapshot(origin, name),
            Op::Group { members, .. } => {
                for (origin, name) in members {
                    model.snapshot(origin, name);
                }
            }
            Op::Clone { source, name, size } => {
                let copy = ModelVolume { size: *size, ..model.frozen(source) };
                model.insert(name, copy);
            }
            Op::Rollback { name, to } => {
                let (chunks, to) = (model.frozen(to).chunks, model.identity_of(to));
                model.change(name, |volume| {
                    volume.chunks = chunks;
                    volume.half = None;
                    volume.is_changed = volume.arrived.map(|(_, identity)| identity) != to;
                });
                model.is_reaped = false;
            }
            Op::Resize { name, size } => model.change(name, |volume| volume.size = *size),
            Op::Rename { from, to } => {
                if let Some(volume) = model.volumes.remove(from) {
                    model.volumes.insert(to.clone(), volume);
                }
            }
            Op::Deactivate { name } => model.change(name, |volume| volume.access = None),
            Op::Delete { name } => {
                model.volumes.remove(name);
                model.is_reaped = false;
            }
            Op::Reap => model.is_reaped = true,
            Op::Grow { by } => {
                model.grown_bytes += by;
                model.growths += 1;
            }
            Op::Release | Op::Abandon => {}
            Op::Close => {
                model.is_open = false;
                model.volumes.values_mut().for_each(|volume| volume.access = None);
            }
            Op::Open => model.is_open = true,
            Op::BeginReceive { .. } | Op::NoteReceived { .. } | Op::FinishReceive { .. } => {
                model.receive(op);
            }
            Op::Beside { ops } => {
                model = ops.iter().fold(model, |model, op| model.after(op));
            }
        }
        model
    }

    /// A step of a stream that was taken.
    fn receive(&mut self, op: &Op) {
        match op {
            Op::BeginReceive { name, size, stream, resume } => {
                if stream.base.is_none() && !resume {
                    self.insert(name, ModelVolume { size: *size, ..ModelVolume::default() });
                }
                self.change(name, |volume| {
                    let begun = || Half { stream: stream.clone(), durable: 0 };
                    volume.half.get_or_insert_with(begun);
                    volume.size = volume.size.max(*size);
                    volume.access = Some(true);
                });
            }
            Op::NoteReceived { name, durable, .. } => self.change(name, |volume| {
                volume.settle();
                if let Some(half) = &mut volume.half {
                    half.durable = half.durable.max(*durable);
                }
            }),
            Op::FinishReceive { name, source, snapshot } => {
                self.change(name, |volume| {
                    volume.settle();
                    (volume.access, volume.half) = (None, None);
                });
                self.snapshot(name, snapshot);
                let arrived = self.identity_of(snapshot).map(|identity| (*source, identity));
                self.change(name, |volume| {
                    (volume.arrived, volume.is_changed) = (arrived, false);
                });
            }
            _ => {}
        }
    }

    fn put(&mut self, name: &str, offset: u64, length: u64, number: u64) {
        self.change(name, |volume| volume.put(offset, length, number));
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut ModelVolume)) {
        if let Some(volume) = self.volumes.get_mut(name) {
            change(volume);
        }
    }

    fn insert(&mut self, name: &str, mut volume: ModelVolume) {
        volume.identity = self.next_identity;
        self.next_identity += 1;
        self.volumes.insert(name.to_owned(), volume);
    }

    fn identity_of(&self, name: &str) -> Option<u64> {
        self.volumes.get(name).map(|volume| volume.identity)
    }

    fn snapshot(&mut self, origin: &str, name: &str) {
        let identity = self.identity_of(origin);
        let snapshot = ModelVolume { origin: identity, ..self.frozen(origin) };
        self.insert(name, snapshot);
    }

    /// A copy of what a read sees at this moment. The message that makes a copy commits, and a
    /// commit flushes the data first, so a copy is durable as it was seen.
    fn frozen(&self, name: &str) -> ModelVolume {
        let mut copy = self.volumes.get(name).cloned().unwrap_or_default();
        copy.settle();
        ModelVolume { size: copy.size, chunks: copy.chunks, ..ModelVolume::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stream::Stream;
    use super::*;

    fn after(ops: &[Op]) -> Model {
        ops.iter().fold(Model::default(), |model, op| model.after(op))
    }

    fn write(number: u64, synced: bool) -> Op {
        Op::Write { name: "v".to_owned(), offset: 4096, length: 8192, number, synced }
    }

    fn create() -> Op {
        Op::Create { name: "v".to_owned(), size: 1 << 20 }
    }

    fn snapshot() -> Op {
        Op::Snapshot { origin: "v".to_owned(), name: "s".to_owned() }
    }

    #[test]
    fn a_write_may_be_there_until_it_is_synced_and_then_must() {
        let model = after(&[create(), write(1, true), write(2, false)]);
        let numbers = |model: &Model, name: &str| model.volumes[name].numbers(1).to_vec();
        assert_eq!(numbers(&model, "v"), [1, 2]);
        assert_eq!(model.volumes["v"].numbers(0), [0]);
        assert_eq!(model.volumes["v"].numbers(3), [0]);
        let during = model.during(&write(3, true));
        assert_eq!(during.iter().map(|model| numbers(model, "v")).collect::<Vec<_>>(), [[1, 2, 3]]);
        assert_eq!(numbers(&model.after(&write(3, true)), "v"), [3]);
        assert_eq!(numbers(&model.after(&snapshot()), "s"), [2], "a copy is what a read saw");
    }

    #[test]
    fn an_operation_without_an_answer_is_there_or_not() {
        let model = after(&[create(), write(1, true)]);
        let [before, there] = &model.during(&snapshot())[..] else { panic!() };
        assert!(!before.volumes.contains_key("s") && there.volumes.contains_key("s"));
        assert_eq!(there.volumes["s"].origin, Some(there.volumes["v"].identity));
        assert_eq!(model.during(&Op::Release).len(), 1);
        let gone = model.after(&Op::Delete { name: "v".to_owned() });
        assert!(gone.volumes.is_empty() && !gone.is_reaped);
    }

    #[test]
    fn of_two_beside_each_other_either_may_be_there_alone() {
        let model = after(&[create(), write(1, true)]);
        let other = Op::Create { name: "w".to_owned(), size: 1 << 20 };
        let both = Op::Beside { ops: vec![snapshot(), other] };
        let found: Vec<usize> =
            model.during(&both).iter().map(|model| model.volumes.len()).collect();
        assert_eq!(found, [1, 2, 2, 3]);
        assert_eq!(model.after(&both).volumes.len(), 3);
    }

    #[test]
    fn a_rollback_brings_the_content_back_and_keeps_the_rest() {
        let resize = Op::Resize { name: "v".to_owned(), size: 2 << 20 };
        let back = Op::Rollback { name: "v".to_owned(), to: "s".to_owned() };
        let model = after(&[create(), write(1, true), snapshot(), write(2, true), resize, back]);
        assert_eq!(model.volumes["v"].numbers(1), [1]);
        assert_eq!(model.volumes["v"].size, 2 << 20);
    }

    #[test]
    fn a_stream_is_noted_when_it_is_there_and_ends_with_its_snapshot() {
        let stream = Stream { source: 7, base: None, snapshot: "v@7".to_owned() };
        let begin = |size, resume| {
            let (name, stream) = ("v".to_owned(), stream.clone());
            Op::BeginReceive { name, size, stream, resume }
        };
        let note = Op::NoteReceived { name: "v".to_owned(), source: 7, durable: 8192 };
        let half = after(&[begin(1 << 20, false), write(1, false)]);
        assert_eq!(half.volumes["v"].numbers(1), [0, 1]);
        let [before, noted] = &half.during(&note)[..] else { panic!() };
        let durable = |model: &Model| model.volumes["v"].half.as_ref().unwrap().durable;
        assert_eq!((durable(before), before.volumes["v"].numbers(1)), (0, &[0, 1][..]));
        assert_eq!((durable(noted), noted.volumes["v"].numbers(1)), (8192, &[1][..]));
        // A stream that goes on keeps its note; the volume may be longer first, or not yet.
        let sizes = noted.during(&begin(2 << 20, true));
        let sizes: Vec<u64> = sizes.iter().map(|model| model.volumes["v"].size).collect();
        assert_eq!(sizes, [1 << 20, 1 << 20, 2 << 20]);
        let (name, snapshot) = ("v".to_owned(), "v@7".to_owned());
        let whole = noted.after(&Op::FinishReceive { name, source: 7, snapshot });
        let (volume, copy) = (&whole.volumes["v"], &whole.volumes["v@7"]);
        assert_eq!((volume.half.as_ref(), volume.access, volume.is_changed), (None, None, false));
        assert_eq!(
            (volume.arrived, copy.origin),
            (Some((7, copy.identity)), Some(volume.identity))
        );
        assert!(whole.after(&write(2, true)).volumes["v"].is_changed);
    }
}
