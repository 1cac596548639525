//! The best of many candidates, by a heap that holds no more than are asked for.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::chunk::{Candidate, ChunkKey};
use crate::id::DocId;

/// Keeps the best; among equal scores the lower document id, then the lower ordinal.
#[derive(Debug)]
pub(super) struct Top<'a> {
    limit: usize,
    kept: BinaryHeap<Reverse<Ranked<'a>>>,
}

#[derive(Debug)]
struct Ranked<'a> {
    score: f32,
    key: (&'a DocId, u32),
}

impl<'a> Top<'a> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, kept: BinaryHeap::new() }
    }

    /// Offers a candidate; its key is asked for only if the score may suffice.
    pub(super) fn offer(&mut self, score: f32, key: impl FnOnce() -> Option<(&'a DocId, u32)>) {
        let full = self.kept.len() >= self.limit;
        let worst = self.kept.peek().map(|Reverse(worst)| worst.score);
        if full && worst.is_none_or(|worst| score < worst) {
            return;
        }
        let Some(key) = key() else { return };
        self.kept.push(Reverse(Ranked { score, key }));
        if full {
            self.kept.pop();
        }
    }

    /// The kept ones, best first.
    pub(super) fn into_candidates(self) -> Vec<Candidate> {
        let candidate = |Reverse(Ranked { score, key: (doc, ordinal) })| Candidate {
            key: ChunkKey { doc: DocId::clone(doc), ordinal },
            score,
        };
        self.kept.into_sorted_vec().into_iter().map(candidate).collect()
    }
}

impl Ord for Ranked<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then_with(|| other.key.cmp(&self.key))
    }
}

impl PartialOrd for Ranked<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked<'_> {}
