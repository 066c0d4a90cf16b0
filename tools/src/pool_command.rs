//! `thinly pool ...`.
#![forbid(unsafe_code)]

use std::time::Duration;

use thinly_engine::pool::{CreatePool, Engine, ImportPool, Pool, PoolView, RepairRequest};
use thinly_engine::units::TransactionId;

use crate::args::{
    PoolBackup, PoolCheck, PoolCopyMetadata, PoolCreate, PoolDestroy, PoolImport, PoolOpen,
    PoolRemoveOrphan, PoolRepair, PoolRestore, PoolRestoreMetadata, PoolVerb,
};
use crate::check_command;
use crate::console::Console;
use crate::context::Context;
use crate::evacuate_command;
use crate::failure::Failure;
use crate::file;
use crate::grow_command;
use crate::json::{FileJson, PoolJson, RepairJson, SalvagedJson};
use crate::progress::Progress;
use crate::render;
use crate::session;
use crate::wait::open_within;

pub(crate) fn run(context: Context<'_>, verb: &PoolVerb) -> Result<(), Failure> {
    let console = context.console;
    match verb {
        PoolVerb::Create(arguments) => create(console, arguments),
        PoolVerb::List => list(console),
        PoolVerb::Show(target) => answer(console, Engine::new()?.view(&target.pool)?),
        PoolVerb::Check(PoolCheck { image: Some(image), .. }) => {
            check_command::image(console, image)
        }
        PoolVerb::Check(arguments) => {
            check_command::pool(console, arguments.pool.as_deref().unwrap_or_default())
        }
        PoolVerb::Backup(arguments) => backup(console, arguments),
        PoolVerb::Restore(arguments) => restore(console, arguments),
        PoolVerb::Salvage(target) => salvage(console, &target.pool),
        PoolVerb::Open(arguments) => open(console, arguments),
        PoolVerb::Close(target) => close(console, &target.pool),
        PoolVerb::Export(target) => answer(console, Engine::new()?.export_pool(&target.pool)?),
        PoolVerb::Import(arguments) => import(console, arguments),
        PoolVerb::Grow(arguments) => grow_command::grow(context, arguments),
        PoolVerb::Evacuate(arguments) => evacuate_command::run(context, arguments),
        PoolVerb::Set(arguments) => grow_command::set(context, arguments),
        PoolVerb::Destroy(arguments) => destroy(console, arguments),
        PoolVerb::Repair(arguments) => repair(console, arguments),
        PoolVerb::RestoreMetadata(arguments) => restore_metadata(console, arguments),
        PoolVerb::RemoveOrphan(arguments) => remove_orphan(context, arguments),
        PoolVerb::CopyMetadata(arguments) => copy_metadata(console, arguments),
    }
}

/// The note of the last writer may still name this very process, which has let go by now.
fn answer(console: Console<'_>, mut pool: PoolView) -> Result<(), Failure> {
    pool.writer = pool.writer.filter(|process| *process != std::process::id());
    console.answer(&PoolJson::from(&pool), || render::pool_page(&pool))
}

fn create(console: Console<'_>, arguments: &PoolCreate) -> Result<(), Failure> {
    let pool = Engine::new()?.create_pool(&CreatePool {
        name: arguments.name.clone(),
        devices: arguments.devices.clone(),
        metadata_device: arguments.metadata.clone(),
        block_size: arguments.block_size,
        metadata_size: arguments.metadata_size,
        data_size: arguments.data_size,
        force: arguments.force,
        raw: arguments.raw,
    })?;
    answer(console, pool)
}

fn list(console: Console<'_>) -> Result<(), Failure> {
    let pools = Engine::new()?.pools()?;
    if pools.is_empty() {
        console.hint("no pools found; make one with `thinly pool create NAME DEVICE`");
    }
    let values: Vec<PoolJson> = pools.iter().map(PoolJson::from).collect();
    console.answer(&values, || render::pool_table(&pools))
}

fn backup(console: Console<'_>, arguments: &PoolBackup) -> Result<(), Failure> {
    file::refuse_existing(&arguments.file)?;
    let bytes = Engine::new()?.backup(&arguments.pool)?;
    file::write_new(&arguments.file, &bytes)?;
    let value = FileJson {
        pool: arguments.pool.clone(),
        file: arguments.file.clone(),
        file_bytes: bytes.len() as u64,
    };
    console.answer(&value, || {
        format!("catalogue of pool {} saved to {}\n", value.pool, value.file.display())
    })
}

fn restore(console: Console<'_>, arguments: &PoolRestore) -> Result<(), Failure> {
    let bytes = file::read(&arguments.file)?;
    let accept = arguments.accept_transaction_id.map(TransactionId::new);
    let engine = Engine::new()?;
    let report = engine.restore(&arguments.pool, &bytes, accept)?;
    for finding in &report.findings {
        console.warn(&finding.to_string());
    }
    answer(console, engine.view(&arguments.pool)?)
}

