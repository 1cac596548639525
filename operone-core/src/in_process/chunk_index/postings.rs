//! Postings: for each term the texts that hold it, scored by BM25. One instance per level.

use crate::text::Bm25;

/// The texts of one level, chunks or documents, by their terms. Texts and terms are numbers.
#[derive(Debug, Default)]
pub(super) struct Postings {
    /// By term; each list is sorted by text.
    lists: Vec<Vec<Posting>>,
    /// By text; zero where there is none.
    lengths: Vec<u32>,
    texts: usize,
    total_length: u64,
}

#[derive(Clone, Copy, Debug)]
struct Posting {
    text: u32,
    count: u32,
}

/// A term of a query, and how often the query has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueryTerm {
    pub(super) term: u32,
    pub(super) times: f32,
}

impl Postings {
    /// Adds a text that is not there, with its distinct terms and their counts.
    pub(super) fn insert(&mut self, text: u32, terms: impl Iterator<Item = (u32, u32)>) {
        let mut length: u32 = 0;
        for (term, count) in terms.filter(|(_, count)| *count > 0) {
            length = length.saturating_add(count);
            let list = self.list_mut(term);
            let posting = Posting { text, count };
            match list.last() {
                Some(last) if last.text >= text => {
                    let place = list.partition_point(|posting| posting.text < text);
                    list.insert(place, posting);
                }
                _ => list.push(posting),
            }
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

    /// Removes texts, given in order, that have no other terms than these.
    pub(super) fn remove(&mut self, texts: &[u32], terms: &[u32]) {
        let (Some(first), Some(last)) = (texts.first(), texts.last()) else { return };
        for term in terms {
            let list = self.list_mut(*term);
            let begin = list.partition_point(|posting| posting.text < *first);
            let end = list.partition_point(|posting| posting.text <= *last);
            let (mut kept, mut place) = (begin, begin);
            while place < end {
                let Some(posting) = list.get(place).copied() else { break };
                if texts.binary_search(&posting.text).is_err() {
                    list.swap(kept, place);
                    kept += 1;
                }
                place += 1;
            }
            list.drain(kept..end);
            if list.is_empty() {
                *list = Vec::new();
            }
        }
        for text in texts {
            if let Some(length) = self.lengths.get_mut(*text as usize) {
                self.total_length -= u64::from(std::mem::take(length));
                self.texts -= 1;
            }
        }
    }

    /// In how many texts the term occurs.
    pub(super) fn containing(&self, term: u32) -> usize {
        self.list(term).len()
    }

    /// Calls `found` for each text that holds one of the terms, with its score.
    pub(super) fn score(&self, terms: &[QueryTerm], mut found: impl FnMut(u32, f32)) {
        // The zeros come from the system as they are touched: only texts with one of the terms cost anything.
        let mut scores = vec![0.0_f32; self.lengths.len()];
        let mut touched = Vec::new();
        let mean = self.mean_length();
        for term in terms {
            let weight = self.weight(term);
            for posting in self.list(term.term) {
                let Some(score) = scores.get_mut(posting.text as usize) else { continue };
                if *score == 0.0 {
                    touched.push(posting.text);
                }
                *score += weight * self.part(posting, mean);
            }
        }
        for text in touched {
            found(text, scores.get(text as usize).copied().unwrap_or(0.0));
        }
    }

    /// The score of one text; zero where it holds none of the terms.
    pub(super) fn score_one(&self, terms: &[QueryTerm], text: u32) -> f32 {
        let (mut score, mean) = (0.0, self.mean_length());
        for term in terms {
            let list = self.list(term.term);
            let place = list.binary_search_by_key(&text, |posting| posting.text);
            if let Some(posting) = place.ok().and_then(|place| list.get(place)) {
                score += self.weight(term) * self.part(posting, mean);
            }
        }
        score
    }

    fn weight(&self, term: &QueryTerm) -> f32 {
        let told = Bm25::inverse_document_frequency(self.texts, self.containing(term.term));
        // Among very many texts that nearly all hold the term, the logarithm rounds to zero.
        term.times * told.max(f32::MIN_POSITIVE)
    }

    fn part(&self, posting: &Posting, mean_length: f32) -> f32 {
        let length = self.lengths.get(posting.text as usize).copied().unwrap_or(0);
        Bm25::default().term_weight(posting.count as f32, length as f32, mean_length)
    }

    fn mean_length(&self) -> f32 {
        (self.total_length as f64 / self.texts.max(1) as f64) as f32
    }

    fn list(&self, term: u32) -> &[Posting] {
        self.lists.get(term as usize).map(Vec::as_slice).unwrap_or_default()
    }

    fn list_mut(&mut self, term: u32) -> &mut Vec<Posting> {
        let place = term as usize;
        if self.lists.len() <= place {
            self.lists.resize_with(place + 1, Vec::new);
        }
        &mut self.lists[place]
    }
}
