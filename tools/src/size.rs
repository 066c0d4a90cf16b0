//! Sizes as people write them: `10G`, `1.5TiB`, `500GB`. Read exactly, never through a float.
#![forbid(unsafe_code)]

use thinly_engine::units::{BlockSize, Bytes, ThinId, UnitError};
use thiserror::Error;

/// What a volume's size is rounded up to: one page, so that no filesystem meets a torn last block.
pub const VOLUME_STEP: Bytes = Bytes::new(4096);

/// How sizes are written, for help texts.
pub const SIZE_HELP: &str = "Sizes are a number and a unit: K, M, G, T, P (or KiB, MiB, GiB, \
TiB, PiB) count in steps of 1024, KB, MB, GB, TB, PB in steps of 1000, and no unit means bytes. \
Fractions are read exactly: 1.5T is 1649267441664 bytes.";

const FRACTION_DIGITS_MAX: usize = 18;

/// A size that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SizeError {
    /// Nothing was given.
    #[error("the size is empty; write it like 10G or 1.5TiB")]
    Empty,
    /// It begins with a minus sign.
    #[error("{0:?} is negative; a size is a positive number like 10G")]
    Negative(String),
    /// It is nothing.
    #[error("{0:?} is zero; a size is at least one byte")]
    Zero(String),
    /// The number before the unit is no number.
    #[error("{0:?} is not a size; write a number and a unit, like 10G or 1.5TiB")]
    NotANumber(String),
    /// The unit is not known.
    #[error(
        "{text:?} has the unknown unit {unit:?}; use B, K, M, G, T or P (also KiB, MiB, ... in \
         steps of 1024 and KB, MB, ... in steps of 1000)"
    )]
    UnknownUnit {
        /// What was given.
        text: String,
        /// The part that is no unit.
        unit: String,
    },
    /// More digits after the point than can be read exactly.
    #[error("{0:?} has more than {FRACTION_DIGITS_MAX} digits after the point; use a smaller unit")]
    TooPrecise(String),
    /// It does not fit into 64 bits.
    #[error("{0:?} is too large: a size is below 16 EiB")]
    TooLarge(String),
    /// A block size that the kernel refuses.
    #[error(transparent)]
    BlockSize(#[from] UnitError),
}

/// Reads a size; a fraction of a byte counts as a whole one.
pub fn parse_bytes(text: &str) -> Result<Bytes, SizeError> {
    let given = text.trim();
    if given.is_empty() {
        return Err(SizeError::Empty);
    }
    if given.starts_with('-') {
        return Err(SizeError::Negative(text.to_owned()));
    }
    let end = given.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(given.len());
    let (number, unit) = given.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(SizeError::NotANumber(text.to_owned()));
    }
    if fraction.len() > FRACTION_DIGITS_MAX {
        return Err(SizeError::TooPrecise(text.to_owned()));
    }
    let unit = unit_bytes(unit.trim()).ok_or_else(|| SizeError::UnknownUnit {
        text: text.to_owned(),
        unit: unit.trim().to_owned(),
    })?;
    let bytes =
        total_bytes(whole, fraction, unit).ok_or_else(|| SizeError::TooLarge(text.to_owned()))?;
    if bytes == 0 { Err(SizeError::Zero(text.to_owned())) } else { Ok(Bytes::new(bytes)) }
}

/// Reads a volume's size, rounded up to [`VOLUME_STEP`].
pub fn parse_volume_size(text: &str) -> Result<Bytes, SizeError> {
    parse_bytes(text)?.align_up(VOLUME_STEP).ok_or_else(|| SizeError::TooLarge(text.to_owned()))
}

/// Reads a pool's block size; the kernel's rule is checked, nothing is rounded.
pub fn parse_block_size(text: &str) -> Result<BlockSize, SizeError> {
    Ok(BlockSize::new(parse_bytes(text)?.to_sectors_exact()?)?)
}

/// Reads a thin id: a number of 24 bits.
pub fn parse_thin_id(text: &str) -> Result<ThinId, String> {
    let number: u32 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    ThinId::new(number).map_err(|error| error.to_string())
}

fn unit_bytes(unit: &str) -> Option<u64> {
    const LETTERS: [&str; 6] = ["k", "m", "g", "t", "p", "e"];
    let unit = unit.to_ascii_lowercase();
    if unit.is_empty() || unit == "b" {
        return Some(1);
    }
    let exponent = |letter: &str| {
        LETTERS.iter().position(|known| *known == letter).and_then(|at| u32::try_from(at + 1).ok())
    };
    if let Some(letter) = unit.strip_suffix("ib") {
        return exponent(letter).map(|power| 1024_u64.pow(power));
    }
    if let Some(letter) = unit.strip_suffix('b') {
        return exponent(letter).map(|power| 1000_u64.pow(power));
    }
    exponent(&unit).map(|power| 1024_u64.pow(power))
}

