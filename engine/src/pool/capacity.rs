//! How much a pool may promise: decided and promised in one critical section.
//!
//! The sizes of volumes and clones add up to what is promised; snapshots promise nothing, but like
//! everything that will need blocks they are refused once free data is at the reserve. The rule,
//! the sum and the record that changes the sum share the state's lock, so creations that race are
//! admitted one after the other.
#![forbid(unsafe_code)]

use super::error::PoolError;
use super::handle::Pool;
use super::locks::lock;
use super::view::Usage;
use super::volumes::VOLUME_BYTES_MAX;
use crate::catalogue::PoolPolicy;
use crate::dm::PoolUsage;
use crate::plan::{Health, Operation, Refusal, admit};
use crate::units::{BlockSize, Bytes, SECTOR_BYTES};

/// What a pool may promise of what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapacityRule {
    /// What volumes and clones may add up to, in percent of the pool's data; `None` is no limit.
    pub overprovision_percent: Option<u64>,
    /// Free data that is kept back for the volumes that are there.
    pub reserve: Bytes,
}

/// What a pool can still promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headroom {
    /// The largest volume that may be created now; zero when free data is at or below the reserve.
    pub virtual_bytes: Bytes,
    /// Data that no volume holds.
    pub free_data: Bytes,
    /// All data.
    pub total_data: Bytes,
    /// What the sizes of volumes and clones add up to.
    pub promised: Bytes,
}

/// The rule, and the pool's data as its status last showed it.
#[derive(Debug, Default)]
pub(super) struct Capacity {
    rule: Option<CapacityRule>,
    free: Bytes,
    total: Bytes,
}

impl Capacity {
    /// Keeps what a status said, for the decisions that follow it.
    pub(super) const fn note(&mut self, usage: &PoolUsage, block_size: BlockSize) {
        self.free = block_size.length_of(usage.free_data_blocks());
        self.total = block_size.length_of(usage.total_data_blocks);
    }

    fn headroom(&self, promised: Bytes) -> Headroom {
        let room = match self.rule {
            Some(rule) if self.free <= rule.reserve => 0,
            None | Some(CapacityRule { overprovision_percent: None, .. }) => u64::MAX,
            Some(CapacityRule { overprovision_percent: Some(percent), .. }) => {
                let limit = u128::from(self.total.get()) * u128::from(percent) / 100;
                u64::try_from(limit).unwrap_or(u64::MAX).saturating_sub(promised.get())
            }
        };
        Headroom {
            virtual_bytes: Bytes::new(room.min(VOLUME_BYTES_MAX))
                .align_down(Bytes::new(SECTOR_BYTES)),
            free_data: self.free,
            total_data: self.total,
            promised,
        }
    }

    /// Refuses what would promise `growth` more than the rule allows, and what needs blocks when
    /// none may be spared.
    pub(super) fn admit(&self, promised: Bytes, growth: Bytes) -> Result<(), PoolError> {
        let Some(rule) = self.rule else { return Ok(()) };
        let Headroom { virtual_bytes: headroom, free_data, .. } = self.headroom(promised);
        if free_data <= rule.reserve || growth > headroom {
            return Err(PoolError::NoHeadroom { requested: growth, headroom, free_data });
        }
        Ok(())
    }
}

/// Refuses something new in a pool that is fuller than its policy allows.
pub(super) fn admit_by_policy(policy: &PoolPolicy, usage: &Usage) -> Result<(), PoolError> {
    let parts = [
        ("data", policy.admit_data_percent, usage.used_data, usage.total_data),
        ("metadata", policy.admit_metadata_percent, usage.used_metadata, usage.total_metadata),
    ];
    for (what, limit, used, total) in parts {
        let Some(limit) = limit else { continue };
        let (used, total) = (u128::from(used.get()), u128::from(total.get().max(1)));
        if used * 100 > total * u128::from(limit) {
            let used_percent = u64::try_from(used * 100 / total).unwrap_or(u64::MAX);
            return Err(PoolError::AdmissionLimit { what, used_percent, limit });
        }
    }
    Ok(())
}

impl Pool {
    /// Limits what this handle promises from now on. Without a rule it promises anything.
    pub fn set_capacity_rule(&self, rule: CapacityRule) {
        lock(&self.state).capacity.rule = Some(rule);
    }

