//! The status of the thin-pool target.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use super::text::{Fields, TextError};
use crate::units::{DataBlocks, MetadataBlocks, TransactionId};

const WHAT: &str = "thin-pool status";

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The kernel's word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == word)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What a pool still does.
    PoolMode {
        /// Everything.
        ReadWrite = "rw",
        /// Reads only: metadata failed or is full, or the table said so.
        ReadOnly = "ro",
        /// Everything but the allocation of data blocks.
        OutOfDataSpace = "out_of_data_space",
    }
}

words! {
    /// What becomes of a discard.
    DiscardMode {
        /// Refused.
        Ignore = "ignore_discard",
        /// Frees blocks and goes on to the data device.
        Passdown = "discard_passdown",
        /// Frees blocks.
        NoPassdown = "no_discard_passdown",
    }
}

words! {
    /// What becomes of a write that finds no free block.
    OnNoSpace {
        /// It fails at once.
        Error = "error_if_no_space",
        /// It waits, for a time that a module parameter sets.
        Queue = "queue_if_no_space",
    }
}

/// The counts and modes of a pool that works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolUsage {
    /// The counter that only a compare-and-swap message moves.
    pub transaction_id: TransactionId,
    /// Metadata blocks in use; the kernel counts its commit reserve as used.
    pub used_metadata_blocks: MetadataBlocks,
    /// Metadata blocks in all.
    pub total_metadata_blocks: MetadataBlocks,
    /// Data blocks in use.
    pub used_data_blocks: DataBlocks,
    /// Data blocks in all.
    pub total_data_blocks: DataBlocks,
    /// The metadata block of the held root, while a metadata snapshot is reserved.
    pub held_root: Option<u64>,
    /// What the pool still does.
    pub mode: PoolMode,
    /// What becomes of a discard.
    pub discard: DiscardMode,
    /// What becomes of a write that finds no free block.
    pub on_no_space: OnNoSpace,
    /// The metadata must be checked offline before the pool writes again.
    pub needs_check: bool,
    /// An event is raised when no more than this is free; set by the kernel; old ones do not print it.
    pub metadata_low_watermark: Option<MetadataBlocks>,
    /// Fields that a later kernel may add.
    pub trailing: Vec<String>,
}

impl PoolUsage {
    /// Data blocks that are not in use.
    pub const fn free_data_blocks(&self) -> DataBlocks {
        self.total_data_blocks.saturating_sub(self.used_data_blocks)
    }

    /// Metadata blocks that are not in use.
    pub const fn free_metadata_blocks(&self) -> MetadataBlocks {
        self.total_metadata_blocks.saturating_sub(self.used_metadata_blocks)
    }

    /// Whether messages are served and their commits can reach the disk.
    pub fn takes_messages(&self) -> bool {
        self.mode != PoolMode::ReadOnly && !self.needs_check
    }
}

/// The status of a thin-pool target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ThinPoolStatus {
    /// The pool answers.
    Working(PoolUsage),
    /// The pool has given up; only a repair helps.
    Fail,
    /// The pool could not read its own metadata for the answer.
    Error,
}

impl ThinPoolStatus {
    /// The counts and modes, of a pool that works.
    pub const fn usage(&self) -> Option<&PoolUsage> {
        match self {
            Self::Working(usage) => Some(usage),
            Self::Fail | Self::Error => None,
        }
    }
}

impl fmt::Display for ThinPoolStatus {
    /// The kernel's own text, with the space at its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Working(usage) => usage.fmt(f),
            Self::Fail => f.write_str("Fail"),
            Self::Error => f.write_str("Error"),
        }
    }
}

impl fmt::Display for PoolUsage {
    /// The kernel's own text, with the space at its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}/{} {}/{} ",
            self.transaction_id,
            self.used_metadata_blocks,
            self.total_metadata_blocks,
            self.used_data_blocks,
            self.total_data_blocks
        )?;
        match self.held_root {
            Some(block) => write!(f, "{block} ")?,
            None => f.write_str("- ")?,
        }
        let needs_check = if self.needs_check { "needs_check" } else { "-" };
        write!(f, "{} {} {} {needs_check} ", self.mode, self.discard, self.on_no_space)?;
        if let Some(watermark) = self.metadata_low_watermark {
            write!(f, "{watermark} ")?;
        }
        for field in &self.trailing {
            write!(f, "{field} ")?;
        }
        Ok(())
    }
}

