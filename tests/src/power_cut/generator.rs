//! Which operations are recorded: each kind in a fixed order first, then as chance has it.

mod streams;

use super::model::{CHUNK_BYTES, Model, ModelVolume};
use super::op::{Mark, Op};

const MIB: u64 = 1 << 20;
const BLOCK_BYTES: u64 = 128 << 10;

/// Volumes and snapshots at once: the disk is small.
const VOLUMES_MAX: usize = 14;
const SIZE_MAX: u64 = 6 * MIB;
/// By then the disk is full.
const GROWTHS_MAX: usize = 50;
/// The record of a group with four such names is longer than a sector, so that it can be torn.
const WIDE_NAME_BYTES: usize = 80;
/// Writes go to the first part of a volume or to its last chunks, so that blocks are shared often.
const BUSY_BYTES: u64 = MIB;

/// Chance that comes out the same for the same seed.
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (splitmix64).
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) const fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(from.len()).ok().filter(|count| *count > 0)?;
        from.get(usize::try_from(self.below(count)).ok()?)
    }
}

/// Makes up operations that the model allows.
#[derive(Debug)]
pub(super) struct Generator {
    chance: Chance,
    number: u64,
    names: u64,
}

impl Generator {
    pub(super) const fn new(seed: u64) -> Self {
        Self { chance: Chance::new(seed), number: 0, names: 0 }
    }

    fn number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn name(&mut self, kind: &str) -> String {
        self.names += 1;
        format!("{kind}{}", self.names)
    }

    fn write(&mut self, name: &str, offset: u64, length: u64, synced: bool) -> Op {
        let number = self.number();
        Op::Write { name: name.to_owned(), offset, length, number, synced }
    }

    /// Every kind of operation at least once, on a pool of this name.
    pub(super) fn every_kind(&mut self, pool: &str) -> Vec<Op> {
        let named = str::to_owned;
        let create = |name, size| Op::Create { name: named(name), size };
        let activate = |name, writable| Op::Activate { name: named(name), writable };
        let snapshot = |origin, name| Op::Snapshot { origin: named(origin), name: named(name) };
        let delete = |name| Op::Delete { name: named(name) };
        let members = vec![(named("web"), named("web@g")), (named("db"), named("db@g"))];
        let wide: Vec<String> = (1..=4).map(|_| self.name(&"w".repeat(WIDE_NAME_BYTES))).collect();
        let wide_members = wide.iter().map(|name| (named("web"), name.clone())).collect();
        let mut ops = vec![
            Op::CreatePool { name: named(pool) },
            create("web", 4 * MIB),
            activate("web", true),
            self.write("web", 0, 64 << 10, true),
            self.write("web", BLOCK_BYTES, 32 << 10, true),
            Op::Grow { by: MIB },
            snapshot("web", "web@1"),
            self.write("web", 0, 32 << 10, true),
            self.write("web", 16 << 10, 16 << 10, false),
            create("db", 2 * MIB),
            activate("db", true),
            self.write("db", 0, 8 << 10, true),
            Op::Group { name: named("g"), members },
            Op::Clone { source: named("web@1"), name: named("copy"), size: 6 * MIB },
            activate("copy", true),
            self.write("copy", 5 * MIB, 16 << 10, true),
            Op::Resize { name: named("web"), size: 6 * MIB },
            self.write("web", 6 * MIB - CHUNK_BYTES, CHUNK_BYTES, true),
            Op::Rename { from: named("db"), to: named("base") },
            activate("web@1", false),
            Op::Deactivate { name: named("web@1") },
            Op::Deactivate { name: named("web") },
            snapshot("web", "web@2"),
            Op::Rollback { name: named("web"), to: named("web@1") },
            activate("web", true),
            self.write("web", 0, CHUNK_BYTES, true),
            Op::Discard { name: named("web"), offset: BLOCK_BYTES, length: BLOCK_BYTES },
            delete("web@g"),
            delete("copy"),
            Op::Reap,
            Op::Abandon,
            snapshot("base", "base@1"),
            delete("db@g"),
            Op::Close,
            Op::Open,
            Op::Reap,
            activate("base", true),
            self.write("base", 0, 16 << 10, true),
            Op::Release,
            snapshot("base", "base@2"),
            create("empty", MIB),
            Op::Group { name: named("wide"), members: wide_members },
        ];
        ops.extend(wide.into_iter().map(|name| Op::Delete { name }));
        ops.push(Op::Beside {
            ops: vec![self.write("base", 0, 16 << 10, true), snapshot("web", "web@3")],
        });
        ops.push(Op::Beside {
            ops: vec![self.write("base", 0, 16 << 10, true), Op::Grow { by: 2 * MIB }],
        });
        ops.extend(self.streams());
        ops.push(Op::Close);
        ops
    }

