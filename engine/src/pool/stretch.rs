//! A linear that becomes longer under those who use it.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::error::PoolError;
use super::located::Located;
use super::suspended::Suspended;
use crate::dm::{Dm, DmName, TableLine, TableSlot, Target};
use crate::layout::LinearSegment;
use crate::plan::linear_table;

/// Makes a live linear as long as these segments; does nothing where it is.
///
/// A table that is not the beginning of the new one is a stranger's and is refused: data would lie
/// elsewhere after the swap.
pub(super) fn stretch_linear(
    dm: &Arc<dyn Dm>,
    located: &Located,
    name: &DmName,
    segments: &[LinearSegment],
) -> Result<(), PoolError> {
    let bad = |problem: String| PoolError::BadLabels { pool: located.found.name.clone(), problem };
    let table = linear_table(segments, |device| located.number_of(device))
        .ok_or_else(|| bad(format!("a disk under {name} is missing; attach it and try again")))?;
    let live = dm.table(name, TableSlot::Live)?;
    if live == table {
        return Ok(());
    }
    if !begins_with(&table, &live) {
        return Err(bad(format!(
            "{name} has another table in the kernel than the catalogue describes; compare \
             `thinly dm table {name}` with `thinly pool show`"
        )));
    }
    dm.load(name, &table, false)?;
    let swapped = Suspended::pause(dm, name.clone()).and_then(Suspended::resume);
    if swapped.is_err() {
        let _ = dm.clear(name);
    }
    Ok(swapped?)
}

/// Whether a longer table serves every sector of a shorter one from the same place.
pub(super) fn begins_with(longer: &[TableLine], shorter: &[TableLine]) -> bool {
    let Some((last, whole)) = shorter.split_last() else { return true };
    let Some(beside) = longer.get(whole.len()) else { return false };
    longer.starts_with(whole)
        && matches!(last.target, Target::Linear(_))
        && (beside.start, &beside.target) == (last.start, &last.target)
        && beside.length >= last.length
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block_device::DeviceNumber;
    use crate::dm::{DeviceReference, LinearTable};
    use crate::units::Sectors;

    fn table(runs: &[(u32, u64, u64)]) -> Vec<TableLine> {
        let mut start = 0;
        let mut lines = Vec::new();
        for (minor, offset, length) in runs {
            let device = DeviceReference::from(DeviceNumber { major: 8, minor: *minor });
            let target = Target::Linear(LinearTable { device, offset: Sectors::new(*offset) });
            let (begin, length) = (Sectors::new(start), Sectors::new(*length));
            lines.push(TableLine { start: begin, length, target });
            start += length.get();
        }
        lines
    }

    #[test]
    fn only_more_of_the_same_is_a_longer_table() {
        let old = table(&[(1, 0, 100), (2, 50, 30)]);
        for (longer, is_taken) in [
            (table(&[(1, 0, 100), (2, 50, 30)]), true),
            (table(&[(1, 0, 100), (2, 50, 31)]), true),
            (table(&[(1, 0, 100), (2, 50, 30), (3, 0, 8)]), true),
            (table(&[(1, 0, 100), (2, 50, 29), (3, 0, 8)]), false),
            (table(&[(1, 0, 101), (2, 50, 30)]), false),
            (table(&[(1, 0, 100), (2, 58, 30)]), false),
            (table(&[(1, 0, 100), (3, 50, 30)]), false),
            (table(&[(2, 0, 100), (2, 50, 30)]), false),
            (table(&[(1, 0, 100)]), false),
            (table(&[]), false),
        ] {
            assert_eq!(begins_with(&longer, &old), is_taken, "{longer:?}");
        }
        assert!(begins_with(&old, &[]));
    }
}
