//! The index of one scope: its memories and the terms they have.

mod ranking;

use std::collections::HashMap;

use operone_core::id::MemoryId;
use operone_core::memory::{Entry, Record, Revision, ScopeKey, ScoredMemory};
use operone_core::text::Analyser;

/// What is taken for an empty index, an entry and a posting besides their texts, in bytes.
const INDEX_BYTES: usize = 1024;
const ENTRY_BYTES: usize = 320;
const POSTING_BYTES: usize = 16;
const TERM_BYTES: usize = 128;

/// The memories of one scope as of a revision.
#[derive(Debug)]
pub(crate) struct Index {
    revision: Revision,
    /// In the order of the log; a place whose memory was erased stays empty.
    places: Vec<Option<Held>>,
    by_id: HashMap<MemoryId, u32>,
    postings: HashMap<String, Vec<Posting>>,
    first: Option<u32>,
    last: Option<u32>,
    /// The terms of all memories together.
    terms: u64,
    bytes: usize,
    /// Whether a memory is understood with the ones before and after it.
    is_conversation: bool,
}

#[derive(Debug)]
struct Held {
    entry: Entry,
    length: u32,
    before: Option<u32>,
    after: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Posting {
    place: u32,
    count: u32,
}

impl Index {
    /// An index of nothing.
    pub(crate) fn new(scope: &ScopeKey) -> Self {
        Self {
            revision: Revision::default(),
            places: Vec::new(),
            by_id: HashMap::new(),
            postings: HashMap::new(),
            first: None,
            last: None,
            terms: 0,
            bytes: INDEX_BYTES,
            is_conversation: scope.scope.as_str().split('/').next() == Some("session"),
        }
    }

    /// The last record that was taken in.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes in the next record of the log.
    pub(crate) fn apply(&mut self, record: Record) {
        self.revision = record.revision;
        match record.entry {
            Some(entry) => self.add(entry),
            None => self.remove(&record.id),
        }
    }

    /// The newest memories, each with score 1.
    pub(crate) fn newest(&self, limit: usize) -> Vec<ScoredMemory> {
        let held = self.places.iter().rev().flatten().take(limit);
        held.map(|held| ScoredMemory::new(held.entry.clone(), 1.0)).collect()
    }

    fn add(&mut self, entry: Entry) {
        if self.by_id.contains_key(&entry.id) {
            return;
        }
        let Ok(place) = u32::try_from(self.places.len()) else {
            return;
        };
        let counts = counts_of_terms(&entry);
        let length: u32 = counts.values().sum();
        self.bytes = self.bytes.saturating_add(bytes_of(&entry, counts.len()));
        for (term, count) in counts {
            let postings = self.postings.entry(term).or_insert_with_key(|term| {
                self.bytes = self.bytes.saturating_add(TERM_BYTES + term.len());
                Vec::new()
            });
            postings.push(Posting { place, count });
        }
        self.terms += u64::from(length);
        self.by_id.insert(entry.id.clone(), place);
        let before = self.last.replace(place);
        if let Some(held) = before.and_then(|before| self.at_mut(before)) {
            held.after = Some(place);
        }
        self.first.get_or_insert(place);
        self.places.push(Some(Held { entry, length, before, after: None }));
    }

    fn remove(&mut self, id: &MemoryId) {
        let Some(place) = self.by_id.remove(id) else {
            return;
        };
        let Some(held) = self.places.get_mut(place as usize).and_then(Option::take) else {
            return;
        };
        let counts = counts_of_terms(&held.entry);
        self.bytes = self.bytes.saturating_sub(bytes_of(&held.entry, counts.len()));
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
        match held.before.and_then(|before| self.at_mut(before)) {
            Some(before) => before.after = held.after,
            None => self.first = held.after,
        }
        match held.after.and_then(|after| self.at_mut(after)) {
            Some(after) => after.before = held.before,
            None => self.last = held.before,
        }
    }

    fn at(&self, place: u32) -> Option<&Held> {
        self.places.get(place as usize)?.as_ref()
    }

    fn at_mut(&mut self, place: u32) -> Option<&mut Held> {
        self.places.get_mut(place as usize)?.as_mut()
    }
}

/// The terms of content and tags; each text on its own, so that none hides another's.
fn counts_of_terms(entry: &Entry) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    for text in std::iter::once(&entry.content).chain(&entry.tags) {
        for term in Analyser.terms(text) {
            *counts.entry(term).or_default() += 1;
        }
    }
    counts
}

fn bytes_of(entry: &Entry, terms: usize) -> usize {
    let tags: usize = entry.tags.iter().map(|tag| tag.len() + size_of::<String>()).sum();
    ENTRY_BYTES + entry.content.len() + tags + terms * POSTING_BYTES
}

#[cfg(test)]
mod tests {
    use operone_core::clock::Timestamp;
    use operone_core::id::TenantId;
    use operone_core::memory::Scope;

    use super::*;

    pub(super) fn index(scope: &str, contents: &[&str]) -> Index {
        let mut index = Index::new(&ScopeKey::new(TenantId::local(), Scope::new(scope).unwrap()));
        for (number, content) in contents.iter().enumerate() {
            index.apply(record(number, content));
        }
        index
    }

    pub(super) fn record(number: usize, content: &str) -> Record {
        let id = MemoryId::new(format!("mem-{number}")).unwrap();
        let entry = Entry::new(id.clone(), content, Vec::new(), Timestamp::from_millis(number as i64));
        Record::new(Revision(number as u64 + 1), id, Some(entry))
    }

    fn erase(index: &mut Index, number: usize) {
        let id = MemoryId::new(format!("mem-{number}")).unwrap();
        index.apply(Record::new(Revision(index.revision().0 + 1), id, None));
    }

    pub(super) fn found(index: &Index, text: &str) -> Vec<(String, f64)> {
        let found = index.search(text, 100);
        found.into_iter().map(|found| (found.entry.content, found.score)).collect()
    }

    pub(super) fn contents(index: &Index, text: &str) -> Vec<String> {
        found(index, text).into_iter().map(|(content, _)| content).collect()
    }

    #[test]
    fn what_is_erased_leaves_no_trace() {
        let texts = ["alpha", "beta gamma", "gamma", "delta", "alpha delta"];
        for scope in ["longterm", "session"] {
            let mut erased = index(scope, &texts);
            for number in [1, 4, 1, 0] {
                erase(&mut erased, number);
            }
            let mut kept = Index::new(&ScopeKey::new(TenantId::local(), Scope::new(scope).unwrap()));
            kept.apply(record(2, "gamma"));
            kept.apply(record(3, "delta"));
            for query in ["alpha", "beta", "gamma", "delta", "gamma delta alpha"] {
                assert_eq!(found(&erased, query), found(&kept, query), "{query} in {scope}");
            }
            assert_eq!(erased.bytes(), kept.bytes());
            assert_eq!(erased.postings.len(), 2);
            for number in [2, 3] {
                erase(&mut erased, number);
            }
            assert_eq!((erased.bytes(), erased.first, erased.last), (INDEX_BYTES, None, None));
            assert!(erased.newest(10).is_empty());
        }
    }

    #[test]
    fn tags_are_found_and_hide_no_content() {
        let mut index = index("longterm", &[]);
        let id = MemoryId::new("mem-t").unwrap();
        let entry = Entry::new(id.clone(), "to be or not to be", vec!["hamlet".into()], Timestamp::default());
        index.apply(Record::new(Revision(1), id, Some(entry)));
        assert_eq!(contents(&index, "hamlet").len(), 1);
        assert_eq!(contents(&index, "to be").len(), 1);
    }
}
