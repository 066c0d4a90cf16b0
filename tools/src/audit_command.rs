//! `thinly audit`.
#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::path::Path;
use std::thread;
use std::time::Duration;

use thinly_cluster::handles::Kept;
use thinly_cluster::{Access, handles};
use thinly_engine::pool::{Engine, PoolView, VolumeView};

use crate::args::Audit as Arguments;
use crate::audit::{Audit, Handles, Malformed};
use crate::console::Console;
use crate::failure::Failure;
use crate::file;
use crate::handles::parse_handles;
use crate::json::AuditJson;
use crate::render;

/// What is being made or deleted has its object, or lost it, by then.
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);

pub(crate) fn run(console: Console<'_>, arguments: &Arguments) -> Result<(), Failure> {
    let (name, audit) = match &arguments.handles {
        Some(file) => compare_with_list(arguments, file)?,
        None => compare_with_cluster(console, arguments)?,
    };
    console.answer(&AuditJson::new(&name, &audit), || render::audit_page(&name, &audit))?;
    if audit.agrees() {
        return Ok(());
    }
    let dangling = audit.dangling.len() + audit.malformed.len();
    Err(Failure::Differs { pool: name, unnamed: audit.unnamed.len(), dangling })
}

fn compare_with_list(arguments: &Arguments, file: &Path) -> Result<(String, Audit), Failure> {
    let bytes = if file.as_os_str() == "-" { read_input(file)? } else { file::read(file)? };
    let handles = parse_handles(&bytes)
        .map_err(|source| Failure::HandleList { file: file.to_owned(), source })?;
    let (pool, volumes) = look(&arguments.pool)?;
    let audit = Audit::of(pool.uuid, &volumes, &handles);
    Ok((pool.name.as_str().to_owned(), audit))
}

/// Both change while they are looked at: a volume is made a moment before its PersistentVolume, and
/// goes a moment before it. So the cluster is asked before the pool is looked at and, where they
/// differ, behind it once more. What is amiss both times is a difference.
fn compare_with_cluster(
    console: Console<'_>,
    arguments: &Arguments,
) -> Result<(String, Audit), Failure> {
    let access = Access::Person {
        kubeconfig: arguments.kubeconfig.clone(),
        context: arguments.context.clone(),
    };
    let ask = || ask(&access, &arguments.driver_name);
    let before = ask()?;
    let (pool, volumes) = look(&arguments.pool)?;
    let compare = |(handles, malformed): (Handles, Vec<Malformed>)| Audit {
        malformed,
        ..Audit::of(pool.uuid, &volumes, &handles)
    };
    let mut audit = compare(before);
    if !audit.agrees() {
        console.hint("pool and cluster differ; the cluster is asked once more in a few seconds");
        thread::sleep(BETWEEN_LOOKS);
        let first = std::mem::replace(&mut audit, compare(ask()?));
        audit.keep_common(&first);
    }
    Ok((pool.name.as_str().to_owned(), audit))
}

fn look(name: &str) -> Result<(PoolView, Vec<VolumeView>), Failure> {
    let engine = Engine::new()?;
    let pool = engine.view(name)?;
    // By its uuid: between the two looks another pool may get the name.
    let volumes = engine.volumes(&pool.uuid.to_string())?;
    Ok((pool, volumes))
}

/// The cluster's handles, and what stands where one should. Two objects with one handle would both use it.
fn ask(access: &Access, driver: &str) -> Result<(Handles, Vec<Malformed>), Failure> {
    let (mut known, mut malformed) = (Handles::new(), Vec::new());
    for kept in handles::read(access, driver)? {
        let Kept { object, handle } = kept;
        let also = match handle.parse() {
            Ok(id) => match known.insert(id, Some(object.clone())) {
                Some(also) => also,
                None => continue,
            },
            Err(_) => None,
        };
        malformed.push(Malformed { object, handle, also });
    }
    Ok((known, malformed))
}

fn read_input(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).map_err(|source| Failure::File {
        action: "read",
        path: file.to_owned(),
        source,
    })?;
    Ok(bytes)
}
