//! What a check found, for people.
#![forbid(unsafe_code)]

use std::fmt::Write as _;

use super::pairs;
use crate::json::CheckJson;

/// The findings, the worst first, each with what follows from it.
pub fn check_page(check: &CheckJson) -> String {
    let mut page = String::new();
    for finding in &check.findings {
        // Writing into a string cannot fail.
        let _ = writeln!(page, "{}: {}\n  {}", finding.severity, finding.message, finding.meaning);
    }
    if check.more_findings > 0 {
        let _ = writeln!(page, "and {} findings more", check.more_findings);
    }
    if !page.is_empty() {
        page.push('\n');
    }
    page.push_str(&pairs(&[
        ("Checked", check.checked.clone()),
        ("Thin devices", check.device_count.to_string()),
        ("Nodes of their trees", check.node_count.to_string()),
        ("Data blocks in use", check.mapped_data_block_count.to_string()),
        ("Result", result(check)),
    ]));
    page
}

fn result(check: &CheckJson) -> String {
    match check.worst {
        None => "sound".to_owned(),
        Some("note") => "sound, with notes".to_owned(),
        Some(worst) => format!("{worst}s, see above"),
    }
}
