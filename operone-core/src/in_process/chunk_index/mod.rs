//! The search index of one collection of chunks: postings for words, vectors for meaning, all in memory.
//!
//! A chunk store keeps one [`ChunkIndex`] per collection beside what it stores, and builds it anew from there. The
//! index knows no texts; it gives the same candidates and scores in whatever order documents came and went.

mod document;
mod postings;
mod space;
mod terms;
mod top;
mod vectors;

use std::collections::HashMap;

use crate::chunk::{Candidate, ChunkKey, CompleteQuery, DenseQuery, Level, LexicalQuery, Scores};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::id::DocId;
use crate::metadata::Metadata;

pub use document::{CountedDocument, IndexedChunk, IndexedDocument, TermCounts};
pub use space::VectorSpace;

use postings::{Postings, QueryTerm};
use terms::Terms;
use top::Top;
use vectors::Vectors;

/// Finds chunks of one collection by vector and by words. Every query is exact.
///
/// A change takes time in the size of the document and the lists of its terms; a lexical query in the lists of
/// its terms; a dense one in the number of vectors; a filter adds one test per document.
#[derive(Debug, Default)]
pub struct ChunkIndex {
    terms: Terms,
    documents: Vec<Option<Entry>>,
    by_id: HashMap<DocId, u32>,
    free_documents: Vec<u32>,
    /// The chunk in each row; meaningless where the row is free.
    chunks: Vec<Place>,
    free_rows: Vec<u32>,
    vectors: Vectors,
    by_chunk: Postings,
    by_document: Postings,
}

#[derive(Debug)]
struct Entry {
    id: DocId,
    metadata: Metadata,
    date: Option<Timestamp>,
    terms: Box<[u32]>,
    /// The rows of its chunks in their order.
    rows: Box<[u32]>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    document: u32,
    ordinal: u32,
}

impl ChunkIndex {
    /// Makes room for so many chunks with vectors of this dimension, so that a large load allocates once.
    pub fn reserve(&mut self, chunks: usize, dimension: usize) {
        self.chunks.reserve(chunks);
        self.vectors.reserve(chunks, dimension);
    }

    /// How many documents it holds.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether it holds no document.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The number of a term, a new one where it has none. Numbers of terms that no document has any more are
    /// given again.
    pub fn number(&mut self, term: &str) -> u32 {
        self.terms.intern(term)
    }

    /// Takes over the number that the store gave to a term. A store gives all numbers or none, dense from 0, and
    /// each to one term for ever; to learn one again changes nothing.
    pub fn learn(&mut self, number: u32, term: &str) {
        self.terms.learn(number, term);
    }

    /// Adds a document, or replaces the one of this id. Its terms must have been numbered or learnt before, and
    /// its vectors must have the dimension of the others, which [`VectorSpace`] checks; a longer one is cut, a
    /// shorter one filled up with zeros.
    pub fn insert(&mut self, document: &IndexedDocument) {
        let terms_before = self.take_out(&document.id);
        let slot = self.free_documents.pop().unwrap_or_else(|| {
            self.documents.push(None);
            self.documents.len() as u32 - 1
        });
        self.by_document.insert(slot, document.terms.iter().copied());
        let rows: Box<[u32]> = (0..document.chunks.len()).map(|_| self.free_row()).collect();
        for (ordinal, (row, chunk)) in (0..).zip(rows.iter().zip(&document.chunks)) {
            if let Some(place) = self.chunks.get_mut(*row as usize) {
                *place = Place { document: slot, ordinal };
            }
            let numbered = |(place, count): &(u32, u32)| {
                let (term, _) = document.terms.get(*place as usize)?;
                Some((*term, *count))
            };
            self.by_chunk.insert(*row, chunk.terms.iter().filter_map(numbered));
            if let Some(vector) = &chunk.vector {
                self.vectors.set(*row, vector);
            }
        }
        self.by_id.insert(document.id.clone(), slot);
        if let Some(entry) = self.documents.get_mut(slot as usize) {
            let (id, metadata) = (document.id.clone(), document.metadata.clone());
            let terms = document.terms.iter().map(|(term, _)| *term).collect();
            *entry = Some(Entry { id, metadata, date: document.date, terms, rows });
        }
        // Only now, so that a term which both versions have keeps its number.
        self.forget_unused(&terms_before.unwrap_or_default());
    }

    /// Removes a document with its chunks; tells whether it was there.
    pub fn remove(&mut self, id: &DocId) -> bool {
        let Some(terms) = self.take_out(id) else { return false };
        self.forget_unused(&terms);
        if self.by_id.is_empty() {
            *self = Self::default();
        }
        true
    }

    /// The nearest chunks. A vector of another dimension than the collection's is `Conflict` with code
    /// `embedder_mismatch`.
    pub fn dense(&self, query: &DenseQuery<'_>) -> Result<Vec<Candidate>> {
        self.check_dimension(query.vector)?;
        let accepted = self.accepted(query.filter);
        let mut top = Top::new(query.limit);
        for (row, vector) in self.vectors.iter() {
            let Some(place) = self.chunks.get(row as usize) else { continue };
            if accepted.holds(place.document) {
                top.offer(vectors::cosine(query.vector, vector), || self.key(*place));
            }
        }
        Ok(top.into_candidates())
    }

