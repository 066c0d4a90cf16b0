//! Images for tests, made and judged by thin-provisioning-tools.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::checksum::BlockKind;
use super::field::{BLOCK_BYTES, put, put_u64};
use super::source::BlockSource;
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
