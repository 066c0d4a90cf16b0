//! The grammar of mount options, and what is refused.
#![forbid(unsafe_code)]

use proptest::prelude::*;

use super::*;
use crate::host::HostErrorKind;
use crate::host::filesystem::Filesystem::{Btrfs, Ext4, Xfs};

const DEFAULT: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);

fn parse(filesystem: Filesystem, flags: &[&str]) -> MountOptions {
    MountOptions::parse(filesystem, flags).unwrap()
}

/// The options as a person writes them.
fn parameters(filesystem: Filesystem, flags: &[&str]) -> Vec<String> {
    let written = |(name, value): &Parameter| match value {
        Some(value) => format!("{name}={value}"),
        None => (*name).to_owned(),
    };
    parse(filesystem, flags).parameters.iter().map(written).collect()
}

#[test]
fn nosuid_and_nodev_hold_unless_the_opposite_is_asked_for() {
    assert_eq!(parse(Ext4, &[]).attributes, DEFAULT);
    assert_eq!(parse(Ext4, &["suid"]).attributes, MountAttrFlags::MOUNT_ATTR_NODEV);
    assert_eq!(parse(Ext4, &["dev,suid"]).attributes, MountAttrFlags::empty());
    assert_eq!(parse(Ext4, &["suid", "nosuid"]).attributes, DEFAULT);
    assert_eq!(parse(Ext4, &["noexec"]).attributes, DEFAULT | MountAttrFlags::MOUNT_ATTR_NOEXEC);
}

#[test]
fn times_exclude_each_other() {
    let atime = |flags: &[&str]| parse(Xfs, flags).attributes & MountAttrFlags::MOUNT_ATTR__ATIME;
    assert_eq!(atime(&["noatime"]), MountAttrFlags::MOUNT_ATTR_NOATIME);
    assert_eq!(atime(&["noatime", "strictatime"]), MountAttrFlags::MOUNT_ATTR_STRICTATIME);
    assert_eq!(atime(&["noatime,relatime"]), MountAttrFlags::empty());
}

#[test]
fn read_only_is_said_by_either_side() {
    assert!(parse(Ext4, &["ro"]).read_only());
    assert!(!parse(Ext4, &["ro,rw"]).read_only());
    let attributes = MountOptions::default().attributes(true);
    assert_eq!(attributes, DEFAULT | MountAttrFlags::MOUNT_ATTR_RDONLY);
    assert!(parse(Ext4, &["ro"]).attributes(false).contains(MountAttrFlags::MOUNT_ATTR_RDONLY));
}

#[test]
fn every_filesystem_has_options_of_its_own() {
    assert_eq!(
        parameters(Ext4, &["data=ordered", "barrier=1,commit=5", "discard"]),
        ["data=ordered", "barrier=1", "commit=5", "discard"]
    );
    assert_eq!(
        parameters(Xfs, &["nouuid,inode64,logbsize=256k"]),
        ["nouuid", "inode64", "logbsize=256k"]
    );
    assert_eq!(
        parameters(Btrfs, &["compress=zstd:3,ssd", "discard=async", "compress=no"]),
        ["ssd", "discard=async", "compress=no"]
    );
    assert_eq!(parameters(Ext4, &["sync", "lazytime"]), ["sync", "lazytime"]);
}

#[test]
fn labels_keep_their_commas_and_lose_their_quotes() {
    let label = "system_u:object_r:container_file_t:s0:c127,c456";
    for flag in [
        format!("context=\"{label}\""),
        format!("context={label}"),
        format!("noatime,context=\"{label}\""),
    ] {
        assert_eq!(parameters(Ext4, &[&flag]), [format!("context={label}")], "{flag}");
    }
}

#[test]
fn what_is_not_on_the_list_is_named_together_with_the_list() {
    for (filesystem, option) in [
        (Ext4, "nouuid"),
        (Xfs, "data=ordered"),
        (Xfs, "norecovery"),
        (Xfs, "logdev=/dev/sda"),
        (Ext4, "errors=panic"),
        (Ext4, "data=ordered;x"),
        (Ext4, "commit="),
        (Ext4, "commit=-1"),
        (Ext4, "discard=async"),
        (Ext4, "journal_path=/etc"),
        (Btrfs, "subvol=/"),
        (Btrfs, "device=/dev/sda"),
        (Btrfs, "compress=zstd:x"),
        (Btrfs, "degraded"),
        (Ext4, "source=/dev/sda"),
        (Ext4, "bind"),
        (Ext4, "remount"),
        (Ext4, "ro=1"),
        (Ext4, "NOATIME"),
        (Ext4, " noatime"),
        (Ext4, ""),
        (Ext4, "noatime,"),
        (Ext4, "context="),
        (Ext4, "context=a\"b"),
        (Ext4, "context=a b"),
    ] {
        let error = MountOptions::parse(filesystem, [option]).unwrap_err();
        assert_eq!(error.kind(), HostErrorKind::Refused);
        let HostError::MountOption { known, .. } = &error else { panic!("{option}: {error}") };
        assert!(known.contains("noatime") && known.contains("commit=") == (filesystem != Xfs));
    }
}

#[test]
fn a_mount_agrees_when_its_own_attributes_are_the_wanted_ones() {
    let entry = |options: &str| MountEntry {
        device: thinly_engine::block_device::DeviceNumber { major: 7, minor: 0 },
        root: "/".into(),
        mount_point: "/m".into(),
        options: options.split(',').map(str::to_owned).collect(),
        filesystem: "ext4".into(),
        source: "/dev/loop0".into(),
        super_options: vec!["ro".into()],
    };
    let options = MountOptions::default();
    assert!(options.agree_with(&entry("rw,nosuid,nodev,relatime"), false));
    assert!(options.agree_with(&entry("ro,nosuid,nodev,relatime"), true));
    assert!(!options.agree_with(&entry("ro,nosuid,nodev,relatime"), false));
    assert!(!options.agree_with(&entry("rw,nodev,relatime"), false));
    assert!(parse(Ext4, &["noatime"]).agree_with(&entry("rw,nosuid,nodev,noatime"), false));
    assert!(parse(Ext4, &["strictatime"]).agree_with(&entry("rw,nosuid,nodev"), false));
}

proptest! {
    #[test]
    fn no_text_passes_with_bytes_that_mean_something_to_the_kernel(text in ".{0,40}") {
        if let Ok(options) = MountOptions::parse(Btrfs, [&text]) {
            for (_, value) in options.parameters {
                let value = value.unwrap_or_default();
                prop_assert!(!value.contains(['\0', ' ', '"', '/', '\\', '=']), "{value:?}");
            }
        }
    }
}
