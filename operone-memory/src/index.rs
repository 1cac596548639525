//! The index of one scope: its memories, the terms they have, and the conversations they are part of.

mod bytes;
mod ranking;
mod search;
mod threads;

use std::collections::HashMap;
use std::sync::Arc;

use operone_core::clock::Timestamp;
use operone_core::id::MemoryId;
use operone_core::memory::{Change, Entry, Record, Revision};
use operone_core::text::Analyser;

use self::bytes::{INDEX_BYTES, TERM_BYTES, VECTOR_BYTES, bytes_of};
pub(crate) use self::search::{Dense, Position, Search};
use self::threads::Threads;
use crate::policy::Policy;

/// Where the log of an index ends: what comes later is not seen, but for erasures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Until {
    /// The last revision that is seen.
    Revision(Revision),
    /// The last moment that is seen.
    Time(Timestamp),
}

/// The memories of one scope as of a revision.
#[derive(Debug)]
pub(crate) struct Index {
    policy: Policy,
    until: Option<Until>,
    /// The last record that was taken in.
    revision: Revision,
    /// In the order of the first versions; a place whose memory was erased stays empty.
    places: Vec<Option<Held>>,
    by_id: HashMap<MemoryId, u32>,
    postings: HashMap<String, Vec<Posting>>,
    threads: Threads,
    /// The terms of all memories together, and with the share that their neighbours lend.
    terms: u64,
    bytes: usize,
    last_write: Option<Timestamp>,
    /// The memories before this place lapsed while nothing was written for long.
    lapsed: u32,
    /// The places whose vectors are still to be computed.
    without_vector: Vec<u32>,
}

#[derive(Debug)]
struct Held {
    entry: Arc<Entry>,
    length: u32,
    thread: Option<u32>,
    before: Option<u32>,
    after: Option<u32>,
    /// `None` also for a text that has no meaning to the embedder.
    vector: Option<Arc<[f32]>>,
}

#[derive(Clone, Copy, Debug)]
struct Posting {
    place: u32,
    count: u32,
}

impl Index {
    /// An index of nothing, that sees the log until its end or until `until`.
    pub(crate) fn new(policy: Policy, until: Option<Until>) -> Self {
        Self {
            policy,
            until,
            revision: Revision::default(),
            places: Vec::new(),
            by_id: HashMap::new(),
            postings: HashMap::new(),
            threads: Threads::default(),
            terms: 0,
            bytes: INDEX_BYTES,
            last_write: None,
            lapsed: 0,
            without_vector: Vec::new(),
        }
    }

    /// The last record that was taken in.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// Where its log ends.
    pub(crate) fn until(&self) -> Option<Until> {
        self.until
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes in the next record of the log.
    pub(crate) fn apply(&mut self, record: Record) {
        let Record { revision, id, change, .. } = record;
        self.revision = revision;
        let is_seen = match (self.until, &change) {
            (Some(Until::Revision(last)), _) => revision <= last,
            (Some(Until::Time(last)), Change::Written(entry)) => entry.written_at() <= last,
            _ => true,
        };
        match change {
            Change::Written(entry) if is_seen => {
                self.note_write(entry.written_at());
                self.put(*entry);
            }
            // What was erased is not to be seen, whatever the time that is asked for.
            Change::Erased(_) => self.remove(&id),
            _ => {}
        }
    }

    /// A memory that can be read at `now`.
    pub(crate) fn get(&self, id: &MemoryId, now: Timestamp) -> Option<&Arc<Entry>> {
        let place = *self.by_id.get(id)?;
        self.at(place).filter(|held| self.is_readable(place, held, now)).map(|held| &held.entry)
    }

    /// All memories that can be read at `now`, the oldest first.
    pub(crate) fn readable(&self, now: Timestamp) -> impl DoubleEndedIterator<Item = (u32, &Arc<Entry>)> {
        let places = self.places.iter().enumerate();
        places.filter_map(move |(place, held)| {
            let (place, held) = (u32::try_from(place).ok()?, held.as_ref()?);
            self.is_readable(place, held, now).then_some((place, &held.entry))
        })
    }

    /// All memories that were not erased, the oldest first.
    pub(crate) fn held(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.places.iter().flatten().map(|held| &held.entry)
    }

    /// The memories that are still held although they cannot be read at `now`.
    pub(crate) fn unreadable(&self, now: Timestamp) -> Vec<MemoryId> {
        let places = self.places.iter().enumerate();
        let held = places.filter_map(|(place, held)| Some((u32::try_from(place).ok()?, held.as_ref()?)));
        let unreadable = held.filter(|(place, held)| !self.is_readable(*place, held, now));
        unreadable.map(|(_, held)| held.entry.id.clone()).collect()
    }

    /// The next moment after `now` at which something cannot be read any more.
    pub(crate) fn next_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        let idle = self.policy.idle_for.zip(self.last_write).map(|(idle_for, last)| last.plus(idle_for));
        let own = self.held().filter_map(|entry| entry.expires_at);
        own.chain(idle).filter(|moment| *moment > now).min()
    }

