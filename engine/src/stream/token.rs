//! What a receiver hands to the sender, so that it goes on where the last stream broke.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use uuid::Uuid;

use super::fields::{Fields, crc};
use crate::units::Bytes;

const PREFIX: &str = "thinly1-";
const BODY_BYTES: usize = 16 + 16 + 8;
const BYTES: usize = BODY_BYTES + 4;

/// How far a stream came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResumeToken {
    /// The snapshot, in the sender's pool.
    pub snapshot: Uuid,
    /// The snapshot that the stream is a difference to.
    pub base: Option<Uuid>,
    /// All before it is on the receiver's disks.
    pub offset: Bytes,
}

/// Text that is no token.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("this is no token, or not all of one; `thinly receive POOL/NAME --token` prints it")]
pub struct TokenError;

impl ResumeToken {
    fn body(self) -> [u8; BODY_BYTES] {
        let mut bytes = [0; BODY_BYTES];
        bytes[..16].copy_from_slice(self.snapshot.as_bytes());
        bytes[16..32].copy_from_slice(self.base.unwrap_or_default().as_bytes());
        bytes[32..].copy_from_slice(&self.offset.get().to_le_bytes());
        bytes
    }
}

impl fmt::Display for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.body();
        let sum = crc(0, &body).to_le_bytes();
        f.write_str(PREFIX)?;
        body.iter().chain(&sum).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for ResumeToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let digits = text.trim().strip_prefix(PREFIX).ok_or(TokenError)?;
        if digits.len() != 2 * BYTES || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(TokenError);
        }
        let mut bytes = [0; BYTES];
        for (at, byte) in bytes.iter_mut().enumerate() {
            let pair = digits.get(2 * at..2 * at + 2).ok_or(TokenError)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| TokenError)?;
        }
        let mut fields = Fields::new(&bytes);
        let (snapshot, base) = (fields.uuid(), fields.uuid());
        let offset = Bytes::new(fields.u64());
        if crc(0, &bytes[..BODY_BYTES]) != fields.u32() {
            return Err(TokenError);
        }
        Ok(Self { snapshot, base: (!base.is_nil()).then_some(base), offset })
    }
}