    /// One more operation.
    pub(super) fn next(&mut self, model: &Model) -> Op {
        if !model.is_open {
            return Op::Open;
        }
        loop {
            if let Some(op) = self.attempt(model) {
                return self.maybe_beside(model, op);
            }
        }
    }

    /// Sometimes an operation has company, if chance finds one on other volumes.
    fn maybe_beside(&mut self, model: &Model, op: Op) -> Op {
        if op.names().is_none() || self.chance.below(3) > 0 {
            return op;
        }
        let Some(other) = self.attempt(model) else { return op };
        let ops = vec![op.clone(), other];
        let names: Option<Vec<Vec<&str>>> = ops.iter().map(Op::names).collect();
        let Some([first, second]) = names.as_deref() else { return op };
        let is_shared = first.iter().any(|name| second.contains(name));
        let both = Op::Beside { ops: ops.clone() };
        let has_room = model.after(&both).volumes.len() <= VOLUMES_MAX;
        let fits = Mark::Begin(both.clone()).text().is_ok();
        if is_shared || !has_room || !fits { op } else { both }
    }

    /// An operation of some kind, if the model has what it needs.
    fn attempt(&mut self, model: &Model) -> Option<Op> {
        let names: Vec<&String> = model.volumes.keys().collect();
        let any = (*self.chance.pick(&names).unwrap_or(&&String::new())).clone();
        let has_room_for_group = model.volumes.len() + 4 <= VOLUMES_MAX;
        // The last places are filled slowly: otherwise there is hardly ever room for a group.
        let has_room =
            has_room_for_group || model.volumes.len() < VOLUMES_MAX && self.chance.below(4) == 0;
        // Whatever would use one that is in the middle of a stream is refused.
        let volume = model.volumes.get(&any).filter(|volume| volume.half.is_none());
        match self.chance.below(112) {
            0..10 if has_room => {
                Some(Op::Create { name: self.name("v"), size: (1 + self.chance.below(4)) * MIB })
            }
            10..35 => self.some_write(model),
            35..45 => volume.filter(|volume| volume.access.is_none()).map(|volume| Op::Activate {
                name: any.clone(),
                writable: volume.origin.is_none(),
            }),
            45..55 if has_room => {
                volume.map(|_| Op::Snapshot { origin: any.clone(), name: self.name("s") })
            }
            55..59 if has_room_for_group => self.some_group(model),
            59..63 if has_room => volume.map(|volume| {
                let size = (volume.size + self.chance.below(2) * MIB).min(SIZE_MAX);
                Op::Clone { source: any.clone(), name: self.name("c"), size }
            }),
            63..69 => self.some_rollback(model),
            69..73 => volume
                .filter(|volume| volume.size < SIZE_MAX)
                .map(|volume| Op::Resize { name: any.clone(), size: volume.size + MIB }),
            73..77 => volume.map(|_| Op::Rename { from: any.clone(), to: self.name("r") }),
            77..82 => volume
                .filter(|volume| volume.access.is_some())
                .map(|_| Op::Deactivate { name: any.clone() }),
            82..90 | 108..112 => model.volumes.get(&any).map(|_| Op::Delete { name: any.clone() }),
            100..108 => self.some_stream(model),
            90..92 => self.some_discard(model),
            92 if model.growths < GROWTHS_MAX => Some(Op::Grow { by: MIB }),
            92..96 => Some(Op::Reap),
            96 => Some(Op::Release),
            97 => Some(Op::Abandon),
            98 => Some(Op::Close),
            _ if model.growths < GROWTHS_MAX => Some(Op::Grow { by: MIB }),
            _ => None,
        }
    }

