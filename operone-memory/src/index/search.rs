//! Searches an index: words and vectors on one scale, importance and age, the order, and the cut.

use std::collections::BTreeMap;

use operone_core::clock::Timestamp;
use operone_core::memory::{Entry, Explanation, Recency, ScoredMemory};

use super::Index;
use super::ranking::Matches;

/// How many candidates each side gives before their scores are brought onto one scale.
const DEPTH: usize = 100;

/// How far importance moves a score: by half of this up or down.
const IMPORTANCE: f64 = 0.1;

/// Scores are whole numbers of this part, so that the last bits of a platform's arithmetic decide nothing.
const SCALE: f64 = 1e6;

/// Where a memory stands in an answer: its score in millionths, then its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) score: i64,
    pub(crate) place: u32,
}

impl Position {
    /// Whether an answer shows this one after the other: by falling score, then from the newest to the oldest.
    fn is_after(self, other: Self) -> bool {
        (self.score, self.place) < (other.score, other.place)
    }
}

/// What vectors have to say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dense<'a> {
    /// The vector of the text.
    pub(crate) query: &'a [f32],
    /// What it counts beside the words; 1 for vectors alone.
    pub(crate) weight: f64,
    /// The cosine of a memory that holds no word of the query and is found all the same.
    pub(crate) least_cosine: f64,
}

/// What to search for.
pub(crate) struct Search<'a> {
    pub(crate) text: &'a str,
    pub(crate) dense: Option<Dense<'a>>,
    /// Whether a memory may be found.
    pub(crate) filter: &'a (dyn Fn(&Entry) -> bool + Sync),
    pub(crate) recency: Option<Recency>,
    /// Judges age; the same for all pages of an answer.
    pub(crate) asked_at: Timestamp,
    /// Judges expiry.
    pub(crate) now: Timestamp,
    pub(crate) after: Option<Position>,
    pub(crate) limit: usize,
    pub(crate) explain: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) memories: Vec<(Position, ScoredMemory)>,
    pub(crate) coverage: f64,
    pub(crate) has_more: bool,
}

/// A memory that may be given.
#[derive(Clone, Copy, Debug, Default)]
struct Candidate {
    lexical: f64,
    covered: f64,
    dense: Option<f64>,
    relevance: f64,
    prior: f64,
}

impl Index {
    /// The memories that fit best, the best first; the newest for a text without words.
    pub(crate) fn search(&self, search: &Search<'_>) -> Found {
        if search.text.trim().is_empty() {
            return self.newest(search);
        }
        let matches = self.matches(search.text);
        let mut candidates = self.candidates(search, &matches);
        let best_covered = candidates.values().fold((0.0, 0.0), |best: (f64, f64), candidate| {
            let this = (candidate.lexical, candidate.covered);
            if this > best { this } else { best }
        });
        let coverage = match matches.all_weights {
            all if all > 0.0 => (best_covered.1 / all).min(1.0),
            _ => 0.0,
        };
        weigh(&mut candidates, search, coverage);
        self.add_priors(&mut candidates, search);
        let mut ranked: Vec<(Position, Candidate)> = candidates
            .into_iter()
            .map(|(place, candidate)| {
                let score = (candidate.relevance * candidate.prior * SCALE).round() as i64;
                (Position { score, place }, candidate)
            })
            .filter(|(position, _)| search.after.is_none_or(|after| position.is_after(after)))
            .collect();
        let best_first = |position: &Position| std::cmp::Reverse((position.score, position.place));
        let has_more = ranked.len() > search.limit;
        if has_more {
            ranked.select_nth_unstable_by_key(search.limit, |(position, _)| best_first(position));
            ranked.truncate(search.limit);
        }
        ranked.sort_unstable_by_key(|(position, _)| best_first(position));
        let memories = ranked.iter().filter_map(|(position, candidate)| {
            let entry = Entry::clone(&self.at(position.place)?.entry);
            let mut memory = ScoredMemory::new(entry, position.score as f64 / SCALE);
            memory.explanation =
                search.explain.then(|| self.explanation(search, &matches, position.place, candidate));
            Some((*position, memory))
        });
        Found { memories: memories.collect(), coverage: rounded(coverage), has_more }
    }

    fn newest(&self, search: &Search<'_>) -> Found {
        let position = |place| Position { score: SCALE as i64, place };
        let mut newest = self.readable(search.now).rev().filter(|(place, entry)| {
            search.after.is_none_or(|after| position(*place).is_after(after)) && (search.filter)(entry)
        });
        let memories = newest.by_ref().take(search.limit);
        let memories = memories
            .map(|(place, entry)| (position(place), ScoredMemory::new(Entry::clone(entry), 1.0)))
            .collect();
        Found { memories, coverage: 1.0, has_more: newest.next().is_some() }
    }

