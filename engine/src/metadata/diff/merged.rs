//! Blocks in order become ranges.
#![forbid(unsafe_code)]

use super::{DiffKind, DiffRange};
use crate::units::DataBlocks;

/// Takes blocks in ascending order and gives ranges.
pub(super) struct Merged<'a, E> {
    sink: &'a mut dyn FnMut(DiffRange) -> Result<(), E>,
    open: Option<DiffRange>,
}

impl<'a, E> Merged<'a, E> {
    pub(super) fn new(sink: &'a mut dyn FnMut(DiffRange) -> Result<(), E>) -> Self {
        Self { sink, open: None }
    }

    pub(super) fn add(&mut self, block: u64, kind: DiffKind) -> Result<(), E> {
        if let Some(open) = &mut self.open
            && open.kind == kind
            && open.virtual_block.checked_add(open.length.get()) == Some(block)
        {
            open.length = DataBlocks::new(open.length.get() + 1);
            return Ok(());
        }
        let range = DiffRange { virtual_block: block, length: DataBlocks::new(1), kind };
        self.open.replace(range).map_or(Ok(()), &mut self.sink)
    }

    pub(super) fn end(self) -> Result<(), E> {
        self.open.map_or(Ok(()), self.sink)
    }
}
