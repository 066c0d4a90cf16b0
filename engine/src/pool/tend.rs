//! Looking after a pool: its policy, and the extension that the policy asks for.
#![forbid(unsafe_code)]

use std::fmt;

use super::error::PoolError;
use super::grow::Grown;
use super::handle::Pool;
use super::locks::lock;
use super::report::usage;
use crate::catalogue::{PoolPolicy, Record};
use crate::layout::{METADATA_BYTES_MAX, Role};
use crate::plan::{Action, Operation, Supply, admit, watch};
use crate::units::Bytes;

/// What was done about a pool that runs low.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extended {
    /// What it was given, and what is left to give.
    pub grown: Grown,
    /// Its data now.
    pub total_data: Bytes,
}

impl fmt::Display for Extended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Grown { data, metadata, free } = self.grown;
        let total = self.total_data;
        write!(
            f,
            "{data} bytes more data and {metadata} bytes more metadata; {total} bytes of data now, {free} left to give"
        )
    }
}

impl Pool {
    /// How the pool is looked after.
    pub fn policy(&self) -> PoolPolicy {
        *lock(&self.state).catalogue.policy()
    }

    /// Changes how the pool is looked after. What of it the kernel must know, it is told at once.
    pub fn set_policy(&self, policy: PoolPolicy) -> Result<(), PoolError> {
        let _only_one = lock(&self.growing);
        self.refuse_if_poisoned()?;
        admit(self.health()?.0, Operation::Grow)?;
        let before = self.policy();
        if before == policy {
            return Ok(());
        }
        self.announce_growth()?;
        self.commit(Record::PolicySet(policy))?;
        // The mark and what a full pool does are in its table.
        self.stretch(&self.locate()?)
    }

    /// Does now what the policy asks for. Costs one ioctl when there is nothing to do.
    pub fn tend(&self) -> Result<Option<Extended>, PoolError> {
        let policy = self.policy();
        if policy.auto_extend.is_none() {
            return Ok(None);
        }
        let (health, Some(status)) = self.health()? else { return Ok(None) };
        let supply = self.supply(&status)?;
        let mut done = None;
        for action in watch(&policy, health, &status, &supply) {
            let grown = match action {
                Action::ExtendData { by, keep_free } => self.extend(by, keep_free)?,
                Action::ExtendMetadata { by } => self.extend_metadata(by)?,
            };
            done = Some(grown);
        }
        let Some(grown) = done else { return Ok(None) };
        let total_data = match self.health()?.1 {
            Some(now) => self.identity.block_size.length_of(now.total_data_blocks),
            None => Bytes::ZERO,
        };
        Ok(Some(Extended { grown, total_data }))
    }

    fn supply(&self, status: &crate::dm::PoolUsage) -> Result<Supply, PoolError> {
        let usage = usage(status, self.identity.block_size);
        let (map, total_metadata) = {
            let state = lock(&self.state);
            (state.catalogue.extent_map()?, state.catalogue.length_of(Role::Metadata))
        };
        let free = map.free_extents_total().checked_bytes(map.extent_bytes());
        Ok(Supply {
            block_size: self.identity.block_size,
            free_metadata: usage.total_metadata.saturating_sub(usage.used_metadata),
            total_metadata,
            metadata_max: METADATA_BYTES_MAX.align_down(self.identity.extent),
            free: free.unwrap_or(Bytes::ZERO),
        })
    }
}
