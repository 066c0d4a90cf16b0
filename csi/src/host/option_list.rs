//! Which mount options a cluster may ask for.
//!
//! Options come from whoever may write a storage class or a persistent volume. What is missing here
//! is missing on purpose: options that name another device or another part of the filesystem
//! (`logdev`, `device`, `subvol`), that leave the log behind (`norecovery`, `noload`), that stop the
//! machine (`errors=panic`), and those for debugging.
#![forbid(unsafe_code)]

use rustix::mount::MountAttrFlags;

use super::filesystem::Filesystem;

/// What an option of every filesystem does to the mount: sets attributes after clearing others.
pub(super) struct Attribute {
    pub(super) name: &'static str,
    pub(super) clears: MountAttrFlags,
    pub(super) sets: MountAttrFlags,
}

const fn attribute(name: &'static str, clears: MountAttrFlags, sets: MountAttrFlags) -> Attribute {
    Attribute { name, clears, sets }
}

const NONE: MountAttrFlags = MountAttrFlags::empty();
const RDONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;
const NOSUID: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID;
const NODEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;
const NOEXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;
const NODIRATIME: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODIRATIME;
const ATIME: MountAttrFlags = MountAttrFlags::MOUNT_ATTR__ATIME;
const NOATIME: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOATIME;
const STRICTATIME: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_STRICTATIME;

/// Options of one mount.
pub(super) const ATTRIBUTES: &[Attribute] = &[
    attribute("ro", NONE, RDONLY),
    attribute("rw", RDONLY, NONE),
    attribute("nosuid", NONE, NOSUID),
    attribute("suid", NOSUID, NONE),
    attribute("nodev", NONE, NODEV),
    attribute("dev", NODEV, NONE),
    attribute("noexec", NONE, NOEXEC),
    attribute("exec", NOEXEC, NONE),
    attribute("nodiratime", NONE, NODIRATIME),
    attribute("diratime", NODIRATIME, NONE),
    attribute("noatime", ATIME, NOATIME),
    attribute("relatime", ATIME, NONE),
    attribute("strictatime", ATIME, STRICTATIME),
];

/// How a value looks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value {
    /// There is none.
    None,
    /// A number, perhaps with a unit; there may be none.
    OptionalNumber,
    /// A number, perhaps with a unit.
    Number,
    /// One of these.
    Of(&'static [&'static str]),
    /// One of these words, perhaps with `:` and a level; there may be none.
    OptionalCompression,
    /// A label of a security module.
    Label,
}

type Known = (&'static str, Value);

/// Options of the filesystem that the kernel knows for all of them.
pub(super) const COMMON: &[Known] = &[
    ("sync", Value::None),
    ("async", Value::None),
    ("dirsync", Value::None),
    ("lazytime", Value::None),
    ("nolazytime", Value::None),
    ("nodiscard", Value::None),
    ("context", Value::Label),
    ("fscontext", Value::Label),
    ("defcontext", Value::Label),
    ("rootcontext", Value::Label),
];

const EXT4: &[Known] = &[
    ("discard", Value::None),
    ("data", Value::Of(&["ordered", "journal", "writeback"])),
    ("errors", Value::Of(&["continue", "remount-ro"])),
    ("barrier", Value::OptionalNumber),
    ("journal_checksum", Value::None),
    ("journal_ioprio", Value::Number),
    ("commit", Value::Number),
    ("stripe", Value::Number),
    ("max_batch_time", Value::Number),
    ("min_batch_time", Value::Number),
    ("init_itable", Value::OptionalNumber),
    ("noinit_itable", Value::None),
    ("delalloc", Value::None),
    ("nodelalloc", Value::None),
    ("auto_da_alloc", Value::None),
    ("noauto_da_alloc", Value::None),
    ("acl", Value::None),
    ("noacl", Value::None),
    ("user_xattr", Value::None),
    ("usrquota", Value::None),
    ("grpquota", Value::None),
    ("prjquota", Value::None),
];

const XFS: &[Known] = &[
    ("discard", Value::None),
    ("nouuid", Value::None),
    ("inode64", Value::None),
    ("inode32", Value::None),
    ("logbufs", Value::Number),
    ("logbsize", Value::Number),
    ("allocsize", Value::Number),
    ("sunit", Value::Number),
    ("swidth", Value::Number),
    ("noalign", Value::None),
    ("swalloc", Value::None),
    ("largeio", Value::None),
    ("nolargeio", Value::None),
    ("filestreams", Value::None),
    ("wsync", Value::None),
    ("usrquota", Value::None),
    ("grpquota", Value::None),
    ("prjquota", Value::None),
    ("noquota", Value::None),
];

const BTRFS: &[Known] = &[
    ("discard", Value::Of(&["sync", "async", ""])),
    ("compress", Value::OptionalCompression),
    ("compress-force", Value::OptionalCompression),
    ("space_cache", Value::Of(&["v2", ""])),
    ("autodefrag", Value::None),
    ("noautodefrag", Value::None),
    ("ssd", Value::None),
    ("nossd", Value::None),
    ("ssd_spread", Value::None),
    ("nossd_spread", Value::None),
    ("commit", Value::Number),
    ("max_inline", Value::Number),
    ("thread_pool", Value::Number),
    ("metadata_ratio", Value::Number),
    ("flushoncommit", Value::None),
    ("noflushoncommit", Value::None),
    ("barrier", Value::None),
    ("treelog", Value::None),
    ("notreelog", Value::None),
    ("acl", Value::None),
    ("noacl", Value::None),
    ("datacow", Value::None),
    ("nodatacow", Value::None),
    ("datasum", Value::None),
    ("nodatasum", Value::None),
];

/// Options of one filesystem.
pub(super) fn options_of(filesystem: Filesystem) -> &'static [Known] {
    match filesystem {
        Filesystem::Ext4 => EXT4,
        Filesystem::Xfs => XFS,
        Filesystem::Btrfs => BTRFS,
    }
}

impl Value {
    /// Whether `value` is one; `None` when the option was written without `=`.
    pub(super) fn accepts(self, value: Option<&str>) -> bool {
        match (self, value) {
            (Self::None | Self::OptionalNumber | Self::OptionalCompression, None) => true,
            (Self::Of(words), value) => words.contains(&value.unwrap_or_default()),
            (Self::Number | Self::OptionalNumber, Some(value)) => is_number(value),
            (Self::OptionalCompression, Some(value)) => is_compression(value),
            (Self::Label, Some(value)) => is_label(value),
            (Self::None, Some(_)) | (Self::Number | Self::Label, None) => false,
        }
    }

    /// How the option is written, for a message.
    pub(super) fn written(self, name: &str) -> String {
        match self {
            Self::None => name.to_owned(),
            Self::Number | Self::Label => format!("{name}="),
            Self::OptionalNumber | Self::OptionalCompression => format!("{name}[=]"),
            Self::Of(words) => format!("{name}={}", words.join("|")),
        }
    }
}

fn is_number(value: &str) -> bool {
    let digits = value.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G']).unwrap_or(value);
    !digits.is_empty() && digits.len() <= 12 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_compression(value: &str) -> bool {
    let (kind, level) = value.split_once(':').unwrap_or((value, "1"));
    ["zlib", "lzo", "zstd", "no", "none"].contains(&kind) && is_number(level)
}

fn is_label(value: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b":,._-".contains(&byte);
    !value.is_empty() && value.len() <= 1024 && value.bytes().all(is_plain)
}
