//! The one loop that performs the steps of a plan and undoes what a failed one leaves.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::error::PoolError;
use super::handle::Pool;
use super::kernel::ThinDevice;
use super::locks::lock;
use super::suspended::Suspended;
use crate::catalogue::Record;
use crate::dm::process::SignalGuard;
use crate::dm::{DmError, PoolMessage};
use crate::metadata::prove_devices;
use crate::plan::{Failure, Operation, Plan, Step, thin_table, unwind};
use crate::units::{Sectors, ThinId};

/// Devices that are frozen at this moment, and the signals that wait until none is.
#[derive(Debug, Default)]
struct Frozen {
    origins: Vec<(ThinId, Suspended)>,
    signals: Option<SignalGuard>,
    since: Option<Instant>,
    /// What the kernel said of the device that was resumed last and had not been frozen here.
    started: Option<ThinDevice>,
}

/// A step that failed: what decisions need of it, and what the caller is told.
struct StepError {
    failure: Failure,
    error: Box<PoolError>,
}

impl StepError {
    fn new(failure: Failure, error: impl Into<PoolError>) -> Self {
        Self { failure, error: Box::new(error.into()) }
    }
}

impl From<PoolError> for StepError {
    fn from(error: PoolError) -> Self {
        Self { failure: Failure::Unknown, error: Box::new(error) }
    }
}

/// What an ioctl's errno says of its effect.
fn failure_of(error: &DmError) -> Failure {
    use nix::errno::Errno;
    match error.errno() {
        Some(Errno::EEXIST) => Failure::Exists,
        Some(Errno::EINVAL | Errno::ENODATA | Errno::EBUSY | Errno::EOPNOTSUPP | Errno::ENXIO) => {
            Failure::Rejected
        }
        _ => Failure::Unknown,
    }
}

fn dm_failed(error: DmError) -> StepError {
    StepError::new(failure_of(&error), error)
}

impl Pool {
    /// Performs a plan. On failure the device states and the journal are put in order first, then
    /// the failure is returned.
    pub(super) fn execute(&self, plan: &Plan) -> Result<(), PoolError> {
        self.start(plan).map(drop)
    }

    /// [`Pool::execute`] for a plan that starts a device, which it gives: the answer to the resume
    /// describes it, and need not be asked for again.
    pub(super) fn start(&self, plan: &Plan) -> Result<Option<ThinDevice>, PoolError> {
        self.refuse_if_poisoned()?;
        let _length_stays = self.geometry.read();
        if plan.needs_epoch() {
            self.announce(plan.operation)?;
        }
        let mut frozen = Frozen::default();
        for (index, step) in plan.steps.iter().enumerate() {
            let Err(StepError { failure, error }) = self.perform(step, plan.operation, &mut frozen)
            else {
                continue;
            };
            let undo = unwind(plan, index, failure);
            let mut undone = true;
            for step in &undo.steps {
                undone &= self.perform(step, plan.operation, &mut frozen).is_ok();
            }
            if undo.poison || !undone {
                self.poison(&error.to_string());
            }
            return Err(*error);
        }
        Ok(frozen.started)
    }

    fn perform(
        &self,
        step: &Step,
        operation: Operation,
        frozen: &mut Frozen,
    ) -> Result<(), StepError> {
        match step {
            Step::Suspend(id) => self.suspend(*id, frozen),
            Step::Resume(id) => self.resume(*id, frozen),
            Step::Message(message) => self.send(*message),
            Step::CheckPool => self.check_pool(operation),
            Step::Prove(ids) => self.prove(ids),
            Step::ProveGone(id) => self.prove_gone(*id),
            Step::CreateDevice { id, volume } => {
                let name = self.names.thin(*id).map_err(PoolError::from)?;
                let uuid = self.names.volume_uuid(*volume).map_err(PoolError::from)?;
                self.dm.create(&name, &uuid).map(drop).map_err(dm_failed)
            }
            Step::LoadTable { id, length, read_only } => self.load(*id, *length, *read_only),
            Step::Reload(id) => {
                let name = self.names.thin(*id).map_err(PoolError::from)?;
                self.reload(&name).map_err(StepError::from)
            }
            Step::RemoveDevice(id) => {
                let name = self.names.thin(*id).map_err(PoolError::from)?;
                self.dm.remove(&name).map_err(dm_failed)
            }
            Step::Commit(record) => self.commit_step(record),
        }
    }

