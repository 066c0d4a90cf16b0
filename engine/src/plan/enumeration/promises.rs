//! What the model has promised to its users, and whether a state keeps it.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use super::kernel::Kernel;
use super::operation::{B, Kind, made};
use crate::catalogue::{Catalogue, IdAllocator, ThinState};
use crate::units::ThinId;

/// A rule that a state breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rule {
    /// Data or a change that somebody was promised is gone.
    Lost,
    /// A thin id without a name, or one that is never freed.
    Leaked,
    /// A device that nobody resumes.
    Suspended,
    /// Everything else: an id handed out twice, a group taken in part, an answer given in doubt.
    Broken,
}

/// A broken rule, with what shows it.
#[derive(Debug, Clone)]
pub(super) struct Violation {
    pub(super) rule: Rule,
    pub(super) what: String,
}

pub(super) fn ensure(
    kept: bool,
    rule: Rule,
    what: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if kept { Ok(()) } else { Err(Violation { rule, what: what() }) }
}

/// Whether somebody speaks for an id: a volume that still has it, a tombstone or an orphan.
fn is_named(catalogue: &Catalogue, id: ThinId) -> bool {
    let owned = catalogue.owner(id).is_some_and(|volume| volume.thin.id() == Some(id));
    owned || catalogue.tombstones().contains_key(&id) || catalogue.orphans().contains(&id)
}

/// What users know, beside the catalogue and the kernel: the answers that they were given.
#[derive(Debug, Clone, Hash, Default)]
pub(super) struct Promises {
    /// Thin ids whose data somebody relies on, with the operation that made them.
    pub(super) wanted: BTreeMap<ThinId, u8>,
    /// Thin ids that something else than this pool's writers made.
    pub(super) foreign: BTreeSet<ThinId>,
    /// Operations that ended well.
    acknowledged: BTreeSet<(u8, Kind)>,
    /// Groups that were begun.
    groups: BTreeSet<u8>,
    /// Streams that were begun.
    streams: BTreeSet<u8>,
    /// The medium lost a frame that was durable.
    pub(super) frame_lost: bool,
    /// A repair of the metadata lost this id.
    pub(super) vanished: Option<ThinId>,
}

impl Promises {
    pub(super) fn begin(&mut self, slot: u8, kind: Kind) {
        if kind == Kind::SnapshotGroup {
            self.groups.insert(slot);
        }
        if kind == Kind::Receive {
            self.streams.insert(slot);
        }
    }

    pub(super) fn acknowledge(&mut self, slot: u8, kind: Kind) {
        if !matches!(kind, Kind::Reap | Kind::Release | Kind::Refresh | Kind::Deactivate) {
            self.acknowledged.insert((slot, kind));
        }
    }

    /// A message deletes an id.
    pub(super) fn check_delete(&self, id: ThinId) -> Result<(), Violation> {
        let wanted = self.wanted.contains_key(&id);
        ensure(!wanted, Rule::Lost, || format!("thin id {id} is wanted and is deleted"))
    }

    /// An id is handed out for something new.
    pub(super) fn check_reserved(&self, id: ThinId, kernel: &Kernel) -> Result<(), Violation> {
        // What a pool without metadata space holds in core nobody can see. It takes no message
        // either; once it does, EEXIST tells.
        let in_core = kernel.takes_messages() && kernel.core.thins.contains_key(&id);
        let exists = in_core || kernel.disk.thins.contains_key(&id);
        let free = self.foreign.contains(&id) || !(exists || self.wanted.contains_key(&id));
        ensure(free, Rule::Broken, || format!("thin id {id} exists and is handed out anew"))
    }

    /// Recovery is over: what it looked at has names, and what is handed out from now on is free.
    pub(super) fn check_recovered(
        &self,
        looked: bool,
        catalogue: &Catalogue,
        ids: &IdAllocator,
        kernel: &Kernel,
    ) -> Result<(), Violation> {
        for id in kernel.disk.thins.keys().filter(|_| looked) {
            let named = catalogue.knows(*id);
            ensure(named, Rule::Leaked, || format!("recovery gave thin id {id} no name"))?;
        }
        let (mut ids, mut handed) = (ids.clone(), BTreeSet::new());
        while let Some(id) = ids.reserve(catalogue) {
            let once = handed.insert(id);
            ensure(once, Rule::Broken, || format!("thin id {id} is handed out twice"))?;
            self.check_reserved(id, kernel)?;
            let doubtful =
                catalogue.tombstones().contains_key(&id) || catalogue.orphans().contains(&id);
            ensure(!doubtful, Rule::Broken, || format!("doubtful thin id {id} is handed out"))?;
        }
        Ok(())
    }

