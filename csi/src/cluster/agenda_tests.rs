use std::time::Duration;

use serde_json::{from_value, json};

use super::*;
use crate::cluster::pin;

const SECOND: Duration = Duration::from_secs(1);

fn agenda() -> (Agenda, Instant) {
    let pace = Pace { first: SECOND, longest: 4 * SECOND, look: SECOND };
    (Agenda::new(pace, |wait| wait), Instant::now())
}

fn key(name: &str) -> Key {
    (Part::Claims, "shop".to_owned(), name.to_owned())
}

fn wants(name: &str, uid: &str) -> Standing {
    let source = json!({"kind": "PersistentVolumeClaim", "name": "web"});
    let claim = json!({
        "metadata": {"namespace": "shop", "name": name, "uid": uid, "resourceVersion": "1"},
        "spec": {"storageClassName": "local", "dataSource": source},
    });
    let pin::Standing::Wants(claim) = pin::standing(&from_value(claim).unwrap()) else {
        panic!("it wants no node")
    };
    Standing::Wants(Subject::Claim(claim))
}

/// The names of what is due.
fn due(agenda: &mut Agenda, now: Instant) -> Vec<String> {
    std::iter::from_fn(|| agenda.next(now)).map(|((_, _, name), _)| name).collect()
}

#[test]
fn what_is_told_is_due_once_until_it_changes() {
    let (mut agenda, now) = agenda();
    agenda.take(key("a"), wants("a", "1"), now);
    agenda.take(key("b"), wants("b", "1"), now);
    assert_eq!(due(&mut agenda, now), ["a", "b"]);
    agenda.settle(&key("a"), Outcome::NotOurs, now);
    agenda.settle(&key("b"), Outcome::Gone, now);
    assert_eq!((due(&mut agenda, now + 99 * SECOND), agenda.next_due()), (vec![], None));
    agenda.take(key("a"), wants("a", "1"), now);
    assert_eq!(due(&mut agenda, now), ["a"]);
    agenda.settle(&key("a"), Outcome::NotOurs, now);
    // A pool has come: what was not ours may be.
    agenda.reconsider(now);
    assert_eq!(due(&mut agenda, now), ["a"]);
}

#[test]
fn what_fails_is_tried_again_later_and_later_and_told_once() {
    let (mut agenda, mut now) = agenda();
    agenda.take(key("a"), wants("a", "1"), now);
    for (wait, why, is_news) in
        [(1, "no", true), (2, "no", false), (4, "never", true), (4, "never", false)]
    {
        assert_eq!(due(&mut agenda, now), ["a"]);
        let told = agenda.settle(&key("a"), Outcome::Trouble(why.to_owned()), now);
        assert_eq!((told, agenda.troubled(Part::Claims)), (is_news, 1), "{wait}");
        assert_eq!(agenda.next_due(), Some(now + wait * SECOND));
        assert!(due(&mut agenda, now).is_empty());
        now += wait * SECOND;
    }
    assert_eq!(due(&mut agenda, now), ["a"]);
    agenda.settle(&key("a"), Outcome::NotYet, now);
    assert_eq!(agenda.next_due(), Some(now + 4 * SECOND));
    assert_eq!((agenda.troubled(Part::Claims), agenda.troubled(Part::Contents)), (0, 0));
}

#[test]
fn a_claim_that_comes_back_is_not_sent_here_at_once_again() {
    let (mut agenda, mut now) = agenda();
    for wait in [0, 1, 2, 4, 4] {
        agenda.take(key("a"), wants("a", "1"), now);
        assert_eq!(agenda.next_due(), Some(now + wait * SECOND), "{wait}");
        now += wait * SECOND;
        assert_eq!(due(&mut agenda, now), ["a"]);
        agenda.settle(&key("a"), Outcome::Done, now);
        agenda.reconsider(now);
        agenda.take(key("a"), Standing::Chosen, now);
        assert_eq!(agenda.next_due(), None);
    }
    // Another claim of this name knows nothing of that.
    agenda.take(key("a"), wants("a", "2"), now);
    assert_eq!(agenda.next_due(), Some(now));
    agenda.take(key("a"), Standing::Out, now);
    agenda.take(key("a"), wants("a", "2"), now);
    assert_eq!(agenda.next_due(), Some(now));
}

#[test]
fn a_list_takes_away_what_it_does_not_tell() {
    let (mut agenda, now) = agenda();
    for name in ["a", "b"] {
        agenda.take(key(name), wants(name, "1"), now);
    }
    agenda.begin(Part::Contents);
    agenda.end(Part::Contents);
    agenda.begin(Part::Claims);
    agenda.take(key("b"), wants("b", "1"), now);
    agenda.take(key("c"), Standing::Out, now);
    agenda.end(Part::Claims);
    assert_eq!(due(&mut agenda, now), ["b"]);
    // Outside of a list, what is not told stays.
    agenda.end(Part::Claims);
    agenda.reconsider(now);
    assert_eq!(due(&mut agenda, now), ["b"]);
}

#[test]
fn what_cannot_be_told_yet_is_asked_for_less_and_less() {
    let (mut agenda, mut now) = agenda();
    agenda.take(key("a"), wants("a", "1"), now);
    for wait in [1, 2, 4, 4] {
        assert_eq!(due(&mut agenda, now), ["a"]);
        agenda.settle(&key("a"), Outcome::NotYet, now);
        assert_eq!(agenda.next_due(), Some(now + wait * SECOND));
        now += wait * SECOND;
    }
}

#[test]
fn a_claim_that_has_a_node_is_nobodys_when_pools_change() {
    let (mut agenda, now) = agenda();
    agenda.take(key("a"), wants("a", "1"), now);
    agenda.take(key("a"), Standing::Chosen, now);
    agenda.reconsider(now);
    assert_eq!(agenda.next_due(), None);
    agenda.take(key("a"), wants("a", "1"), now);
    assert_eq!(due(&mut agenda, now), ["a"]);
}

#[test]
fn waits_are_spread() {
    let pace = Pace { first: SECOND, longest: 4 * SECOND, look: SECOND };
    let (mut agenda, now) = (Agenda::new(pace, |wait| wait + SECOND / 2), Instant::now());
    agenda.take(key("a"), wants("a", "1"), now);
    assert_eq!(due(&mut agenda, now), ["a"]);
    agenda.settle(&key("a"), Outcome::NotYet, now);
    assert_eq!(agenda.next_due(), Some(now + SECOND * 3 / 2));
}
