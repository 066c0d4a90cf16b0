//! Where power may go: after every entry that made something durable.

use std::ops::Range;

use super::format::LogEntry;

/// A moment between two durable states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary {
    /// So many entries of the log are durable, the marks that follow at once among them.
    pub durable: usize,
    /// What was written after them and made durable by the next boundary: any part of it may be
    /// on the disk.
    pub pending: Range<usize>,
}

/// Every moment of a log, oldest first. What follows the last flush belongs to the last one.
pub fn boundaries(entries: &[LogEntry]) -> Vec<Boundary> {
    let mut ends = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        // A flush that carries data comes before its data.
        if entry.is_flush() && entry.changes_disk() {
            ends.push(index);
        }
        if entry.is_forced() || (entry.is_flush() && !entry.changes_disk()) {
            ends.push(index + 1);
        }
    }
    ends.dedup();
    let next_ends = ends.iter().skip(1).copied().chain([entries.len()]);
    let pairs: Vec<(usize, usize)> = ends.iter().copied().zip(next_ends).collect();
    let boundary = |(end, next): (usize, usize)| {
        let marks = entries[end..next].iter().take_while(|entry| entry.mark.is_some()).count();
        Boundary { durable: end + marks, pending: end + marks..next }
    };
    pairs.into_iter().map(boundary).collect()
}

#[cfg(test)]
mod tests {
    use super::super::format::testing::{Line, log_of};
    use super::*;

    fn of(lines: &[Line]) -> Vec<(usize, Range<usize>)> {
        let found = boundaries(log_of(lines).entries());
        found.into_iter().map(|boundary| (boundary.durable, boundary.pending)).collect()
    }

    #[test]
    fn a_boundary_is_where_something_became_durable() {
        let write = || Line::Write(0, 1, 1);
        assert_eq!(of(&[write(), write()]), [], "nothing ever was");
        let lines = [write(), Line::Flush, write(), write(), Line::Flush];
        assert_eq!(of(&lines), [(2, 2..5), (5, 5..5)]);
        let lines = [Line::Forced(0, 1, 1), write(), Line::Forced(1, 1, 1)];
        assert_eq!(of(&lines), [(1, 1..3), (3, 3..3)]);
        // The flush is before the data that it carries.
        let lines = [write(), Line::FlushWith(0, 1, 1), Line::Flush];
        assert_eq!(of(&lines), [(1, 1..3), (3, 3..3)]);
    }

    #[test]
    fn marks_belong_to_the_state_that_they_were_set_in() {
        let lines = [
            Line::Write(0, 1, 1),
            Line::Flush,
            Line::Mark("ack"),
            Line::Mark("begin"),
            Line::Write(0, 2, 1),
            Line::Flush,
            Line::Mark("ack"),
        ];
        assert_eq!(of(&lines), [(4, 4..6), (7, 7..7)]);
    }
}
