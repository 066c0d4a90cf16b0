//! The objects, and the history that watches are told.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::requests::{Fault, Seen};

/// `namespace/name`; a cluster's own objects have an empty namespace.
type Key = (String, String);

/// A change, as watches are told it.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) plural: String,
    pub(crate) before: Option<Value>,
    /// `None`: it was removed.
    pub(crate) after: Option<Value>,
    /// Nothing changed but the version.
    pub(crate) is_bookmark: bool,
}

/// All that the server knows.
#[derive(Debug)]
pub(crate) struct Store {
    /// By the last word of their path.
    objects: BTreeMap<String, BTreeMap<Key, Value>>,
    kinds: Vec<String>,
    pub(crate) version: u64,
    pub(crate) history: Vec<Change>,
    /// Nothing before this can be told any more.
    pub(crate) oldest: u64,
    pub(crate) watch_generation: u64,
    pub(crate) page_max: usize,
    pub(crate) token: Option<String>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) seen: Vec<Seen>,
}

impl Store {
    pub(crate) fn of_kinds(kinds: &[&str]) -> Self {
        Self {
            objects: BTreeMap::new(),
            kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            version: 100,
            history: Vec::new(),
            oldest: 0,
            watch_generation: 0,
            page_max: usize::MAX,
            token: None,
            faults: Vec::new(),
            seen: Vec::new(),
        }
    }

    pub(crate) fn knows(&self, kind: &str) -> bool {
        self.kinds.iter().any(|known| known == kind)
    }

    pub(crate) fn forget_kinds(&mut self, group: &str) {
        self.kinds.retain(|kind| kind.split('/').next() != Some(group));
    }

    pub(crate) fn forget_history(&mut self) {
        self.version += 1;
        self.oldest = self.version;
        self.history.clear();
    }

    pub(crate) fn bookmark(&mut self) {
        self.version += 1;
        let plurals: Vec<String> = self
            .kinds
            .iter()
            .filter_map(|kind| Some(kind.rsplit('/').next()?.to_owned()))
            .collect();
        for plural in plurals {
            let version = self.version;
            let change = Change { version, plural, before: None, after: None, is_bookmark: true };
            self.history.push(change);
        }
    }

    pub(crate) fn put(&mut self, plural: &str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let key = key_of(&object);
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-{plural}-{}-{}", key.0, key.1));
        }
        let list = self.objects.entry(plural.to_owned()).or_default();
        let before = list.insert(key, object.clone());
        self.tell(plural, before, Some(object));
    }

    pub(crate) fn remove(&mut self, plural: &str, namespace: &str, name: &str) {
        self.version += 1;
        let key = (namespace.to_owned(), name.to_owned());
        let before = self.objects.get_mut(plural).and_then(|list| list.remove(&key));
        self.tell(plural, before, None);
    }

    fn tell(&mut self, plural: &str, before: Option<Value>, after: Option<Value>) {
        let (version, plural) = (self.version, plural.to_owned());
        self.history.push(Change { version, plural, before, after, is_bookmark: false });
    }

    pub(crate) fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(plural)?.get(&(namespace.to_owned(), name.to_owned()))
    }

    pub(crate) fn list(&self, plural: &str, selector: &str) -> Vec<Value> {
        let all = self.objects.get(plural).into_iter().flat_map(BTreeMap::values);
        all.filter(|object| matches(object, selector)).cloned().collect()
    }

    /// Merges a patch in; the version in it, if there is one, must be the object's.
    pub(crate) fn patch(
        &mut self,
        plural: &str,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Value, u16> {
        let mut object = self.get(plural, namespace, name).cloned().ok_or(404_u16)?;
        let wanted = &patch["metadata"]["resourceVersion"];
        if !wanted.is_null() && *wanted != object["metadata"]["resourceVersion"] {
            return Err(409);
        }
        merge(&mut object, patch);
        self.put(plural, object);
        self.get(plural, namespace, name).cloned().ok_or(404)
    }

    /// The status that a request is to fail with.
    pub(crate) fn fault(&mut self, method: &str, path: &str) -> Option<u16> {
        let fits = |fault: &&mut Fault| {
            fault.times > 0 && fault.method == method && path.contains(fault.part)
        };
        let fault = self.faults.iter_mut().find(fits)?;
        if fault.times != usize::MAX {
            fault.times -= 1;
        }
        let (status, rival) = (fault.status, fault.rival.take());
        if let Some((plural, object)) = rival {
            self.put(plural, object);
        }
        Some(status)
    }
}

fn key_of(object: &Value) -> Key {
    let word = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
    (word("namespace"), word("name"))
}

/// A selector is nothing, or `!label`: no object with that label.
pub(crate) fn matches(object: &Value, selector: &str) -> bool {
    selector.strip_prefix('!').is_none_or(|label| object["metadata"]["labels"][label].is_null())
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, change) in changes {
        if change.is_null() {
            target.as_object_mut().map(|object| object.remove(name));
        } else {
            merge(&mut target[name], change);
        }
    }
}
