//! Images for tests, made and judged by thin-provisioning-tools.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::checksum::BlockKind;
use super::field::{BLOCK_BYTES, put, put_u64, u32_at, u64_at};
use super::source::BlockSource;
use super::space_map::SpaceMapRoot;
use super::superblock::{Superblock, SuperblockState, read_superblock};

/// A run of mappings: first virtual block, first data block, length, time.
pub(super) type Run = (u64, u64, u64, u32);

/// A device of a pool to be made.
#[derive(Debug, Clone, Default)]
pub(super) struct Device {
    pub(super) id: u32,
    pub(super) transaction: u64,
    pub(super) creation_time: u32,
    pub(super) snap_time: u32,
    pub(super) runs: Vec<Run>,
}

/// A pool to be made.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    pub(super) time: u32,
    pub(super) transaction: u64,
    pub(super) block_sectors: u32,
    pub(super) data_blocks: u64,
    pub(super) devices: Vec<Device>,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            time: 1,
            transaction: 7,
            block_sectors: 128,
            data_blocks: 100_000,
            devices: Vec::new(),
        }
    }
}

impl Pool {
    /// The pool in the words of `thin_dump`.
    pub(super) fn xml(&self) -> String {
        let mut xml = format!(
            "<superblock uuid=\"\" time=\"{}\" transaction=\"{}\" flags=\"0\" version=\"2\" \
             data_block_size=\"{}\" nr_data_blocks=\"{}\">\n",
            self.time, self.transaction, self.block_sectors, self.data_blocks
        );
        for device in &self.devices {
            device.write_xml(&mut xml);
        }
        xml.push_str("</superblock>\n");
        xml
    }

    /// The pool as `thin_restore` lays it out on a metadata device of `blocks` blocks.
    pub(super) fn restore(&self, blocks: usize) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let (xml, image) = (directory.path().join("pool.xml"), directory.path().join("image"));
        fs::write(&xml, self.xml()).unwrap();
        fs::File::create(&image).unwrap().set_len((blocks * BLOCK_BYTES) as u64).unwrap();
        let output = run("thin_restore", &[&"-i", &xml, &"-o", &image]);
        assert!(output.status.success(), "thin_restore: {output:?}");
        fs::read(&image).unwrap()
    }
}

impl Device {
    pub(super) fn mapped(&self) -> u64 {
        self.runs.iter().map(|run| run.2).sum()
    }

    fn write_xml(&self, xml: &mut String) {
        writeln!(
            xml,
            "  <device dev_id=\"{}\" mapped_blocks=\"{}\" transaction=\"{}\" \
             creation_time=\"{}\" snap_time=\"{}\">",
            self.id,
            self.mapped(),
            self.transaction,
            self.creation_time,
            self.snap_time
        )
        .unwrap();
        for (origin, data, length, time) in &self.runs {
            if *length == 1 {
                writeln!(
                    xml,
                    "    <single_mapping origin_block=\"{origin}\" data_block=\"{data}\" \
                     time=\"{time}\"/>"
                )
            } else {
                writeln!(
                    xml,
                    "    <range_mapping origin_begin=\"{origin}\" data_begin=\"{data}\" \
                     length=\"{length}\" time=\"{time}\"/>"
                )
            }
            .unwrap();
        }
        xml.push_str("  </device>\n");
    }
}

#[allow(clippy::disallowed_methods, reason = "the judges of these tests are programs")]
pub(super) fn run(program: &str, arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Output {
    let sbin = Path::new("/usr/sbin").join(program);
    let program = if sbin.exists() { sbin.as_os_str() } else { program.as_ref() };
    Command::new(program).args(arguments.iter().map(|a| (*a).as_ref())).output().unwrap_or_else(
        |error| panic!("{}: {error}; install thin-provisioning-tools", program.display()),
    )
}

fn on_image(program: &str, arguments: &[&dyn AsRef<std::ffi::OsStr>], image: &[u8]) -> Output {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), image).unwrap();
    let mut all = arguments.to_vec();
    let path = file.path();
    all.push(&path);
    run(program, &all)
}