    fn some_writable<'a>(&mut self, model: &'a Model) -> Option<(&'a String, &'a ModelVolume)> {
        let writable: Vec<_> =
            model.volumes.iter().filter(|(_, volume)| volume.access == Some(true)).collect();
        self.chance.pick(&writable).copied()
    }

    fn some_write(&mut self, model: &Model) -> Option<Op> {
        let (name, volume) = self.some_writable(model)?;
        let length = (1 + self.chance.below(16)) * CHUNK_BYTES;
        let offset = match self.chance.below(8) {
            0 => volume.size - length,
            _ => self.chance.below((BUSY_BYTES - length) / CHUNK_BYTES) * CHUNK_BYTES,
        };
        let synced = self.chance.below(4) > 0;
        Some(self.write(name, offset, length, synced))
    }

    fn some_discard(&mut self, model: &Model) -> Option<Op> {
        let (name, _) = self.some_writable(model)?;
        let offset = self.chance.below(BUSY_BYTES / BLOCK_BYTES) * BLOCK_BYTES;
        Some(Op::Discard { name: name.clone(), offset, length: BLOCK_BYTES })
    }

    fn some_group(&mut self, model: &Model) -> Option<Op> {
        let usable = model.volumes.iter().filter(|(_, volume)| volume.half.is_none());
        let names: Vec<&String> = usable.map(|(name, _)| name).collect();
        let names = &names;
        let (first, second) = (*self.chance.pick(names)?, *self.chance.pick(names)?);
        if first == second {
            return None;
        }
        // Every other group is one whose record can be torn, if the mark can hold the names.
        let is_wide = self.chance.below(2) == 0 && first.len() + second.len() < WIDE_NAME_BYTES;
        let origins =
            if is_wide { vec![first, second, first, second] } else { vec![first, second] };
        let stem = if is_wide { "w".repeat(WIDE_NAME_BYTES) } else { "s".to_owned() };
        let members =
            origins.into_iter().map(|origin| (origin.clone(), self.name(&stem))).collect();
        Some(Op::Group { name: self.name("g"), members })
    }

    fn some_rollback(&mut self, model: &Model) -> Option<Op> {
        let mut pairs = Vec::new();
        for (name, volume) in model.volumes.iter().filter(|(_, volume)| volume.access.is_none()) {
            for (to, snapshot) in &model.volumes {
                let is_its = snapshot.origin == Some(volume.identity) && name != to;
                if is_its && snapshot.access.is_none() && snapshot.size <= volume.size {
                    pairs.push((name, to));
                }
            }
        }
        let (name, to) = *self.chance.pick(&pairs)?;
        Some(Op::Rollback { name: name.clone(), to: to.clone() })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn kind(op: &Op) -> String {
        format!("{op:?}").split([' ', '{']).next().unwrap().to_owned()
    }

    #[test]
    fn every_kind_comes_in_the_fixed_part_and_by_chance() {
        let mut generator = Generator::new(1);
        let fixed = generator.every_kind("p");
        let kinds: BTreeSet<String> = fixed.iter().map(kind).collect();
        assert_eq!(kinds.len(), 23, "{kinds:?}");
        let mut model = fixed.iter().fold(Model::default(), |model, op| model.after(op));
        let mut by_chance = BTreeSet::from([kind(&fixed[0])]);
        for _ in 0..2000 {
            let op = generator.next(&model);
            by_chance.insert(kind(&op));
            model = model.after(&op);
            assert!(model.volumes.len() <= VOLUMES_MAX);
        }
        assert_eq!(by_chance, kinds);
    }

    #[test]
    fn the_same_seed_makes_the_same_operations() {
        let of = |seed| {
            let mut generator = Generator::new(seed);
            let mut model = Model::default();
            model.is_open = true;
            let mut ops = Vec::new();
            for _ in 0..50 {
                ops.push(generator.next(&model));
                model = model.after(&ops[ops.len() - 1]);
            }
            ops
        };
        assert_eq!(of(5), of(5));
        assert_ne!(of(5), of(6));
    }
}
