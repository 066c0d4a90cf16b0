//! Which thin id comes next.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::state::Catalogue;
use crate::units::ThinId;

/// Hands out thin ids that nobody speaks for: no volume, no tombstone, no orphan, nobody in flight.
///
/// The search goes on from the last id handed out, so a free id costs one look-up in the usual
/// case, and a just-freed id is not the next to be used.
#[derive(Debug, Clone, Hash)]
pub struct IdAllocator {
    next: u32,
    limit: ThinId,
    in_flight: BTreeSet<ThinId>,
}

impl IdAllocator {
    /// Starts after the highest id that the catalogue speaks for, and wraps at `limit`.
    pub fn new(catalogue: &Catalogue, limit: ThinId) -> Self {
        let highest = [
            catalogue.owned_ids().last(),
            catalogue.tombstones().keys().next_back().copied(),
            catalogue.orphans().last().copied(),
        ];
        let next = highest.into_iter().flatten().max().map_or(0, |id| id.get() + 1);
        Self { next, limit, in_flight: BTreeSet::new() }
    }

    /// Reserves a free id, or `None` when all are spoken for.
    pub fn reserve(&mut self, catalogue: &Catalogue) -> Option<ThinId> {
        let count = u64::from(self.limit.get()) + 1;
        let start = u64::from(self.next) % count;
        let id = (0..count)
            .filter_map(|step| u32::try_from((start + step) % count).ok())
            .filter_map(|number| ThinId::new(number).ok())
            .find(|id| !catalogue.knows(*id) && !self.in_flight.contains(id))?;
        self.next = id.get() + 1;
        self.in_flight.insert(id);
        Some(id)
    }

    /// The largest id that is handed out.
    pub const fn limit(&self) -> ThinId {
        self.limit
    }

    /// Ends a reservation: by now the catalogue speaks for the id, or it was never sent.
    pub fn settle(&mut self, id: ThinId) {
        self.in_flight.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::{Record, TombstoneReason};
    use super::*;
    use crate::catalogue::fixture::empty_catalogue;

    fn catalogue() -> Catalogue {
        empty_catalogue(Uuid::from_u128(1))
    }

    #[test]
    fn skips_tombstones_orphans_and_ids_in_flight_and_says_when_none_is_left() {
        let mut state = catalogue();
        let id = |n| ThinId::new(n).unwrap();
        let reason = TombstoneReason::UnknownFate;
        state.apply(Record::Tombstoned { thin_id: id(0), reason }).unwrap();
        state.apply(Record::Orphaned { thin_id: id(2) }).unwrap();
        let mut ids = IdAllocator::new(&state, id(4));
        assert_eq!(ids.reserve(&state), Some(id(3)));
        assert_eq!(ids.reserve(&state), Some(id(4)));
        assert_eq!(ids.reserve(&state), Some(id(1)));
        assert_eq!(ids.reserve(&state), None);
        ids.settle(id(4));
        assert_eq!(ids.reserve(&state), Some(id(4)));
    }

    #[test]
    fn a_reaped_id_may_be_used_again() {
        let mut state = catalogue();
        let id = ThinId::new(0).unwrap();
        let reason = TombstoneReason::Deleted;
        state.apply(Record::Tombstoned { thin_id: id, reason }).unwrap();
        let mut ids = IdAllocator::new(&state, id);
        assert_eq!(ids.reserve(&state), None);
        state.apply(Record::Reaped { thin_id: id }).unwrap();
        assert_eq!(ids.reserve(&state), Some(id));
    }
}
