//! `thinly diff`.
#![forbid(unsafe_code)]

use thinly_engine::catalogue::VolumeName;
use thinly_engine::pool::{ByteRange, Engine, PoolError, VolumeDiff};
use thinly_engine::units::Bytes;

use crate::args::Diff;
use crate::console::Console;
use crate::failure::Failure;
use crate::json::{DiffJson, Ranges};
use crate::render::DiffPage;

pub(crate) fn run(console: Console<'_>, arguments: &Diff) -> Result<(), Failure> {
    let (first, second) = (&arguments.first, arguments.second.as_ref());
    if let Some(second) = second.filter(|second| second.pool != first.pool) {
        return Err(Failure::Usage(format!(
            "{first} and {second} are not of the same pool, so nothing is shared and all differs; \
             name two of one pool"
        )));
    }
    let (from, to) = match second {
        Some(second) => (Some(&first.volume), &second.volume),
        None => (None, &first.volume),
    };
    let found = Engine::new()?.diff(&first.pool, from, to)?;
    if !console.is_json() {
        return tell(console, found.block_bytes, from.is_none(), found.ranges);
    }
    let VolumeDiff { pool, block_bytes, from_bytes, to_bytes, mut ranges, .. } = found;
    let answer = DiffJson {
        pool: pool.as_str(),
        from: from.map(VolumeName::as_str),
        to: to.as_str(),
        from_bytes: from_bytes.map(Bytes::get),
        to_bytes: to_bytes.get(),
        block_bytes: block_bytes.get(),
        ranges: Ranges::new(&mut ranges, from.is_none()),
    };
    console.stream(&answer)?;
    answer.ranges.into_failure().map_or(Ok(()), |error| Err(error.into()))
}

/// Line by line, and what it comes to.
pub(crate) fn tell(
    console: Console<'_>,
    block_bytes: Bytes,
    is_single: bool,
    ranges: impl Iterator<Item = Result<ByteRange, PoolError>>,
) -> Result<(), Failure> {
    let mut page = DiffPage::new(is_single);
    console.write_answer(DiffPage::HEAD)?;
    let mut lines = String::new();
    for range in ranges {
        lines.push_str(&page.line(range?));
        if lines.len() > 1 << 16 {
            console.write_answer(&std::mem::take(&mut lines))?;
        }
    }
    lines.push_str(&page.end(block_bytes));
    console.write_answer(&lines)
}
