//! `thinly volume trim`.
#![forbid(unsafe_code)]

use thinly_engine::pool::Pool;
use thinly_engine::units::Bytes;

use crate::args::VolumeTrim;
use crate::context::Context;
use crate::failure::Failure;
use crate::json::TrimJson;
use crate::progress::Progress;
use crate::render;
use crate::session::change;

pub(crate) fn run(context: Context<'_>, arguments: &VolumeTrim) -> Result<(), Failure> {
    let path = &arguments.volume;
    let operation = |pool: &Pool| {
        let title = if arguments.zero_detect { "reading, MiB" } else { "trimming, MiB" };
        let mut progress = Progress::new(title, !context.console.is_json());
        let mut show = |done: Bytes, total: Bytes| {
            progress.update(done.get() >> 20, total.get() >> 20);
        };
        let trimmed = if arguments.zero_detect {
            let report = pool.discard_zeros(&path.volume, &mut show);
            report.map(|report| TrimJson::of_zeros(path.volume.as_str(), &report))
        } else {
            let report = pool.trim(&path.volume, &mut show);
            report.map(|report| TrimJson::of_filesystem(path.volume.as_str(), &report))
        };
        progress.finish();
        Ok(trimmed?)
    };
    change(context, &path.pool, operation, |value| {
        context.console.answer(value, || render::trim(path, value))
    })
}
