//! Dumps beside those of the kernel's tools.
#![forbid(unsafe_code)]

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
    let long = Made { id: 3, runs: vec![(5, 9, 3000, 1), (3005, 3009, 7, 2)], ..Made::default() };
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
