//! What a worker does next, by chance.
#![forbid(unsafe_code)]

use super::op::Op;
use super::volume::Volume;
use super::worker::Worker;
use crate::power_cut::model::CHUNK_BYTES;

const MIB: u64 = 1 << 20;
const BLOCK_BYTES: u64 = 128 << 10;
/// Volumes and snapshots of one worker at once.
const VOLUMES_MAX: usize = 7;
const SIZE_MAX: u64 = 6 * MIB;

/// What a worker does next.
#[derive(Debug)]
pub(super) enum Action {
    Change(Op),
    Write { name: String, offset: u64, length: u64, is_synced: bool, is_zeros: bool },
    Discard { name: String, offset: u64, length: u64 },
    Read { name: String },
    Diff { from: Option<String>, to: String },
    Send { snapshot: String },
    Wrong { op: Op, kind: &'static str },
}

impl Worker {
    fn name(&mut self, kind: &str) -> String {
        self.names += 1;
        format!("{}-{kind}{}", self.who, self.names)
    }

    fn any(&mut self) -> Option<String> {
        let names: Vec<&String> = self.volumes.keys().collect();
        self.chance.pick(&names).map(|name| (*name).clone())
    }

    /// Something that can be done, if chance finds what it needs.
    pub(super) fn attempt(&mut self) -> Option<Action> {
        let count = self.volumes.len() + self.doubts.len();
        let has_room = count < VOLUMES_MAX;
        let size = (1 + self.chance.below(4)) * MIB;
        let op = match self.chance.below(100) {
            0..8 if has_room => Op::Create { name: self.name("v"), size },
            8..10 if has_room => Op::Provision { name: self.name("v"), size },
            10..40 => return self.some_io(),
            40..48 if has_room => Op::Snapshot { origin: self.any()?, name: self.name("s") },
            48..51 if count + 2 <= VOLUMES_MAX => {
                let (first, second) = (self.any()?, self.any()?);
                Op::Group { members: vec![(first, self.name("s")), (second, self.name("s"))] }
            }
            51..55 if has_room => {
                let source = self.any()?;
                let least = self.volumes.get(&source)?.content.size;
                let size = (least + self.chance.below(2) * MIB).min(SIZE_MAX).max(least);
                Op::Clone { source, name: self.name("c"), size }
            }
            55..60 => self.some_rollback()?,
            60..63 => {
                let name = self.any()?;
                let size = self.volumes.get(&name)?.content.size + MIB;
                if size > SIZE_MAX {
                    return None;
                }
                Op::Resize { name, size }
            }
            63..66 => Op::Rename { from: self.any()?, to: self.name("r") },
            66..75 => {
                let name = self.of_inactive()?;
                let is_snapshot = self.volumes.get(&name)?.is_snapshot();
                let writable = !is_snapshot && self.chance.below(8) > 0;
                Op::Activate { name, writable }
            }
            75..79 => Op::Deactivate { name: self.of_active(false)? },
            79..80 => Op::View { name: self.of_active(true)? },
            80..86 => self.some_delete()?,
            86..88 => Op::ZeroDetect { name: self.of_inactive()? },
            88..96 => return self.some_look(),
            96..100 => return self.some_wrong(),
            _ => return None,
        };
        Some(Action::Change(op))
    }

    fn any_that(&mut self, fits: impl Fn(&Volume) -> bool) -> Option<String> {
        let names: Vec<&String> =
            self.volumes.iter().filter(|it| fits(it.1)).map(|it| it.0).collect();
        self.chance.pick(&names).map(|name| (*name).clone())
    }

    fn of_active(&mut self, is_writable: bool) -> Option<String> {
        self.any_that(|volume| {
            volume.device.as_ref().is_some_and(|(_, writable)| *writable || !is_writable)
        })
    }

    fn of_inactive(&mut self) -> Option<String> {
        self.any_that(|volume| volume.device.is_none())
    }

    /// A snapshot and its origin, if the one can be put in the place of the other.
    fn some_pair(&mut self) -> Option<(String, String)> {
        let to = self.any()?;
        let snapshot = self.volumes.get(&to)?;
        let name = snapshot.origin.clone()?;
        let fits = snapshot.content.size <= self.volumes.get(&name)?.content.size;
        (fits && snapshot.device.is_none()).then_some((name, to))
    }

    fn some_rollback(&mut self) -> Option<Op> {
        let (name, to) = self.some_pair()?;
        self.volumes.get(&name)?.device.is_none().then_some(Op::Rollback { name, to })
    }

    fn some_delete(&mut self) -> Option<Op> {
        let name = self.any()?;
        let is_snapshot = self.volumes.get(&name)?.is_snapshot();
        Some(match self.chance.below(4) {
            0 => Op::Erase { name, is_snapshot },
            1 => {
                let other = self.any().filter(|other| *other != name)?;
                Op::DeleteMany { names: vec![name, other] }
            }
            _ => Op::Delete { name, is_snapshot },
        })
    }

    fn some_io(&mut self) -> Option<Action> {
        let name = self.of_active(true)?;
        let size = self.volumes.get(&name)?.content.size;
        let length = (1 + self.chance.below(16)) * CHUNK_BYTES;
        // Mostly the first part, so that blocks are shared and copied often.
        let end = if self.chance.below(4) > 0 { MIB } else { size };
        let offset = self.chance.below((end - length) / CHUNK_BYTES + 1) * CHUNK_BYTES;
        let is_synced = self.chance.below(3) > 0;
        Some(match self.chance.below(10) {
            0 => {
                let blocks = 1 + self.chance.below(4);
                let first = self.chance.below(size / BLOCK_BYTES - blocks + 1);
                let (offset, length) = (first * BLOCK_BYTES, blocks * BLOCK_BYTES);
                Action::Discard { name, offset, length }
            }
            1..3 => Action::Read { name },
            3 => {
                let (offset, length) = (0, BLOCK_BYTES);
                Action::Write { name, offset, length, is_synced, is_zeros: true }
            }
            _ => Action::Write { name, offset, length, is_synced, is_zeros: false },
        })
    }

    fn some_look(&mut self) -> Option<Action> {
        let to = self.any_that(Volume::is_snapshot)?;
        let from = self.any_that(Volume::is_snapshot)?;
        Some(match self.chance.below(4) {
            0 => {
                self.volumes.get(&to).filter(|volume| volume.device.is_none())?;
                Action::Send { snapshot: to }
            }
            1 => Action::Diff { from: None, to },
            _ => Action::Diff { from: Some(from).filter(|from| *from != to), to },
        })
    }

    /// What must be refused, and how.
    fn some_wrong(&mut self) -> Option<Action> {
        let name = self.any()?;
        let missing = self.name("missing");
        let (op, kind) = match self.chance.below(4) {
            0 => (Op::Create { name, size: MIB }, "exists"),
            1 => (Op::Delete { name: missing, is_snapshot: false }, "not_found"),
            2 => (Op::Resize { name, size: CHUNK_BYTES }, "refused"),
            _ => {
                let (name, to) = self.some_pair()?;
                self.volumes.get(&name)?.device.as_ref()?;
                (Op::Rollback { name, to }, "in_use")
            }
        };
        Some(Action::Wrong { op, kind })
    }
}
