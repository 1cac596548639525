//! Postings: for each term the texts that hold it, scored by BM25. One instance per level.

use std::collections::{BinaryHeap, HashMap};
use std::sync::{Mutex, PoisonError};

use super::blocks::{self, Blocks, Posting};
use crate::text::Bm25;

/// The texts of one level, chunks or documents, by their terms. Texts and terms are numbers; those of texts rise.
///
/// The postings of a removed text stay until the texts are numbered anew, and are passed over meanwhile.
#[derive(Debug, Default)]
pub(super) struct Postings {
    /// The lists of all terms as they were last put together, one after the other.
    pub(super) packed: Vec<u8>,
    /// By term: where its list in `packed` ends.
    pub(super) ends: Vec<u64>,
    /// By term: what came since.
    added: Vec<Option<Box<Added>>>,
    /// By text; zero where there is none.
    pub(super) lengths: Vec<u32>,
    pub(super) texts: usize,
    pub(super) total_length: u64,
    /// How many removed texts had terms.
    pub(super) removed: usize,
    /// For the terms of which somebody asked since the last change. Held for single look-ups only.
    known: Mutex<HashMap<u32, Known>>,
    /// What earlier queries summed in, all zeros again. Held to take one out or to put one in.
    spare: Mutex<Vec<Accumulators>>,
}

/// What is known of a term's list.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// In how many texts the term occurs.
    containing: usize,
    /// The most that its postings add, but for the term's weight.
    highest: f32,
}

/// Of so many terms at most something is known.
const MOST_KNOWN: usize = 1 << 16;

/// The most accumulators that are kept, of four bytes a text each.
const SPARE: usize = 2;

/// Scores by text, with the texts that have one.
#[derive(Debug, Default)]
struct Accumulators {
    scores: Vec<f32>,
    touched: Vec<u32>,
}

impl Accumulators {
    /// The score of the last of the `limit` best of those that are accepted; zero where there are fewer.
    fn least_of_best(&self, limit: usize, accept: &mut impl FnMut(u32) -> bool) -> f32 {
        let mut best = LeastOfBest::new(limit);
        for text in &self.touched {
            let score = self.scores.get(*text as usize).copied().unwrap_or(0.0);
            if best.may_take(score) && accept(*text) {
                best.take(score);
            }
        }
        best.least()
    }

    /// The texts that are kept with their scores, in the order of their numbers; all is zero afterwards.
    fn take(&mut self, mut keep: impl FnMut(u32, f32) -> bool) -> Vec<(u32, f32)> {
        let mut taken = Vec::new();
        for text in self.touched.drain(..) {
            let score = self.scores.get_mut(text as usize).map_or(0.0, std::mem::take);
            if keep(text, score) {
                taken.push((text, score));
            }
        }
        // It came in rising runs, one a list, which a stable sort merges.
        taken.sort_by_key(|(text, _)| *text);
        taken
    }
}

/// What came to a list since it was packed.
#[derive(Debug, Default)]
struct Added {
    bytes: Vec<u8>,
    /// Where the last block begins.
    open: usize,
}

/// A term of a query, and how often the query has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueryTerm {
    pub(super) term: u32,
    pub(super) times: f32,
}

/// A term with what its postings add.
struct Weighted {
    term: QueryTerm,
    weight: f32,
    /// The most that it can add to a text's score.
    bound: f32,
}

impl Postings {
    /// Adds a text behind all others, with its distinct terms and their counts.
    pub(super) fn insert(&mut self, text: u32, terms: impl Iterator<Item = (u32, u32)> + Clone) {
        let counted = terms.filter(|(_, count)| *count > 0);
        self.changed();
        let length = counted.clone().fold(0_u32, |length, (_, count)| length.saturating_add(count));
        for (term, count) in counted {
            self.push(term, Posting { text, count }, length);
        }
        if self.lengths.len() <= text as usize {
            self.lengths.resize(text as usize + 1, 0);
        }
        if let Some(place) = self.lengths.get_mut(text as usize) {
            *place = length;
        }
        self.texts += 1;
        self.total_length += u64::from(length);
    }

