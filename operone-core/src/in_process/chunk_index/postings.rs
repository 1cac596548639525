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
    /// By term: how many of its postings are of removed texts; for the terms of which somebody asked since the last
    /// removal. Held for single look-ups only.
    removed_of: Mutex<HashMap<u32, usize>>,
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
    postings: usize,
}

impl Postings {
    /// Adds a text behind all others, with its distinct terms and their counts.
    pub(super) fn insert(&mut self, text: u32, terms: impl Iterator<Item = (u32, u32)> + Clone) {
        let counted = terms.filter(|(_, count)| *count > 0);
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
        if std::mem::take(length) > 0 {
            self.removed += 1;
            self.removed_of.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// About the best texts for these terms: at least the `limit` best of those that are accepted, in the order of
    /// their numbers, with their scores.
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
        // The terms that can add most come first, so that the long lists of common ones need not be read.
        weighted.sort_by(|one, other| other.bound.total_cmp(&one.bound));
        let mut left: f32 = weighted.iter().map(|term| term.bound).sum();
        let mut postings_left: usize = weighted.iter().map(|term| term.postings).sum();
        // The zeros come from the system as they are touched: only texts with one of the terms cost anything.
        let mut scores = vec![0.0_f32; self.lengths.len()];
        let mut touched = Vec::new();
        let mut least = 0.0;
        for term in &weighted {
            if touched.len() >= limit && postings_left > touched.len() {
                least = least_of_best(&touched, &scores, limit, &mut accept);
                // What is in none of the lists so far cannot come among the best any more.
                if least > left * SLACK {
                    break;
                }
            }
            self.add(term, mean, &mut scores, &mut touched);
            (left, postings_left) = ((left - term.bound).max(0.0), postings_left - term.postings);
            if postings_left == 0 {
                left = 0.0;
            }
        }
        if postings_left == 0 {
            least = least_of_best(&touched, &scores, limit, &mut accept);
        }
        let mut best = touched;
        best.retain(|text| {
            (scores.get(*text as usize).copied().unwrap_or(0.0) + left) * SLACK >= least && accept(*text)
        });
        best.sort_unstable();
        let scores = self.scores(terms, &best);
        best.into_iter().zip(scores).collect()
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
            + 4 * self.lengths.capacity()
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

    fn add(&self, term: &Weighted, mean: f32, scores: &mut [f32], touched: &mut Vec<u32>) {
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

    fn weighted(&self, term: QueryTerm, mean: f32) -> Weighted {
        let weight = self.weight(&term);
        let (mut highest, mut postings) = (0.0_f32, 0);
        for (head, _) in self.list(term.term) {
            let (count, length) = head.bounds();
            highest = highest.max(Bm25::default().term_weight(count, length, mean));
            postings += usize::from(head.postings);
        }
        Weighted { term, weight, bound: weight * highest, postings }
    }

    fn weight(&self, term: &QueryTerm) -> f32 {
        let told = Bm25::inverse_document_frequency(self.texts, self.containing(term.term));
        // Among very many texts that nearly all hold the term, the logarithm rounds to zero.
        term.times * told.max(f32::MIN_POSITIVE)
    }

    /// In how many texts the term occurs.
    fn containing(&self, term: u32) -> usize {
        let all: usize = self.pieces(term).into_iter().map(blocks::count).sum();
        if self.removed == 0 {
            return all;
        }
        let known = || self.removed_of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(removed) = known().get(&term).copied() {
            return all - removed.min(all);
        }
        let mut removed = 0;
        for (head, body) in self.list(term) {
            blocks::for_each(head, body, |posting| removed += usize::from(self.length(posting.text) == 0));
        }
        known().insert(term, removed);
        all - removed
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
fn least_of_best(touched: &[u32], scores: &[f32], limit: usize, accept: &mut impl FnMut(u32) -> bool) -> f32 {
    // Scores are positive, and then their bits have the order of the numbers.
    let mut best: BinaryHeap<std::cmp::Reverse<u32>> = BinaryHeap::new();
    let mut least = 0;
    for text in touched {
        let score = scores.get(*text as usize).copied().unwrap_or(0.0).to_bits();
        if score <= least || !accept(*text) {
            continue;
        }
        if best.len() == limit {
            best.pop();
        }
        best.push(std::cmp::Reverse(score));
        if best.len() == limit {
            least = best.peek().map_or(0, |least| least.0);
        }
    }
    f32::from_bits(least)
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