    /// What may be given, each with both of its scores. By place, so that whatever goes over them has one order.
    fn candidates(&self, search: &Search<'_>, matches: &Matches) -> BTreeMap<u32, Candidate> {
        let may_be_found = |place: u32| {
            self.at(place)
                .is_some_and(|held| self.is_readable(place, held, search.now) && (search.filter)(&held.entry))
        };
        let words = |place: u32| {
            let found = matches.by_place.get(&place).copied().unwrap_or_default();
            Candidate {
                lexical: found.bm25 + found.thread,
                covered: found.covered,
                prior: 1.0,
                ..Candidate::default()
            }
        };
        let is_dense_alone = search.dense.is_some_and(|dense| dense.weight >= 1.0);
        // In a thread that has a name an answer may be found by its question alone.
        let is_named = |place: u32| self.at(place).is_some_and(|held| held.entry.thread.is_some());
        let own = matches.by_place.iter().filter(|(_, found)| !is_dense_alone && found.bm25 > 0.0);
        let own = own.filter(|(place, found)| found.is_own || is_named(**place));
        let own = own.map(|(place, _)| *place).filter(|place| may_be_found(*place));
        let Some(Dense { query, least_cosine, .. }) = search.dense else {
            return own.map(|place| (place, words(place))).collect();
        };
        let cosine = |held: &super::Held| held.vector.as_ref().map(|vector| dot(query, vector));
        let mut lexical: Vec<(i64, u32)> =
            own.map(|place| (in_millionths(words(place).lexical), place)).collect();
        cut(&mut lexical);
        let mut alike: Vec<(i64, u32)> = self
            .readable(search.now)
            .filter(|(_, entry)| (search.filter)(entry))
            .filter_map(|(place, _)| Some((in_millionths(cosine(self.at(place)?)?), place)))
            .filter(|(cosine, _)| *cosine > 0 && *cosine >= in_millionths(least_cosine))
            .collect();
        cut(&mut alike);
        let places = lexical.into_iter().chain(alike).map(|(_, place)| place);
        places
            .map(|place| (place, Candidate { dense: self.at(place).and_then(cosine), ..words(place) }))
            .collect()
    }

    fn add_priors(&self, candidates: &mut BTreeMap<u32, Candidate>, search: &Search<'_>) {
        let mut greatest = 0.0_f64;
        for (place, candidate) in candidates.iter_mut() {
            let Some(held) = self.at(*place) else { continue };
            candidate.prior = 1.0 + IMPORTANCE * (held.entry.importance - 0.5);
            if let Some(Recency { weight, half_life }) = search.recency {
                let happened = held.entry.occurred_at.unwrap_or(held.entry.recorded_at);
                let age = search.asked_at.since(happened).as_secs_f64() / half_life.as_secs_f64().max(1e-3);
                candidate.prior *= 1.0 + weight * (libm::exp2(-age) - 0.5);
            }
            greatest = greatest.max(candidate.prior);
        }
        // By the greatest there is, so that no score leaves [0, 1] and none is cut to it.
        if greatest > 0.0 {
            candidates.values_mut().for_each(|candidate| candidate.prior /= greatest);
        }
    }

    fn explanation(
        &self,
        search: &Search<'_>,
        matches: &Matches,
        place: u32,
        candidate: &Candidate,
    ) -> Explanation {
        let found = matches.by_place.get(&place).copied().unwrap_or_default();
        let mut explanation = Explanation::default();
        explanation.terms = self.own_terms(search.text, place);
        explanation.lexical = rounded(found.bm25);
        explanation.thread = rounded(found.thread);
        explanation.dense = candidate.dense.map(rounded);
        explanation.relevance = rounded(candidate.relevance);
        explanation.prior = rounded(candidate.prior);
        explanation
    }
}

/// Brings words and vectors onto one scale. The best relevance is the share of the query that it covers.
fn weigh(candidates: &mut BTreeMap<u32, Candidate>, search: &Search<'_>, coverage: f64) {
    let Some(Dense { weight, .. }) = search.dense else {
        let best = candidates.values().fold(0.0_f64, |best, candidate| best.max(candidate.lexical));
        if best > 0.0 {
            candidates
                .values_mut()
                .for_each(|candidate| candidate.relevance = coverage * candidate.lexical / best);
        }
        return;
    };
    let span = |of: &dyn Fn(&Candidate) -> f64| {
        let values = || candidates.values().map(of);
        let least = values().fold(f64::INFINITY, f64::min);
        (least, values().fold(f64::NEG_INFINITY, f64::max) - least)
    };
    let scaled =
        |value: f64, (least, span): (f64, f64)| if span > 0.0 { (value - least) / span } else { 1.0 };
    let dense = |candidate: &Candidate| candidate.dense.unwrap_or(0.0);
    let (words, vectors) = (span(&|candidate| candidate.lexical), span(&dense));
    let has_words = words.0 + words.1 > 0.0;
    let weight = if has_words { weight } else { 1.0 };
    let mut best = 0.0_f64;
    let mut best_cosine = 0.0_f64;
    for candidate in candidates.values_mut() {
        candidate.relevance =
            (1.0 - weight) * scaled(candidate.lexical, words) + weight * scaled(dense(candidate), vectors);
        best = best.max(candidate.relevance);
        best_cosine = best_cosine.max(dense(candidate));
    }
    let top = ((1.0 - weight) * coverage + weight * best_cosine).clamp(0.0, 1.0);
    if best > 0.0 {
        candidates.values_mut().for_each(|candidate| candidate.relevance *= top / best);
    }
}

/// Keeps the best of one side.
fn cut(side: &mut Vec<(i64, u32)>) {
    side.sort_unstable_by_key(|candidate| std::cmp::Reverse(*candidate));
    side.truncate(DEPTH);
}

/// The cosine of two vectors of length 1, summed in one order everywhere.
fn dot(one: &[f32], other: &[f32]) -> f64 {
    one.iter().zip(other).map(|(one, other)| f64::from(*one) * f64::from(*other)).sum()
}

fn in_millionths(value: f64) -> i64 {
    (value * SCALE).round() as i64
}

fn rounded(value: f64) -> f64 {
    (value * SCALE).round() / SCALE
}
