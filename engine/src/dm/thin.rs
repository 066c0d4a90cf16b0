//! The thin target: one volume of a pool.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use super::device_number::DeviceReference;
use super::linear::reference;
use super::text::{Fields, TextError};
use crate::units::{Sectors, ThinId};

/// The parameters of a thin target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThinTable {
    /// The pool's device.
    pub pool: DeviceReference,
    /// The volume inside the pool.
    pub id: ThinId,
    /// Where blocks that were never written are read from, instead of zeros.
    pub external_origin: Option<DeviceReference>,
}

impl fmt::Display for ThinTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pool, self.id)?;
        match &self.external_origin {
            Some(origin) => write!(f, " {origin}"),
            None => Ok(()),
        }
    }
}

impl FromStr for ThinTable {
    type Err = TextError;

    fn from_str(line: &str) -> Result<Self, TextError> {
        let mut fields = Fields::new("thin table", line);
        let pool = reference(fields.next("pool device")?);
        let id: u32 = fields.number("thin id")?;
        let id = ThinId::new(id).map_err(|_| fields.bad("thin id", &id.to_string()))?;
        let external_origin = fields.optional().map(reference);
        fields.end()?;
        Ok(Self { pool, id, external_origin })
    }
}

/// The status of a thin target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThinStatus {
    /// The volume answers.
    Mapped {
        /// How much of it is provisioned.
        mapped_sectors: Sectors,
        /// The last sector of its highest provisioned block, unless there is none.
        highest_sector: Option<u64>,
    },
    /// The pool has given up.
    Fail,
    /// The pool could not read the volume's metadata.
    Error,
    /// The target does not hold the volume.
    NotOpen,
}

impl fmt::Display for ThinStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mapped { mapped_sectors, highest_sector: Some(sector) } => {
                write!(f, "{mapped_sectors} {sector}")
            }
            Self::Mapped { mapped_sectors, highest_sector: None } => {
                write!(f, "{mapped_sectors} -")
            }
            Self::Fail => f.write_str("Fail"),
            Self::Error => f.write_str("Error"),
            Self::NotOpen => f.write_str("-"),
        }
    }
}

impl FromStr for ThinStatus {
    type Err = TextError;

    fn from_str(line: &str) -> Result<Self, TextError> {
        match line.trim() {
            "Fail" => return Ok(Self::Fail),
            "Error" => return Ok(Self::Error),
            "-" => return Ok(Self::NotOpen),
            _ => {}
        }
        let mut fields = Fields::new("thin status", line);
        let mapped_sectors = Sectors::new(fields.number("mapped sectors")?);
        let highest_sector = match fields.next("highest sector")? {
            "-" => None,
            sector => Some(fields.parse_number("highest sector", sector)?),
        };
        fields.end()?;
        Ok(Self::Mapped { mapped_sectors, highest_sector })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read_and_written() {
        for line in ["253:2 0", "253:2 16777215 7:3", "/dev/pool 1 /dev/origin"] {
            assert_eq!(line.parse::<ThinTable>().unwrap().to_string(), line);
        }
        for line in ["0 -", "256 2047", "Fail", "Error", "-"] {
            assert_eq!(line.parse::<ThinStatus>().unwrap().to_string(), line);
        }
    }

    #[test]
    fn what_the_kernel_refuses_is_refused() {
        assert!("253:2 16777216".parse::<ThinTable>().is_err());
        assert!("253:2 1 7:3 more".parse::<ThinTable>().is_err());
        assert!("256".parse::<ThinStatus>().is_err());
        assert!("x 1".parse::<ThinStatus>().is_err());
    }
}