    /// Everything is over: recovery, and the reaper.
    pub(super) fn check_end(
        &self,
        catalogue: &Catalogue,
        kernel: &Kernel,
    ) -> Result<(), Violation> {
        for (id, device) in &kernel.devices {
            let runs = !device.suspended;
            ensure(runs, Rule::Suspended, || format!("the device of thin id {id} is suspended"))?;
        }
        self.check_ids(catalogue, kernel)?;
        self.check_volumes(catalogue, kernel)?;
        for (slot, kind) in &self.acknowledged {
            let present = self.frame_lost || kind.holds(*slot, catalogue);
            ensure(present, Rule::Lost, || format!("{kind:?} of {slot} was acknowledged"))?;
        }
        for slot in &self.groups {
            let both = [0, 1].map(|part| catalogue.volume(made(*slot, part)).is_some());
            let whole = both[0] == both[1];
            ensure(whole, Rule::Broken, || format!("half of the group of {slot} is there"))?;
        }
        self.check_streams(catalogue)
    }

    /// That a snapshot is there, that it arrived, and that nothing is on its way any more is one.
    fn check_streams(&self, catalogue: &Catalogue) -> Result<(), Violation> {
        let received = catalogue.received(B);
        for slot in &self.streams {
            let is_there = catalogue.volume(made(*slot, 0)).is_some();
            let has_last = received.is_some_and(|received| received.last.is_some());
            let incoming = received.and_then(|received| received.incoming.as_ref());
            let is_half = incoming.is_some_and(|incoming| incoming.source == made(*slot, 8));
            let whole = !is_there || (has_last && !is_half);
            ensure(whole, Rule::Broken, || format!("the stream of {slot} is there in part"))?;
        }
        Ok(())
    }

    fn check_ids(&self, catalogue: &Catalogue, kernel: &Kernel) -> Result<(), Violation> {
        for (id, maker) in &self.wanted {
            let there = kernel.disk.thins.get(id).is_some_and(|thin| thin.maker == *maker);
            ensure(there, Rule::Lost, || format!("the data of thin id {id} is gone"))?;
            let mut alive = catalogue.owner(*id).is_some() || catalogue.orphans().contains(id);
            alive |= self.foreign.contains(id);
            ensure(alive, Rule::Lost, || format!("thin id {id} is wanted and has no volume"))?;
        }
        for id in kernel.disk.thins.keys() {
            let named = is_named(catalogue, *id) || self.foreign.contains(id);
            ensure(named, Rule::Leaked, || format!("thin id {id} has no name"))?;
        }
        if kernel.health.serves_messages() {
            for id in kernel.core.thins.keys() {
                let named = is_named(catalogue, *id) || self.foreign.contains(id);
                ensure(named, Rule::Leaked, || format!("thin id {id}, in core, has no name"))?;
            }
            let left = catalogue.tombstones().keys().next();
            ensure(left.is_none(), Rule::Leaked, || format!("tombstone {left:?} is left"))?;
        }
        Ok(())
    }

    fn check_volumes(&self, catalogue: &Catalogue, kernel: &Kernel) -> Result<(), Violation> {
        for volume in catalogue.volumes() {
            let name = &volume.name;
            match volume.thin {
                ThinState::Pending => {}
                ThinState::Ready(id) => {
                    let there = kernel.disk.thins.contains_key(&id);
                    ensure(there, Rule::Lost, || format!("{name:?} is ready without id {id}"))?;
                }
                ThinState::Lost(id) => {
                    let explained = self.frame_lost || self.vanished == Some(id);
                    ensure(explained, Rule::Lost, || format!("{name:?} is lost with id {id}"))?;
                    let absent = !kernel.disk.thins.contains_key(&id);
                    ensure(absent, Rule::Broken, || format!("{name:?} was made anew"))?;
                }
            }
        }
        Ok(())
    }
}
