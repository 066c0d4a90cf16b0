//! Signatures in images that the real tools made, and in bytes where a tool needs a kernel.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::block_device::Access;
use crate::layout::bytes::put;

const MIB: usize = 1 << 20;

struct Image {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Image {
    fn new(mib: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        File::create(&path).unwrap().set_len((mib * MIB) as u64).unwrap();
        Self { _dir: dir, path }
    }

    fn made_by(self, package: &str, command: &str) -> Self {
        let words: Vec<&str> = command.split(' ').collect();
        let path = self.path.clone();
        run(package, words[0], &words[1..], &path, "");
        self
    }

    fn names(&self) -> Vec<&'static str> {
        let device = BlockDevice::open_any(&self.path, Access::ReadOnly).unwrap();
        let on_device = find_signatures(&device).unwrap();
        let in_memory = find_signatures_in(&Window::of_bytes(&fs::read(&self.path).unwrap()));
        assert_eq!(on_device, in_memory, "a device and its bytes give the same");
        let mut names: Vec<&str> = on_device.iter().map(|signature| signature.name).collect();
        names.dedup();
        names
    }
}

/// Runs a tool with the image as its last argument.
fn run(package: &str, tool: &str, arguments: &[&str], image: &Path, input: &str) {
    let words = [arguments, &[image.to_str().unwrap()]].concat();
    run_words(package, tool, &words, image, input);
}

#[expect(clippy::disallowed_methods, reason = "the tools that make the images are programs")]
fn run_words(package: &str, tool: &str, words: &[&str], image: &Path, input: &str) {
    let stdin = image.with_file_name("stdin");
    fs::write(&stdin, input).unwrap();
    let path = "/usr/sbin:/sbin:/usr/bin:/bin";
    let output = Command::new(tool)
        .args(words)
        .env("PATH", path)
        .stdin(File::open(&stdin).unwrap())
        .output()
        .unwrap_or_else(|e| panic!("{tool}: {e}; install the package {package}"));
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_empty_device_carries_nothing() {
    for mib in [0, 1, 3, 64] {
        assert_eq!(Image::new(mib).names(), [""; 0]);
    }
}

#[test]
fn filesystems() {
    let cases = [
        (8, "e2fsprogs", "mkfs.ext2 -q -F", "ext2"),
        (16, "e2fsprogs", "mkfs.ext3 -q -F", "ext3"),
        (16, "e2fsprogs", "mkfs.ext4 -q -F", "ext4"),
        (16, "e2fsprogs", "mke2fs -q -F -O journal_dev", "ext journal device"),
        (400, "xfsprogs", "mkfs.xfs -q -f", "XFS"),
        (200, "btrfs-progs", "mkfs.btrfs -q -f", "Btrfs"),
        (2, "dosfstools", "mkfs.vfat -F 12", "FAT"),
        (32, "dosfstools", "mkfs.vfat -F 16", "FAT"),
        (64, "dosfstools", "mkfs.vfat -F 32", "FAT"),
        (32, "exfatprogs", "mkfs.exfat", "exFAT"),
        (32, "ntfs-3g", "mkfs.ntfs -q -F", "NTFS"),
        (64, "f2fs-tools", "mkfs.f2fs -q -f", "F2FS"),
    ];
    for (mib, package, command, name) in cases {
        assert_eq!(Image::new(mib).made_by(package, command).names(), [name], "{command}");
    }
}

/// These tools take the image first and the tree last.
#[test]
fn read_only_filesystems() {
    let cases = [
        ("squashfs-tools", "mksquashfs", &["-quiet", "-no-progress"][..], "SquashFS"),
        ("erofs-utils", "mkfs.erofs", &[][..], "EROFS"),
        ("xorriso", "xorrisofs", &["-quiet"][..], "ISO 9660"),
    ];
    for (package, tool, options, name) in cases {
        let image = Image::new(0);
        fs::remove_file(&image.path).unwrap();
        let tree = image.path.with_file_name("tree");
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("file"), "content").unwrap();
        let [image_path, tree] = [&image.path, &tree].map(|path| path.to_str().unwrap());
        let words = match tool {
            "mksquashfs" => [&[tree, image_path], options].concat(),
            "mkfs.erofs" => vec![image_path, tree],
            _ => [options, &["-o", image_path, tree]].concat(),
        };
        run_words(package, tool, &words, &image.path, "");
        assert_eq!(image.names(), [name]);
    }
}

