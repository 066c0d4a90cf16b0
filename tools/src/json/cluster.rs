//! Answers of the verbs between a pool and a cluster.
#![forbid(unsafe_code)]

use serde::Serialize;
use thinly_engine::catalogue::ObjectId;

use crate::audit::{Audit, Dangling, Fault, Known, Malformed};
use crate::manifest::Manifest;

/// What a cluster is told of a volume or snapshot.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct AdoptionJson<'a> {
    pub handle: String,
    pub adopted: bool,
    pub manifest: Option<&'a Manifest>,
}

/// A pool compared with a cluster's handles.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct AuditJson {
    pub pool: String,
    pub agrees: bool,
    pub agreed_count: usize,
    pub unnamed: Vec<UnnamedJson>,
    pub dangling: Vec<DanglingJson>,
    pub malformed: Vec<MalformedJson>,
    pub elsewhere: Vec<String>,
}

/// An object that no handle names.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct UnnamedJson {
    pub handle: String,
    pub name: String,
    pub provision_key: String,
}

/// A handle that reaches nothing.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct DanglingJson {
    pub handle: String,
    pub fault: &'static str,
    pub name: Option<String>,
    pub object: Option<String>,
}

/// An object whose handle cannot be right.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct MalformedJson {
    pub object: String,
    pub handle: String,
    pub also: Option<String>,
}

impl<'a> AdoptionJson<'a> {
    /// The answer of `thinly adopt`.
    #[must_use]
    pub fn new(handle: ObjectId, adopted: bool, manifest: &'a Manifest) -> Self {
        Self { handle: handle.to_string(), adopted, manifest: Some(manifest) }
    }
}

impl AuditJson {
    /// The answer of `thinly audit`.
    #[must_use]
    pub fn new(pool: &str, audit: &Audit) -> Self {
        Self {
            pool: pool.to_owned(),
            agrees: audit.agrees(),
            agreed_count: audit.agreed_count,
            unnamed: audit.unnamed.iter().map(UnnamedJson::from).collect(),
            dangling: audit.dangling.iter().map(DanglingJson::from).collect(),
            malformed: audit.malformed.iter().map(MalformedJson::from).collect(),
            elsewhere: audit.elsewhere.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<&Known> for UnnamedJson {
    fn from(known: &Known) -> Self {
        Self {
            handle: known.handle.to_string(),
            name: known.name.clone(),
            provision_key: known.key.clone(),
        }
    }
}

impl From<&Dangling> for DanglingJson {
    fn from(dangling: &Dangling) -> Self {
        let fault = match dangling.fault {
            Fault::Absent => "absent",
            Fault::OtherKind => "other_kind",
            Fault::NotAdopted => "not_adopted",
        };
        let (name, object) = (dangling.name.clone(), dangling.object.clone());
        Self { handle: dangling.handle.to_string(), fault, name, object }
    }
}

impl From<&Malformed> for MalformedJson {
    fn from(malformed: &Malformed) -> Self {
        let Malformed { object, handle, also } = malformed.clone();
        Self { object, handle, also }
    }
}
