//! What the process that holds a pool did.
#![forbid(unsafe_code)]

use super::{nothing, table};
use crate::json::OperationJson;

/// One line per operation.
pub fn operation_table(operations: &[OperationJson]) -> String {
    let rows = operations.iter().map(|operation| {
        vec![
            operation.ended_at.as_deref().map_or_else(nothing, moment),
            operation.operation.clone(),
            operation.subject.clone().unwrap_or_else(nothing),
            duration(operation.duration_seconds),
            operation.outcome.clone(),
        ]
    });
    table(&["ENDED", "OPERATION", "ON", "TOOK", "OUTCOME"], &[3], rows)
}

/// To the second, as everywhere in tables.
fn moment(rfc3339: &str) -> String {
    rfc3339.split('.').next().unwrap_or_default().replace('T', " ")
}

/// How long something took, with three digits that matter.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{:.1} ms", seconds * 1000.0)
    } else if seconds < 60.0 {
        format!("{seconds:.2} s")
    } else {
        format!("{:.1} min", seconds / 60.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_what_matters() {
        for (seconds, text) in
            [(0.0, "0.0 ms"), (0.0042, "4.2 ms"), (1.234, "1.23 s"), (90.0, "1.5 min")]
        {
            assert_eq!(duration(seconds), text);
        }
    }
}
