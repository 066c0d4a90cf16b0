//! `thinly usage`.
#![forbid(unsafe_code)]

use std::cmp::Reverse;

use thinly_engine::pool::{Accounting, Cost, Engine, VolumeUsage};
use thinly_engine::units::Bytes;

use crate::args::{Usage, UsageOrder};
use crate::console::Console;
use crate::failure::Failure;
use crate::json::AccountingJson;
use crate::progress::Progress;
use crate::render;

pub(crate) fn run(console: Console<'_>, arguments: &Usage) -> Result<(), Failure> {
    let engine = Engine::new()?;
    let mut progress = Progress::new("reading metadata", !console.is_json());
    let read = engine.usage(&arguments.pool, &arguments.set, &mut |done, total| {
        progress.update(done, total);
    });
    progress.finish();
    let mut accounting = read?;
    sort(&mut accounting, arguments.sort);
    console.answer(&AccountingJson::from(&accounting), || render::accounting_page(&accounting))
}

/// The engine gives them by name.
fn sort(accounting: &mut Accounting, order: UsageOrder) {
    let by = |volume: &VolumeUsage, of: fn(&Cost) -> Bytes| Reverse(volume.cost.as_ref().map(of));
    match order {
        UsageOrder::Name => {}
        UsageOrder::Exclusive => {
            accounting.volumes.sort_by_key(|volume| by(volume, |cost| cost.exclusive_bytes));
        }
        UsageOrder::Mapped => {
            accounting.volumes.sort_by_key(|volume| by(volume, |cost| cost.mapped_bytes));
        }
    }
}
