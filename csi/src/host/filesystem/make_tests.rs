//! The programs run on image files as well as on devices.
#![forbid(unsafe_code)]

use std::os::unix::fs::FileExt;

use super::*;
use crate::host::HostErrorKind;
use crate::host::filesystem::size_on;

const UUID: Uuid = Uuid::from_u128(0x0f8f_ad5b_d9cb_469f_a165_7086_7728_950e);
const OTHER: Uuid = Uuid::from_u128(7);
const LENGTH: u64 = 512 << 20;

fn image() -> tempfile::NamedTempFile {
    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().set_len(LENGTH).unwrap();
    image
}

fn made(filesystem: Filesystem, uuid: Uuid) -> tempfile::NamedTempFile {
    let image = image();
    make(image.path(), filesystem, uuid, &[], false, &mut |_| {}).unwrap();
    image
}

#[test]
fn every_filesystem_is_made_with_the_identity_and_recognised() {
    for filesystem in Filesystem::ALL {
        let image = image();
        let mut said = Vec::new();
        make(image.path(), filesystem, UUID, &[], false, &mut |line| said.push(line.to_owned()))
            .unwrap();
        assert_eq!(signature(image.path()).unwrap(), Signature::Known(filesystem, UUID));
        assert_eq!(size_on(image.path(), filesystem).unwrap().get(), LENGTH);
        assert_eq!(said.len(), 2, "{said:?}");
    }
}

#[test]
fn nothing_is_made_over_something_else() {
    let expect_foreign = |image: &tempfile::NamedTempFile, force_reformat| {
        let path = image.path();
        let error = make(path, Filesystem::Ext4, UUID, &[], force_reformat, &mut |_| {});
        let error = error.unwrap_err();
        assert!(matches!(error, HostError::Foreign { .. }), "{error}");
        assert_eq!(error.kind(), HostErrorKind::Refused);
    };
    for filesystem in Filesystem::ALL {
        expect_foreign(&made(filesystem, OTHER), false);
        expect_foreign(&made(filesystem, OTHER), true);
        expect_foreign(&made(filesystem, UUID), false);
    }
    let luks = image();
    luks.as_file().write_all_at(b"LUKS\xba\xbe", 0).unwrap();
    expect_foreign(&luks, true);
    assert_eq!(signature(luks.path()).unwrap(), Signature::Foreign("LUKS".into()));
}

#[test]
fn an_interrupted_attempt_is_repeated() {
    for filesystem in Filesystem::ALL {
        let image = made(filesystem, UUID);
        make(image.path(), filesystem, UUID, &[], true, &mut |_| {}).unwrap();
        assert_eq!(signature(image.path()).unwrap(), Signature::Known(filesystem, UUID));
    }
}

#[test]
fn a_programs_own_words_are_in_the_error() {
    let image = image();
    for (filesystem, options) in [
        (Filesystem::Ext4, ["-O", "no-such-option"]),
        (Filesystem::Xfs, ["-d", "no-such-option=1"]),
        (Filesystem::Btrfs, ["-O", "no-such-option"]),
    ] {
        let options = options.map(str::to_owned);
        let error = make(image.path(), filesystem, UUID, &options, false, &mut |_| {});
        let text = error.unwrap_err().to_string();
        assert!(text.contains("no-such-option"), "{text}");
        assert!(text.starts_with("mkfs."), "{text}");
    }
    assert_eq!(signature(image.path()).unwrap(), Signature::None);
}

#[test]
fn ext4_leaves_its_inode_tables_alone_on_a_volume_that_reads_as_zeros() {
    let image = made(Filesystem::Ext4, UUID);
    let groups = Program::new("dumpe2fs", "e2fsprogs").run(image.path(), &[image.path()]).unwrap();
    let flags: Vec<&str> =
        groups.output().lines().filter(|line| line.contains("(Blocks ")).collect();
    assert!(!flags.is_empty());
    assert!(flags.iter().all(|line| line.contains("ITABLE_ZEROED")), "{flags:#?}");
}
