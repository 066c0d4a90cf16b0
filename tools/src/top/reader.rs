//! Looks at pools, as `thinly pool show` and `thinly volume list` do: without a claim.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use thinly_engine::pool::{Engine, PoolError, PoolState, PoolView};
use uuid::Uuid;

use super::sample::{Resident, Sample, now};
use crate::admin::{Told, ask_recent};
use crate::failure::Failure;

/// Of which pools the volumes are looked at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Chosen {
    All,
    /// This one; the first when it is not there.
    One(Option<Uuid>),
}

/// Looks at pools.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) engine: Engine,
    /// All that the disks hold when empty.
    pub(super) names: Vec<String>,
    pub(super) socket: PathBuf,
}

impl Reader {
    /// Refuses what is not there at the start; what goes later is an event.
    pub(super) fn require_all(&self) -> Result<(), Failure> {
        self.names.iter().try_for_each(|name| Ok(self.engine.view(name).map(drop)?))
    }

    /// One look.
    pub(super) fn look(&self, chosen: Chosen) -> Sample {
        let mut sample = Sample {
            at: now(),
            pools: Vec::new(),
            volumes: BTreeMap::new(),
            unread: BTreeMap::new(),
            residents: BTreeMap::new(),
            troubles: Vec::new(),
        };
        self.find(&mut sample);
        let shown: Vec<PoolView> = match chosen {
            Chosen::All => sample.pools.clone(),
            Chosen::One(uuid) => {
                let chosen = sample.pools.iter().find(|pool| Some(pool.uuid) == uuid);
                chosen.or(sample.pools.first()).cloned().into_iter().collect()
            }
        };
        for pool in shown {
            self.look_into(&pool, &mut sample);
        }
        sample
    }

    fn find(&self, sample: &mut Sample) {
        if self.names.is_empty() {
            match self.engine.pools() {
                Ok(pools) => sample.pools = pools,
                Err(error) => sample.troubles.push(Failure::from(error).message()),
            }
        }
        for name in &self.names {
            match self.engine.view(name) {
                Ok(pool) => sample.pools.push(pool),
                Err(PoolError::NoPool { .. }) => {}
                Err(error) => sample.troubles.push(Failure::from(error).message()),
            }
        }
        sample.pools.sort_by(|one, other| (&one.name, one.uuid).cmp(&(&other.name, other.uuid)));
        sample.pools.dedup_by_key(|pool| pool.uuid);
    }

    fn look_into(&self, pool: &PoolView, sample: &mut Sample) {
        let key = pool.uuid;
        match self.engine.volumes(&key.to_string()) {
            Ok(volumes) => drop(sample.volumes.insert(key, volumes)),
            Err(error) => drop(sample.unread.insert(key, Failure::from(error).message())),
        }
        sample.residents.insert(key, self.resident(pool));
    }

    fn resident(&self, pool: &PoolView) -> Resident {
        if pool.state != PoolState::Open {
            return Resident::None;
        }
        let why = match ask_recent(&self.socket, &pool.uuid.to_string()) {
            Ok(Told::Operations(told)) => return Resident::Tells(told),
            Ok(Told::Unknown) => "it is of an older version".to_owned(),
            Ok(Told::NotHeld) => "another process listens at the socket".to_owned(),
            Err(error) => error.to_string(),
        };
        match pool.writer {
            Some(process) => Resident::Silent(format!("by process {process}: {why}")),
            None => Resident::None,
        }
    }
}