    /// What can still be promised: what the next creation is measured by.
    pub fn headroom(&self) -> Result<Headroom, PoolError> {
        self.refuse_if_poisoned()?;
        let (health, usage) = self.health()?;
        let Some(usage) = usage else {
            let operation = Operation::Create;
            return Err(Refusal { health, operation }.into());
        };
        Ok(self.headroom_of(health, &usage))
    }

    /// The same from a status that was just read.
    pub(super) fn headroom_of(&self, health: Health, usage: &PoolUsage) -> Headroom {
        let mut state = lock(&self.state);
        state.capacity.note(usage, self.identity.block_size);
        let headroom = state.capacity.headroom(state.catalogue.volumes_bytes());
        let is_served = admit(health, Operation::Create).is_ok();
        let virtual_bytes = if is_served { headroom.virtual_bytes } else { Bytes::ZERO };
        Headroom { virtual_bytes, ..headroom }
    }

    /// Refuses a copy early, before the kernel is asked for one. What counts is asked again where
    /// its record is applied.
    pub(super) fn refuse_without_headroom(&self, growth: Bytes) -> Result<(), PoolError> {
        let state = lock(&self.state);
        state.capacity.admit(state.catalogue.volumes_bytes(), growth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(percent: Option<u64>, reserve: u64, free: u64) -> Capacity {
        let reserve = Bytes::new(reserve);
        let rule = Some(CapacityRule { overprovision_percent: percent, reserve });
        Capacity { rule, free: Bytes::new(free), total: Bytes::new(1 << 30) }
    }

    fn room(capacity: &Capacity, promised: u64) -> u64 {
        capacity.headroom(Bytes::new(promised)).virtual_bytes.get()
    }

    #[test]
    fn the_ratio_limits_what_is_promised_not_what_is_free() {
        let capacity = capacity(Some(250), 4096, 8192);
        assert_eq!(room(&capacity, 0), (1 << 30) * 5 / 2);
        assert_eq!(room(&capacity, 1 << 30), (1 << 30) * 3 / 2);
        assert_eq!(room(&capacity, 1 << 40), 0);
        let admit = |promised, growth| capacity.admit(Bytes::new(promised), Bytes::new(growth));
        assert!(admit(1 << 31, 1 << 29).is_ok());
        let error = admit(1 << 31, (1 << 29) + 512).unwrap_err().to_string();
        for number in ["536871424", "536870912", "8192", "delete"] {
            assert!(error.contains(number), "{number} is not in: {error}");
        }
    }

    #[test]
    fn at_the_reserve_nothing_is_admitted() {
        let none = capacity(None, 4096, 4096);
        assert_eq!(room(&none, 0), 0);
        assert!(none.admit(Bytes::ZERO, Bytes::ZERO).is_err());
        let some = capacity(None, 4096, 4608);
        assert_eq!(room(&some, 1 << 50), VOLUME_BYTES_MAX);
        assert!(some.admit(Bytes::new(u64::MAX), Bytes::new(512)).is_ok());
    }

    #[test]
    fn a_policy_admits_up_to_its_limit_and_no_further() {
        let usage = |data: u64, metadata: u64| Usage {
            used_data: Bytes::new(data),
            total_data: Bytes::new(1000),
            used_metadata: Bytes::new(metadata),
            total_metadata: Bytes::new(1000),
        };
        let policy = PoolPolicy {
            admit_data_percent: Some(95),
            admit_metadata_percent: Some(50),
            ..PoolPolicy::default()
        };
        assert!(admit_by_policy(&policy, &usage(950, 500)).is_ok());
        let text = admit_by_policy(&policy, &usage(961, 500)).unwrap_err().to_string();
        assert!(text.contains("96 % of the pool's data") && text.contains("95 %"), "{text}");
        let text = admit_by_policy(&policy, &usage(950, 501)).unwrap_err().to_string();
        assert!(text.contains("50 % of the pool's metadata"), "{text}");
        assert!(admit_by_policy(&PoolPolicy::default(), &usage(1000, 1000)).is_ok());
    }

    #[test]
    fn numbers_that_overflow_are_no_trap_and_no_rule_is_no_limit() {
        assert_eq!(room(&capacity(Some(u64::MAX), 0, 1), 0), VOLUME_BYTES_MAX);
        assert_eq!(room(&capacity(Some(0), 0, 1), 0), 0);
        let free = Capacity::default();
        assert!(free.admit(Bytes::new(u64::MAX), Bytes::new(u64::MAX)).is_ok());
        assert_eq!(room(&free, 7), VOLUME_BYTES_MAX);
    }
}
