//! The pools that the driver holds the claim of, one a device class.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::plan::{Condition, Severity, changes};
use thinly_engine::pool::{CreatePool, Engine, Pool, PoolError};
use tonic::Status;
use uuid::Uuid;

use crate::config::{Create, DeviceClass};
use crate::failure::chain;

/// A device class and its pool.
#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) config: DeviceClass,
    /// The pool's identity: it outlives a handle that is being replaced.
    pub(crate) uuid: Uuid,
    /// `None` while the handle is being replaced. Shared with the class that a changed
    /// configuration puts in this one's place.
    handle: Arc<Mutex<Option<Arc<Pool>>>>,
    /// How often its handle was replaced.
    recoveries: Arc<AtomicU64>,
    /// Whether a thread looks after it.
    tended: Arc<AtomicBool>,
    /// Why it was not extended when that was tried last.
    extension_error: Arc<Mutex<Option<String>>>,
    /// What was wrong with it when that was looked at last.
    conditions: Arc<Mutex<Vec<Condition>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Class {
    /// Attaches to the class's pool, opens it, or makes it where that is allowed.
    pub(crate) fn open(engine: &Engine, config: DeviceClass) -> Result<Self, PoolError> {
        let pool = open_or_make(engine, &config)?;
        for finding in pool.findings() {
            tracing::warn!(pool = %config.pool, "recovery: {finding}");
        }
        take_rules(&pool, &config);
        take_policy(&pool, &config)?;
        let uuid = pool.identity().uuid;
        let handle = Arc::new(Mutex::new(Some(Arc::new(pool))));
        let (recoveries, tended) = (Arc::default(), Arc::default());
        let (extension_error, conditions) = (Arc::default(), Arc::default());
        Ok(Self { config, uuid, handle, recoveries, tended, extension_error, conditions })
    }

    /// The same pool under a changed configuration.
    pub(crate) fn with_config(&self, config: DeviceClass) -> Self {
        let (handle, tended) = (Arc::clone(&self.handle), Arc::clone(&self.tended));
        let extension_error = Arc::clone(&self.extension_error);
        let conditions = Arc::clone(&self.conditions);
        let recoveries = Arc::clone(&self.recoveries);
        Self { config, uuid: self.uuid, handle, recoveries, tended, extension_error, conditions }
    }

    /// Makes the pool follow this class's rule and policy.
    pub(crate) fn apply_rule(&self) {
        if let Ok(pool) = self.pool() {
            take_rules(&pool, &self.config);
            if let Err(error) = take_policy(&pool, &self.config) {
                tracing::error!(pool = %self.config.pool, "its policy stays: {}", chain(&error));
            }
        }
    }

    /// Gives the pool space when it runs low and may have it.
    pub(crate) fn extend(&self) {
        let Ok(pool) = self.pool() else { return };
        self.extend_if_due(&pool);
        if let Ok(now) = pool.conditions() {
            self.tell_conditions(now);
        }
    }

    /// Once when it begins, and once when it is over.
    fn tell_conditions(&self, now: Vec<Condition>) {
        let mut last = lock(&self.conditions);
        let (begun, over) = changes(&last, &now);
        for condition in begun {
            let (reason, message) = (condition.reason.as_str(), condition.message.as_str());
            match condition.severity {
                Severity::Error => tracing::error!(pool = %self.config.pool, reason, "{message}"),
                Severity::Warning => tracing::warn!(pool = %self.config.pool, reason, "{message}"),
            }
        }
        for condition in over {
            let reason = condition.reason.as_str();
            tracing::info!(pool = %self.config.pool, reason, "is over");
        }
        *last = now;
    }

    fn extend_if_due(&self, pool: &Pool) {
        let failed = match pool.tend() {
            Ok(Some(extended)) => {
                tracing::info!(pool = %self.config.pool, "extended: {extended}");
                None
            }
            Ok(None) => None,
            Err(error) => Some(chain(&error)),
        };
        let mut last = lock(&self.extension_error);
        if let Some(error) = failed.as_ref().filter(|_| *last != failed) {
            tracing::error!(pool = %self.config.pool, "it runs low and is not extended: {error}");
        }
        *last = failed;
    }

    /// One round of care: a handle in doubt is replaced, deleted volumes are freed.
    pub(crate) fn tend(&self, engine: &Engine) {
        if self.tended.swap(true, Ordering::AcqRel) {
            return;
        }
        self.recover(engine);
        if let Ok(pool) = self.pool()
            && let Err(error) = pool.reap(&mut |_| {})
        {
            tracing::warn!(pool = %self.config.pool, "freeing deleted volumes: {}", chain(&error));
        }
        self.tended.store(false, Ordering::Release);
    }

    /// The handle on the pool.
    pub(crate) fn pool(&self) -> Result<Arc<Pool>, Status> {
        lock(&self.handle).clone().ok_or_else(|| {
            Status::unavailable(format!(
                "the pool {} is being recovered; ask again",
                self.config.pool
            ))
        })
    }

    /// Replaces a handle that has refused all changes since a failure that left the truth in
    /// doubt: opening anew reconciles. Calls that still hold the old one end first.
    fn recover(&self, engine: &Engine) {
        let mut handle = lock(&self.handle);
        let Some(pool) = handle.take() else {
            drop(handle);
            return self.attach_again(engine);
        };
        let Some(reason) = pool.poisoned() else {
            *handle = Some(pool);
            return;
        };
        match Arc::try_unwrap(pool) {
            Ok(pool) => {
                drop(handle);
                tracing::warn!(pool = %self.config.pool, reason, "opening the pool anew");
                if let Err(error) = pool.release() {
                    tracing::warn!(pool = %self.config.pool, "release: {}", chain(&error));
                }
                self.attach_again(engine);
            }
            // Somebody is still inside; the next round tries again.
            Err(pool) => *handle = Some(pool),
        }
    }

    /// How often its handle was replaced by one that has recovered.
    pub(crate) fn recoveries(&self) -> u64 {
        self.recoveries.load(Ordering::Relaxed)
    }

    fn attach_again(&self, engine: &Engine) {
        match engine.attach(self.config.pool.as_str()) {
            Ok(pool) => {
                take_rules(&pool, &self.config);
                *lock(&self.handle) = Some(Arc::new(pool));
                self.recoveries.fetch_add(1, Ordering::Relaxed);
                tracing::info!(pool = %self.config.pool, "recovered");
            }
            Err(error) => tracing::error!(pool = %self.config.pool, "attach: {}", chain(&error)),
        }
    }

    /// Makes a reaper that is at work end after its present step.
    pub(crate) fn stop_reaping(&self) {
        if let Ok(pool) = self.pool() {
            pool.stop_reaping();
        }
    }

    /// Lets the pool go in order; volumes stay active for the next process. Tells whether it is
    /// let go: not while somebody is inside.
    pub(crate) fn release(&self) -> bool {
        let mut handle = lock(&self.handle);
        let Some(pool) = handle.take() else { return true };
        let pool = match Arc::try_unwrap(pool) {
            Ok(pool) => pool,
            Err(pool) => {
                *handle = Some(pool);
                return false;
            }
        };
        match pool.release() {
            Ok(()) => tracing::info!(pool = %self.config.pool, "released"),
            Err(error) => tracing::warn!(pool = %self.config.pool, "release: {}", chain(&error)),
        }
        true
    }
}