    /// The texts whose vectors are still to be computed, at most `limit`, with their places.
    pub(crate) fn without_vectors(&self, limit: usize) -> Vec<(u32, Arc<Entry>)> {
        let places = self.without_vector.iter().rev().take(limit);
        places.filter_map(|place| Some((*place, Arc::clone(&self.at(*place)?.entry)))).collect()
    }

    /// Whether every memory has its vector.
    pub(crate) fn has_all_vectors(&self) -> bool {
        self.without_vector.is_empty()
    }

    /// Takes in the vectors of [`Index::without_vectors`], in that order.
    pub(crate) fn set_vectors(&mut self, vectors: Vec<(u32, Option<Arc<[f32]>>)>) {
        let done = vectors.len();
        for (place, vector) in vectors {
            if let Some(vector) = &vector {
                self.bytes = self.bytes.saturating_add(VECTOR_BYTES + size_of_val::<[f32]>(vector));
            }
            if let Some(held) = self.at_mut(place) {
                held.vector = vector;
            }
        }
        self.without_vector.truncate(self.without_vector.len().saturating_sub(done));
    }

    /// The vector of a version of a memory, if it is here.
    pub(crate) fn vector(&self, entry: &Entry) -> Option<Arc<[f32]>> {
        let held = self.at(*self.by_id.get(&entry.id)?)?;
        (held.entry.version == entry.version).then(|| held.vector.clone()).flatten()
    }

    fn is_readable(&self, place: u32, held: &Held, now: Timestamp) -> bool {
        if held.entry.expires_at.is_some() {
            return !held.entry.is_expired(now);
        }
        let is_idle = |idle_for| self.last_write.is_some_and(|last| now >= last.plus(idle_for));
        place >= self.lapsed && !self.policy.idle_for.is_some_and(is_idle)
    }

    fn note_write(&mut self, at: Timestamp) {
        let (last, idle_for) = (self.last_write, self.policy.idle_for);
        if let (Some(last), Some(idle_for)) = (last, idle_for)
            && at >= last.plus(idle_for)
        {
            self.lapsed = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        }
        self.last_write = Some(last.map_or(at, |last| last.max(at)));
    }

    fn put(&mut self, entry: Entry) {
        match self.by_id.get(&entry.id) {
            Some(place) => self.replace(*place, entry),
            None => self.add(entry),
        }
    }

    fn add(&mut self, entry: Entry) {
        let Ok(place) = u32::try_from(self.places.len()) else {
            return;
        };
        self.by_id.insert(entry.id.clone(), place);
        self.places.push(None);
        self.hold(place, entry);
    }

    fn replace(&mut self, place: u32, entry: Entry) {
        let vector = self.let_go(place).filter(|held| embedded_text(&held.entry) == embedded_text(&entry));
        self.hold(place, entry);
        if let Some(vector) = vector.and_then(|held| held.vector) {
            self.without_vector.pop();
            self.set_vectors(vec![(place, Some(vector))]);
        }
    }

    fn remove(&mut self, id: &MemoryId) {
        if let Some(place) = self.by_id.remove(id) {
            self.let_go(place);
        }
    }

