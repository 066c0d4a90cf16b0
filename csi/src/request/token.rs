//! Where a listing goes on: the last object that was told, and a checksum of it.
//!
//! Objects are listed in the order of their identities, which never change, so a token stays good
//! when others come and go between two pages, and when the object that it names goes.
#![forbid(unsafe_code)]

use tonic::Status;
use uuid::Uuid;

fn checksum(listing: &str, last: Uuid) -> u32 {
    crc32fast::hash(format!("{listing} {last}").as_bytes())
}

/// The token behind an object; `listing` keeps tokens of different listings apart.
pub(crate) fn next_token(listing: &str, last: Uuid) -> String {
    format!("{last}.{:08x}", checksum(listing, last))
}

/// The object after which to go on; `None` at the beginning.
pub(crate) fn start_after(listing: &str, token: &str) -> Result<Option<Uuid>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let last = token.split_once('.').and_then(|(uuid, _)| Uuid::try_parse(uuid).ok());
    last.filter(|last| next_token(listing, *last) == token).map(Some).ok_or_else(|| {
        Status::aborted(format!("starting_token {token:?} is none of ours; list from the start"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_a_forged_one_is_aborted() {
        let last = Uuid::from_u128(7);
        let token = next_token("volumes", last);
        assert_eq!(start_after("volumes", &token).unwrap(), Some(last));
        assert_eq!(start_after("volumes", "").unwrap(), None);
        for bad in ["7", "volumes", &token.to_uppercase(), &token[..token.len() - 1]] {
            let refused = start_after("volumes", bad).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::Aborted, "{bad}");
        }
        assert!(start_after("snapshots", &token).is_err());
    }
}
