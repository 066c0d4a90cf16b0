//! The way in: finds, creates, opens and closes the pools of this machine.
#![forbid(unsafe_code)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::accounting::{self, Accounting};
use super::backup::{RestoreReport, backup, restore};
use super::check::{self, PoolCheck};
use super::copy_metadata::copy_metadata;
use super::create::{CreatePool, create};
use super::diff::{Asked, VolumeDiff, diff};
use super::error::PoolError;
use super::export::{ImportPool, export, import};
use super::handle::Pool;
use super::located::Located;
use super::map::{self, PoolMap};
use super::repair::{RepairReport, RepairRequest, repair};
use super::restore_metadata::{RestoredMetadata, restore_metadata};
use super::salvage::{SalvageReport, salvage};
use super::view::{PoolView, VolumeView};
use super::{close, inspect, open};
use crate::catalogue::VolumeName;
use crate::dm::{Control, Dm, Feature};
use crate::layout::{System, scan_labels};
use crate::metadata::CopyReport;
use crate::units::TransactionId;

/// The pools of this machine.
#[derive(Debug, Clone)]
pub struct Engine {
    dm: Arc<dyn Dm>,
}

impl Engine {
    /// Opens the device-mapper and checks that it has dm-thin.
    pub fn new() -> Result<Self, PoolError> {
        let control = Control::open()?;
        control.require(Feature::ThinPool)?;
        Ok(Self { dm: Arc::new(control) })
    }

    /// Works on another implementation of the ioctl layer.
    pub fn with_dm(dm: Arc<dyn Dm>) -> Self {
        Self { dm }
    }

    /// Makes a pool; it is open afterwards.
    pub fn create_pool(&self, request: &CreatePool) -> Result<PoolView, PoolError> {
        create(&self.dm, request)?;
        self.view(request.name.as_str())
    }

    /// Every pool whose labels are on a block device of this machine.
    pub fn pools(&self) -> Result<Vec<PoolView>, PoolError> {
        let scan = scan_labels(&System::default())?;
        scan.pools
            .into_iter()
            .map(|found| inspect::view(&*self.dm, &Located::new(found)?))
            .collect()
    }

    /// A pool by name or uuid.
    pub fn view(&self, pool: &str) -> Result<PoolView, PoolError> {
        inspect::view(&*self.dm, &Located::find(pool)?)
    }

    /// The volumes and snapshots of a pool, open or closed.
    pub fn volumes(&self, pool: &str) -> Result<Vec<VolumeView>, PoolError> {
        inspect::volumes(&*self.dm, &Located::find(pool)?)
    }

    /// Brings a pool into the kernel. With `devices`, only those are considered.
    pub fn open_pool(&self, pool: &str, devices: &[PathBuf]) -> Result<Pool, PoolError> {
        let mut located = Located::find(pool)?;
        located.keep_only(devices)?;
        open::open(&self.dm, &located)
    }

    /// Takes the claim of an open pool.
    pub fn attach(&self, pool: &str) -> Result<Pool, PoolError> {
        open::attach(&self.dm, &Located::find(pool)?)
    }

    /// Takes a pool out of the kernel. Refused while a volume is in use.
    pub fn close_pool(&self, pool: &str) -> Result<(), PoolError> {
        close::close(&self.dm, &Located::find(pool)?)
    }

    /// Takes a pool out of the kernel and marks its disks, for another machine to take it in. Refused
    /// while a volume is in use, or a disk is missing.
    pub fn export_pool(&self, pool: &str) -> Result<PoolView, PoolError> {
        let located = Located::find(pool)?;
        export(&self.dm, &located)?;
        self.view(&located.uuid().to_string())
    }

    /// Makes a pool that was exported one of this machine; it is closed afterwards.
    pub fn import_pool(&self, pool: &str, request: &ImportPool) -> Result<PoolView, PoolError> {
        let mut located = Located::find(pool)?;
        located.keep_only(&request.devices)?;
        import(&self.dm, &located, request.name.as_ref())?;
        self.view(&located.uuid().to_string())
    }

