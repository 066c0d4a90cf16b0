//! Changes that `thinly` asks for while the driver holds the pool.
#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex, PoisonError};

use thinly::admin::{Entry, Recent, Residence};
use thinly_engine::catalogue::VolumeName;
use thinly_engine::pool::Pool;
use uuid::Uuid;

use crate::driver::{Driver, changes, id_of};

/// The pools of the driver, for commands.
#[derive(Debug)]
pub(crate) struct Admin {
    driver: Arc<Driver>,
    /// One command at a time, so that no other command renames what one of them has looked up; the
    /// cluster's calls never rename.
    turn: Mutex<()>,
}

impl Admin {
    pub(crate) fn new(driver: Arc<Driver>) -> Self {
        Self { driver, turn: Mutex::default() }
    }
}

impl Residence for Admin {
    /// The objects are held as a call of the cluster would hold them: what a call has looked up
    /// by its handle keeps its name until the call ends.
    fn enter(&self, pool: &str, volumes: &[&VolumeName], work: &mut dyn FnMut(&Pool)) -> Entry {
        if !self.driver.is_ready() {
            return Entry::Busy("the driver is still opening its pools; try again".to_owned());
        }
        let classes = self.driver.classes();
        let class = classes.iter().find(|class| class.config.pool.is_meant(class.uuid, pool));
        let Some(class) = class else { return Entry::NotHeld };
        let pool = match class.pool() {
            Ok(pool) => pool,
            Err(status) => return Entry::Busy(status.message().to_owned()),
        };
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let known = volumes.iter().filter_map(|name| pool.volume_record_named(name));
        let holds = known.map(|volume| changes(id_of(class.uuid, &volume).to_string())).collect();
        match self.driver.operations.hold(holds) {
            Ok(_holding) => {
                work(&pool);
                Entry::Done
            }
            Err(status) => Entry::Busy(status.message().to_owned()),
        }
    }

    fn identify(&self, pool: &str) -> Option<Uuid> {
        let classes = self.driver.classes();
        let class = classes.iter().find(|class| class.config.pool.is_meant(class.uuid, pool));
        class.map(|class| class.uuid)
    }

    fn recent(&self) -> &Recent {
        self.driver.operations.recent()
    }
}
