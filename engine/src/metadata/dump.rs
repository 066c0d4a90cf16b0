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
mod tests {
    use std::fs;

    use super::super::checksum::BlockKind;
    use super::super::fixture::{
        Device as Made, Pool, hold, patch, random_pool, restore, superblock_of, thin_dump,
        thin_dump_held,
    };
    use super::super::generate::{Shape, Spread, generate};
    use super::*;

    fn dump_of(image: &Vec<u8>, ids: &[u32]) -> Result<String, MetadataError> {
        let superblock = superblock_of(image);
        dump_below(image, &superblock, ids)
    }

    fn dump_below(
        image: &Vec<u8>,
        superblock: &Superblock,
        ids: &[u32],
    ) -> Result<String, MetadataError> {
        let request = DumpRequest {
            superblock,
            total_data_blocks: DataBlocks::new(superblock_of(image).data_space_map.total_blocks),
            devices: &ids.iter().map(|id| ThinId::new(*id).unwrap()).collect(),
        };
        let (mut out, mut last) = (Vec::new(), (0, 0));
        let report = dump(image, &request, &mut out, &mut |done, total| {
            assert!(last.0 <= done && done <= total);
            last = (done, total);
        })?;
        assert_eq!(last, (report.mapped_blocks.get(), report.mapped_blocks.get()));
        Ok(String::from_utf8(out).unwrap())
    }

    fn generated() -> Vec<u8> {
        let file = tempfile::NamedTempFile::new().unwrap();
        generate(&Shape::snapshots(30_000, 5, Spread::Random), file.as_file()).unwrap();
        fs::read(file.path()).unwrap()
    }

    #[test]
    fn is_what_thin_dump_says_and_what_thin_restore_takes() {
        let mut images: Vec<_> =
            (20..24).map(|seed| random_pool(seed, 6, 1 << 24).restore(4096)).collect();
        let long =
            Made { id: 3, runs: vec![(5, 9, 3000, 1), (3005, 3009, 7, 2)], ..Made::default() };
        images.push(Pool { devices: vec![long], ..Pool::default() }.restore(1024));
        images.push(Pool::default().restore(1024));
        images.push(generated());
        for image in images {
            let ours = dump_of(&image, &[]).unwrap();
            assert!(ours == thin_dump(&image));
            // Nothing is shared there, so it takes more room.
            let restored = restore(&ours, 4 * image.len());
            assert!(thin_dump(&restored) == ours);
        }
    }

    #[test]
    fn only_the_devices_that_are_named() {
        let image = random_pool(5, 6, 1 << 20).restore(4096);
        let all = dump_of(&image, &[]).unwrap();
        let some = dump_of(&image, &[4000, 1000]).unwrap();
        let of = |xml: &str, id: u32| {
            let start = xml.find(&format!("  <device dev_id=\"{id}\"")).unwrap();
            let end = xml[start..].find("</device>").unwrap();
            xml[start..start + end].to_owned()
        };
        assert_eq!(some.matches("<device ").count(), 2);
        assert_eq!((of(&some, 1000), of(&some, 4000)), (of(&all, 1000), of(&all, 4000)));
        let error = dump_of(&image, &[1000, 7]).unwrap_err();
        assert!(matches!(error, MetadataError::NoDevice { id, .. } if id.get() == 7), "{error}");
    }

    #[test]
    fn the_held_root_is_dumped_as_it_was() {
        let mut image = random_pool(6, 3, 1 << 20).restore(4096);
        let before = dump_of(&image, &[]).unwrap();
        let held = hold(&mut image, 4000);
        patch(&mut image, 0, BlockKind::Superblock, 48, &99_u64.to_le_bytes());
        assert_eq!(dump_below(&image, &held, &[]).unwrap(), before);
        // The tool takes the number from the held superblock, which has none.
        let unknown = before.replace("nr_data_blocks=\"1048576\"", "nr_data_blocks=\"0\"");
        assert_eq!(thin_dump_held(&image), unknown);
        assert_ne!(dump_of(&image, &[]).unwrap(), before);
    }

    #[test]
    fn the_needs_check_flag_is_told() {
        let mut image = Pool::default().restore(1024);
        patch(&mut image, 0, BlockKind::Superblock, 4, &[1]);
        assert!(dump_of(&image, &[]).unwrap().contains("flags=\"1\""));
    }

    #[test]
    fn half_a_device_is_refused() {
        let mut image = random_pool(8, 3, 1 << 20).restore(4096);
        let superblock = superblock_of(&image);
        for (root, lacking) in [
            (superblock.data_mapping_root, Tree::Devices),
            (superblock.device_details_root, Tree::Details),
        ] {
            // One entry less in the leaf: the last device is gone from this tree.
            patch(&mut image, root, BlockKind::Node, 16, &2_u32.to_le_bytes());
            let error = dump_of(&image, &[]).unwrap_err();
            assert!(
                matches!(error, MetadataError::HalfDevice { id, tree, .. }
                    if id.get() == 2000 && tree == lacking),
                "{error}"
            );
            assert!(dump_of(&image, &[1000]).is_ok());
            patch(&mut image, root, BlockKind::Node, 16, &3_u32.to_le_bytes());
        }
    }

    #[test]
    fn a_full_disk_is_told() {
        let image = random_pool(9, 3, 1 << 20).restore(4096);
        let superblock = superblock_of(&image);
        let request = DumpRequest {
            superblock: &superblock,
            total_data_blocks: DataBlocks::new(1 << 20),
            devices: &BTreeSet::new(),
        };
        let mut full = fs::File::options().write(true).open("/dev/full").unwrap();
        let error = dump(&image, &request, &mut full, &mut |_, _| {}).unwrap_err();
        assert!(
            matches!(&error, MetadataError::WriteDump { source }
                if source.kind() == io::ErrorKind::StorageFull),
            "{error}"
        );
    }
}
