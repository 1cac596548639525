//! Ranks the memories of a scope by BM25.

use std::collections::{BTreeSet, HashMap};

use operone_core::memory::ScoredMemory;
use operone_core::text::Analyser;

use super::{Index, Posting};

/// BM25's weights for texts as short as memories.
const K1: f64 = 0.9;
const B: f64 = 0.4;

/// What the words of the memory before and after one count for it in a conversation.
const BEFORE: f64 = 0.5;
const AFTER: f64 = 0.3;

/// What a query has found of one memory.
#[derive(Clone, Copy, Debug, Default)]
struct Match {
    bm25: f64,
    /// The weights of the query's terms that it has, or that its neighbours have, in part.
    covered: f64,
    /// Whether it has a term itself.
    is_own: bool,
}

/// How often a memory has a term, its neighbours' words counted in part.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    count: f64,
    is_own: bool,
}

impl Index {
    /// The memories that share a term with the text, the best first. In a conversation the words of their
    /// neighbours help.
    ///
    /// The score of the best is the share of the query's terms it has, weighted by how rare they are; the other
    /// scores are in proportion. Equal scores are ordered from the newest to the oldest.
    pub(crate) fn search(&self, text: &str, limit: usize) -> Vec<ScoredMemory> {
        let (matches, all_weights) = self.matches(text);
        let best = matches.values().fold(Match::default(), |best, other| {
            let is_better =
                other.bm25 > best.bm25 || (other.bm25 == best.bm25 && other.covered > best.covered);
            if is_better { *other } else { best }
        });
        if best.bm25 <= 0.0 || all_weights <= 0.0 {
            return Vec::new();
        }
        let top = (best.covered / all_weights).min(1.0);
        let mut ranked: Vec<(f64, u32)> = matches
            .into_iter()
            .map(|(place, found)| (rounded(top * found.bm25 / best.bm25), place))
            .collect();
        ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
        let held = ranked.into_iter().filter_map(|(score, place)| Some((score, self.at(place)?))).take(limit);
        held.map(|(score, held)| ScoredMemory::new(held.entry.clone(), score)).collect()
    }

    /// What each memory has of the query's terms, and the weight of all these terms together.
    fn matches(&self, text: &str) -> (HashMap<u32, Match>, f64) {
        let mut matches: HashMap<u32, Match> = HashMap::new();
        let mut all_weights = 0.0;
        let mean_length = self.mean_length();
        // In the order of the terms, so that sums are rounded the same way everywhere.
        let terms: BTreeSet<String> = Analyser.terms(text).into_iter().collect();
        for term in terms {
            let postings = self.postings.get(&term).map(Vec::as_slice).unwrap_or_default();
            let weight = inverse_document_frequency(self.by_id.len() as f64, postings.len() as f64);
            all_weights += weight;
            for (place, Count { count, is_own }) in self.counts(postings) {
                let relative = self.length(place) / mean_length;
                let found = matches.entry(place).or_default();
                found.bm25 += weight * count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * relative));
                found.covered += weight * count.min(1.0);
                found.is_own |= is_own;
            }
        }
        matches.retain(|_, found| found.is_own);
        (matches, all_weights)
    }

    fn counts(&self, postings: &[Posting]) -> HashMap<u32, Count> {
        let mut counts: HashMap<u32, Count> = HashMap::with_capacity(postings.len());
        for posting in postings {
            let count = f64::from(posting.count);
            let own = counts.entry(posting.place).or_default();
            *own = Count { count: own.count + count, is_own: true };
            if let Some(held) = self.at(posting.place).filter(|_| self.is_conversation) {
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
            place.and_then(|place| self.at(place)).map_or(0.0, |held| held.length.into())
        };
        match self.at(place) {
            Some(held) if self.is_conversation => {
                f64::from(held.length) + BEFORE * of(held.before) + AFTER * of(held.after)
            }
            Some(held) => held.length.into(),
            None => 0.0,
        }
    }

    /// Never zero: something is divided by it.
    fn mean_length(&self) -> f64 {
        let of = |place: Option<u32>| {
            place.and_then(|place| self.at(place)).map_or(0.0, |held| held.length.into())
        };
        let own = self.terms as f64;
        let context = if self.is_conversation {
            BEFORE * (own - of(self.last)) + AFTER * (own - of(self.first))
        } else {
            0.0
        };
        ((own + context) / (self.by_id.len().max(1) as f64)).max(1.0)
    }
}

/// How much a term tells that `containing` of `total` memories have; never negative.
fn inverse_document_frequency(total: f64, containing: f64) -> f64 {
    (1.0 + (total - containing + 0.5) / (containing + 0.5)).ln()
}

/// Rounded, so that the last bits of a platform's arithmetic decide nothing.
fn rounded(score: f64) -> f64 {
    (score * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::super::tests::{contents, found, index};

    #[test]
    fn the_score_of_the_best_is_its_share_of_the_query() {
        let index = index("longterm", &["User prefers dark mode", "The dark side of the moon", "Buy milk"]);
        let whole = found(&index, "Which mode does the user prefer, dark?");
        assert_eq!((whole[0].0.as_str(), whole[0].1, whole.len()), ("User prefers dark mode", 1.0, 2));
        assert!(whole[1].1 > 0.0 && whole[1].1 < 0.5);
        let part = found(&index, "dark chocolate");
        assert!(part[0].1 < 0.4, "'chocolate' is unknown here and weighs more: {part:?}");
        assert!(found(&index, "penguins").is_empty() && found(&index, "?!").is_empty());
    }

    #[test]
    fn of_equal_scores_the_newest_comes_first() {
        let index = index("longterm", &["one fact", "two facts", "one more fact of many other things"]);
        assert_eq!(contents(&index, "fact")[..2], ["two facts", "one fact"]);
    }

    #[test]
    fn only_in_a_conversation_neighbours_help() {
        let talk = [
            "Lisbon has a new bridge.",
            "The weather is nice.",
            "Where did you spend your holidays?",
            "Oh, in Lisbon, with Ada.",
            "And you?",
        ];
        let order =
            ["Where did you spend your holidays?", "Oh, in Lisbon, with Ada.", "Lisbon has a new bridge."];
        assert_eq!(contents(&index("session/1", &talk), "Was it Lisbon, on your holidays?"), order);
        for scope in ["longterm", "sessions"] {
            let alone = found(&index(scope, &talk), "Was it Lisbon, on your holidays?");
            assert_eq!((alone.len(), alone[1].1), (3, alone[2].1), "both say Lisbon once: {alone:?}");
        }
        let question = contents(&index("session", &talk), "holidays");
        assert_eq!(question, ["Where did you spend your holidays?"], "a neighbour's word is no match");
    }
}
