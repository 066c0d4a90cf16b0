//! The linear target: a range of another device.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use super::device_number::DeviceReference;
use super::text::{Fields, TextError};
use crate::units::Sectors;

/// The parameters of a linear target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinearTable {
    /// The device below.
    pub device: DeviceReference,
    /// Where the range starts on it.
    pub offset: Sectors,
}

impl fmt::Display for LinearTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.device, self.offset)
    }
}

impl FromStr for LinearTable {
    type Err = TextError;

    fn from_str(line: &str) -> Result<Self, TextError> {
        let mut fields = Fields::new("linear table", line);
        let device = reference(fields.next("device")?);
        let offset = Sectors::new(fields.number("offset")?);
        fields.end()?;
        Ok(Self { device, offset })
    }
}

/// A reference never fails to parse: what is no number is a path.
pub(super) fn reference(text: &str) -> DeviceReference {
    match text.parse() {
        Ok(reference) => reference,
        Err(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_text_is_read_and_written() {
        let table: LinearTable = "7:0 2048".parse().unwrap();
        assert_eq!(table.offset, Sectors::new(2048));
        assert_eq!(table.to_string(), "7:0 2048");
        assert!(matches!("7:0".parse::<LinearTable>(), Err(TextError::Missing { .. })));
        assert!(matches!("7:0 x".parse::<LinearTable>(), Err(TextError::Value { .. })));
        assert!(matches!("7:0 1 2".parse::<LinearTable>(), Err(TextError::Trailing { .. })));
    }
}