impl FromStr for ThinPoolStatus {
    type Err = TextError;

    fn from_str(line: &str) -> Result<Self, TextError> {
        match line.trim() {
            "Fail" => return Ok(Self::Fail),
            // After a failure the kernel appends the word to what it has written so far: nothing.
            "Error" => return Ok(Self::Error),
            _ => {}
        }
        let mut fields = Fields::new(WHAT, line);
        let transaction_id = TransactionId::new(fields.number("transaction_id")?);
        let (used_metadata, total_metadata) = fields.fraction("metadata blocks")?;
        let (used_data, total_data) = fields.fraction("data blocks")?;
        let held_root = match fields.next("held metadata root")? {
            "-" => None,
            block => Some(fields.parse_number("held metadata root", block)?),
        };
        let mode = word(&mut fields, "mode", PoolMode::from_word)?;
        let discard = word(&mut fields, "discard mode", DiscardMode::from_word)?;
        let on_no_space = word(&mut fields, "no-space mode", OnNoSpace::from_word)?;
        let needs_check = word(&mut fields, "needs_check", |text| match text {
            "needs_check" => Some(true),
            "-" => Some(false),
            _ => None,
        })?;
        let metadata_low_watermark = match fields.optional() {
            None => None,
            Some(text) => Some(fields.parse_number("metadata low watermark", text)?),
        }
        .map(MetadataBlocks::new);
        Ok(Self::Working(PoolUsage {
            transaction_id,
            used_metadata_blocks: MetadataBlocks::new(used_metadata),
            total_metadata_blocks: MetadataBlocks::new(total_metadata),
            used_data_blocks: DataBlocks::new(used_data),
            total_data_blocks: DataBlocks::new(total_data),
            held_root,
            mode,
            discard,
            on_no_space,
            needs_check,
            metadata_low_watermark,
            trailing: fields.trailing(),
        }))
    }
}

/// The next field by a table of words.
fn word<T>(
    fields: &mut Fields<'_>,
    field: &'static str,
    known: impl Fn(&str) -> Option<T>,
) -> Result<T, TextError> {
    let text = fields.next(field)?;
    known(text).ok_or_else(|| fields.bad(field, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: &str = "0 4114/131072 0/16384 - rw discard_passdown queue_if_no_space - 1024 ";

    #[test]
    fn the_kernels_text_is_read_and_written() {
        for line in [
            FRESH,
            "7 10/1024 5/5 - out_of_data_space no_discard_passdown error_if_no_space - 256 ",
            "7 10/1024 5/5 23 ro ignore_discard queue_if_no_space needs_check 256 new 1 ",
            "7 10/1024 5/5 - rw discard_passdown queue_if_no_space - ",
            "Fail",
            "Error",
        ] {
            assert_eq!(line.parse::<ThinPoolStatus>().unwrap().to_string(), line);
        }
    }

    #[test]
    fn an_unknown_word_is_an_error_that_quotes_the_line() {
        for (from, to, field) in [
            (" rw ", " wr ", "mode"),
            ("discard_passdown", "discard", "discard mode"),
            ("queue_if_no_space", "panic_if_no_space", "no-space mode"),
            (" - 1024", " maybe 1024", "needs_check"),
            (" 1024 ", " low ", "metadata low watermark"),
            ("4114/", "4114:", "metadata blocks"),
        ] {
            let line = FRESH.replace(from, to);
            let error = line.parse::<ThinPoolStatus>().unwrap_err();
            assert!(matches!(&error, TextError::Value { field: f, .. } if *f == field), "{error}");
            assert!(error.to_string().contains(line.trim_end()), "{error}");
        }
        assert!(matches!("1 2/3".parse::<ThinPoolStatus>(), Err(TextError::Missing { .. })));
    }

    #[test]
    fn a_pool_that_needs_a_check_takes_no_messages() {
        let status: ThinPoolStatus = FRESH.parse().unwrap();
        let mut usage = status.usage().unwrap().clone();
        assert!(usage.takes_messages());
        usage.needs_check = true;
        assert!(!usage.takes_messages());
    }
}