    /// Removes a text that is there.
    pub(super) fn remove(&mut self, text: u32) {
        let Some(length) = self.lengths.get_mut(text as usize) else { return };
        self.total_length -= u64::from(*length);
        self.texts -= 1;
        self.removed += usize::from(std::mem::take(length) > 0);
        self.changed();
    }

    /// About the best texts for these terms: at least the `limit` best of those that are accepted, in the order of
    /// their numbers, with their scores.
    ///
    /// Lists are read whole, those that can add most first, until what is in none of them cannot come among the best
    /// any more. From then on the long lists of common terms are only looked into for the texts that still can, which
    /// become fewer with each list (the MaxScore of Turtle and Flood, 1995, a term at a time; the blocks are bounded as
    /// by Ding and Suel, 2011).
    pub(super) fn best(
        &self,
        terms: &[QueryTerm],
        limit: usize,
        mut accept: impl FnMut(u32) -> bool,
    ) -> Vec<(u32, f32)> {
        if limit == 0 {
            return Vec::new();
        }
        let mean = self.mean_length();
        let mut weighted: Vec<Weighted> = terms.iter().map(|term| self.weighted(*term, mean)).collect();
        weighted.sort_by(|one, other| other.bound.total_cmp(&one.bound));
        // By term: the most that it and all behind it can add.
        let sums = weighted.iter().rev().scan(0.0_f32, |sum, term| {
            *sum += term.bound;
            Some(*sum)
        });
        let mut left: Vec<f32> = sums.collect();
        left.reverse();
        let mut accumulators = self.accumulators();
        let mut least = 0.0;
        let mut read = 0;
        for (term, left) in weighted.iter().zip(&left) {
            if accumulators.touched.len() >= limit {
                least = accumulators.least_of_best(limit, &mut accept);
                if least > left * SLACK {
                    break;
                }
            }
            self.add(term, mean, &mut accumulators);
            read += 1;
        }
        if read == weighted.len() {
            least = accumulators.least_of_best(limit, &mut accept);
        }
        let mut candidates = accumulators.take(|text, score| {
            (score + left.get(read).copied().unwrap_or(0.0)) * SLACK >= least && accept(text)
        });
        self.give_back(accumulators);
        for (place, term) in weighted.iter().enumerate().skip(read) {
            let behind = left.get(place + 1).copied().unwrap_or(0.0);
            self.refine(term, mean, &mut candidates, |bound| (bound + behind) * SLACK >= least);
            least = least.max(least_of(&candidates, limit));
            candidates.retain(|(_, score)| (score + behind) * SLACK >= least);
        }
        let best: Vec<u32> = candidates.into_iter().map(|(text, _)| text).collect();
        let scores = self.scores(terms, &best);
        best.into_iter().zip(scores).collect()
    }

    /// Adds what a term's list says of the candidates, which are in the order of their numbers. A block of which no
    /// candidate can reach what `suffices` is not read, and its candidates keep their scores.
    fn refine(
        &self,
        term: &Weighted,
        mean: f32,
        candidates: &mut [(u32, f32)],
        suffices: impl Fn(f32) -> bool,
    ) {
        let mut rest = candidates;
        for (head, body) in self.list(term.term.term) {
            match rest.first() {
                None => return,
                Some((text, _)) if *text > head.last => continue,
                Some(_) => {}
            }
            let within = rest.partition_point(|(text, _)| *text <= head.last);
            let (wanted, behind) = rest.split_at_mut(within);
            rest = behind;
            let (count, length) = head.bounds();
            let bound = term.weight * Bm25::default().term_weight(count, length, mean);
            if !wanted.iter().any(|(_, score)| suffices(score + bound)) {
                continue;
            }
            let mut wanted = wanted.iter_mut().peekable();
            blocks::for_each(head, body, |posting| {
                while wanted.next_if(|(text, _)| *text < posting.text).is_some() {}
                if let Some((_, score)) = wanted.next_if(|(text, _)| *text == posting.text) {
                    *score += term.weight * self.part(posting, mean);
                }
            });
        }
    }