    fn suspend(&self, id: ThinId, frozen: &mut Frozen) -> Result<(), StepError> {
        let name = self.names.thin(id).map_err(PoolError::from)?;
        if frozen.signals.is_none() {
            frozen.signals = SignalGuard::block().ok();
        }
        frozen.since.get_or_insert_with(Instant::now);
        let origin = Suspended::suspend(&self.dm, name).map_err(dm_failed)?;
        frozen.origins.push((id, origin));
        Ok(())
    }

    fn resume(&self, id: ThinId, frozen: &mut Frozen) -> Result<(), StepError> {
        let position = frozen.origins.iter().position(|(frozen_id, _)| *frozen_id == id);
        let resumed = if let Some(position) = position {
            frozen.origins.remove(position).1.resume()
        } else {
            let name = self.names.thin(id).map_err(PoolError::from)?;
            let started = self.dm.resume(&name);
            started.map(|info| frozen.started = Some(ThinDevice::of(id, name, info)))
        };
        if frozen.origins.is_empty() {
            frozen.signals = None;
            if let Some(since) = frozen.since.take() {
                self.freezes.count(since.elapsed());
            }
        }
        resumed.map_err(|error| StepError::new(Failure::Unknown, error))
    }

    fn send(&self, message: PoolMessage) -> Result<(), StepError> {
        match self.dm.message(&self.names.pool_device, &message.to_string()) {
            Ok(_) => Ok(()),
            // Deleting what is not there is what a repeated delete does.
            Err(error) if matches!(message, PoolMessage::Delete(_)) && error.is_no_data() => Ok(()),
            Err(error) => Err(dm_failed(error)),
        }
    }

    /// The kernel throws a commit's result away: only the status shows that one was lost.
    fn check_pool(&self, operation: Operation) -> Result<(), StepError> {
        let (health, _) = self.health()?;
        if health.serves_messages() {
            return Ok(());
        }
        let error = PoolError::WentDegraded {
            health,
            operation: operation.name(),
            advice: health.advice(),
        };
        Err(StepError::new(Failure::Degraded(health), error))
    }

    fn prove(&self, ids: &[ThinId]) -> Result<(), StepError> {
        let proof = prove_devices(&self.metadata, ids)
            .map_err(|error| StepError::new(Failure::NotProven, error))?;
        self.snapshot_time.fetch_max(proof.superblock.time, Ordering::Relaxed);
        for &id in ids {
            let Some(details) = proof.details.get(&id) else {
                return Err(StepError::new(Failure::NotProven, PoolError::NotProven { id }));
            };
            lock(&self.proven).insert(id, details.mapped_blocks);
        }
        Ok(())
    }

    fn prove_gone(&self, id: ThinId) -> Result<(), StepError> {
        let proof = prove_devices(&self.metadata, &[id])
            .map_err(|error| StepError::new(Failure::NotProven, error))?;
        if proof.details.contains_key(&id) {
            return Err(StepError::new(Failure::NotProven, PoolError::NotReaped { id }));
        }
        Ok(())
    }

    fn load(&self, id: ThinId, length: Sectors, read_only: bool) -> Result<(), StepError> {
        let name = self.names.thin(id).map_err(PoolError::from)?;
        let table = thin_table(self.kernel_number, id, length);
        self.dm.load(&name, &table, read_only).map(drop).map_err(dm_failed)
    }

    fn commit_step(&self, record: &Record) -> Result<(), StepError> {
        self.commit(record.clone()).map_err(|error| {
            let failure = match error {
                PoolError::Apply(_)
                | PoolError::VolumeExists { .. }
                | PoolError::NoHeadroom { .. } => Failure::Rejected,
                _ => Failure::Journal,
            };
            StepError::new(failure, error)
        })
    }

    /// Swaps in a loaded table without freezing the filesystem above: its users see only a pause.
    pub(super) fn reload(&self, device: &crate::dm::DmName) -> Result<(), PoolError> {
        let paused = Suspended::pause(&Arc::clone(&self.dm), device.clone())?;
        Ok(paused.resume()?)
    }
}