fn total_bytes(whole: &str, fraction: &str, unit: u64) -> Option<u64> {
    let whole: u64 = whole.parse().ok()?;
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let parts = u128::from(fraction.parse::<u64>().ok()?) * u128::from(unit);
    let rest = u64::try_from(parts.div_ceil(scale)).ok()?;
    whole.checked_mul(unit)?.checked_add(rest)
}

/// Writes a size for people: `1.50 GiB`, to the nearest hundredth.
pub fn human(bytes: Bytes) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let value = u128::from(bytes.get());
    if value < 1024 {
        return format!("{value} B");
    }
    let mut unit = 1024_u128;
    for (at, name) in UNITS.iter().enumerate() {
        let hundredths = (value * 100 + unit / 2) / unit;
        if hundredths < 102_400 || at + 1 == UNITS.len() {
            return format!("{}.{:02} {name}", hundredths / 100, hundredths % 100);
        }
        unit *= 1024;
    }
    format!("{value} B")
}

/// How much of `total` is used, in whole per cent, rounded up: a pool is 100 % only when full.
pub fn percent(used: Bytes, total: Bytes) -> u64 {
    let (used, total) = (u128::from(used.get()), u128::from(total.get()));
    match (used, total) {
        (_, 0) => 0,
        _ if used >= total => 100,
        _ => u64::try_from((used * 100).div_ceil(total).min(99)).unwrap_or(99),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(text: &str) -> u64 {
        parse_bytes(text).unwrap().get()
    }

    #[test]
    fn units_are_what_storage_tools_take() {
        for (text, expected) in [
            ("1", 1),
            ("512B", 512),
            ("10G", 10 << 30),
            ("10g", 10 << 30),
            ("10GiB", 10 << 30),
            ("10 GiB", 10 << 30),
            ("10GB", 10_000_000_000),
            ("128KiB", 128 << 10),
            ("1.5T", 3 << 39),
            ("0.5K", 512),
            ("1.1K", 1127),
            ("15.999999E", 18_446_742_920_788_047_010),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_the_reason() {
        let table: String = [
            "",
            " ",
            "0",
            "0.0G",
            "-1G",
            "G",
            ".5G",
            "5.",
            "1.2.3G",
            "ten",
            "1e9",
            "10Q",
            "10GiBs",
            "16E",
            "99999999999999999999",
            "0.1234567890123456789",
            "+5G",
            "1_000",
        ]
        .iter()
        .map(|text| match parse_bytes(text) {
            Ok(bytes) => panic!("{text:?} was read as {bytes}"),
            Err(error) => format!("{error}\n"),
        })
        .collect();
        insta::assert_snapshot!(table);
    }

    #[test]
    fn volumes_are_rounded_up_to_a_page_and_blocks_are_not() {
        assert_eq!(parse_volume_size("1").unwrap(), VOLUME_STEP);
        assert_eq!(parse_volume_size("1GB").unwrap().get(), 1_000_001_536);
        assert!(matches!(parse_volume_size("18446744073709551615"), Err(SizeError::TooLarge(_))));
        assert_eq!(parse_block_size("128KiB").unwrap(), BlockSize::DEFAULT);
        assert!(parse_block_size("100K").is_err() && parse_block_size("1").is_err());
    }

    #[test]
    fn people_read_two_decimals() {
        for (value, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (3 << 29, "1.50 GiB"),
            ((1 << 30) - 1, "1.00 GiB"),
            (u64::MAX, "16.00 EiB"),
        ] {
            assert_eq!(human(Bytes::new(value)), expected);
        }
    }

    #[test]
    fn a_pool_is_full_only_when_it_is() {
        for (used, total, expected) in
            [(0, 0, 0), (0, 10, 0), (1, 1000, 1), (999, 1000, 99), (1000, 1000, 100)]
        {
            assert_eq!(percent(Bytes::new(used), Bytes::new(total)), expected);
        }
    }

    proptest! {
        #[test]
        fn whole_numbers_are_exact(value in 1_u64..) {
            prop_assert_eq!(bytes(&value.to_string()), value);
            let read = parse_bytes(&format!("{value}GiB")).ok().map(Bytes::get);
            prop_assert_eq!(read, value.checked_mul(1 << 30));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = parse_bytes(&text);
        }
    }
}