    /// Zeros for all texts.
    fn accumulators(&self) -> Accumulators {
        let kept = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut accumulators = kept.unwrap_or_default();
        accumulators.scores.resize(self.lengths.len(), 0.0);
        accumulators
    }

    /// Keeps the memory for the next query: to ask the system for it anew costs more than many a query.
    fn give_back(&self, accumulators: Accumulators) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(accumulators);
        }
    }

    /// The scores of texts, given in the order of their numbers; zero where one holds none of the terms. Each sum is
    /// made in the order of the terms, whatever else is there.
    pub(super) fn scores(&self, terms: &[QueryTerm], texts: &[u32]) -> Vec<f32> {
        let mean = self.mean_length();
        let mut scores = vec![0.0_f32; texts.len()];
        for term in terms {
            let weight = self.weight(term);
            let mut wanted = texts.iter().zip(&mut scores).peekable();
            for (head, body) in self.list(term.term) {
                match wanted.peek() {
                    None => break,
                    Some((text, _)) if **text > head.last => continue,
                    Some(_) => {}
                }
                blocks::for_each(head, body, |posting| {
                    while wanted.next_if(|(text, _)| **text < posting.text).is_some() {}
                    while let Some((_, score)) = wanted.next_if(|(text, _)| **text == posting.text) {
                        *score += weight * self.part(posting, mean);
                    }
                });
                while wanted.next_if(|(text, _)| **text <= head.last).is_some() {}
            }
        }
        scores
    }

    /// Packs what was added, which makes it as small as it can be.
    pub(super) fn pack(&mut self) {
        let size = self.size() as usize;
        let mut packed = Vec::with_capacity(size);
        let mut ends = Vec::with_capacity(self.terms());
        for term in 0..self.terms() as u32 {
            self.pieces(term).into_iter().for_each(|piece| packed.extend_from_slice(piece));
            ends.push(packed.len() as u64);
        }
        (self.packed, self.ends, self.added) = (packed, ends, Vec::new());
        self.lengths.shrink_to_fit();
    }

    /// Gives each text its new number, which must rise with the old one; those without one are dropped.
    pub(super) fn renumber(&mut self, places: &[Option<u32>]) {
        let mut new = Self { texts: self.texts, total_length: self.total_length, ..Self::default() };
        let (mut packed, mut ends) = (Vec::new(), Vec::with_capacity(self.terms()));
        for term in 0..self.terms() as u32 {
            let (mut list, mut open) = (Vec::new(), 0);
            for (head, body) in self.list(term) {
                blocks::for_each(head, body, |posting| {
                    let length = self.length(posting.text);
                    let place = places.get(posting.text as usize).copied().flatten();
                    if let Some(text) = place.filter(|_| length > 0) {
                        open = blocks::push(&mut list, open, Posting { text, ..posting }, length);
                    }
                });
            }
            packed.extend_from_slice(&list);
            ends.push(packed.len() as u64);
        }
        packed.shrink_to_fit();
        let lengths = places.iter().zip(&self.lengths).filter(|(place, _)| place.is_some());
        new.lengths = lengths.map(|(_, length)| *length).collect();
        (new.packed, new.ends) = (packed, ends);
        *self = new;
    }

    /// How many terms have a list, be it empty.
    pub(super) fn terms(&self) -> usize {
        self.ends.len().max(self.added.len())
    }

    /// The bytes of the lists.
    pub(super) fn size(&self) -> u64 {
        self.packed.len() as u64
            + self.added.iter().flatten().map(|added| added.bytes.len() as u64).sum::<u64>()
    }

    /// The bytes of a term's list, in two pieces.
    pub(super) fn pieces(&self, term: u32) -> [&[u8]; 2] {
        let place = term as usize;
        let begin = if place == 0 { Some(0) } else { self.ends.get(place - 1).copied() };
        let end = self.ends.get(place).copied();
        let packed = begin.zip(end).and_then(|(begin, end)| self.packed.get(begin as usize..end as usize));
        let added = self.added.get(place).and_then(Option::as_ref);
        [packed.unwrap_or_default(), added.map(|added| added.bytes.as_slice()).unwrap_or_default()]
    }

    /// The bytes that are allocated.
    pub(super) fn memory(&self) -> usize {
        let added = |added: &Added| added.bytes.capacity() + size_of::<Added>();
        self.packed.capacity()
            + 8 * (self.ends.capacity() + self.added.capacity())
            + self.added.iter().flatten().map(|one| added(one)).sum::<usize>()
            + 4 * (1 + SPARE) * self.lengths.capacity()
    }

    fn push(&mut self, term: u32, posting: Posting, length: u32) {
        let place = term as usize;
        if self.added.len() <= place {
            self.added.resize_with(place + 1, || None);
        }
        let Some(added) = self.added.get_mut(place) else { return };
        let added = added.get_or_insert_default();
        added.open = blocks::push(&mut added.bytes, added.open, posting, length);
    }

    fn add(&self, term: &Weighted, mean: f32, accumulators: &mut Accumulators) {
        let Accumulators { scores, touched } = accumulators;
        for (head, body) in self.list(term.term.term) {
            blocks::for_each(head, body, |posting| {
                let Some(score) = scores.get_mut(posting.text as usize) else { return };
                let added = term.weight * self.part(posting, mean);
                if added > 0.0 && *score == 0.0 {
                    touched.push(posting.text);
                }
                *score += added;
            });
        }
    }

    fn changed(&mut self) {
        self.known.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn weighted(&self, term: QueryTerm, mean: f32) -> Weighted {
        let weight = self.weight(&term);
        Weighted { term, weight, bound: weight * self.known(term.term, mean).highest }
    }

    fn weight(&self, term: &QueryTerm) -> f32 {
        let containing = self.known(term.term, self.mean_length()).containing;
        let told = Bm25::inverse_document_frequency(self.texts, containing);
        // Among very many texts that nearly all hold the term, the logarithm rounds to zero.
        term.times * told.max(f32::MIN_POSITIVE)
    }

    fn known(&self, term: u32, mean: f32) -> Known {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known().get(&term) {
            return *known;
        }
        let found = self.look_up(term, mean);
        let mut known = known();
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(term, found);
        found
    }

    fn look_up(&self, term: u32, mean: f32) -> Known {
        let mut found = Known { containing: 0, highest: 0.0 };
        for (head, body) in self.list(term) {
            let (count, length) = head.bounds();
            found.highest = found.highest.max(Bm25::default().term_weight(count, length, mean));
            found.containing += usize::from(head.postings);
            if self.removed > 0 {
                blocks::for_each(head, body, |posting| {
                    found.containing -= usize::from(self.length(posting.text) == 0);
                });
            }
        }
        found
    }

    /// What a posting adds, but for its term's weight; zero where the text was removed.
    fn part(&self, posting: Posting, mean_length: f32) -> f32 {
        match self.length(posting.text) {
            0 => 0.0,
            length => Bm25::default().term_weight(posting.count as f32, length as f32, mean_length),
        }
    }

    fn length(&self, text: u32) -> u32 {
        self.lengths.get(text as usize).copied().unwrap_or(0)
    }

    fn mean_length(&self) -> f32 {
        (self.total_length as f64 / self.texts.max(1) as f64) as f32
    }

    fn list(&self, term: u32) -> std::iter::Chain<Blocks<'_>, Blocks<'_>> {
        let [packed, added] = self.pieces(term);
        blocks::blocks(packed).chain(blocks::blocks(added))
    }
}