    /// The chunks with one of the terms, by BM25.
    pub fn lexical(&self, query: &LexicalQuery<'_>) -> Vec<Candidate> {
        let terms = self.query_terms(query.terms);
        let accepted = self.accepted(query.filter);
        let mut top = Top::new(query.limit);
        match query.level {
            Level::Chunk => self.by_chunk.score(&terms, |row, score| {
                let Some(place) = self.chunks.get(row as usize) else { return };
                if accepted.holds(place.document) {
                    top.offer(score, || self.key(*place));
                }
            }),
            Level::Document => self.by_document.score(&terms, |document, score| {
                let first = Place { document, ordinal: 0 };
                let has_chunks = self.entry(document).is_some_and(|entry| !entry.rows.is_empty());
                if has_chunks && accepted.holds(document) {
                    top.offer(score, || self.key(first));
                }
            }),
        }
        top.into_candidates()
    }

    /// The scores of given chunks, the same that the other two queries give.
    pub fn complete(&self, query: &CompleteQuery<'_>) -> Result<Vec<Scores>> {
        if let Some(vector) = query.vector {
            self.check_dimension(vector)?;
        }
        let terms = self.query_terms(query.terms);
        let scores = |key: &ChunkKey| {
            let Some((document, row)) = self.row(key) else { return Scores::default() };
            let dense = query.vector.zip(self.vectors.get(row));
            let lexical = (!query.terms.is_empty()).then(|| match query.level {
                Level::Chunk => self.by_chunk.score_one(&terms, row),
                Level::Document => self.by_document.score_one(&terms, document),
            });
            Scores { dense: dense.map(|(query, vector)| vectors::cosine(query, vector)), lexical }
        };
        Ok(query.keys.iter().map(scores).collect())
    }

    /// Removes a document but for its terms, which it gives.
    fn take_out(&mut self, id: &DocId) -> Option<Box<[u32]>> {
        let slot = self.by_id.remove(id)?;
        let entry = self.documents.get_mut(slot as usize)?.take()?;
        let mut rows = entry.rows.into_vec();
        rows.sort_unstable();
        self.by_document.remove(&[slot], &entry.terms);
        self.by_chunk.remove(&rows, &entry.terms);
        for row in &rows {
            self.vectors.unset(*row);
        }
        self.free_documents.push(slot);
        // The lowest free row is taken next, so that lists stay sorted with little moving.
        self.free_rows.extend(rows.into_iter().rev());
        Some(entry.terms)
    }

    fn forget_unused(&mut self, terms: &[u32]) {
        for term in terms {
            if self.by_document.containing(*term) == 0 && self.by_chunk.containing(*term) == 0 {
                self.terms.forget(*term);
            }
        }
    }

    fn free_row(&mut self) -> u32 {
        self.free_rows.pop().unwrap_or_else(|| {
            self.chunks.push(Place { document: 0, ordinal: 0 });
            self.chunks.len() as u32 - 1
        })
    }

    fn entry(&self, document: u32) -> Option<&Entry> {
        self.documents.get(document as usize)?.as_ref()
    }

    fn key(&self, place: Place) -> Option<(&DocId, u32)> {
        Some((&self.entry(place.document)?.id, place.ordinal))
    }

    fn row(&self, key: &ChunkKey) -> Option<(u32, u32)> {
        let document = *self.by_id.get(&key.doc)?;
        Some((document, *self.entry(document)?.rows.get(key.ordinal as usize)?))
    }

    /// The terms that the index knows, each once, in the order of the query: sums then never depend on the
    /// order in which terms were met.
    fn query_terms(&self, terms: &[String]) -> Vec<QueryTerm> {
        let mut known: Vec<QueryTerm> = Vec::new();
        for term in terms.iter().filter_map(|term| self.terms.get(term)) {
            match known.iter_mut().find(|known| known.term == term) {
                Some(known) => known.times += 1.0,
                None => known.push(QueryTerm { term, times: 1.0 }),
            }
        }
        known
    }

    fn accepted(&self, filter: Option<&Filter>) -> Accepted {
        let Some(filter) = filter else { return Accepted::All };
        let holds = |entry: &Option<Entry>| {
            entry.as_ref().is_some_and(|entry| filter.matches(&entry.metadata, entry.date))
        };
        Accepted::Some(self.documents.iter().map(holds).collect())
    }

    fn check_dimension(&self, vector: &[f32]) -> Result<()> {
        match self.vectors.dimension() {
            Some(dimension) if dimension != vector.len() => Err(Error::conflict(format!(
                "the collection's vectors have {dimension} dimensions, the query's has {}",
                vector.len()
            ))
            .with_code("embedder_mismatch")),
            _ => Ok(()),
        }
    }
}

/// Which documents pass the filter.
enum Accepted {
    All,
    Some(Vec<bool>),
}

impl Accepted {
    fn holds(&self, document: u32) -> bool {
        match self {
            Self::All => true,
            Self::Some(accepted) => accepted.get(document as usize).copied().unwrap_or(false),
        }
    }
}
