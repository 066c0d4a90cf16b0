//! What a check found.
#![forbid(unsafe_code)]

use serde::Serialize;
use thinly_engine::metadata::{CheckFinding, CheckReport, Severity};
use thinly_engine::pool::CatalogueFinding;

/// What a check found.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct CheckJson {
    pub checked: String,
    pub worst: Option<&'static str>,
    pub findings: Vec<FindingJson>,
    pub more_findings: u64,
    pub device_count: u64,
    pub node_count: u64,
    pub mapped_data_block_count: u64,
}

/// One thing that a check found.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct FindingJson {
    pub severity: &'static str,
    pub kind: &'static str,
    pub message: String,
    pub meaning: &'static str,
    #[serde(skip)]
    pub rank: Severity,
}

impl CheckJson {
    /// A report, with its findings in the order in which they are shown.
    #[must_use]
    pub fn new(
        checked: &str,
        report: &CheckReport,
        worst: Option<Severity>,
        findings: Vec<FindingJson>,
    ) -> Self {
        Self {
            checked: checked.to_owned(),
            worst: worst.map(word),
            findings,
            more_findings: report.more_findings,
            device_count: report.device_count,
            node_count: report.node_count,
            mapped_data_block_count: report.mapped_blocks.get(),
        }
    }
}

impl From<&CheckFinding> for FindingJson {
    fn from(finding: &CheckFinding) -> Self {
        let rank = finding.severity();
        let (kind, meaning) = (finding.kind(), finding.meaning());
        Self { severity: word(rank), kind, message: finding.to_string(), meaning, rank }
    }
}

impl From<&CatalogueFinding> for FindingJson {
    fn from(finding: &CatalogueFinding) -> Self {
        let rank = finding.severity();
        let (kind, meaning) = (finding.kind(), finding.meaning());
        Self { severity: word(rank), kind, message: finding.to_string(), meaning, rank }
    }
}

const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}
