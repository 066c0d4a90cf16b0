//! A device's table: which target serves which sectors.
#![forbid(unsafe_code)]

use std::fmt;

use super::linear::LinearTable;
use super::text::TextError;
use super::thin::ThinTable;
use super::thin_pool::ThinPoolTable;
use crate::units::Sectors;

/// A target and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A range of another device.
    Linear(LinearTable),
    /// A pool.
    ThinPool(ThinPoolTable),
    /// A volume of a pool.
    Thin(ThinTable),
    /// Fails every request.
    Error,
    /// Reads zeros and forgets what is written.
    Zero,
    /// Any other target, and a thin that cannot tell its table because its pool has failed.
    Other {
        /// The target's name.
        kind: String,
        /// Its parameters as text.
        parameters: String,
    },
}

impl Target {
    /// Reads what the kernel prints for a target of this kind.
    pub fn parse(kind: &str, parameters: &str) -> Result<Self, TextError> {
        let other = || Self::Other { kind: kind.to_owned(), parameters: parameters.to_owned() };
        Ok(match kind {
            "linear" => Self::Linear(parameters.parse()?),
            "thin-pool" => Self::ThinPool(parameters.parse()?),
            // thin_status (dm-thin.c) answers a question for the table with these two as well.
            "thin" if matches!(parameters, "Fail" | "-") => other(),
            "thin" => Self::Thin(parameters.parse()?),
            "error" if parameters.is_empty() => Self::Error,
            "zero" if parameters.is_empty() => Self::Zero,
            _ => other(),
        })
    }

    /// The target's name.
    pub fn kind(&self) -> &str {
        match self {
            Self::Linear(_) => "linear",
            Self::ThinPool(_) => "thin-pool",
            Self::Thin(_) => "thin",
            Self::Error => "error",
            Self::Zero => "zero",
            Self::Other { kind, .. } => kind,
        }
    }

    /// The target's parameters, in the kernel's text.
    pub fn parameters(&self) -> String {
        match self {
            Self::Linear(table) => table.to_string(),
            Self::ThinPool(table) => table.to_string(),
            Self::Thin(table) => table.to_string(),
            Self::Error | Self::Zero => String::new(),
            Self::Other { parameters, .. } => parameters.clone(),
        }
    }
}

/// One line of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableLine {
    /// The first sector of the device that the target serves.
    pub start: Sectors,
    /// How many sectors it serves.
    pub length: Sectors,
    /// The target.
    pub target: Target,
}

impl fmt::Display for TableLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parameters = self.target.parameters();
        write!(f, "{} {} {} {parameters}", self.start, self.length, self.target.kind())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_keeps_its_text() {
        for (kind, parameters) in [
            ("linear", "7:0 0"),
            ("thin-pool", "7:0 7:1 128 0 1 skip_block_zeroing "),
            ("thin", "253:0 5"),
            ("thin", "Fail"),
            ("thin", "-"),
            ("error", ""),
            ("error", "extra"),
            ("zero", ""),
            ("delay", "7:0 0 10"),
        ] {
            let target = Target::parse(kind, parameters).unwrap();
            assert_eq!((target.kind(), target.parameters().as_str()), (kind, parameters));
        }
        assert!(Target::parse("linear", "7:0").is_err());
    }
}
