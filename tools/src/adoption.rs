//! How a volume is handed to a cluster, decided from what is known of its content.
//!
//! The driver runs mkfs on what the catalogue calls blank, or on what it began to format itself and
//! did not end. Whatever is decided here, a volume that somebody wrote is neither afterwards.
#![forbid(unsafe_code)]

use thinly_engine::catalogue::{ClusterAccess, Content, Provision};
use thinly_engine::layout::Carried;

use crate::args::FilesystemChoice;

/// What a blank volume gets at its first mount when nothing else is asked for.
const FILESYSTEM_DEFAULT: &str = "ext4";

/// What becomes of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Adoption {
    /// How pods use it.
    pub(crate) access: ClusterAccess,
    /// The filesystem that is mounted; `None` for a device.
    pub(crate) filesystem: Option<String>,
    /// What the catalogue must say of its content.
    pub(crate) content: Content,
}

/// What the command line asks for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wish {
    /// How pods use it.
    pub(crate) access: Option<ClusterAccess>,
    /// The filesystem.
    pub(crate) filesystem: Option<FilesystemChoice>,
}

/// Decides, or says why it cannot be as asked. The words follow the volume's name.
pub(crate) fn decide(content: &Content, carried: &Carried, wish: Wish) -> Result<Adoption, String> {
    let content_after = content_after(content, carried);
    let by_itself = match carried {
        Carried::Filesystem(_) => ClusterAccess::Mount,
        _ if wish.filesystem.is_some() => ClusterAccess::Mount,
        Carried::Nothing | Carried::Other(_) => ClusterAccess::Block,
    };
    let access = wish.access.unwrap_or(by_itself);
    let asked = wish.filesystem.map(FilesystemChoice::name);
    let filesystem = match (access, carried) {
        (ClusterAccess::Block, _) => None,
        (_, Carried::Filesystem(facts)) => Some(agreed(facts.name, asked)?),
        (_, Carried::Nothing) if content_after == Content::Blank => {
            Some(asked.unwrap_or(FILESYSTEM_DEFAULT).to_owned())
        }
        (_, Carried::Nothing) => return Err(not_mountable("holds no filesystem that is known")),
        (_, Carried::Other(names)) => return Err(not_mountable(&format!("holds {names}"))),
    };
    Ok(Adoption { access, filesystem, content: content_after })
}

/// Whoever had it since the driver last had it may have written to it: a right to format it ends
/// here, unless there is nothing that could be lost.
fn content_after(content: &Content, carried: &Carried) -> Content {
    match (content, carried) {
        (Content::Blank, Carried::Nothing) => Content::Blank,
        (Content::Blank | Content::Formatting { .. }, _) => Content::Touched,
        (Content::Formatted { .. } | Content::Touched, _) => content.clone(),
    }
}

fn not_mountable(what: &str) -> String {
    format!(
        "{what}, and the driver makes no filesystem on a volume that was written; make ext4, xfs or \
         btrfs on it yourself, or adopt it with --access block"
    )
}

fn agreed(on_it: &str, asked: Option<&str>) -> Result<String, String> {
    match asked.filter(|asked| *asked != on_it) {
        Some(asked) => Err(format!("holds {on_it}, not {asked}; leave --fs-type out")),
        None => Ok(on_it.to_owned()),
    }
}

/// The same for a volume that a cluster knows: nothing changes, so what was kept decides. `carried`
/// is what is on it, where that can be seen without touching it.
pub(crate) fn describe(
    kept: &Provision,
    content: &Content,
    carried: Option<&Carried>,
    wish: Wish,
) -> Result<(ClusterAccess, Option<String>), String> {
    let on_it = match (carried, content) {
        (Some(Carried::Filesystem(facts)), _) => Some(facts.name),
        (None, Content::Formatted { filesystem, .. } | Content::Formatting { filesystem, .. }) => {
            Some(filesystem.as_str())
        }
        _ => kept.attributes.get(Provision::FILESYSTEM_ATTRIBUTE).map(String::as_str),
    };
    let by_itself = if on_it.is_some() { ClusterAccess::Mount } else { ClusterAccess::Block };
    let access = kept.access().or(wish.access).unwrap_or(by_itself);
    let asked = wish.access.or(wish.filesystem.map(|_| ClusterAccess::Mount));
    if let Some(asked) = asked.filter(|asked| *asked != access) {
        return Err(format!(
            "is known to a cluster already, for access {access} and not {asked}; forget it first, or \
             leave --access and --fs-type out"
        ));
    }
    let asked = wish.filesystem.map(FilesystemChoice::name);
    let filesystem = match (access, on_it) {
        (ClusterAccess::Block, _) => None,
        (ClusterAccess::Mount, Some(on_it)) => Some(agreed(on_it, asked)?),
        (ClusterAccess::Mount, None) => asked.map(str::to_owned),
    };
    Ok((access, filesystem))
}

#[cfg(test)]
#[path = "adoption_tests.rs"]
mod tests;
