//! The mappings of a pool as text, in the XML of `thin_dump`, which `thin_restore` reads.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use super::btree::{Visitor, walk};
use super::details::{DeviceDetails, list_devices};
use super::error::{KeyRange, MetadataError, Tree};
use super::mappings::{TIME_BITS, device_roots};
use super::node::Node;
use super::source::BlockSource;
use super::superblock::Superblock;
use crate::units::{DataBlocks, ThinId};

/// What to dump.
#[derive(Debug, Clone)]
pub struct DumpRequest<'a> {
    /// The live superblock, or the held one.
    pub superblock: &'a Superblock,
    /// How long the data device is; only the live superblock knows.
    pub total_data_blocks: DataBlocks,
    /// Which devices; all of them when it is empty.
    pub devices: &'a BTreeSet<ThinId>,
}

/// What was dumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DumpReport {
    /// How many devices.
    pub device_count: usize,
    /// How many mappings they have.
    pub mapped_blocks: DataBlocks,
}

/// Writes devices and their mappings to `out`; `progress` gets the number of mappings written and
/// their total.
///
/// Consecutive mappings of one time are one range, as `thin_dump` has it. A node that several
/// devices share is read for each of them. Memory: the details of all devices, and one path of
/// nodes.
pub fn dump(
    source: &dyn BlockSource,
    request: &DumpRequest<'_>,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<DumpReport, MetadataError> {
    let devices = devices_of(source, request)?;
    let total = devices.iter().map(|device| device.details.mapped_blocks.get()).sum();
    let mut printer = Printer { out, run: None, mapped_blocks: 0, total, progress };
    printer.pool(request)?;
    for Device { id, root, details } in &devices {
        printer.device(*id, details)?;
        walk(source, Tree::Mappings(*id), *root, &mut printer)?;
        printer.end_run()?;
        printer.line("  </device>")?;
    }
    printer.line("</superblock>")?;
    printer.out.flush().map_err(failed)?;
    (printer.progress)(printer.mapped_blocks, total.max(printer.mapped_blocks));
    let mapped_blocks = DataBlocks::new(printer.mapped_blocks);
    Ok(DumpReport { device_count: devices.len(), mapped_blocks })
}

fn failed(source: io::Error) -> MetadataError {
    MetadataError::WriteDump { source }
}

/// A device to be dumped.
struct Device {
    id: ThinId,
    root: u64,
    details: DeviceDetails,
}

/// The devices that are asked for: a dump that leaves one out in silence would be restored so.
fn devices_of(
    source: &dyn BlockSource,
    request: &DumpRequest<'_>,
) -> Result<Vec<Device>, MetadataError> {
    let details = list_devices(source, request.superblock)?;
    let roots: BTreeMap<ThinId, u64> =
        device_roots(source, request.superblock.data_mapping_root)?.into_iter().collect();
    let known: BTreeSet<ThinId> = details.keys().chain(roots.keys()).copied().collect();
    if let Some(id) = request.devices.iter().find(|id| !known.contains(id)) {
        return Err(MetadataError::NoDevice { device: source.name(), id: *id });
    }
    let wanted =
        known.iter().filter(|id| request.devices.is_empty() || request.devices.contains(id));
    let pair = |id: &ThinId| {
        let lacking = |tree| MetadataError::HalfDevice { device: source.name(), id: *id, tree };
        let details = *details.get(id).ok_or_else(|| lacking(Tree::Details))?;
        let root = *roots.get(id).ok_or_else(|| lacking(Tree::Devices))?;
        Ok(Device { id: *id, root, details })
    };
    wanted.map(pair).collect()
}

/// Consecutive mappings of one time.
struct Run {
    origin: u64,
    data: u64,
    length: u64,
    time: u64,
}

struct Printer<'a> {
    out: &'a mut dyn Write,
    run: Option<Run>,
    mapped_blocks: u64,
    total: u64,
    progress: &'a mut dyn FnMut(u64, u64),
}

impl Printer<'_> {
    fn line(&mut self, text: &str) -> Result<(), MetadataError> {
        writeln!(self.out, "{text}").map_err(failed)
    }

    fn pool(&mut self, request: &DumpRequest<'_>) -> Result<(), MetadataError> {
        let superblock = request.superblock;
        writeln!(
            self.out,
            "<superblock uuid=\"\" time=\"{}\" transaction=\"{}\" flags=\"{}\" version=\"{}\" \
             data_block_size=\"{}\" nr_data_blocks=\"{}\">",
            superblock.time,
            superblock.transaction_id.get(),
            u32::from(superblock.needs_check),
            superblock.version,
            superblock.data_block_size.sectors().get(),
            request.total_data_blocks.get(),
        )
        .map_err(failed)
    }

    fn device(&mut self, id: ThinId, details: &DeviceDetails) -> Result<(), MetadataError> {
        writeln!(
            self.out,
            "  <device dev_id=\"{}\" mapped_blocks=\"{}\" transaction=\"{}\" creation_time=\"{}\" \
             snap_time=\"{}\">",
            id.get(),
            details.mapped_blocks.get(),
            details.transaction_id.get(),
            details.creation_time,
            details.snapshotted_time,
        )
        .map_err(failed)
    }

    fn add(&mut self, origin: u64, data: u64, time: u64) -> Result<(), MetadataError> {
        match &mut self.run {
            Some(run)
                if run.origin + run.length == origin
                    && run.data + run.length == data
                    && run.time == time =>
            {
                run.length += 1;
                Ok(())
            }
            _ => {
                self.end_run()?;
                self.run = Some(Run { origin, data, length: 1, time });
                Ok(())
            }
        }
    }

    /// Writes the run that nothing continues.
    fn end_run(&mut self) -> Result<(), MetadataError> {
        let Some(Run { origin, data, length, time }) = self.run.take() else {
            return Ok(());
        };
        self.mapped_blocks += length;
        if length == 1 {
            writeln!(
                self.out,
                "    <single_mapping origin_block=\"{origin}\" data_block=\"{data}\" time=\"{time}\"/>"
            )
        } else {
            writeln!(
                self.out,
                "    <range_mapping origin_begin=\"{origin}\" data_begin=\"{data}\" \
                 length=\"{length}\" time=\"{time}\"/>"
            )
        }
        .map_err(failed)
    }
}

impl Visitor for Printer<'_> {
    fn enter(&mut self, _: Tree, _: u64, _: KeyRange) -> Result<bool, MetadataError> {
        Ok(true)
    }

    fn visit(&mut self, _: Tree, node: &Node) -> Result<(), MetadataError> {
        if node.is_internal() {
            return Ok(());
        }
        for index in 0..node.entries() {
            let packed = node.number(index);
            self.add(node.key(index), packed >> TIME_BITS, packed & ((1 << TIME_BITS) - 1))?;
        }
        // What the details say may be wrong; a bar that jumps is not worth an error.
        (self.progress)(self.mapped_blocks, self.total.max(self.mapped_blocks));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
