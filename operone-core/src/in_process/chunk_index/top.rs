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
    /// What a score must reach, once there are enough.
    least: f32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Ranked<'a> {
    pub(super) score: f32,
    pub(super) key: (&'a DocId, u32),
    /// The chunk's row in the index.
    pub(super) row: u32,
}

impl<'a> Top<'a> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, kept: BinaryHeap::new(), least: f32::NEG_INFINITY }
    }

    /// Offers a candidate; its key is asked for only if the score may suffice.
    #[inline]
    pub(super) fn offer(&mut self, score: f32, row: u32, key: impl FnOnce() -> Option<(&'a DocId, u32)>) {
        if score >= self.least
            && let Some(key) = key()
        {
            self.put(Ranked { score, key, row });
        }
    }

    /// The kept ones, best first.
    pub(super) fn into_ranked(self) -> Vec<Ranked<'a>> {
        self.kept.into_sorted_vec().into_iter().map(|Reverse(ranked)| ranked).collect()
    }

    /// The kept ones, best first.
    pub(super) fn into_candidates(self) -> Vec<Candidate> {
        let candidate = |Ranked { score, key: (doc, ordinal), .. }| Candidate {
            key: ChunkKey { doc: DocId::clone(doc), ordinal },
            score,
        };
        self.into_ranked().into_iter().map(candidate).collect()
    }

    fn put(&mut self, ranked: Ranked<'a>) {
        self.kept.push(Reverse(ranked));
        if self.kept.len() > self.limit {
            self.kept.pop();
        }
        if self.kept.len() == self.limit {
            self.least = self.kept.peek().map_or(f32::INFINITY, |Reverse(worst)| worst.score);
        }
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
