//! `thinly pool check` and `thinly image check`.
#![forbid(unsafe_code)]

use std::path::Path;

use thinly_engine::metadata::{CheckReport, Severity, check_closed, open_offline};
use thinly_engine::pool::{CatalogueFinding, Engine, PoolError};

use crate::console::Console;
use crate::failure::Failure;
use crate::json::{CheckJson, FindingJson};
use crate::progress::Progress;
use crate::render;

/// Checks a pool of this machine.
pub(crate) fn pool(console: Console<'_>, pool: &str) -> Result<(), Failure> {
    let engine = Engine::new()?;
    let mut progress = Progress::new("checking metadata", !console.is_json());
    let checked = engine.check(pool, &mut |done, total| progress.update(done, total));
    progress.finish();
    let checked = checked?;
    answer(console, pool, &checked.metadata, &checked.catalogue)
}

/// Checks metadata that no pool uses.
pub(crate) fn image(console: Console<'_>, path: &Path) -> Result<(), Failure> {
    let source = open_offline(path).map_err(PoolError::from)?;
    let mut progress = Progress::new("checking metadata", !console.is_json());
    let checked = check_closed(&*source, &mut |done, total| progress.update(done, total));
    progress.finish();
    answer(console, &path.display().to_string(), &checked.map_err(PoolError::from)?, &[])
}

/// Answers first: what was found is the answer, and the exit code only sums it up.
fn answer(
    console: Console<'_>,
    name: &str,
    report: &CheckReport,
    catalogue: &[CatalogueFinding],
) -> Result<(), Failure> {
    let found = report.findings.iter().map(FindingJson::from);
    let mut findings: Vec<FindingJson> =
        found.chain(catalogue.iter().map(FindingJson::from)).collect();
    // The worst first; those of the same severity stay in the order of the reading.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.rank));
    let worst = report.worst().max(catalogue.iter().map(CatalogueFinding::severity).max());
    let value = CheckJson::new(name, report, worst, findings);
    console.answer(&value, || render::check_page(&value))?;
    match worst {
        Some(Severity::Error) => Err(Failure::CheckDamaged { name: name.to_owned() }),
        Some(Severity::Warning) => Err(Failure::CheckWarned { name: name.to_owned() }),
        Some(Severity::Note) | None => Ok(()),
    }
}