#[test]
fn swap_of_every_page_length() {
    for page in ["4096", "8192", "16384", "65536"] {
        let command = format!("mkswap --pagesize {page}");
        assert_eq!(Image::new(16).made_by("util-linux", &command).names(), ["swap"], "{page}");
    }
}

#[test]
fn encryption() {
    let luks = |version: &str| {
        let image = Image::new(32);
        let options = ["-q", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--type"];
        let words = [&["luksFormat"], &options[..], &[version]].concat();
        run("cryptsetup-bin", "cryptsetup", &words, &image.path, "a pass phrase");
        image
    };
    assert_eq!(luks("luks1").names(), ["LUKS"]);
    let image = luks("luks2");
    assert_eq!(image.names(), ["LUKS", "LUKS2 (second header)"]);
    // A LUKS2 volume whose first header was overwritten is still one.
    let mut bytes = fs::read(&image.path).unwrap();
    bytes[..4096].fill(0);
    assert_eq!(names_of(&bytes), ["LUKS2 (second header)"]);
}

#[test]
fn partition_tables_of_both_kinds_and_what_is_left_of_one() {
    let table = |script: &str| {
        let image = Image::new(32);
        run("fdisk", "sfdisk", &["-q"], &image.path, script);
        image
    };
    let gpt = table("label: gpt\nstart=2048, size=2048\n");
    assert_eq!(gpt.names(), ["protective MBR", "GPT", "GPT (backup)"]);
    let mut bytes = fs::read(&gpt.path).unwrap();
    bytes[..MIB].fill(0);
    assert_eq!(names_of(&bytes), ["GPT (backup)"]);
    let dos = table("label: dos\nstart=2048, size=2048, type=83\n");
    assert_eq!(dos.names(), ["DOS partition table"]);
    // Only with an entry: an empty table is left behind by many a boot loader.
    assert_eq!(table("label: dos\n").names(), [""; 0]);
}

#[test]
fn device_mapper_metadata() {
    let thin = r#"<superblock uuid="" time="0" transaction="0" data_block_size="128" nr_data_blocks="0"></superblock>"#;
    let cache = r#"<superblock uuid="" block_size="128" nr_cache_blocks="64" policy="smq" hint_width="4"><mappings></mappings><hints></hints></superblock>"#;
    let cases =
        [("thin_restore", thin, "dm-thin metadata"), ("cache_restore", cache, "dm-cache metadata")];
    for (tool, xml, name) in cases {
        let image = Image::new(8);
        let source = image.path.with_file_name("xml");
        fs::write(&source, xml).unwrap();
        let arguments = ["-q", "-i", source.to_str().unwrap(), "-o"];
        run("thin-provisioning-tools", tool, &arguments, &image.path, "");
        assert_eq!(image.names(), [name]);
    }
}

#[test]
fn dm_verity() {
    let data = Image::new(1);
    let hash = Image::new(4);
    let arguments = ["format", data.path.to_str().unwrap()];
    run("cryptsetup-bin", "veritysetup", &arguments, &hash.path, "");
    assert_eq!(hash.names(), ["dm-verity"]);
}

fn names_of(image: &[u8]) -> Vec<&'static str> {
    let found = find_signatures_in(&Window::of_bytes(image));
    let mut names: Vec<&str> = found.iter().map(|signature| signature.name).collect();
    names.dedup();
    names
}

/// An image of zeros with some bytes in it.
fn with(size: usize, bytes: &[(usize, &[u8])]) -> Vec<&'static str> {
    let mut image = vec![0; size];
    for (offset, value) in bytes {
        put(&mut image, *offset, value);
    }
    names_of(&image)
}

