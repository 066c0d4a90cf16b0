//! What a device carries.
#![forbid(unsafe_code)]

use std::path::Path;

use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::layout::{Carried, FilesystemFacts, Window, carried, filesystem_in};
use uuid::Uuid;

use super::Filesystem;
use crate::host::error::Result;

/// What a device carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// Nothing that is known.
    None,
    /// A filesystem that a volume can carry, and its identity.
    Known(Filesystem, Uuid),
    /// Something else, by its name.
    Foreign(String),
}

/// Looks at what a device, or an image file, carries.
pub fn signature(device: &Path) -> Result<Signature> {
    Ok(match carried(&window(device)?) {
        Carried::Nothing => Signature::None,
        Carried::Filesystem(facts) => match facts.name.parse() {
            Ok(filesystem) => Signature::Known(filesystem, facts.uuid),
            Err(_) => Signature::Foreign(facts.name.to_owned()),
        },
        Carried::Other(names) => Signature::Foreign(names),
    })
}

/// What the superblock of a device's filesystem says; `None` when it has none of ours.
pub(super) fn facts(device: &Path) -> Result<Option<(Filesystem, FilesystemFacts)>> {
    let facts = filesystem_in(&window(device)?);
    Ok(facts.and_then(|facts| Some((facts.name.parse().ok()?, facts))))
}

fn window(device: &Path) -> Result<Window> {
    Ok(Window::read(&BlockDevice::open_any(device, Access::ReadOnly)?)?)
}