/// What a handle follows for as long as it lives.
fn take_rules(pool: &Pool, config: &DeviceClass) {
    pool.set_capacity_rule(config.rule);
    pool.set_reap_budget(config.reap_budget);
}

/// The file counts where it says anything.
fn take_policy(pool: &Pool, config: &DeviceClass) -> Result<(), PoolError> {
    config.policy.map_or(Ok(()), |policy| pool.set_policy(policy))
}

fn open_or_make(engine: &Engine, config: &DeviceClass) -> Result<Pool, PoolError> {
    let name = config.pool.as_str();
    let open = || match engine.attach(name) {
        Err(PoolError::NotOpen { .. }) => engine.open_pool(name, &[]),
        attached => attached,
    };
    match open() {
        Err(PoolError::NoPool { .. }) if config.create == Create::IfEmpty => {
            tracing::info!(pool = name, devices = ?config.devices, "making the pool");
            for device in &config.devices {
                // Names a device that is not there before anything is tried.
                BlockDevice::open(device, Access::ReadOnly)?;
            }
            engine.create_pool(&CreatePool {
                name: config.pool.clone(),
                devices: config.devices.clone(),
                metadata_device: config.metadata_device.clone(),
                block_size: config.block_size,
                metadata_size: None,
                data_size: None,
                force: false,
                raw: false,
            })?;
            engine.attach(name)
        }
        opened => opened,
    }
}

/// All classes.
#[derive(Debug)]
pub(crate) struct Classes {
    list: Vec<Arc<Class>>,
}

impl Classes {
    pub(crate) const fn new(list: Vec<Arc<Class>>) -> Self {
        Self { list }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Class>> {
        self.list.iter()
    }

    /// The class by name, or the default one: the only one, or that marked so.
    pub(crate) fn choose(&self, name: Option<&str>) -> Result<Arc<Class>, Status> {
        let found = match name {
            Some(name) => self.list.iter().find(|class| class.config.name == name),
            None => match self.list.as_slice() {
                [only] => Some(only),
                all => all.iter().find(|class| class.config.default),
            },
        };
        let known = || {
            self.list.iter().map(|class| class.config.name.as_str()).collect::<Vec<_>>().join(", ")
        };
        found.cloned().ok_or_else(|| {
            Status::invalid_argument(match name {
                Some(name) => {
                    format!("there is no device class {name:?} on this node; there is {}", known())
                }
                None => format!(
                    "no device class is the default; name one by thinly.dev/device-class: {}",
                    known()
                ),
            })
        })
    }
}
