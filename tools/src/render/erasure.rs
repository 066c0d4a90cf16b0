//! What is overwritten of a deleted volume.
#![forbid(unsafe_code)]

use thinly_engine::pool::Erasure;

use crate::args::VolumePath;
use crate::size::human;

/// What is overwritten, and what stays with whom.
pub fn erasure(path: &VolumePath, erasure: &Erasure) -> String {
    let deleted = format!(
        "{path} is deleted; {} that it alone held are overwritten before they are free\n",
        human(erasure.to_erase_bytes)
    );
    if erasure.kept_bytes.get() == 0 {
        return deleted;
    }
    let mut names: Vec<String> = erasure.kept_by.iter().map(ToString::to_string).collect();
    if erasure.kept_by_more {
        names.push("others".to_owned());
    }
    let kept = human(erasure.kept_bytes);
    let names = names.join(", ");
    format!("{deleted}{kept} are not: {names} held them too; delete these with --erase as well\n")
}
