//! Mount options of a request, taken from an allow-list.
#![forbid(unsafe_code)]

use rustix::mount::MountAttrFlags;

use super::error::{HostError, Result};
use super::filesystem::Filesystem;
use super::mount_table::MountEntry;
use super::option_list::{ATTRIBUTES, COMMON, Value, options_of};

/// An option of the filesystem, with its value.
pub(super) type Parameter = (&'static str, Option<String>);

/// Which options something is mounted with. `nosuid` and `nodev` are among them unless `suid` and
/// `dev` are asked for: contents of a volume are a tenant's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOptions {
    attributes: MountAttrFlags,
    parameters: Vec<Parameter>,
}

impl Default for MountOptions {
    fn default() -> Self {
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        Self { attributes, parameters: Vec::new() }
    }
}

impl MountOptions {
    /// Takes the flags of a request, each one option or several with commas between them. The last
    /// one of two that contradict each other holds.
    pub fn parse<I>(filesystem: Filesystem, flags: I) -> Result<Self>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let mut options = Self::default();
        for flag in flags {
            for option in split(flag.as_ref()) {
                options.add(filesystem, &option)?;
            }
        }
        Ok(options)
    }

    /// Whether `ro` is among them.
    pub fn read_only(&self) -> bool {
        self.attributes.contains(MountAttrFlags::MOUNT_ATTR_RDONLY)
    }

    /// Whether a mount has these attributes: what is its own, and not its filesystem's.
    pub fn agree_with(&self, mount: &MountEntry, read_only: bool) -> bool {
        let wanted = self.attributes(read_only);
        let has = |option: &str| mount.options.iter().any(|found| found == option);
        let atime = wanted & MountAttrFlags::MOUNT_ATTR__ATIME;
        let pairs = [
            ("ro", wanted.contains(MountAttrFlags::MOUNT_ATTR_RDONLY)),
            ("nosuid", wanted.contains(MountAttrFlags::MOUNT_ATTR_NOSUID)),
            ("nodev", wanted.contains(MountAttrFlags::MOUNT_ATTR_NODEV)),
            ("noexec", wanted.contains(MountAttrFlags::MOUNT_ATTR_NOEXEC)),
            ("noatime", atime == MountAttrFlags::MOUNT_ATTR_NOATIME),
            ("relatime", atime == MountAttrFlags::MOUNT_ATTR_RELATIME),
        ];
        // Mountinfo leaves `nodiratime` out where `noatime` implies it, so it is not compared.
        pairs.iter().all(|(option, expected)| has(option) == *expected)
    }

    /// The attributes of the mount.
    pub(super) fn attributes(&self, read_only: bool) -> MountAttrFlags {
        let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY & flag_if(read_only);
        self.attributes | read_only
    }

    /// The options of the filesystem.
    pub(super) fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn add(&mut self, filesystem: Filesystem, option: &str) -> Result<()> {
        if let Some(known) = ATTRIBUTES.iter().find(|known| known.name == option) {
            self.attributes = (self.attributes - known.clears) | known.sets;
            return Ok(());
        }
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(unquote(value))),
            None => (option, None),
        };
        let known = COMMON.iter().chain(options_of(filesystem));
        let known = known.clone().find(|(known, form)| *known == name && form.accepts(value));
        let Some((name, _)) = known else { return Err(unknown(filesystem, option)) };
        self.parameters.retain(|(set, _)| set != name);
        self.parameters.push((name, value.filter(|value| !value.is_empty()).map(str::to_owned)));
        Ok(())
    }
}

fn flag_if(condition: bool) -> MountAttrFlags {
    if condition { MountAttrFlags::all() } else { MountAttrFlags::empty() }
}

fn unknown(filesystem: Filesystem, option: &str) -> HostError {
    let attributes = ATTRIBUTES.iter().map(|known| known.name.to_owned());
    let others = COMMON.iter().chain(options_of(filesystem));
    let others = others.map(|(name, form): &(_, Value)| form.written(name));
    let known: Vec<String> = attributes.chain(others).collect();
    HostError::MountOption {
        option: option.to_owned(),
        filesystem: filesystem.name(),
        known: known.join(", "),
    }
}

/// The options in one flag. A label has commas of its own, and stands alone or in quotes.
fn split(flag: &str) -> Vec<String> {
    let name = flag.split_once('=').map_or("", |(name, _)| name);
    if COMMON.iter().any(|(known, form)| *known == name && matches!(form, Value::Label)) {
        return vec![flag.to_owned()];
    }
    let mut options = vec![String::new()];
    let mut quoted = false;
    for character in flag.chars() {
        quoted ^= character == '"';
        match options.last_mut() {
            Some(option) if quoted || character != ',' => option.push(character),
            _ => options.push(String::new()),
        }
    }
    options
}

fn unquote(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

#[cfg(test)]
#[path = "mount_options_tests.rs"]
mod tests;
