//! What can happen at any rate is counted, and makes one row a minute: a stranger who guesses
//! tokens fills no disk.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::writer::Note;
use crate::model::audit::{Actor, Kind};
use crate::model::{Identifier, Time};

/// Different things that are counted apart in one minute; what comes then is counted together.
const MOST: usize = 1024;
/// How long something is counted into one row.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);

/// What is counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct EventKey {
    pub(crate) kind: Kind,
    /// A name that the records know. Never one that only a stranger typed: it may be a password.
    pub(crate) actor: Actor,
    pub(crate) ticket: Option<Identifier>,
    pub(crate) id: Option<[u8; 16]>,
    /// The address or network it came from.
    pub(crate) from: String,
    /// By what, or why.
    pub(crate) more: Option<(&'static str, String)>,
}

#[derive(Debug)]
struct Count {
    since: Instant,
    first: Time,
    last: Time,
    count: u64,
}

/// Counters for things of one family.
#[derive(Debug)]
pub(crate) struct Aggregator {
    /// The kind of the row for what was counted together for want of room.
    others_kind: Kind,
    counts: HashMap<EventKey, Count>,
    others: Option<Count>,
}

impl Aggregator {
    pub(crate) fn new(others_kind: Kind) -> Self {
        Self { others_kind, counts: HashMap::new(), others: None }
    }

    pub(crate) fn count(&mut self, what: EventKey) {
        let now = Time::now();
        let fresh = || Count { since: Instant::now(), first: now, last: now, count: 0 };
        let has_room = self.counts.len() < MOST || self.counts.contains_key(&what);
        let count = if has_room {
            self.counts.entry(what).or_insert_with(fresh)
        } else {
            self.others.get_or_insert_with(fresh)
        };
        count.last = now;
        count.count = count.count.saturating_add(1);
    }

    /// Takes out what has been counted for at least `age`.
    pub(crate) fn take(&mut self, age: Duration) -> Vec<Note> {
        let mut notes: Vec<Note> = self
            .counts
            .extract_if(|_, count| count.since.elapsed() >= age)
            .map(|(what, count)| {
                let mut detail = Map::new();
                detail.insert("from".to_owned(), Value::String(what.from));
                detail.extend(what.more.map(|(name, value)| (name.to_owned(), Value::String(value))));
                count.note(what.kind, what.actor, what.ticket, what.id, detail)
            })
            .collect();
        if let Some(others) = self.others.take_if(|count| count.since.elapsed() >= age) {
            let detail = Map::from_iter([("others".to_owned(), Value::Bool(true))]);
            notes.push(others.note(self.others_kind, Actor::Unknown, None, None, detail));
        }
        notes.sort_by_key(|note| note.at);
        notes
    }
}

impl Count {
    fn note(
        self,
        kind: Kind,
        actor: Actor,
        ticket: Option<Identifier>,
        id: Option<[u8; 16]>,
        mut detail: Map<String, Value>,
    ) -> Note {
        detail.insert("count".to_owned(), json!(self.count));
        detail.insert("first".to_owned(), json!(self.first));
        detail.insert("last".to_owned(), json!(self.last));
        Note { at: self.last, kind, actor, ticket, id, detail: Value::Object(detail) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(from: u32) -> EventKey {
        let from = from.to_string();
        EventKey { kind: Kind::LoginRefused, actor: Actor::Unknown, ticket: None, id: None, from, more: None }
    }

    #[test]
    fn r57_counters_are_bounded_and_nothing_goes_uncounted() {
        let mut tally = Aggregator::new(Kind::LoginRefused);
        for n in 0..5000 {
            tally.count(counted(n % 2000));
        }
        assert_eq!(tally.take(WINDOW).len(), 0);
        let notes = tally.take(Duration::ZERO);
        assert_eq!(notes.len(), MOST + 1);
        assert_eq!(notes.iter().map(|note| note.detail["count"].as_u64().unwrap()).sum::<u64>(), 5000);
        assert_eq!(notes.iter().filter(|note| note.detail["others"] == true).count(), 1);
        assert!(tally.take(Duration::ZERO).is_empty());
    }
}
