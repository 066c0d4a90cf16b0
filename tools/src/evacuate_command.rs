//! `thinly pool evacuate`.
#![forbid(unsafe_code)]

use thinly_engine::pool::{EvacuateDevice, Pool};

use crate::args::PoolEvacuate;
use crate::context::Context;
use crate::failure::Failure;
use crate::json::EvacuatedJson;
use crate::progress::Progress;
use crate::render;
use crate::session::change;

pub(crate) fn run(context: Context<'_>, arguments: &PoolEvacuate) -> Result<(), Failure> {
    let request = EvacuateDevice {
        device: arguments.device.clone(),
        onto: arguments.onto.clone(),
        force: arguments.force,
        raw: arguments.raw,
    };
    let evacuate = |pool: &Pool| {
        let mut progress = Progress::new("moving, MiB", !context.console.is_json());
        let mut show = |done: u64, total: u64| progress.update(done >> 20, total >> 20);
        let evacuated = pool.evacuate(&request, &mut show);
        progress.finish();
        Ok(EvacuatedJson::from(&evacuated?))
    };
    change(context, &arguments.pool, evacuate, |value| {
        if !value.wiped {
            let path = value.path.display();
            context.console.warn(&format!(
                "{path} left the pool and could not be wiped: it still carries a label; detach it"
            ));
        }
        context.console.answer(value, || render::evacuated(value))
    })
}
