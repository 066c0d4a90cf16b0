//! How a volume is to be used: block or filesystem, by how many, for reading or writing.
#![forbid(unsafe_code)]

use thinly_csi_wire::VolumeCapability;
use thinly_csi_wire::volume_capability::AccessType;
use thinly_csi_wire::volume_capability::access_mode::Mode;
use tonic::Status;

/// The filesystems that the driver makes and mounts.
const FILESYSTEMS: [&str; 3] = ["ext4", "xfs", "btrfs"];

/// Why no volume can be written from several nodes, and what to ask for.
const ONE_NODE: &str = "a volume on local disks cannot be written from several nodes; use an \
                        access mode of a single node (ReadWriteOnce, ReadWriteOncePod) or \
                        ReadOnlyMany";

/// What is put at the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AccessKind {
    /// The device itself.
    Block,
    /// A filesystem on it.
    Mount {
        /// Its type; `None` when the caller leaves the choice to us.
        filesystem: Option<String>,
        /// What to mount it with, not yet checked.
        flags: Vec<String>,
    },
}

/// Who may write at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writers {
    /// Nobody.
    None,
    /// One target and no other.
    One,
    /// As many targets of this node as ask for it.
    Many,
}

/// A capability that this driver can honour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) kind: AccessKind,
    pub(crate) writers: Writers,
}

impl Access {
    /// Reads one capability, or says what of it cannot be.
    pub(crate) fn read(capability: Option<&VolumeCapability>) -> Result<Self, Status> {
        let capability = capability
            .ok_or_else(|| Status::invalid_argument("volume_capability is required and missing"))?;
        let mode = capability.access_mode.as_ref().map_or(Mode::Unknown as i32, |mode| mode.mode);
        let writers = match Mode::try_from(mode) {
            Ok(Mode::SingleNodeReaderOnly | Mode::MultiNodeReaderOnly) => Writers::None,
            Ok(Mode::SingleNodeSingleWriter) => Writers::One,
            Ok(Mode::SingleNodeWriter | Mode::SingleNodeMultiWriter) => Writers::Many,
            Ok(Mode::MultiNodeSingleWriter | Mode::MultiNodeMultiWriter) => {
                return Err(Status::invalid_argument(ONE_NODE));
            }
            Ok(Mode::Unknown) | Err(_) => {
                return Err(Status::invalid_argument("access_mode is required and missing"));
            }
        };
        let kind = match &capability.access_type {
            Some(AccessType::Block(_)) => AccessKind::Block,
            Some(AccessType::Mount(mount)) => {
                if !mount.volume_mount_group.is_empty() {
                    return Err(Status::invalid_argument(
                        "volume_mount_group is not supported; the capability is not offered",
                    ));
                }
                AccessKind::Mount {
                    filesystem: read_filesystem(&mount.fs_type)?,
                    flags: mount.mount_flags.clone(),
                }
            }
            None => {
                return Err(Status::invalid_argument("neither block nor mount access is named"));
            }
        };
        Ok(Self { kind, writers })
    }

    /// The same for a volume that is there: a use that exceeds it is its matter, not the request's.
    pub(crate) fn read_on_node(capability: Option<&VolumeCapability>) -> Result<Self, Status> {
        if capability.is_some_and(wants_several_nodes) {
            return Err(Status::failed_precondition(ONE_NODE));
        }
        Self::read(capability)
    }

    /// Reads all capabilities of a volume; they must agree on block or filesystem.
    pub(crate) fn read_all(capabilities: &[VolumeCapability]) -> Result<Vec<Self>, Status> {
        if capabilities.is_empty() {
            return Err(Status::invalid_argument("volume_capabilities is required and empty"));
        }
        let all: Vec<Self> =
            capabilities.iter().map(|one| Self::read(Some(one))).collect::<Result<_, _>>()?;
        if all.iter().any(|one| one.is_block() != all[0].is_block()) {
            return Err(Status::invalid_argument(
                "block and mount access to one volume contradict each other",
            ));
        }
        let mut filesystems: Vec<&str> = all.iter().filter_map(Self::filesystem).collect();
        filesystems.sort_unstable();
        filesystems.dedup();
        if filesystems.len() > 1 {
            return Err(Status::invalid_argument(format!(
                "one volume cannot hold several filesystems: {}",
                filesystems.join(", ")
            )));
        }
        Ok(all)
    }

    pub(crate) const fn is_block(&self) -> bool {
        matches!(self.kind, AccessKind::Block)
    }

    pub(crate) fn filesystem(&self) -> Option<&str> {
        match &self.kind {
            AccessKind::Mount { filesystem, .. } => filesystem.as_deref(),
            AccessKind::Block => None,
        }
    }
}

fn wants_several_nodes(capability: &VolumeCapability) -> bool {
    let mode = capability.access_mode.as_ref().map(|mode| Mode::try_from(mode.mode));
    matches!(mode, Some(Ok(Mode::MultiNodeSingleWriter | Mode::MultiNodeMultiWriter)))
}

fn read_filesystem(text: &str) -> Result<Option<String>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    if FILESYSTEMS.contains(&text) {
        return Ok(Some(text.to_owned()));
    }
    Err(Status::invalid_argument(format!(
        "fs_type {text:?} is not supported; use one of {}",
        FILESYSTEMS.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use thinly_csi_wire::volume_capability::{AccessMode, BlockVolume, MountVolume};

    use super::*;

    fn mount(fs_type: &str, mode: Mode) -> VolumeCapability {
        VolumeCapability {
            access_type: Some(AccessType::Mount(MountVolume {
                fs_type: fs_type.to_owned(),
                ..Default::default()
            })),
            access_mode: Some(AccessMode { mode: mode.into() }),
        }
    }

    fn block(mode: Mode) -> VolumeCapability {
        VolumeCapability {
            access_type: Some(AccessType::Block(BlockVolume {})),
            access_mode: Some(AccessMode { mode: mode.into() }),
        }
    }

    #[test]
    fn what_local_disks_can_do_is_taken() {
        for (mode, writers) in [
            (Mode::SingleNodeWriter, Writers::Many),
            (Mode::SingleNodeMultiWriter, Writers::Many),
            (Mode::SingleNodeSingleWriter, Writers::One),
            (Mode::SingleNodeReaderOnly, Writers::None),
            (Mode::MultiNodeReaderOnly, Writers::None),
        ] {
            assert_eq!(Access::read(Some(&block(mode))).unwrap().writers, writers);
        }
        let access = Access::read(Some(&mount("xfs", Mode::SingleNodeWriter))).unwrap();
        assert_eq!(access.filesystem(), Some("xfs"));
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        let several = [mount("xfs", Mode::SingleNodeWriter), mount("ext4", Mode::SingleNodeWriter)];
        let mixed = [mount("", Mode::SingleNodeWriter), block(Mode::SingleNodeWriter)];
        let nothing = VolumeCapability { access_type: None, ..block(Mode::SingleNodeWriter) };
        let no_mode = VolumeCapability { access_mode: None, ..block(Mode::SingleNodeWriter) };
        for (capabilities, word) in [
            (&several[..], "several filesystems"),
            (&mixed[..], "contradict"),
            (&[][..], "empty"),
            (&[nothing][..], "neither"),
            (&[no_mode][..], "access_mode"),
            (&[mount("zfs", Mode::SingleNodeWriter)][..], "ext4, xfs, btrfs"),
            (&[block(Mode::MultiNodeMultiWriter)][..], "several nodes"),
        ] {
            let refused = Access::read_all(capabilities).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::InvalidArgument);
            assert!(refused.message().contains(word), "{refused}");
        }
    }
}