fn salvage(console: Console<'_>, pool: &str) -> Result<(), Failure> {
    let report = Engine::new()?.salvage(pool)?;
    let values: Vec<SalvagedJson> = report.volumes.iter().map(SalvagedJson::from).collect();
    console.answer(&values, || render::salvage_table(&report.volumes))
}

fn open(console: Console<'_>, arguments: &PoolOpen) -> Result<(), Failure> {
    let engine = Engine::new()?;
    let patience = Duration::from_secs(arguments.wait.unwrap_or(0));
    let (name, devices) = (&arguments.pool, &arguments.devices);
    let (pool, _) = open_within(&engine, name, devices, patience, false, &mut |missing| {
        console.warn(&format!("waiting: {missing}"));
    })?;
    session::warn_of_findings(console, &pool);
    session::settle(console, pool, true);
    answer(console, engine.view(&arguments.pool)?)
}

fn close(console: Console<'_>, pool: &str) -> Result<(), Failure> {
    let engine = Engine::new()?;
    engine.close_pool(pool)?;
    answer(console, engine.view(pool)?)
}

fn import(console: Console<'_>, arguments: &PoolImport) -> Result<(), Failure> {
    let engine = Engine::new()?;
    let request = ImportPool { devices: arguments.devices.clone(), name: arguments.name.clone() };
    let imported = engine.import_pool(&arguments.pool, &request)?;
    if arguments.no_open {
        return answer(console, imported);
    }
    let uuid = imported.uuid.to_string();
    let pool = engine.open_pool(&uuid, &arguments.devices)?;
    session::warn_of_findings(console, &pool);
    session::settle(console, pool, true);
    answer(console, engine.view(&uuid)?)
}

fn destroy(console: Console<'_>, arguments: &PoolDestroy) -> Result<(), Failure> {
    if !arguments.yes {
        let pool = &arguments.pool;
        return Err(Failure::NotConfirmed(format!(
            "destroying pool {pool:?} deletes all its volumes and snapshots"
        )));
    }
    let engine = Engine::new()?;
    let value = PoolJson::from(&engine.view(&arguments.pool)?).destroyed();
    engine.destroy_pool(&arguments.pool)?;
    console.answer(&value, || format!("pool {} is destroyed\n", value.name))
}

fn repair(console: Console<'_>, arguments: &PoolRepair) -> Result<(), Failure> {
    let PoolRepair { yes: apply, accept_loss, leaks, .. } = *arguments;
    let request = RepairRequest { apply, accept_loss, leaks };
    let report = Engine::new()?.repair(&arguments.pool, request)?;
    let value = RepairJson::new(&arguments.pool, &report);
    console.answer(&value, || render::repair_page(&arguments.pool, &report))
}

fn restore_metadata(console: Console<'_>, arguments: &PoolRestoreMetadata) -> Result<(), Failure> {
    let pool = &arguments.pool;
    if !arguments.yes {
        return Err(Failure::NotConfirmed(format!(
            "restoring the metadata of pool {pool:?} gives up what was written since the image was made,"
        )));
    }
    let engine = Engine::new()?;
    let mut progress = Progress::new("restoring metadata", !console.is_json());
    let restored = engine.restore_metadata(
        pool,
        &arguments.file,
        arguments.accept_loss,
        &mut |done, total| progress.update(done, total),
    );
    progress.finish();
    for volume in restored?.lost {
        console.warn(&format!("volume {volume} is not in the image"));
    }
    answer(console, engine.view(pool)?)
}

fn remove_orphan(context: Context<'_>, arguments: &PoolRemoveOrphan) -> Result<(), Failure> {
    let id = arguments.thin_id;
    if !arguments.yes {
        return Err(Failure::NotConfirmed(format!(
            "removing thin id {id} deletes whatever it holds, which may be another tool's data,"
        )));
    }
    let remove = |pool: &Pool| Ok(pool.bury_orphan(id)?);
    session::change(context, &arguments.pool, remove, |()| Ok(()))?;
    answer(context.console, Engine::new()?.view(&arguments.pool)?)
}

fn copy_metadata(console: Console<'_>, arguments: &PoolCopyMetadata) -> Result<(), Failure> {
    file::refuse_existing(&arguments.file)?;
    let engine = Engine::new()?;
    let mut progress = Progress::new("copying metadata", !console.is_json());
    let copied = engine.copy_metadata(&arguments.pool, &arguments.file, &mut |done, total| {
        progress.update(done, total);
    });
    progress.finish();
    if let Some(damage) = copied?.damage {
        console.warn(&format!("the metadata is damaged, and so is the copy: {damage}"));
    }
    let file_bytes = std::fs::metadata(&arguments.file)
        .map_err(|source| Failure::File { action: "read", path: arguments.file.clone(), source })?
        .len();
    let value = FileJson { pool: arguments.pool.clone(), file: arguments.file.clone(), file_bytes };
    console.answer(&value, || {
        format!("metadata of pool {} copied to {}\n", value.pool, value.file.display())
    })
}
