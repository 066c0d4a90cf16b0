//! What a verb runs with.
#![forbid(unsafe_code)]

use thinly_engine::pool::Pool;

use crate::console::Console;

/// Where a verb answers, and the pool that it changes, where this process holds it already.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) console: Console<'a>,
    /// Without one, the verb takes the claim of the pool that it names.
    pub(crate) held: Option<&'a Pool>,
}

impl<'a> Context<'a> {
    /// Of a command that runs by itself.
    pub(crate) const fn alone(console: Console<'a>) -> Self {
        Self { console, held: None }
    }

    /// Of a command that runs in the process that holds its pool.
    pub(crate) const fn within(console: Console<'a>, pool: &'a Pool) -> Self {
        Self { console, held: Some(pool) }
    }
}
