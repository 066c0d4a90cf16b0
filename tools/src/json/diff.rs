//! What differs between two volumes, written as it is read: the ranges may be more than memory holds.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::path::Path;

use serde::{Serialize, Serializer};
use thinly_engine::metadata::DiffKind;
use thinly_engine::pool::{ByteRange, PoolError};

/// A comparison.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct DiffJson<'a> {
    pub pool: &'a str,
    pub from: Option<&'a str>,
    pub to: &'a str,
    pub from_bytes: Option<u64>,
    pub to_bytes: u64,
    pub block_bytes: u64,
    pub ranges: Ranges<'a>,
}

/// A comparison of thin devices in an image.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct ImageDiffJson<'a> {
    pub file: &'a Path,
    pub thin1: Option<u32>,
    pub thin2: u32,
    pub block_bytes: u64,
    pub ranges: Ranges<'a>,
}

/// One range of a comparison.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct RangeJson {
    pub offset: u64,
    pub length: u64,
    pub kind: &'static str,
}

/// The ranges of a comparison; they can be written once.
pub struct Ranges<'a> {
    rows: RefCell<&'a mut dyn Iterator<Item = Result<ByteRange, PoolError>>>,
    is_single: bool,
    failure: RefCell<Option<PoolError>>,
}

impl<'a> Ranges<'a> {
    /// `is_single` when there is nothing to compare with.
    pub fn new(
        rows: &'a mut dyn Iterator<Item = Result<ByteRange, PoolError>>,
        is_single: bool,
    ) -> Self {
        Self { rows: RefCell::new(rows), is_single, failure: RefCell::default() }
    }

    /// Why they ended early.
    pub fn into_failure(self) -> Option<PoolError> {
        self.failure.into_inner()
    }
}

impl std::fmt::Debug for Ranges<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ranges").field("is_single", &self.is_single).finish_non_exhaustive()
    }
}

impl Serialize for Ranges<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = self.rows.borrow_mut();
        let rows = std::iter::from_fn(|| match rows.next()? {
            Ok(range) => Some(RangeJson {
                offset: range.offset.get(),
                length: range.length.get(),
                kind: kind_word(range.kind, self.is_single),
            }),
            Err(error) => {
                *self.failure.borrow_mut() = Some(error);
                None
            }
        });
        serializer.collect_seq(rows)
    }
}

/// The word for how a range differs.
pub(crate) const fn kind_word(kind: DiffKind, is_single: bool) -> &'static str {
    match kind {
        _ if is_single => "allocated",
        DiffKind::Added => "added",
        DiffKind::Changed => "changed",
        DiffKind::Removed => "removed",
    }
}
