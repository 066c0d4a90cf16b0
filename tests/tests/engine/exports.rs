//! Pools that are made ready for another machine, and taken in: killed anywhere, and with a disk left behind.

use anyhow::{Context, Result, bail, ensure};
use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::catalogue::PoolName;
use thinly_engine::layout::{Label, LabelState, read_labels, write_labels};
use thinly_engine::pool::{ExitClass, ImportPool, PoolError, PoolState, RepairRequest};
use thinly_tests::mib as mib_bytes;

use crate::kills::strace::{End, attempt, calls_of, picked, run};
use crate::support::{Bed, activate, active, fill, holds, mib, new_pool_name};

/// A closed pool on three disks, with data.
fn three() -> Result<Bed> {
    let bed = Bed::new(&[mib_bytes(160); 3])?;
    let pool = bed.attach()?;
    fill(&active(&pool, "web", mib(64))?, mib(0), mib(8), 0x11)?;
    pool.release()?;
    Ok(bed)
}

fn state_of(bed: &Bed) -> Result<PoolState> {
    Ok(bed.engine.view(&bed.names_uuid()?)?.state)
}

impl Bed {
    /// The pool by what no import changes.
    fn names_uuid(&self) -> Result<String> {
        let label = self.label(0)?;
        Ok(label.pool_uuid.to_string())
    }

    /// One exported label is enough for nobody to open the pool; gives the state that is shown.
    fn assert_nobodys(&self) -> Result<PoolState> {
        self.assert_nothing_suspended()?;
        let uuid = self.names_uuid()?;
        if self.has_exported_label()? {
            let opened = self.engine.open_pool(&uuid, &[]);
            ensure!(matches!(opened, Err(PoolError::Exported { .. })), "{opened:?}");
        }
        let view = self.engine.view(&uuid)?;
        let known = [PoolState::Open, PoolState::Closed, PoolState::Exported];
        ensure!(known.contains(&view.state), "{view:?}");
        Ok(view.state)
    }

    /// The pool is this machine's, of that name everywhere, and whole.
    fn assert_called(&self, name: &str) -> Result<()> {
        let uuid = self.names_uuid()?;
        let pool = match self.engine.attach(&uuid) {
            Err(PoolError::NotOpen { .. }) => self.engine.open_pool(&uuid, &[])?,
            attached => attached?,
        };
        let view = pool.view()?;
        ensure!(pool.identity().name.as_str() == name && view.name.as_str() == name, "{view:?}");
        ensure!(view.problems.is_empty(), "{view:?}");
        ensure!(holds(&activate(&pool, "web")?, mib(0), mib(8), 0x11)?, "data is lost");
        Ok(pool.release()?)
    }

    fn has_exported_label(&self) -> Result<bool> {
        let labels = (0..self.disks.paths().len()).map(|disk| self.label(disk));
        let labels: Vec<Label> = labels.collect::<Result<_>>()?;
        Ok(labels.iter().any(|label| label.state == LabelState::Exported))
    }

    fn label(&self, disk: usize) -> Result<Label> {
        let disk = BlockDevice::open(&partition_of(self, disk), Access::ReadOnly)?;
        read_labels(&disk)?.label().cloned().context("no label")
    }
}

/// The engine puts a partition on a whole disk.
fn partition_of(bed: &Bed, disk: usize) -> std::path::PathBuf {
    let whole = bed.disks[disk].display().to_string();
    let partition = std::path::PathBuf::from(format!("{whole}p1"));
    if partition.exists() { partition } else { whole.into() }
}

fn rename(name: &str) -> Result<ImportPool> {
    Ok(ImportPool { name: Some(PoolName::new(name)?), ..ImportPool::default() })
}

#[test]
fn an_exported_pool_is_nobodys_until_it_is_imported() -> Result<()> {
    let bed = three()?;
    let exported = bed.engine.export_pool(&bed.pool)?;
    ensure!(exported.state == PoolState::Exported && exported.problems.is_empty(), "{exported:?}");
    ensure!(bed.devices()?.is_empty(), "closed");
    let refused = |told: Result<(), PoolError>| match told {
        Err(error @ PoolError::Exported { .. }) => {
            ensure!(error.exit_class() == ExitClass::Refused);
            ensure!(error.to_string().contains("thinly pool import"), "{error}");
            Ok(())
        }
        other => bail!("{other:?}"),
    };
    refused(bed.engine.open_pool(&bed.pool, &[]).map(drop))?;
    refused(bed.engine.attach(&bed.pool).map(drop))?;
    refused(bed.engine.destroy_pool(&bed.pool))?;
    refused(bed.engine.repair(&bed.pool, RepairRequest::default()).map(drop))?;
    ensure!(bed.devices()?.is_empty() && state_of(&bed)? == PoolState::Exported);
    // What only reads goes on.
    ensure!(bed.engine.volumes(&bed.pool)?.len() == 1);
    ensure!(bed.engine.check(&bed.pool, &mut |_, _| {}).is_ok());
    // Again is no mistake: it is how a cut-off export is finished.
    bed.engine.export_pool(&bed.pool)?;
    let imported = bed.engine.import_pool(&bed.pool, &ImportPool::default())?;
    ensure!(imported.state == PoolState::Closed && imported.problems.is_empty(), "{imported:?}");
    let again = bed.engine.import_pool(&bed.pool, &ImportPool::default());
    ensure!(matches!(again, Err(PoolError::NotExported { .. })), "{again:?}");
    let pool = bed.open()?;
    ensure!(holds(&activate(&pool, "web")?, mib(0), mib(8), 0x11)?);
    Ok(pool.release()?)
}

