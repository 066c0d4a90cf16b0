//! A list of handles, as a cluster's own tools print it.
#![forbid(unsafe_code)]

use thinly_engine::catalogue::ObjectId;
use thiserror::Error;

use crate::audit::Handles;

/// How many bad entries are told: whoever gave the wrong file needs no more.
const TOLD_MAX: usize = 5;

/// A list that cannot be compared with anything.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HandleListError {
    /// Entries that are no handles.
    #[error("{}; give one handle a line, or a JSON array of them", told(.entries))]
    Malformed {
        /// Which, and what stands there.
        entries: Vec<(Place, String)>,
    },
    /// It begins like JSON and is none.
    #[error("the JSON array cannot be read: {0}")]
    Json(String),
    /// It is no text.
    #[error("line {0} is no UTF-8 text; give one handle a line, or a JSON array of them")]
    NoText(usize),
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On this line, the first being 1.
    Line(usize),
    /// In the array, the first being 1.
    Entry(usize),
}

fn told(entries: &[(Place, String)]) -> String {
    let one = |(place, text): &(Place, String)| match place {
        Place::Line(number) => format!("line {number}: {text:?} is no handle"),
        Place::Entry(number) => format!("entry {number} of the array: {text:?} is no handle"),
    };
    let mut lines: Vec<String> = entries.iter().take(TOLD_MAX).map(one).collect();
    if entries.len() > TOLD_MAX {
        lines.push(format!("{} more are none", entries.len() - TOLD_MAX));
    }
    lines.join("; ")
}

/// Reads a list: one handle a line, where empty lines and those that begin with `#` count for
/// nothing, or a JSON array of strings. A handle that stands there twice is one handle.
pub fn parse_handles(bytes: &[u8]) -> Result<Handles, HandleListError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        HandleListError::NoText(before.split(|byte| *byte == b'\n').count())
    })?;
    let entries: Vec<(Place, String)> = if text.trim_start().starts_with('[') {
        let array: Vec<String> =
            serde_json::from_str(text).map_err(|error| HandleListError::Json(error.to_string()))?;
        array.into_iter().enumerate().map(|(at, text)| (Place::Entry(at + 1), text)).collect()
    } else {
        let lines = text.lines().enumerate();
        lines
            .map(|(at, line)| (Place::Line(at + 1), line.trim().to_owned()))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
            .collect()
    };
    let (mut handles, mut malformed) = (Handles::new(), Vec::new());
    for (place, text) in entries {
        match text.parse::<ObjectId>() {
            Ok(handle) => {
                handles.insert(handle, None);
            }
            Err(_) => malformed.push((place, text)),
        }
    }
    if malformed.is_empty() {
        Ok(handles)
    } else {
        Err(HandleListError::Malformed { entries: malformed })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use thinly_engine::catalogue::ObjectKind;
    use uuid::Uuid;

    use super::*;

    fn handle(uuid: u128) -> ObjectId {
        ObjectId::new(Uuid::from_u128(7 << 100), ObjectKind::Volume, Uuid::from_u128(uuid))
    }

    fn parsed(text: &str) -> Result<BTreeSet<ObjectId>, HandleListError> {
        parse_handles(text.as_bytes()).map(|handles| handles.into_keys().collect())
    }

    #[test]
    fn lines_and_arrays_are_the_same_list() {
        let wanted = BTreeSet::from([handle(1), handle(2)]);
        let (one, two) = (handle(1), handle(2));
        for text in [
            format!("{one}\n{two}\n"),
            format!("{one}\n{two}"),
            format!("# those of n1\n\n  {two}\r\n\t{one} \n{two}\n  # the end"),
            format!("[\"{one}\", \"{two}\"]"),
            format!("\n [\n\"{two}\",\"{one}\",\"{one}\"]\n"),
        ] {
            assert_eq!(parsed(&text), Ok(wanted.clone()), "{text}");
        }
        for nothing in ["", "\n\n", "# nothing\n", "[]"] {
            assert_eq!(parsed(nothing), Ok(BTreeSet::new()), "{nothing:?}");
        }
    }

    #[test]
    fn what_is_no_handle_is_told_with_its_place() {
        let one = handle(1);
        for (text, words) in [
            (format!("{one}\n\nv1.x\n{one} {one}\n"), vec!["line 3: \"v1.x\"", "line 4: "]),
            (format!("{one} # mine"), vec!["line 1: "]),
            (format!("[\"{one}\", \" {one}\"]"), vec!["entry 2 of the array: "]),
            ("[1]".to_owned(), vec!["JSON", "line 1"]),
            (format!("[\"{one}\""), vec!["JSON", "line 1"]),
            ("\n".repeat(9) + "{}", vec!["line 10: \"{}\""]),
            ("x\n".repeat(7), vec!["line 5: ", "; 2 more are none"]),
        ] {
            let told = parsed(&text).unwrap_err().to_string();
            for word in words {
                assert!(told.contains(word), "{text:?}: no {word:?} in {told:?}");
            }
        }
        assert_eq!(parse_handles(b"# one\n\xff"), Err(HandleListError::NoText(2)));
    }
}
