//! What this kernel can do: asked, not guessed.
#![forbid(unsafe_code)]

use std::fmt;

use nix::errno::Errno;
use thiserror::Error;

use super::api::Dm;
use super::buffer::IoctlBuffer;
use super::command::Command;
use super::control::{Control, DEVICE_BYTES, malformed};
use super::error::DmError;
use super::flags::DmFlags;
use super::{reply, request};

/// The version of the ioctl interface or of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DmVersion {
    /// Changes with every incompatibility.
    pub major: u32,
    /// Changes with every addition.
    pub minor: u32,
    /// Changes with corrections.
    pub patch: u32,
}

impl DmVersion {
    /// A version from its parts.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }
}

impl fmt::Display for DmVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A target that the kernel has, and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetVersion {
    /// The target's name, such as `thin-pool`.
    pub name: String,
    /// Its version.
    pub version: DmVersion,
}

/// Something that not every kernel can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// Removal with the last close: interface 4.27.
    DeferredRemove,
    /// Events on the control node: interface 4.37.
    EventPoll,
    /// The version of one target, loaded on demand: interface 4.41.
    TargetVersion,
    /// Uuids in lists, and lists by prefix: interface 4.45.
    ListUuids,
    /// The linear target.
    Linear,
    /// The thin-pool target, from 1.19 on.
    ThinPool,
    /// The thin target, from 1.19 on.
    Thin,
}

/// What a feature needs.
enum Need {
    Interface(DmVersion),
    Target(&'static str, DmVersion),
}

impl Feature {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 7] = [
        Self::DeferredRemove,
        Self::EventPoll,
        Self::TargetVersion,
        Self::ListUuids,
        Self::Linear,
        Self::ThinPool,
        Self::Thin,
    ];

    const fn need(self) -> Need {
        match self {
            Self::DeferredRemove => Need::Interface(DmVersion::new(4, 27, 0)),
            Self::EventPoll => Need::Interface(DmVersion::new(4, 37, 0)),
            Self::TargetVersion => Need::Interface(DmVersion::new(4, 41, 0)),
            Self::ListUuids => Need::Interface(DmVersion::new(4, 45, 0)),
            Self::Linear => Need::Target("linear", DmVersion::new(1, 0, 0)),
            Self::ThinPool => Need::Target("thin-pool", DmVersion::new(1, 19, 0)),
            Self::Thin => Need::Target("thin", DmVersion::new(1, 19, 0)),
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DeferredRemove => "removal with the last close",
            Self::EventPoll => "events on the control node",
            Self::TargetVersion => "the version of one target",
            Self::ListUuids => "uuids in the list of devices",
            Self::Linear => "the linear target",
            Self::ThinPool => "the thin-pool target",
            Self::Thin => "the thin target",
        })
    }
}

/// A feature that this kernel does not have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{feature} needs {needs}, this kernel has {found}; use a newer kernel or load the module")]
pub struct Unsupported {
    /// The feature.
    pub feature: Feature,
    /// What it needs, such as `ioctl interface 4.45.0`.
    pub needs: String,
    /// What is there, such as `4.41.0` or `none`.
    pub found: String,
}

/// Whether the kernel has a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Support {
    /// It does.
    Yes,
    /// It does not.
    No(Unsupported),
    /// The target is not loaded; only loading it would tell. [`Control::require`] does that.
    NotLoaded,
}

impl Control {
    /// The version of the ioctl interface, asked once.
    pub(super) fn kernel_version(&self) -> Result<DmVersion, DmError> {
        if let Some(version) = self.version.get() {
            return Ok(*version);
        }
        let command = Command::Version;
        let mut buffer = IoctlBuffer::new(0);
        malformed(command, request::header(&mut buffer, DmFlags::NONE))?;
        self.issue(command, &mut buffer).map_err(|source| DmError::General { command, source })?;
        let version = malformed(command, reply::version(&buffer))?;
        Ok(*self.version.get_or_init(|| version))
    }

    /// The version of a target; the kernel loads its module on demand. `None` where there is none.
    pub fn target_version(&self, target: &str) -> Result<Option<DmVersion>, DmError> {
        self.require(Feature::TargetVersion)?;
        let command = Command::TargetVersion;
        let answer = self.read(
            command,
            DEVICE_BYTES,
            DmFlags::NONE,
            |buffer| request::name(buffer, target),
            |source| DmError::General { command, source },
        );
        match answer {
            Ok(buffer) => {
                let versions = malformed(command, reply::target_versions(&buffer))?;
                Ok(versions.first().map(|target| target.version))
            }
            Err(error) if error.errno() == Some(Errno::EINVAL) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the kernel has a feature, without loading anything.
    pub fn support(&self, feature: Feature) -> Result<Support, DmError> {
        match feature.need() {
            Need::Interface(needed) => Ok(judge_interface(feature, needed, self.kernel_version()?)),
            Need::Target(name, needed) => {
                let loaded = self.target_versions()?.into_iter().find(|found| found.name == name);
                Ok(match loaded {
                    Some(found) => judge_target(feature, needed, Some(found.version)),
                    None => Support::NotLoaded,
                })
            }
        }
    }

    /// Fails unless the kernel has a feature; loads a target's module where that is needed. What
    /// is there stays there, so a positive answer is asked for once.
    pub fn require(&self, feature: Feature) -> Result<(), DmError> {
        let known = self.supported.get(feature as usize);
        if known.is_some_and(|cell| cell.get().is_some()) {
            return Ok(());
        }
        let support = match feature.need() {
            Need::Interface(needed) => judge_interface(feature, needed, self.kernel_version()?),
            Need::Target(name, needed) => judge_target(feature, needed, self.target_version(name)?),
        };
        match support {
            Support::Yes => {
                known.map(|cell| cell.get_or_init(|| ()));
                Ok(())
            }
            Support::No(unsupported) => Err(unsupported.into()),
            Support::NotLoaded => Ok(()),
        }
    }
}

fn judge_interface(feature: Feature, needed: DmVersion, found: DmVersion) -> Support {
    if found >= needed {
        return Support::Yes;
    }
    let needs = format!("ioctl interface {needed}");
    Support::No(Unsupported { feature, needs, found: found.to_string() })
}

fn judge_target(feature: Feature, needed: DmVersion, found: Option<DmVersion>) -> Support {
    match found {
        Some(found) if found >= needed => Support::Yes,
        found => Support::No(Unsupported {
            feature,
            needs: format!("target version {needed}"),
            found: found.map_or_else(|| "none".to_owned(), |version| version.to_string()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_the_position() {
        for (position, feature) in Feature::ALL.into_iter().enumerate() {
            assert_eq!(feature as usize, position, "{feature}");
        }
    }

    #[test]
    fn a_refusal_names_both_versions() {
        let needed = DmVersion::new(4, 45, 0);
        assert_eq!(judge_interface(Feature::ListUuids, needed, needed), Support::Yes);
        let Support::No(unsupported) =
            judge_interface(Feature::ListUuids, needed, DmVersion::new(4, 44, 9))
        else {
            panic!("an older interface must not do");
        };
        assert_eq!(
            unsupported.to_string(),
            "uuids in the list of devices needs ioctl interface 4.45.0, this kernel has 4.44.9; \
             use a newer kernel or load the module"
        );
        let none = judge_target(Feature::ThinPool, DmVersion::new(1, 19, 0), None);
        assert!(matches!(none, Support::No(Unsupported { found, .. }) if found == "none"));
    }
}
