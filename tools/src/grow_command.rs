//! `thinly pool grow` and `thinly pool set`.
#![forbid(unsafe_code)]

use thinly_engine::catalogue::{AutoExtend, GrowthStep, PoolPolicy};
use thinly_engine::pool::{Engine, GrowPool, Pool};
use thinly_engine::units::Bytes;

use crate::args::{PoolGrow, PoolSet};
use crate::context::Context;
use crate::failure::Failure;
use crate::json::PoolJson;
use crate::render;
use crate::session;

/// By how much a pool is extended when nobody said it.
const STEP: GrowthStep = GrowthStep::Percent(20);

pub(crate) fn grow(context: Context<'_>, arguments: &PoolGrow) -> Result<(), Failure> {
    let request = GrowPool {
        devices: arguments.devices.clone(),
        by: arguments.by,
        metadata_by: arguments.metadata_by.unwrap_or(Bytes::ZERO),
        force: arguments.force,
        raw: arguments.raw,
    };
    let grow = |pool: &Pool| Ok(pool.grow(&request)?);
    session::change(context, &arguments.pool, grow, |_| answer(context, &arguments.pool))
}

pub(crate) fn set(context: Context<'_>, arguments: &PoolSet) -> Result<(), Failure> {
    if arguments.is_empty() {
        return Err(Failure::Usage(
            "nothing to set; name at least one change, as in --auto-extend-at 80".to_owned(),
        ));
    }
    let set = |pool: &Pool| Ok(pool.set_policy(changed(pool.policy(), arguments)?)?);
    session::change(context, &arguments.pool, set, |()| answer(context, &arguments.pool))
}

fn answer(context: Context<'_>, pool: &str) -> Result<(), Failure> {
    let mut pool = Engine::new()?.view(pool)?;
    if context.held.is_none() {
        // This very process, which is about to let go.
        pool.writer = pool.writer.filter(|process| *process != std::process::id());
    }
    context.console.answer(&PoolJson::from(&pool), || render::pool_page(&pool))
}

/// The policy with what was asked for; the rest stays.
fn changed(policy: PoolPolicy, asked: &PoolSet) -> Result<PoolPolicy, Failure> {
    let auto_extend = match (asked.auto_extend_at, policy.auto_extend) {
        (Some(share), before) => share.0.map(|at_percent| AutoExtend {
            at_percent,
            by: before.map_or(STEP, |auto| auto.by),
            data_max: before.and_then(|auto| auto.data_max),
        }),
        (None, before) => before,
    };
    let needs_extension = asked.auto_extend_by.is_some() || asked.auto_extend_max.is_some();
    if auto_extend.is_none() && needs_extension {
        return Err(Failure::Usage(
            "--auto-extend-by and --auto-extend-max say how a pool is extended, and it is not; give --auto-extend-at PERCENT as well".to_owned(),
        ));
    }
    let auto_extend = auto_extend.map(|auto| AutoExtend {
        by: asked.auto_extend_by.unwrap_or(auto.by),
        data_max: asked.auto_extend_max.map_or(auto.data_max, |limit| limit.0),
        ..auto
    });
    Ok(PoolPolicy {
        auto_extend,
        reserve: asked.reserve.unwrap_or(policy.reserve),
        on_full: asked.on_full.map_or(policy.on_full, Into::into),
        admit_data_percent: asked.admit_data.map_or(policy.admit_data_percent, |share| share.0),
        admit_metadata_percent: asked
            .admit_metadata
            .map_or(policy.admit_metadata_percent, |share| share.0),
        overcommit_metadata: asked.overcommit_metadata.unwrap_or(policy.overcommit_metadata),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command, PoolVerb};

    fn after(policy: PoolPolicy, line: &str) -> Result<PoolPolicy, String> {
        let words = ["thinly", "pool", "set", "p"].into_iter().chain(line.split(' '));
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        let Command::Pool { verb: PoolVerb::Set(asked) } = &cli.command else { panic!() };
        changed(policy, asked).map_err(|failure| failure.message())
    }

    #[test]
    fn what_is_not_named_stays() {
        let policy = after(PoolPolicy::default(), "--auto-extend-at 80").unwrap();
        let auto = policy.auto_extend.unwrap();
        assert_eq!((auto.at_percent, auto.by, auto.data_max), (80, STEP, None));
        let policy =
            after(policy, "--auto-extend-by 1G --auto-extend-max 1T --reserve 5G").unwrap();
        let policy = after(policy, "--admit-data 95 --on-full error").unwrap();
        let auto = policy.auto_extend.unwrap();
        assert_eq!((auto.at_percent, auto.by), (80, GrowthStep::Bytes(Bytes::new(1 << 30))));
        assert_eq!(policy.reserve, Bytes::new(5 << 30));
        assert_eq!(policy.admit_data_percent, Some(95));
        let off = after(policy, "--auto-extend-at off --admit-data off").unwrap();
        assert_eq!((off.auto_extend, off.admit_data_percent), (None, None));
        assert_eq!(off.reserve, policy.reserve);
    }

    #[test]
    fn a_step_without_an_extension_is_refused() {
        let refused = after(PoolPolicy::default(), "--auto-extend-by 1G").unwrap_err();
        assert!(refused.contains("--auto-extend-at"), "{refused}");
        assert!(after(PoolPolicy::default(), "--auto-extend-at 100").is_err());
    }
}
