//! Strings and maps: the limits of the specification ("Size Limits").
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use tonic::Status;

/// The longest string, in bytes.
const STRING_BYTES_MAX: usize = 128;
/// The largest map, keys and values together, in bytes.
const MAP_BYTES_MAX: usize = 4096;

/// Refuses a required field that is empty.
pub(crate) fn check_required(field: &str, text: &str) -> Result<(), Status> {
    if text.is_empty() {
        return Err(Status::invalid_argument(format!("{field} is required and empty")));
    }
    Ok(())
}

/// Refuses a name that is empty, too long or holds control characters.
pub(crate) fn check_name(field: &str, text: &str) -> Result<(), Status> {
    check_required(field, text)?;
    if text.len() > STRING_BYTES_MAX {
        return Err(Status::invalid_argument(format!(
            "{field} has {} bytes; the limit is {STRING_BYTES_MAX}",
            text.len()
        )));
    }
    if text.chars().any(char::is_control) {
        return Err(Status::invalid_argument(format!(
            "{field} {text:?} holds a control character"
        )));
    }
    Ok(())
}

/// Refuses a map that is too large. Its values are not repeated: they may be secret.
pub(crate) fn check_map(field: &str, map: &BTreeMap<String, String>) -> Result<(), Status> {
    let bytes: usize = map.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > MAP_BYTES_MAX {
        return Err(Status::invalid_argument(format!(
            "{field} has {bytes} bytes of keys and values; the limit is {MAP_BYTES_MAX}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_128_bytes_of_any_script_and_not_one_more() {
        check_name("name", &"x".repeat(128)).unwrap();
        check_name("name", &"\u{e4}".repeat(64)).unwrap();
        check_name("name", "../with/slashes and spaces").unwrap();
        for bad in ["", "a\nb", "a\0b", &"x".repeat(129), &"\u{e4}".repeat(65)] {
            assert!(check_name("name", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_map_may_have_4096_bytes() {
        let map = |bytes: usize| BTreeMap::from([("k".to_owned(), "v".repeat(bytes - 1))]);
        check_map("parameters", &map(4096)).unwrap();
        let refused = check_map("secrets", &map(4097)).unwrap_err();
        assert!(!refused.message().contains("vv"), "{refused}");
    }
}