/// The pool in an image, as `thin_dump` sees it.
pub(super) fn thin_dump(image: &[u8]) -> String {
    let output = on_image("thin_dump", &[], image);
    assert!(output.status.success(), "thin_dump: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Fails the test unless `thin_check` finds nothing.
pub(super) fn thin_check(image: &[u8]) {
    let output = on_image("thin_check", &[], image);
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "thin_check: {said}");
}

/// The rows that `thin_ls` prints, as numbers.
pub(super) fn thin_ls(image: &[u8], columns: &str) -> Vec<Vec<u64>> {
    let output = on_image("thin_ls", &[&"--no-headers", &"-o", &columns], image);
    assert!(output.status.success(), "thin_ls: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| line.split_whitespace().map(|field| field.parse().unwrap()).collect())
        .collect()
}

/// The live superblock of an image.
pub(super) fn superblock_of(image: &Vec<u8>) -> Superblock {
    match read_superblock(image).unwrap() {
        SuperblockState::Valid(superblock) => superblock,
        SuperblockState::Blank => panic!("blank"),
    }
}

/// The bytes of one block of an image.
pub(super) fn block_of(image: &mut [u8], block: u64) -> &mut [u8] {
    let start = usize::try_from(block).unwrap() * BLOCK_BYTES;
    &mut image[start..start + BLOCK_BYTES]
}

/// Changes a field of a block and puts the right checksum back.
pub(super) fn patch(image: &mut [u8], block: u64, kind: BlockKind, offset: usize, field: &[u8]) {
    let bytes = block_of(image, block);
    put(bytes, offset, field);
    kind.seal(bytes);
}

/// Puts a metadata snapshot into an image, as `reserve_metadata_snap` does: a copy of the
/// superblock without space maps in `block`, and its number in the live one.
pub(super) fn hold(image: &mut Vec<u8>, block: u64) -> Superblock {
    let mut copy = block_of(image, 0).to_vec();
    copy[64..320].fill(0);
    put_u64(&mut copy, 8, block);
    BlockKind::Superblock.seal(&mut copy);
    block_of(image, block).copy_from_slice(&copy);
    patch(image, 0, BlockKind::Superblock, 56, &block.to_le_bytes());
    let live = superblock_of(image);
    super::read_held_superblock(image, &live).unwrap().unwrap()
}

/// The block of the mapping tree's root leaf where the tree of `id` is entered, and its offset.
fn entry_of(image: &[u8], root: u64, id: u32, value_size: usize) -> (u64, usize) {
    let start = usize::try_from(root).unwrap() * BLOCK_BYTES;
    let node = &image[start..start + BLOCK_BYTES];
    assert_eq!(u32_at(node, 4), 2, "these tests patch small pools, whose root is a leaf");
    let entries = usize::try_from(u32_at(node, 16)).unwrap();
    let max_entries = usize::try_from(u32_at(node, 20)).unwrap();
    let index = (0..entries).find(|n| u64_at(node, 32 + n * 8) == u64::from(id)).unwrap();
    (root, 32 + max_entries * 8 + index * value_size)
}

fn number_at(image: &mut [u8], block: u64, offset: usize) -> u64 {
    u64_at(block_of(image, block), offset)
}

/// Makes device `to` a snapshot of device `from`; both must exist.
pub(super) fn share(image: &mut Vec<u8>, from: u32, to: u32) {
    let superblock = superblock_of(image);
    for (root, value_size) in
        [(superblock.data_mapping_root, 8), (superblock.device_details_root, 24)]
    {
        let (block, offset) = entry_of(image, root, from, value_size);
        let value = number_at(image, block, offset);
        let (block, offset) = entry_of(image, root, to, value_size);
        patch(image, block, BlockKind::Node, offset, &value.to_le_bytes());
    }
}

/// Gives device `id`, a snapshot with a tree of two levels, its own root and first leaf in the
/// blocks from `free` on, and maps its first block to `data_block`.
pub(super) fn diverge(image: &mut Vec<u8>, id: u32, free: u64, data_block: u64) {
    let superblock = superblock_of(image);
    let (top, top_offset) = entry_of(image, superblock.data_mapping_root, id, 8);
    let root = number_at(image, top, top_offset);
    let first_child = 32 + 252 * 8;
    let leaf = number_at(image, root, first_child);
    for (from, to) in [(root, free), (leaf, free + 1)] {
        let bytes = block_of(image, from).to_vec();
        block_of(image, to).copy_from_slice(&bytes);
        patch(image, to, BlockKind::Node, 8, &to.to_le_bytes());
    }
    let mapping = (data_block << 24) | 1;
    patch(image, free + 1, BlockKind::Node, first_child, &mapping.to_le_bytes());
    patch(image, free, BlockKind::Node, first_child, &(free + 1).to_le_bytes());
    patch(image, top, BlockKind::Node, top_offset, &free.to_le_bytes());
}

/// A pool of random devices that map the same few data blocks over and over.
pub(super) fn random_pool(seed: u64, devices: u32, data_blocks: u64) -> Pool {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = move |limit: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % limit
    };
    let devices = (0..devices).map(|n| {
        let mut origin = 0;
        let runs: Vec<Run> = (0..below(800))
            .map(|_| {
                let length = 1 + below(40);
                origin += 1 + below(1 << 20);
                let run = (
                    origin,
                    below(data_blocks - length + 1),
                    length,
                    u32::try_from(below(1 << 24)).unwrap(),
                );
                origin += length;
                run
            })
            .collect();
        Device {
            id: n * 1000,
            transaction: below(u64::MAX),
            creation_time: u32::try_from(below(1 << 32)).unwrap(),
            snap_time: u32::try_from(below(1 << 32)).unwrap(),
            runs,
        }
    });
    Pool { devices: devices.collect(), data_blocks, time: 0x00ff_ffff, ..Pool::default() }
}

/// Every count of a space map that is not zero, decoded bit by bit.
pub(super) fn counts_of(
    image: &Vec<u8>,
    root: &SpaceMapRoot,
    metadata: bool,
) -> BTreeMap<u64, u32> {
    let large: BTreeMap<u64, Vec<u8>> =
        leaf_entries(image, root.ref_count_root).into_iter().collect();
    let index: Vec<Vec<u8>> = if metadata {
        let block = image.read_block(root.bitmap_root).unwrap();
        assert_eq!(BlockKind::Index.compute(&block), BlockKind::stored(&block));
        block[16..].chunks_exact(16).map(<[u8]>::to_vec).collect()
    } else {
        leaf_entries(image, root.bitmap_root).into_iter().map(|(_, value)| value).collect()
    };
    let mut counts = BTreeMap::new();
    for (first, entry) in (0..root.total_blocks).step_by(16_320).zip(&index) {
        let bitmap = image.read_block(u64_at(entry, 0)).unwrap();
        assert_eq!(BlockKind::Bitmap.compute(&bitmap), BlockKind::stored(&bitmap));
        assert_eq!(u64_at(&bitmap, 8), u64_at(entry, 0));
        let mut free = 0;
        for block in first..root.total_blocks.min(first + 16_320) {
            let bit = usize::try_from(block - first).unwrap() * 2;
            let word = u64_at(&bitmap, 16 + bit / 64 * 8);
            let count = (word >> (bit % 64) & 1) * 2 + (word >> (bit % 64 + 1) & 1);
            match count {
                0 => free += 1,
                3 => {
                    counts.insert(block, u32_at(&large[&block], 0));
                }
                _ => {
                    counts.insert(block, u32::try_from(count).unwrap());
                }
            }
        }
        assert_eq!(u32_at(entry, 8), free, "free blocks of the bitmap from {first}");
    }
    assert!(index.len() as u64 >= root.total_blocks.div_ceil(16_320));
    counts
}

/// The entries of a tree's leaves, read without any check but the checksum.
fn leaf_entries(image: &Vec<u8>, root: u64) -> Vec<(u64, Vec<u8>)> {
    let node = image.read_block(root).unwrap();
    assert_eq!(BlockKind::Node.compute(&node), BlockKind::stored(&node));
    let [entries, max_entries, value_size] =
        [16, 20, 24].map(|offset| usize::try_from(u32_at(&node, offset)).unwrap());
    let all = (0..entries).map(|n| {
        let value = 32 + max_entries * 8 + n * value_size;
        (u64_at(&node, 32 + n * 8), node[value..value + value_size].to_vec())
    });
    if u32_at(&node, 4) == 2 {
        return all.collect();
    }
    all.flat_map(|(_, child)| leaf_entries(image, u64_at(&child, 0))).collect()
}

/// A source that changes under the reader's hands.
#[derive(Debug)]
pub(super) struct Changing<F>(pub(super) Vec<u8>, pub(super) F);

impl<F> BlockSource for Changing<F>
where
    F: Fn(u64, crate::aligned::AlignedBuffer) -> crate::aligned::AlignedBuffer + Send + Sync,
{
    fn read_block(
        &self,
        block: u64,
    ) -> Result<crate::aligned::AlignedBuffer, super::MetadataError> {
        Ok((self.1)(block, self.0.read_block(block)?))
    }

    fn block_count(&self) -> u64 {
        self.0.block_count()
    }

    fn name(&self) -> String {
        "a pool that changes".to_owned()
    }
}
