//! Device numbers as the device-mapper writes them: in ioctl fields and in tables.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use crate::block_device::DeviceNumber;

/// Reads the kernel's `huge_decode_dev` encoding, used in `dm_ioctl.dev` and in lists.
pub fn from_kernel_device(device: u64) -> DeviceNumber {
    // Only the lower 32 bits are in use: a 12-bit major amid a 20-bit minor.
    let low = u32::try_from(device & 0xffff_ffff).unwrap_or(0);
    DeviceNumber { major: (low & 0x000f_ff00) >> 8, minor: (low & 0xff) | ((low >> 12) & 0xf_ff00) }
}

/// Writes the kernel's `huge_encode_dev` encoding.
pub fn to_kernel_device(number: DeviceNumber) -> u64 {
    u64::from(
        (number.minor & 0xff) | ((number.major & 0xfff) << 8) | ((number.minor & 0xf_ff00) << 12),
    )
}

/// Reads `major:minor`.
fn parse_number(text: &str) -> Option<DeviceNumber> {
    let (major, minor) = text.split_once(':')?;
    Some(DeviceNumber { major: parse_digits(major)?, minor: parse_digits(minor)? })
}

/// Digits only: `u32::from_str` would take a leading plus sign.
fn parse_digits(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A device named in a table: the kernel prints numbers and takes paths as well.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceReference {
    /// `major:minor`.
    Number(DeviceNumber),
    /// Anything else, a path as a rule.
    Path(String),
}

impl DeviceReference {
    /// The number, unless the device is named by a path.
    pub const fn number(&self) -> Option<DeviceNumber> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Path(_) => None,
        }
    }
}

impl From<DeviceNumber> for DeviceReference {
    fn from(number: DeviceNumber) -> Self {
        Self::Number(number)
    }
}

impl FromStr for DeviceReference {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(parse_number(text).map_or_else(|| Self::Path(text.to_owned()), Self::Number))
    }
}

impl fmt::Display for DeviceReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => fmt::Display::fmt(number, f),
            Self::Path(path) => f.write_str(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_encoding_is_that_of_the_kernel() {
        let number = DeviceNumber { major: 253, minor: 0x1_2345 };
        assert_eq!(to_kernel_device(number), 0x1230_fd45);
        assert_eq!(to_kernel_device(DeviceNumber { major: 253, minor: 7 }), 0xfd07);
        assert_eq!(from_kernel_device(0xfd07), DeviceNumber { major: 253, minor: 7 });
    }

    proptest! {
        #[test]
        fn numbers_survive_the_encoding(major in 0_u32..1 << 12, minor in 0_u32..1 << 20) {
            let number = DeviceNumber { major, minor };
            prop_assert_eq!(from_kernel_device(to_kernel_device(number)), number);
            prop_assert_eq!(to_kernel_device(number), nix::sys::stat::makedev(major.into(), minor.into()));
        }

        #[test]
        fn references_survive_their_text(major: u32, minor: u32, path in "/[a-z/0-9:-]{1,20}") {
            for reference in [
                DeviceReference::Number(DeviceNumber { major, minor }),
                DeviceReference::Path(path),
            ] {
                prop_assert_eq!(reference.to_string().parse::<DeviceReference>(), Ok(reference));
            }
        }
    }
}