    fn hold(&mut self, place: u32, entry: Entry) {
        let counts = counts_of_terms(&entry);
        let length: u32 = counts.values().sum();
        self.bytes = self.bytes.saturating_add(bytes_of(&entry, counts.len()));
        for (term, count) in counts {
            let postings = self.postings.entry(term).or_insert_with_key(|term| {
                self.bytes = self.bytes.saturating_add(TERM_BYTES + term.len());
                Vec::new()
            });
            let at = postings.partition_point(|posting| posting.place < place);
            postings.insert(at, Posting { place, count });
        }
        self.terms += u64::from(length);
        let name = entry.thread.as_deref().or(self.policy.is_conversation.then_some(""));
        let thread = name.map(|name| self.threads.enter(name, length));
        let held = Held { entry: Arc::new(entry), length, thread, before: None, after: None, vector: None };
        if let Some(slot) = self.places.get_mut(place as usize) {
            *slot = Some(held);
        }
        self.without_vector.push(place);
        self.link(place, thread);
    }

    fn let_go(&mut self, place: u32) -> Option<Held> {
        let held = self.places.get_mut(place as usize).and_then(Option::take)?;
        let counts = counts_of_terms(&held.entry);
        self.bytes = self.bytes.saturating_sub(bytes_of(&held.entry, counts.len()));
        if let Some(vector) = &held.vector {
            self.bytes = self.bytes.saturating_sub(VECTOR_BYTES + size_of_val::<[f32]>(vector));
        }
        for term in counts.into_keys() {
            let Some(postings) = self.postings.get_mut(&term) else {
                continue;
            };
            if let Ok(at) = postings.binary_search_by_key(&place, |posting| posting.place) {
                postings.remove(at);
            }
            if postings.is_empty() {
                self.postings.remove(&term);
                self.bytes = self.bytes.saturating_sub(TERM_BYTES + term.len());
            }
        }
        self.terms = self.terms.saturating_sub(u64::from(held.length));
        self.without_vector.retain(|other| *other != place);
        if let Some(before) = held.before.and_then(|before| self.at_mut(before)) {
            before.after = held.after;
        }
        if let Some(after) = held.after.and_then(|after| self.at_mut(after)) {
            after.before = held.before;
        }
        if let Some(thread) = held.thread {
            self.threads.leave(thread, place, held.length, (held.before, held.after));
        }
        Some(held)
    }

    /// Puts a memory between its neighbours in the thread, by the order of places.
    fn link(&mut self, place: u32, thread: Option<u32>) {
        let Some(thread) = thread else { return };
        let mut after = None;
        let mut before = self.threads.last(thread);
        while let Some(other) = before.filter(|other| *other > place) {
            after = Some(other);
            before = self.at(other).and_then(|held| held.before);
        }
        if let Some(held) = self.at_mut(place) {
            (held.before, held.after) = (before, after);
        }
        if let Some(held) = before.and_then(|before| self.at_mut(before)) {
            held.after = Some(place);
        }
        if let Some(held) = after.and_then(|after| self.at_mut(after)) {
            held.before = Some(place);
        }
        self.threads.set_ends(thread, place, before.is_none(), after.is_none());
    }

    fn at(&self, place: u32) -> Option<&Held> {
        self.places.get(place as usize)?.as_ref()
    }

    fn at_mut(&mut self, place: u32) -> Option<&mut Held> {
        self.places.get_mut(place as usize)?.as_mut()
    }
}

/// What is embedded of a memory.
pub(crate) fn embedded_text(entry: &Entry) -> String {
    match &entry.actor {
        Some(actor) => format!("{actor}: {}", entry.content),
        None => entry.content.clone(),
    }
}

/// The terms of content, tags and actor; each text on its own, so that none hides another's.
fn counts_of_terms(entry: &Entry) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    for text in std::iter::once(&entry.content).chain(&entry.tags).chain(&entry.actor) {
        for term in Analyser.terms(text) {
            *counts.entry(term).or_default() += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests;
