//! The comparison with a cluster, for people.
#![forbid(unsafe_code)]

use thinly_engine::catalogue::ObjectKind;

use super::{pairs, section, table};
use crate::audit::{Audit, Dangling, Fault, Known, Malformed};

/// What differs, line by line, and what to do about it.
pub fn audit_page(pool: &str, audit: &Audit) -> String {
    let mut page = String::new();
    if !audit.agrees() {
        let unnamed = audit.unnamed.iter().map(unnamed_row);
        let dangling = audit.dangling.iter().map(dangling_row);
        let rows = unnamed.chain(dangling).chain(audit.malformed.iter().map(malformed_row));
        page.push_str(&table(&["HANDLE", "NAME", "KNOWN AS", "WHAT IS WRONG"], &[], rows));
        page.push('\n');
    }
    page.push_str(&pairs(&[
        ("Objects with their handle", audit.agreed_count.to_string()),
        ("Objects that no handle names", audit.unnamed.len().to_string()),
        ("Handles that reach nothing", audit.dangling.len().to_string()),
        ("Objects with a wrong handle", audit.malformed.len().to_string()),
        ("Handles of other pools", audit.elsewhere.len().to_string()),
    ]));
    page.push_str(&section("Elsewhere", audit.elsewhere.iter().map(ToString::to_string)));
    page.push_str(&section("What to do", advice(pool, audit).into_iter()));
    page
}

fn unnamed_row(known: &Known) -> Vec<String> {
    let (handle, name, key) = (known.handle.to_string(), known.name.clone(), known.key.clone());
    vec![handle, name, key, "no handle names it".to_owned()]
}

fn dangling_row(dangling: &Dangling) -> Vec<String> {
    let what = match dangling.fault {
        Fault::Absent => "there is no such object",
        Fault::OtherKind => "the object is of another kind",
        Fault::NotAdopted => "no cluster is meant to know it",
    };
    let name = dangling.name.clone().unwrap_or_else(super::nothing);
    let object = dangling.object.clone().unwrap_or_else(super::nothing);
    vec![dangling.handle.to_string(), name, object, what.to_owned()]
}

fn malformed_row(malformed: &Malformed) -> Vec<String> {
    let Malformed { object, handle, also } = malformed.clone();
    let what =
        also.map_or_else(|| "it is no handle".to_owned(), |also| format!("{also} has it too"));
    vec![handle, super::nothing(), object, what]
}

fn advice(pool: &str, audit: &Audit) -> Vec<String> {
    let mut lines = Vec::new();
    let groups = |known: &&Known| known.handle.kind() == ObjectKind::Group;
    if audit.unnamed.iter().any(|known| !groups(&known)) {
        lines.push(format!(
            "objects without a handle: `thinly adopt {pool}/NAME` prints what to apply, `thinly forget \
             {pool}/NAME` gives them up"
        ));
    }
    if audit.unnamed.iter().any(|known| groups(&known)) {
        lines.push(format!(
            "groups without a handle: `thinly forget {pool}/NAME --group` gives them up"
        ));
    }
    if audit.dangling.iter().any(|one| one.fault == Fault::NotAdopted) {
        lines.push(format!(
            "handles of what no cluster is meant to know: `thinly adopt {pool}/NAME` makes it known"
        ));
    }
    if audit.dangling.iter().any(|one| one.fault != Fault::NotAdopted) {
        lines.push(format!(
            "handles of what is not there: look at `thinly volume list {pool} --all`, then delete \
             what has them in the cluster"
        ));
    }
    if audit.malformed.iter().any(|one| one.also.is_none()) {
        lines.push(
            "handles that are none: somebody wrote them by hand; `thinly adopt` prints right ones"
                .to_owned(),
        );
    }
    if audit.malformed.iter().any(|one| one.also.is_some()) {
        lines.push(
            "handles that two objects have: delete the one that nobody uses, and that only with its \
             policy on Retain"
                .to_owned(),
        );
    }
    lines
}