/// What sums of the same numbers in different orders may differ by, and more.
const SLACK: f32 = 1.0001;

/// The score of the last of the `limit` best; zero where there are fewer.
fn least_of(candidates: &[(u32, f32)], limit: usize) -> f32 {
    let mut best = LeastOfBest::new(limit);
    for (_, score) in candidates {
        if best.may_take(*score) {
            best.take(*score);
        }
    }
    best.least()
}

/// Keeps the `limit` best of many scores, none of which is negative.
struct LeastOfBest {
    limit: usize,
    /// The bits of the scores, which have the order of the numbers.
    best: BinaryHeap<std::cmp::Reverse<u32>>,
    least: u32,
}

impl LeastOfBest {
    fn new(limit: usize) -> Self {
        Self { limit, best: BinaryHeap::new(), least: 0 }
    }

    fn may_take(&self, score: f32) -> bool {
        score.to_bits() > self.least
    }

    fn take(&mut self, score: f32) {
        if self.best.len() == self.limit {
            self.best.pop();
        }
        self.best.push(std::cmp::Reverse(score.to_bits()));
        if self.best.len() == self.limit {
            self.least = self.best.peek().map_or(0, |least| least.0);
        }
    }

    fn least(&self) -> f32 {
        f32::from_bits(self.least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts with terms of very different frequencies; every seventh is removed again.
    fn filled() -> Postings {
        let mut postings = Postings::default();
        for text in 0..5_000_u32 {
            let terms = (0..12_u32).filter(|term| text % (term * term * 3 + 1) == 0);
            let counts: Vec<(u32, u32)> = terms.map(|term| (term, 1 + (text / 7 + term) % 3)).collect();
            postings.insert(text, counts.iter().copied().chain([(99, 1 + text % 40)]));
            if text == 3_000 {
                postings.pack();
            }
        }
        (0..5_000).step_by(7).for_each(|text| postings.remove(text));
        postings
    }

    #[test]
    fn what_is_passed_over_could_not_be_among_the_best() {
        let mut postings = filled();
        let terms: Vec<QueryTerm> =
            [99, 0, 5, 3, 8, 11, 77].iter().map(|term| QueryTerm { term: *term, times: 1.0 }).collect();
        for round in 0..2 {
            let all: Vec<u32> = (0..5_000).collect();
            for limit in [1, 10, 100, 10_000] {
                for every in [1, 3] {
                    let accept = |text: u32| text.is_multiple_of(every);
                    let exact = postings.scores(&terms, &all).into_iter().zip(&all);
                    let mut expected: Vec<(f32, u32)> = exact
                        .filter(|(score, text)| *score > 0.0 && accept(**text))
                        .map(|(s, t)| (s, *t))
                        .collect();
                    expected.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
                    let mut found = postings.best(&terms, limit, accept);
                    assert!(found.is_sorted_by_key(|(text, _)| *text));
                    found.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
                    let found = found.into_iter().map(|(text, score)| (score, text)).take(limit);
                    assert!(found.eq(expected.into_iter().take(limit)), "{round} {limit} {every}");
                }
            }
            if round == 0 {
                let before = postings.scores(&terms, &all);
                let mut next = 0..;
                let places: Vec<Option<u32>> =
                    (0..5_000).map(|text| if text % 7 == 0 { None } else { next.next() }).collect();
                postings.renumber(&places);
                let kept: Vec<f32> = before
                    .into_iter()
                    .zip(&places)
                    .filter(|(_, place)| place.is_some())
                    .map(|(s, _)| s)
                    .collect();
                assert_eq!(postings.scores(&terms, &all)[..kept.len()], kept);
            }
        }
    }

    #[test]
    fn a_head_bounds_what_its_block_adds() {
        let postings = filled();
        let mean = postings.mean_length();
        for term in [0, 3, 99] {
            for (head, body) in postings.list(term) {
                let (count, length) = head.bounds();
                let bound = Bm25::default().term_weight(count, length, mean);
                blocks::for_each(head, body, |posting| assert!(postings.part(posting, mean) <= bound));
            }
        }
    }
}
