//! What differs between two volumes, for people.
#![forbid(unsafe_code)]

use thinly_engine::metadata::DiffKind;
use thinly_engine::pool::ByteRange;
use thinly_engine::units::Bytes;

use crate::json::kind_word;
use crate::size::human;

/// The lines of a comparison, made one by one, and their sums.
#[derive(Debug)]
pub struct DiffPage {
    is_single: bool,
    sums: [(DiffKind, u64, u64); 3],
}

impl DiffPage {
    /// The first line.
    pub const HEAD: &str = "              OFFSET      LENGTH  KIND\n";

    /// `is_single` when there is nothing to compare with.
    pub const fn new(is_single: bool) -> Self {
        let sums = [(DiffKind::Added, 0, 0), (DiffKind::Changed, 0, 0), (DiffKind::Removed, 0, 0)];
        Self { is_single, sums }
    }

    /// The line of one range.
    pub fn line(&mut self, range: ByteRange) -> String {
        for (kind, count, sum) in &mut self.sums {
            if *kind == range.kind {
                *count += 1;
                *sum += range.length.get();
            }
        }
        let kind = kind_word(range.kind, self.is_single);
        format!("{:>20}  {:>10}  {kind}\n", range.offset.get(), human(range.length))
    }

    /// The sums.
    pub fn end(&self, block: Bytes) -> String {
        let shown =
            |(kind, _, _): &&(DiffKind, u64, u64)| !self.is_single || *kind == DiffKind::Added;
        let sums = self.sums.iter().filter(shown).map(|(kind, count, sum)| {
            let ranges = if *count == 1 { "range" } else { "ranges" };
            let kind = kind_word(*kind, self.is_single);
            format!("{kind} {} in {count} {ranges}", human(Bytes::new(*sum)))
        });
        let sums: Vec<String> = sums.collect();
        format!("{}; blocks of {}\n", sums.join(", "), human(block))
    }
}
