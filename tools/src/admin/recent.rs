//! What a process that holds pools did last, and how long it took. In memory, of a fixed size.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thinly_engine::catalogue::{ObjectId, Timestamp};
use uuid::Uuid;

/// So many are kept, of all pools together.
const KEPT_MAX: usize = 256;

/// What a client calls an object may be any text; of a longer one only the beginning is kept.
const OBJECT_CHARS_MAX: usize = 128;

/// An operation that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// When it ended.
    pub at: Timestamp,
    /// The pool; `None` when only the object tells, or nothing does.
    pub pool: Option<Uuid>,
    /// What was asked for: the words of a verb, or the name of a call.
    pub operation: String,
    /// What it was about, as whoever asked called it.
    pub object: Option<String>,
    /// How long it took.
    pub took: Duration,
    /// `ok`, or the word for why it failed.
    pub outcome: String,
}

/// The last operations.
#[derive(Debug, Default)]
pub struct Recent(Mutex<VecDeque<Done>>);

impl Recent {
    /// Notes an operation that ends now.
    pub fn note(
        &self,
        pool: Option<Uuid>,
        operation: &str,
        object: Option<&str>,
        took: Duration,
        outcome: &str,
    ) {
        let done = Done {
            at: now(),
            pool,
            operation: operation.to_owned(),
            object: object.map(|text| text.chars().take(OBJECT_CHARS_MAX).collect()),
            took,
            outcome: outcome.to_owned(),
        };
        let mut kept = self.lock();
        kept.truncate(KEPT_MAX - 1);
        kept.push_front(done);
    }

    /// Those of a pool, the last one first, and those of which nobody knows the pool.
    pub fn of(&self, pool: Uuid) -> Vec<Done> {
        self.lock().iter().filter(|done| done.may_be_of(pool)).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Done>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Done {
    fn may_be_of(&self, pool: Uuid) -> bool {
        if let Some(own) = self.pool {
            return own == pool;
        }
        let handle = self.object.as_deref().and_then(|object| object.parse::<ObjectId>().ok());
        handle.is_none_or(|handle| handle.is_in(pool))
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use thinly_engine::catalogue::ObjectKind;

    use super::*;

    const ONE: Uuid = Uuid::from_u128(1 << 96);
    const OTHER: Uuid = Uuid::from_u128(2 << 96);

    fn objects(recent: &Recent, pool: Uuid) -> Vec<String> {
        recent.of(pool).into_iter().filter_map(|done| done.object).collect()
    }

    #[test]
    fn a_pool_is_told_of_its_own_by_uuid_by_handle_and_of_what_nobody_knows() {
        let recent = Recent::default();
        let note = |pool, object: &str| {
            recent.note(pool, "x", Some(object), Duration::ZERO, "ok");
        };
        let handle = ObjectId::new(OTHER, ObjectKind::Volume, Uuid::from_u128(7)).to_string();
        note(Some(ONE), "web");
        note(None, "pvc-1");
        note(None, &handle);
        assert_eq!(objects(&recent, ONE), ["pvc-1", "web"]);
        assert_eq!(objects(&recent, OTHER), [handle.as_str(), "pvc-1"]);
    }

    #[test]
    fn it_does_not_grow() {
        let recent = Recent::default();
        for number in 0..KEPT_MAX + 10 {
            let object = format!("{number}{}", "x".repeat(1000));
            recent.note(Some(ONE), "x", Some(&object), Duration::ZERO, "ok");
        }
        let kept = recent.of(ONE);
        assert_eq!(kept.len(), KEPT_MAX);
        let object = |done: &Done| done.object.clone().unwrap();
        assert!(object(&kept[0]).starts_with(&format!("{}x", KEPT_MAX + 9)));
        assert_eq!(object(&kept[0]).chars().count(), OBJECT_CHARS_MAX);
    }
}
