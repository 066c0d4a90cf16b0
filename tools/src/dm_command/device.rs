//! A device on the command line.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Error, Result, ensure};
use thinly_engine::block_device::DeviceNumber;
use thinly_engine::dm::{DeviceKey, DeviceReference, DmName, DmUuid};

/// Name, path, `MAJOR:MINOR` or `uuid=UUID`.
#[derive(Debug, Clone)]
pub struct DeviceArgument(pub(super) DeviceKey);

impl FromStr for DeviceArgument {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(uuid) = text.strip_prefix("uuid=") {
            return Ok(Self(DeviceKey::Uuid(DmUuid::new(uuid)?)));
        }
        if text.contains('/') {
            return Ok(Self(DeviceKey::Number(number_of(Path::new(text))?)));
        }
        match text.parse() {
            Ok(DeviceReference::Number(number)) => Ok(Self(DeviceKey::Number(number))),
            Ok(DeviceReference::Path(_)) => Ok(Self(DeviceKey::Name(DmName::new(text)?))),
            Err(never) => match never {},
        }
    }
}

fn number_of(path: &Path) -> Result<DeviceNumber> {
    let metadata =
        fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
    ensure!(
        metadata.file_type().is_block_device(),
        "{} is not a block device; name a dm device",
        path.display()
    );
    Ok(DeviceNumber::from_rdev(metadata.rdev()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DeviceKey> {
        text.parse::<DeviceArgument>().map(|argument| argument.0)
    }

    #[test]
    fn each_form_is_told_from_the_others() {
        let number = DeviceNumber { major: 253, minor: 4 };
        assert_eq!(parse("253:4").unwrap(), DeviceKey::Number(number));
        let uuid = DmUuid::new("LVM-a/b").unwrap();
        assert_eq!(parse("uuid=LVM-a/b").unwrap(), DeviceKey::Uuid(uuid));
        let name = DmName::new("vg-253:x").unwrap();
        assert_eq!(parse("vg-253:x").unwrap(), DeviceKey::Name(name));
        assert!(parse("").is_err());
        assert!(parse("uuid=").is_err());
    }

    #[test]
    fn a_path_must_be_a_block_device() {
        let error = parse("/dev/null").unwrap_err().to_string();
        assert_eq!(error, "/dev/null is not a block device; name a dm device");
        assert!(parse("/dev/absent").unwrap_err().to_string().contains("/dev/absent"));
    }
}