    /// Wipes a pool off its disks.
    pub fn destroy_pool(&self, pool: &str) -> Result<(), PoolError> {
        close::destroy(&self.dm, &Located::find(pool)?)
    }

    /// The catalogue as a file, for [`Engine::restore`].
    pub fn backup(&self, pool: &str) -> Result<Vec<u8>, PoolError> {
        backup(&Located::find(pool)?)
    }

    /// Writes the catalogue of a backup over a closed pool's journal.
    pub fn restore(
        &self,
        pool: &str,
        backup: &[u8],
        accept: Option<TransactionId>,
    ) -> Result<RestoreReport, PoolError> {
        restore(&self.dm, &Located::find(pool)?, backup, accept)
    }

    /// Looks at the dm-thin metadata of a closed pool, and repairs it onto the spare region when asked to.
    pub fn repair(&self, pool: &str, request: RepairRequest) -> Result<RepairReport, PoolError> {
        repair(&self.dm, &Located::find(pool)?, request)
    }

    /// Puts an image of dm-thin metadata in the place of a closed pool's. `progress` gets bytes done and their total.
    pub fn restore_metadata(
        &self,
        pool: &str,
        image: &Path,
        accept_loss: bool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<RestoredMetadata, PoolError> {
        restore_metadata(&self.dm, &Located::find(pool)?, image, accept_loss, progress)
    }

    /// Rebuilds the catalogue of a closed pool whose journal cannot be read.
    pub fn salvage(&self, pool: &str) -> Result<SalvageReport, PoolError> {
        salvage(&self.dm, &Located::find(pool)?)
    }

    /// Checks a pool's metadata, and its catalogue against it. Needs no claim and writes nothing; of an open
    /// pool the counts of references cannot be checked. `progress` gets blocks read and about their total.
    pub fn check(
        &self,
        pool: &str,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<PoolCheck, PoolError> {
        check::check(&*self.dm, &Located::find(pool)?, progress)
    }

    /// What every volume and snapshot of a pool really costs, and what `set` costs together. Needs no
    /// claim. `progress` gets metadata blocks read and about their total.
    pub fn usage(
        &self,
        pool: &str,
        set: &[VolumeName],
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Accounting, PoolError> {
        accounting::usage(&*self.dm, &Located::find(pool)?, set, progress)
    }

    /// Which parts of a pool's data device every volume and snapshot has, in `cells` cells; the `bars` thin devices that
    /// map most each for itself. Needs no claim. `progress` gets metadata blocks read and about their total.
    pub fn map(
        &self,
        pool: &str,
        cells: usize,
        bars: usize,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<PoolMap, PoolError> {
        map::map(&*self.dm, &Located::find(pool)?, (cells, bars), progress)
    }

    /// What differs from volume or snapshot `from` to `to`, or what `to` maps, in a pool that is open or closed. Needs no
    /// claim; all is found when this returns, and nothing is held open for whoever reads the ranges.
    pub fn diff(
        &self,
        pool: &str,
        from: Option<&VolumeName>,
        to: &VolumeName,
    ) -> Result<VolumeDiff, PoolError> {
        diff(&*self.dm, &Located::find(pool)?, from.map(Asked::Name), Asked::Name(to))
    }

    /// The same for volumes and snapshots by their identities, whatever they are called meanwhile.
    pub fn diff_by_uuid(
        &self,
        pool: &str,
        from: Option<Uuid>,
        to: Uuid,
    ) -> Result<VolumeDiff, PoolError> {
        diff(&*self.dm, &Located::find(pool)?, from.map(Asked::Uuid), Asked::Uuid(to))
    }

    /// Copies a pool's dm-thin metadata into a file that `thin_check` and `thin_dump` read.
    pub fn copy_metadata(
        &self,
        pool: &str,
        file: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<CopyReport, PoolError> {
        let fail = |source| PoolError::File { path: file.to_owned(), source };
        let located = Located::find(pool)?;
        let out =
            File::options().write(true).read(true).create_new(true).open(file).map_err(fail)?;
        let copied = copy_metadata(&*self.dm, &located, &out, progress);
        if copied.is_err() {
            let _ = std::fs::remove_file(file);
        }
        copied
    }
}
