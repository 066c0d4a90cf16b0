//! What is to be looked at, and when.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::Pace;
use super::back_off::BackOff;
use super::label::Content;
use super::pin::Claim;

/// Which of the two watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// Of snapshots.
    Contents,
    /// Of claims.
    Claims,
}

impl Part {
    pub(super) const ALL: [Self; 2] = [Self::Contents, Self::Claims];

    /// What it is called in the log and in metrics.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Contents => "volumesnapshotcontents",
            Self::Claims => "persistentvolumeclaims",
        }
    }

    /// What is done with its objects.
    pub(super) const fn duty(self) -> &'static str {
        match self {
            Self::Contents => "label",
            Self::Claims => "pin",
        }
    }
}

/// An object: its part, its namespace and its name.
pub(super) type Key = (Part, String, String);

/// Something to be done, if it turns out to be ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// A snapshot without a node.
    Content(Content),
    /// A claim without a node.
    Claim(Claim),
}

/// How an object stands, as a watch tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It wants a node.
    Wants(Subject),
    /// It has one, and might lose it again.
    Chosen,
    /// It wants none.
    Out,
}

/// How a piece of work ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has its node now.
    Done,
    /// It is not ours, as things stand.
    NotOurs,
    /// That cannot be told yet.
    NotYet,
    /// It is gone, or wants nothing any more.
    Gone,
    /// It failed.
    Trouble(String),
}

#[derive(Debug)]
struct Entry {
    subject: Subject,
    /// `None`: not before something changes.
    due: Option<Instant>,
    back_off: BackOff,
    /// It had its node from us.
    is_done: bool,
    /// It has a node, from us or from somebody else.
    is_chosen: bool,
    trouble: Option<String>,
}

/// All that is to be looked at.
#[derive(Debug)]
pub(super) struct Agenda {
    pace: Pace,
    /// Makes a wait a little longer, by chance: all nodes hear of a claim at the same moment.
    spread: fn(Duration) -> Duration,
    entries: BTreeMap<Key, Entry>,
    /// What a list that is under way has told so far.
    listed: BTreeMap<Part, BTreeSet<Key>>,
}

impl Agenda {
    pub(super) const fn new(pace: Pace, spread: fn(Duration) -> Duration) -> Self {
        Self { pace, spread, entries: BTreeMap::new(), listed: BTreeMap::new() }
    }

    /// A list begins: what it does not tell is gone.
    pub(super) fn begin(&mut self, part: Part) {
        self.listed.insert(part, BTreeSet::new());
    }

    /// A list has ended.
    pub(super) fn end(&mut self, part: Part) {
        if let Some(listed) = self.listed.remove(&part) {
            self.entries.retain(|key, _| key.0 != part || listed.contains(key));
        }
    }

    /// An object as it is now.
    pub(super) fn take(&mut self, key: Key, standing: Standing, now: Instant) {
        if standing != Standing::Out
            && let Some(listed) = self.listed.get_mut(&key.0)
        {
            listed.insert(key.clone());
        }
        match standing {
            Standing::Wants(subject) => self.want(key, subject, now),
            // Kept, so that it is known how often it was sent here, should it come back.
            Standing::Chosen => {
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.due = None;
                    entry.trouble = None;
                    entry.is_chosen = true;
                }
            }
            Standing::Out => self.forget(&key),
        }
    }

    fn want(&mut self, key: Key, subject: Subject, now: Instant) {
        let fresh = || Entry {
            subject: subject.clone(),
            due: Some(now),
            back_off: BackOff::new(self.pace),
            is_done: false,
            is_chosen: false,
            trouble: None,
        };
        let entry = self.entries.entry(key).or_insert_with(fresh);
        if !entry.subject.is_same(&subject) {
            *entry = fresh();
        }
        // It was sent here and came back: this node could not take it. Not at once again.
        let came_back = entry.is_done.then(|| entry.back_off.grow());
        entry.due = Some(came_back.map_or(now, |wait| now + wait));
        (entry.is_done, entry.is_chosen, entry.subject) = (false, false, subject);
    }

    pub(super) fn forget(&mut self, key: &Key) {
        self.entries.remove(key);
    }

    /// Everything is to be looked at again: the pools have changed.
    pub(super) fn reconsider(&mut self, now: Instant) {
        let wants = |entry: &&mut Entry| !entry.is_done && !entry.is_chosen;
        for entry in self.entries.values_mut().filter(wants) {
            entry.due.get_or_insert(now);
        }
    }

    /// When something is due next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.entries.values().filter_map(|entry| entry.due).min()
    }

    /// Something that is due; it is not told again until it is settled or changes.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Key, Subject)> {
        let due = self.entries.iter_mut().filter_map(|(key, entry)| {
            let due = entry.due.filter(|due| *due <= now)?;
            Some((due, key, entry))
        });
        let (_, key, entry) = due.min_by_key(|(due, _, _)| *due)?;
        entry.due = None;
        Some((key.clone(), entry.subject.clone()))
    }

    /// How it went. Tells whether that is news worth a line.
    pub(super) fn settle(&mut self, key: &Key, outcome: Outcome, now: Instant) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return false };
        let mut later = || Some(now + (self.spread)(entry.back_off.grow()));
        let trouble = match outcome {
            Outcome::Gone => {
                self.entries.remove(key);
                return false;
            }
            Outcome::Done => {
                entry.is_done = true;
                None
            }
            Outcome::NotOurs => None,
            Outcome::NotYet => {
                entry.due = later();
                None
            }
            Outcome::Trouble(why) => {
                entry.due = later();
                Some(why)
            }
        };
        let is_news = trouble.is_some() && trouble != entry.trouble;
        entry.trouble = trouble;
        is_news
    }

    /// How many objects of a part failed when they were tried last.
    pub(super) fn troubled(&self, part: Part) -> usize {
        let of_part = self.entries.iter().filter(|(key, _)| key.0 == part);
        of_part.filter(|(_, entry)| entry.trouble.is_some()).count()
    }
}

impl Subject {
    /// Whether it is the same object, changed or not.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Content(_), Self::Content(_)) => true,
            (Self::Claim(one), Self::Claim(other)) => one.uid == other.uid,
            _ => false,
        }
    }
}

#[cfg(test)]
#[path = "agenda_tests.rs"]
mod tests;
