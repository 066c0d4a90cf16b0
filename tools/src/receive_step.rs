//! `thinly receive-step`: what `thinly receive` changes in the catalogue.
#![forbid(unsafe_code)]

use thinly_engine::pool::{Engine, Pool, ReceiveRequest};
use thinly_engine::units::Bytes;

use crate::args::{ReceiveStep, ReceiveVerb, VolumePath};
use crate::context::Context;
use crate::failure::Failure;
use crate::json::ReceivingJson;
use crate::session::{settle, warn_of_findings};
use crate::volume_command::answer;

pub(crate) fn run(context: Context<'_>, arguments: &ReceiveStep) -> Result<(), Failure> {
    if let Some(held) = context.held {
        return step(context, held, arguments);
    }
    let pool = Engine::new()?.attach(&arguments.volume.pool)?;
    warn_of_findings(context.console, &pool);
    let outcome = step(context, &pool, arguments);
    // A stream does not wait for what deleted volumes held to be freed.
    settle(context.console, pool, false);
    outcome
}

fn step(context: Context<'_>, pool: &Pool, arguments: &ReceiveStep) -> Result<(), Failure> {
    let VolumePath { volume: name, .. } = &arguments.volume;
    let (console, source) = (context.console, arguments.source);
    match arguments.step {
        ReceiveVerb::Begin => {
            let snapshot = arguments.snapshot.clone();
            let request = ReceiveRequest {
                name: name.clone(),
                size: Bytes::new(arguments.size_bytes),
                source,
                base: arguments.base,
                snapshot: snapshot.ok_or_else(|| Failure::Usage("no --snapshot".to_owned()))?,
                start: Bytes::new(arguments.start_bytes),
                resume: arguments.resume,
            };
            let begun = pool.begin_receive(&request)?;
            let value = ReceivingJson {
                device: begun.device,
                snapshot: begun.snapshot.to_string(),
                block_bytes: begun.block_bytes.get(),
                durable_bytes: begun.durable.get(),
            };
            console.answer(&value, || format!("{}\n", value.device.display()))
        }
        ReceiveVerb::Note => {
            pool.note_received(name, source, Bytes::new(arguments.durable_bytes))?;
            answer(console, &pool.volume(name)?)
        }
        ReceiveVerb::Finish => answer(console, &pool.finish_receive(name, source)?),
    }
}
