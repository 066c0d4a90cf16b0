//! Magic numbers at fixed places.
#![forbid(unsafe_code)]

use super::signature::SignatureKind::{
    self, Cache, DeviceMapper, Encryption, Filesystem, VolumeManager,
};

/// A magic number at a fixed place.
pub(super) struct Magic {
    pub(super) kind: SignatureKind,
    pub(super) name: &'static str,
    pub(super) offset: u64,
    pub(super) bytes: &'static [u8],
}

const fn magic(
    kind: SignatureKind,
    name: &'static str,
    offset: u64,
    bytes: &'static [u8],
) -> Magic {
    Magic { kind, name, offset, bytes }
}

/// The UUID that bcache and, once, bcachefs put into their superblocks.
const BCACHE: &[u8] = &[
    0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, 0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81,
];

/// The UUID that bcachefs puts into its superblocks.
const BCACHEFS: &[u8] = &[
    0xc6, 0x85, 0x73, 0xf6, 0x66, 0xce, 0x90, 0xa9, 0xd9, 0x6a, 0x60, 0xcf, 0x80, 0x3d, 0xf7, 0xef,
];

const LUKS: &[u8] = b"LUKS\xba\xbe";
const LUKS_SECOND: &[u8] = b"SKUL\xba\xbe";
const LVM2: &[u8] = b"LVM2 001";

/// Magic numbers of device-mapper metadata follow checksum, flags, block number and uuid.
const DM_MAGIC_AT: u64 = 32;

/// Every magic number at a fixed place.
pub(super) const FIXED: &[Magic] = &[
    magic(Filesystem, "XFS", 0, b"XFSB"),
    magic(Filesystem, "Btrfs", 0x1_0040, b"_BHRfS_M"),
    magic(Filesystem, "F2FS", 1024, &0xf2f5_2010_u32.to_le_bytes()),
    magic(Filesystem, "F2FS", 5120, &0xf2f5_2010_u32.to_le_bytes()),
    magic(Filesystem, "FAT", 0x36, b"FAT12   "),
    magic(Filesystem, "FAT", 0x36, b"FAT16   "),
    magic(Filesystem, "FAT", 0x36, b"FAT     "),
    magic(Filesystem, "FAT", 0x52, b"FAT32   "),
    magic(Filesystem, "exFAT", 3, b"EXFAT   "),
    magic(Filesystem, "NTFS", 3, b"NTFS    "),
    magic(Filesystem, "bcachefs", 4096 + 24, BCACHEFS),
    magic(Filesystem, "ISO 9660", 32_769, b"CD001"),
    magic(Filesystem, "UDF", 32_769, b"BEA01"),
    magic(Filesystem, "SquashFS", 0, b"hsqs"),
    magic(Filesystem, "EROFS", 1024, &0xe0f5_e1e2_u32.to_le_bytes()),
    magic(Filesystem, "cramfs", 0, &0x28cd_3d45_u32.to_le_bytes()),
    magic(Filesystem, "JFS", 32_768, b"JFS1"),
    magic(Filesystem, "ReiserFS", 0x1_0034, b"ReIsEr"),
    magic(Filesystem, "Reiser4", 0x1_0000, b"ReIsEr4"),
    magic(Filesystem, "GFS2", 0x1_0000, &[0x01, 0x16, 0x19, 0x70]),
    magic(Filesystem, "OCFS2", 1024, b"OCFSV2"),
    magic(Filesystem, "OCFS2", 2048, b"OCFSV2"),
    magic(Filesystem, "OCFS2", 4096, b"OCFSV2"),
    magic(Filesystem, "NILFS2", 1024 + 6, &[0x34, 0x34]),
    magic(Filesystem, "HFS+", 1024, b"H+"),
    magic(Filesystem, "HFSX", 1024, b"HX"),
    magic(Filesystem, "HFS", 1024, b"BD"),
    magic(Filesystem, "APFS", 32, b"NXSB"),
    magic(Filesystem, "VMFS", 1 << 20, &[0x0d, 0xd0, 0x01, 0xc0]),
    magic(Encryption, "LUKS", 0, LUKS),
    magic(Encryption, "LUKS2 (second header)", 0x4000, LUKS_SECOND),
    magic(Encryption, "LUKS2 (second header)", 0x8000, LUKS_SECOND),
    magic(Encryption, "LUKS2 (second header)", 0x1_0000, LUKS_SECOND),
    magic(Encryption, "LUKS2 (second header)", 0x2_0000, LUKS_SECOND),
    magic(Encryption, "LUKS2 (second header)", 0x4_0000, LUKS_SECOND),
    magic(Encryption, "LUKS2 (second header)", 0x8_0000, LUKS_SECOND),
    magic(Encryption, "LUKS2 (second header)", 0x10_0000, LUKS_SECOND),
    magic(Encryption, "LUKS2 (second header)", 0x20_0000, LUKS_SECOND),
    magic(Encryption, "LUKS2 (second header)", 0x40_0000, LUKS_SECOND),
    magic(Encryption, "BitLocker", 3, b"-FVE-FS-"),
    magic(VolumeManager, "LVM2 physical volume", 24, LVM2),
    magic(VolumeManager, "LVM2 physical volume", 512 + 24, LVM2),
    magic(VolumeManager, "LVM2 physical volume", 1024 + 24, LVM2),
    magic(VolumeManager, "LVM2 physical volume", 1536 + 24, LVM2),
    magic(VolumeManager, "LVM1 physical volume", 0, b"HM\x01\x00"),
    magic(VolumeManager, "LVM1 physical volume", 0, b"HM\x02\x00"),
    magic(VolumeManager, "Stratis", 512 + 4, b"!Stra0tis\x86\xff\x02^\x41rh"),
    magic(VolumeManager, "Stratis", 4608 + 4, b"!Stra0tis\x86\xff\x02^\x41rh"),
    magic(VolumeManager, "Ceph BlueStore", 0, b"bluestore block device"),
    magic(VolumeManager, "Oracle ASM", 32, b"ORCLDISK"),
    magic(Cache, "bcache", 4096 + 24, BCACHE),
    magic(DeviceMapper, "dm-thin metadata", DM_MAGIC_AT, &27_022_010_u64.to_le_bytes()),
    // The kernel wrote this number with a leading zero: it is octal.
    magic(DeviceMapper, "dm-cache metadata", DM_MAGIC_AT, &0o6_142_003_u64.to_le_bytes()),
    magic(DeviceMapper, "dm-era metadata", DM_MAGIC_AT, &2_126_579_579_u64.to_le_bytes()),
    magic(DeviceMapper, "dm-clone metadata", DM_MAGIC_AT, &0x8af2_7f64_u64.to_le_bytes()),
    magic(DeviceMapper, "dm-integrity", 0, b"integrt\0"),
    magic(DeviceMapper, "dm-verity", 0, b"verity\0\0"),
    magic(DeviceMapper, "dm-writecache", 0, &0x2348_9321_u32.to_le_bytes()),
    magic(DeviceMapper, "dm-snapshot store", 0, b"SnAp"),
    magic(DeviceMapper, "VDO", 0, b"dmvdo001"),
];
