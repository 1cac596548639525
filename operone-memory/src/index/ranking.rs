//! BM25 over the memories of a scope, the words around each in its conversation, and the conversation as a whole.

use std::collections::{BTreeSet, HashMap};

use operone_core::text::Analyser;

use super::{Index, Posting};

/// BM25's weights for texts as short as memories.
const K1: f64 = 0.9;
const B: f64 = 0.4;

/// What the words of the memory before and after one count for it in a conversation.
const BEFORE: f64 = 0.5;
const AFTER: f64 = 0.3;

/// What the score of the whole conversation counts for each of its memories.
const THREAD: f64 = 0.3;

/// What a query has found of one memory by its words.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Match {
    /// BM25 with the words around it.
    pub(super) bm25: f64,
    /// What its conversation adds.
    pub(super) thread: f64,
    /// The weights of the query's terms that it has, or that its neighbours have, in part.
    pub(super) covered: f64,
    /// Whether it has a term itself.
    pub(super) is_own: bool,
}

/// How often a memory has a term, its neighbours' words counted in part.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    count: f64,
    is_own: bool,
}

/// What each memory has of a query's terms.
#[derive(Debug, Default)]
pub(super) struct Matches {
    pub(super) by_place: HashMap<u32, Match>,
    /// The weight of all terms of the query together.
    pub(super) all_weights: f64,
}

impl Index {
    /// The memories that share a term with the text.
    pub(super) fn matches(&self, text: &str) -> Matches {
        let mut matches = Matches::default();
        let mean_length = self.mean_length();
        let threads = self.threads.count();
        let mut by_thread: HashMap<u32, f64> = HashMap::new();
        // In the order of the terms, so that sums are rounded the same way everywhere.
        let terms: BTreeSet<String> = Analyser.terms(text).into_iter().collect();
        for term in terms {
            let postings = self.postings.get(&term).map(Vec::as_slice).unwrap_or_default();
            let weight = inverse_document_frequency(self.by_id.len(), postings.len());
            matches.all_weights += weight;
            for (place, Count { count, is_own }) in self.counts(postings) {
                let found = matches.by_place.entry(place).or_default();
                found.bm25 += weight * term_weight(count, self.length(place) / mean_length);
                found.covered += weight * count.min(1.0);
                found.is_own |= is_own;
            }
            if threads > 1 {
                self.add_threads(&mut by_thread, postings, threads);
            }
        }
        for (place, found) in &mut matches.by_place {
            let thread = self.at(*place).and_then(|held| held.thread);
            found.thread = THREAD * thread.and_then(|thread| by_thread.get(&thread)).copied().unwrap_or(0.0);
        }
        matches
    }

    /// The terms of the text that a memory has itself.
    pub(super) fn own_terms(&self, text: &str, place: u32) -> Vec<String> {
        let terms: BTreeSet<String> = Analyser.terms(text).into_iter().collect();
        let has = |term: &String| {
            let postings = self.postings.get(term).map(Vec::as_slice).unwrap_or_default();
            postings.binary_search_by_key(&place, |posting| posting.place).is_ok()
        };
        terms.into_iter().filter(has).collect()
    }

    fn add_threads(&self, by_thread: &mut HashMap<u32, f64>, postings: &[Posting], threads: usize) {
        let mut counts: HashMap<u32, f64> = HashMap::new();
        for posting in postings {
            if let Some(thread) = self.at(posting.place).and_then(|held| held.thread) {
                *counts.entry(thread).or_default() += f64::from(posting.count);
            }
        }
        let weight = inverse_document_frequency(threads, counts.len());
        let mean = self.threads.mean_terms();
        for (thread, count) in counts {
            let relative = self.threads.terms(thread) as f64 / mean;
            *by_thread.entry(thread).or_default() += weight * term_weight(count, relative);
        }
    }

    fn counts(&self, postings: &[Posting]) -> HashMap<u32, Count> {
        let mut counts: HashMap<u32, Count> = HashMap::with_capacity(postings.len());
        for posting in postings {
            let count = f64::from(posting.count);
            let own = counts.entry(posting.place).or_default();
            *own = Count { count: own.count + count, is_own: true };
            if let Some(held) = self.at(posting.place) {
                for (neighbour, share) in [(held.after, BEFORE), (held.before, AFTER)] {
                    if let Some(neighbour) = neighbour {
                        counts.entry(neighbour).or_default().count += share * count;
                    }
                }
            }
        }
        counts
    }

    fn length(&self, place: u32) -> f64 {
        let of = |place: Option<u32>| {
            place.and_then(|place| self.at(place)).map_or(0.0, |held| f64::from(held.length))
        };
        match self.at(place) {
            Some(held) => f64::from(held.length) + BEFORE * of(held.before) + AFTER * of(held.after),
            None => 0.0,
        }
    }

    /// The length of a memory at the mean, with what its neighbours lend; never zero, for something is divided
    /// by it.
    fn mean_length(&self) -> f64 {
        let lent =
            self.threads.lent_terms(BEFORE, AFTER, |place| self.at(place).map_or(0, |held| held.length));
        ((self.terms as f64 + lent) / (self.by_id.len().max(1) as f64)).max(1.0)
    }
}

/// How much a term tells that `containing` of `total` texts have; never negative.
fn inverse_document_frequency(total: usize, containing: usize) -> f64 {
    let (total, containing) = (total as f64, containing as f64);
    libm::log(1.0 + (total - containing + 0.5) / (containing + 0.5))
}

/// The part of one term before its inverse document frequency, in a text of `relative` the mean length.
fn term_weight(count: f64, relative: f64) -> f64 {
    count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * relative))
}