/// Offsets of `struct mdp_superblock_s` and `struct mdp_superblock_1` in `linux/raid/md_p.h`:
/// mdadm itself makes these only on block devices.
#[test]
fn md_superblocks_at_their_four_places() {
    let magic = 0xa92b_4efc_u32;
    let size = 40 * MIB + 12 * 1024;
    let v1 = |offset: usize| {
        let super_offset = (offset as u64 / 512).to_le_bytes();
        let [magic, one] = [magic.to_le_bytes(), 1_u32.to_le_bytes()];
        with(size, &[(offset, &magic[..]), (offset + 4, &one[..]), (offset + 144, &super_offset)])
    };
    let v0_offset = size / 65_536 * 65_536 - 65_536;
    assert_eq!(with(size, &[(v0_offset, &magic.to_le_bytes()[..])]), ["md 0.90"]);
    let swapped = magic.swap_bytes().to_le_bytes();
    assert_eq!(with(size, &[(v0_offset, &swapped[..])]), ["md 0.90"]);
    let end = (size / 512 - 16) / 8 * 8 * 512;
    assert_eq!(v1(end), ["md 1.0"]);
    assert_eq!(v1(0), ["md 1.1"]);
    assert_eq!(v1(4096), ["md 1.2"]);
    // Data that only looks like one: no superblock says that it is somewhere else.
    assert_eq!(with(size, &[(4096, &magic.to_le_bytes()[..])]), [""; 0]);
}

#[test]
fn physical_volumes_in_any_of_the_first_four_sectors() {
    for sector in 0..4 {
        let label = [(sector * 512, &b"LABELONE"[..]), (sector * 512 + 24, &b"LVM2 001"[..])];
        assert_eq!(with(4 * MIB, &label), ["LVM2 physical volume"]);
    }
}

#[test]
fn zfs_uberblocks_in_any_label_and_byte_order() {
    let size = 8 * MIB + 100 * 1024;
    let magic = 0x00ba_b10c_u64;
    let label = 256 * 1024;
    let end = size / label * label;
    for start in [0, label, end - 2 * label, end - label] {
        let at = start + 128 * 1024 + 5 * 1024;
        assert_eq!(with(size, &[(at, &magic.to_le_bytes()[..])]), ["ZFS"], "{start}");
        let swapped = magic.swap_bytes().to_le_bytes();
        assert_eq!(with(size, &[(at, &swapped[..])]), ["ZFS"], "{start}");
    }
}

#[test]
fn members_at_the_end_of_a_device() {
    let size = 4 * MIB;
    assert_eq!(with(size, &[(size - 4096 + 60, &[0x83, 0x74, 0x02, 0x6d][..])]), ["DRBD"]);
    assert_eq!(with(size, &[(size - 1024, &b"Intel Raid ISM Cfg Sig. "[..])]), ["Intel RAID"]);
    assert_eq!(with(size, &[(size - 512, &[0xde, 0x11, 0xde, 0x11][..])]), ["DDF RAID"]);
    assert_eq!(with(size, &[(size - 4096, &b"EFI PART"[..])]), ["GPT (backup)"]);
}

#[test]
fn a_label_counts_even_when_it_is_torn() {
    let size = 4 * MIB;
    assert_eq!(with(size, &[(4096, &MAGIC[..])]), ["Thinly label"]);
    assert_eq!(with(size, &[(size - 4096, &MAGIC[..])]), ["Thinly label"]);
}

#[test]
fn every_row_of_the_table_is_found_by_itself() {
    let mut image = vec![0_u8; 8 * MIB];
    for magic in FIXED {
        let at = usize::try_from(magic.offset).unwrap();
        put(&mut image, at, magic.bytes);
        let found = find_signatures_in(&Window::of_bytes(&image));
        let expected = signature(magic.kind, magic.name, magic.offset);
        assert!(found.contains(&expected), "{}", magic.name);
        image[at..at + magic.bytes.len()].fill(0);
    }
}

#[test]
fn a_boot_sector_of_a_filesystem_is_no_partition_table() {
    let mut sector = vec![0_u8; MIB];
    put(&mut sector, 510, &[0x55, 0xaa]);
    put(&mut sector, 446, &[0x80, 0, 0, 0, 0x83, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0]);
    assert_eq!(names_of(&sector), ["DOS partition table"]);
    put(&mut sector, 3, b"NTFS    ");
    assert_eq!(names_of(&sector), ["NTFS"]);
    put(&mut sector, 3, &[0; 8]);
    put(&mut sector, 446, &[0x17]);
    assert_eq!(names_of(&sector), [""; 0], "code, not a table: no such flag");
}