#[test]
fn a_pool_is_imported_whole_or_not_at_all() -> Result<()> {
    let bed = three()?;
    bed.engine.export_pool(&bed.pool)?;
    let uuid = bed.names_uuid()?;
    let saved = bed.label(2)?;
    let disk = BlockDevice::open(&partition_of(&bed, 2), Access::ReadWrite)?;
    thinly_engine::layout::wipe_labels(&disk)?;
    let missing = bed.engine.import_pool(&bed.pool, &rename("other")?);
    ensure!(matches!(missing, Err(PoolError::Incomplete { missing: 1, .. })), "{missing:?}");
    ensure!(bed.label(0)?.state == LabelState::Exported && bed.label(0)?.pool_name == bed.pool);
    write_labels(&disk, &saved)?;
    drop(disk);
    // The name of a pool that is here is refused; nothing changes.
    let other = Bed::new(&[mib_bytes(160)])?;
    let taken = bed.engine.import_pool(&uuid, &rename(&other.pool)?);
    ensure!(matches!(taken, Err(PoolError::ImportNameTaken { .. })), "{taken:?}");
    ensure!(state_of(&bed)? == PoolState::Exported);
    let name = new_pool_name();
    let imported = bed.engine.import_pool(&uuid, &rename(&name)?)?;
    ensure!(imported.name.as_str() == name && imported.problems.is_empty(), "{imported:?}");
    // The name is the catalogue's: it outlives whatever is rebuilt from it.
    let pool = bed.engine.open_pool(&name, &[])?;
    ensure!(pool.identity().name.as_str() == name);
    pool.release()?;
    bed.engine.close_pool(&name)?;
    bed.engine.restore(&name, &bed.engine.backup(&name)?, None)?;
    let pool = bed.engine.open_pool(&name, &[])?;
    ensure!(pool.identity().name.as_str() == name);
    ensure!(holds(&activate(&pool, "web")?, mib(0), mib(8), 0x11)?);
    ensure!(matches!(bed.engine.view(&bed.pool), Err(PoolError::NoPool { .. })));
    Ok(pool.release()?)
}

/// Killed at any call, the pool is this machine's or nobody's, and asking again goes on.
#[test]
fn a_kill_at_any_call_of_export_and_import_is_made_up_for_by_asking_again() -> Result<()> {
    let bed = three()?;
    let uuid = bed.names_uuid()?;
    let own = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let names = [new_pool_name(), new_pool_name()];
    let export = own(&["pool", "export", &uuid]);
    let import = |name: &str| own(&["pool", "import", &uuid, "--name", name]);
    let (exporting, importing) = (calls_of(&export)?, calls_of(&import(&names[0]))?);
    let mut killed = 0;
    for (count, call) in picked(&exporting, 11).enumerate() {
        let end = attempt(&export, call)?;
        killed += usize::from(end == End::Killed);
        let state = bed.assert_nobodys()?;
        ensure!(end == End::Killed || state == PoolState::Exported, "{call:?}: {state:?}");
        run(&export).with_context(|| format!("{call:?}: not again"))?;
        run(&import(&names[count % 2]))?;
        bed.assert_called(&names[count % 2])?;
    }
    for (count, call) in picked(&importing, 17).enumerate() {
        run(&export)?;
        let name = &names[count % 2];
        let end = attempt(&import(name), call)?;
        killed += usize::from(end == End::Killed);
        let state = bed.assert_nobodys()?;
        ensure!(end == End::Killed || state == PoolState::Open, "{call:?}: {state:?}");
        if state == PoolState::Exported {
            run(&import(name)).with_context(|| format!("{call:?}: not again"))?;
        }
        bed.assert_called(name)?;
    }
    ensure!(killed > 1, "{killed} were killed");
    println!(
        "proof kills: operations=2 killed={killed} acknowledged=2 lost=0 leaked=0 suspended=0"
    );
    Ok(())
}
