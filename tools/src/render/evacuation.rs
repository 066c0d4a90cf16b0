//! What left a pool with a device.
#![forbid(unsafe_code)]

use thinly_engine::units::Bytes;

use crate::json::EvacuatedJson;
use crate::size::human;

/// One line.
pub fn evacuated(value: &EvacuatedJson) -> String {
    let moved = human(Bytes::new(value.moved_bytes));
    let milliseconds = value.longest_pause_seconds * 1000.0;
    let path = value.path.display();
    format!(
        "{path} left the pool; {moved} were moved, the longest pause was {milliseconds:.0} ms\n"
    )
}
