//! The search index of one collection of chunks: postings for words, vectors for meaning, all in memory.
//!
//! A chunk store keeps one [`ChunkIndex`] per collection beside what it stores, and builds it anew from there, or
//! reads it back as it was saved. The index knows no texts; it gives the same candidates and scores in whatever
//! order documents came and went.

mod blocks;
#[cfg(feature = "approximate")]
mod cells;
mod document;
mod kernels;
mod postings;
mod saved;
mod scan;
mod source;
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

#[cfg(feature = "approximate")]
pub use cells::Approximate;
pub use document::{CountedDocument, IndexedChunk, IndexedDocument, TermCounts};
pub use source::{IndexSource, VectorPlace};
pub use space::VectorSpace;
pub use terms::Terms;
pub use vectors::VectorPrecision;

use postings::{Postings, QueryTerm};
use top::Top;
use vectors::Vectors;

/// Removed chunks or documents are kept in number up to this and half of the living.
const REMOVED_KEPT: usize = 64;

/// Finds chunks of one collection by vector and by words.
///
/// Lexical queries are exact. Dense ones compare every vector in the index's precision and the best of them whole;
/// their scores are exact. A change takes time in the size of the document; now and then it numbers everything anew,
/// which takes time in the size of the collection. A filter adds one test per document at most.
#[derive(Debug)]
pub struct ChunkIndex {
    /// In the order in which they came; nothing in the place of a removed one.
    documents: Vec<Option<Entry>>,
    by_id: HashMap<DocId, u32>,
    /// The document of the chunk in each row. A document's chunks have rows that follow each other.
    chunks: Vec<u32>,
    removed_chunks: usize,
    vectors: Vectors,
    by_chunk: Postings,
    by_document: Postings,
    #[cfg(feature = "approximate")]
    approximate: Option<Approximate>,
    /// Once there are vectors enough.
    #[cfg(feature = "approximate")]
    cells: Option<cells::Cells>,
    /// How many rows there were when cells were looked for last.
    #[cfg(feature = "approximate")]
    looked_at: usize,
}

#[derive(Debug)]
struct Entry {
    id: DocId,
    number: i64,
    metadata: Metadata,
    date: Option<Timestamp>,
    first_row: u32,
    rows: u32,
}

impl Default for ChunkIndex {
    fn default() -> Self {
        Self::new(VectorPrecision::default())
    }
}

impl ChunkIndex {
    /// An empty index that keeps vectors in this precision.
    pub fn new(precision: VectorPrecision) -> Self {
        Self {
            documents: Vec::new(),
            by_id: HashMap::new(),
            chunks: Vec::new(),
            removed_chunks: 0,
            vectors: Vectors::new(precision),
            by_chunk: Postings::default(),
            by_document: Postings::default(),
            #[cfg(feature = "approximate")]
            approximate: None,
            #[cfg(feature = "approximate")]
            cells: None,
            #[cfg(feature = "approximate")]
            looked_at: 0,
        }
    }

    /// Sets when and how a dense query compares not all vectors. Where there are vectors enough, cells are found now: in
    /// seconds for a million.
    ///
    /// What is found then depends on what was there when the cells were found, and so on the order in which documents
    /// came and went. Lexical queries and the scores of what is found are exact all the same.
    #[cfg(feature = "approximate")]
    #[must_use]
    pub fn with_approximate(mut self, approximate: Option<Approximate>) -> Self {
        self.approximate = approximate;
        self.find_cells();
        self
    }

    #[cfg(feature = "approximate")]
    fn find_cells(&mut self) {
        self.looked_at = self.vectors.rows();
        self.cells = self.approximate.and_then(|wanted| cells::Cells::of(&self.vectors, wanted));
    }

    /// Makes room for so many chunks with vectors of this dimension, so that a large load allocates once.
    pub fn reserve(&mut self, chunks: usize, dimension: usize) {
        self.chunks.reserve(chunks);
        self.vectors.reserve(chunks, dimension);
    }

    /// Makes the index as small as it can be, once many documents were added. Takes time in its size.
    pub fn pack(&mut self) {
        self.by_chunk.pack();
        self.by_document.pack();
    }

    /// How many documents it holds.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether it holds no document.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// How many chunks it holds.
    pub fn chunks(&self) -> usize {
        self.chunks.len() - self.removed_chunks
    }

    /// About how many bytes it takes in memory.
    pub fn memory(&self) -> usize {
        // A guess for what a document's metadata takes beside its place.
        const PER_DOCUMENT: usize = 300;
        #[cfg(feature = "approximate")]
        let cells = self.cells.as_ref().map_or(0, cells::Cells::memory);
        #[cfg(not(feature = "approximate"))]
        let cells = 0;
        cells
            + self.vectors.memory()
            + self.by_chunk.memory()
            + self.by_document.memory()
            + 4 * self.chunks.capacity()
            + self.by_id.len() * PER_DOCUMENT
    }

    /// The documents that it holds, with the numbers under which the store knows them.
    pub fn documents(&self) -> impl Iterator<Item = (&DocId, i64)> {
        self.documents.iter().flatten().map(|entry| (&entry.id, entry.number))
    }

    /// Adds a document, or replaces the one of this id. Its vectors must have the dimension of the others, which
    /// [`VectorSpace`] checks; a longer one is cut, a shorter one filled up with zeros.
    pub fn insert(&mut self, document: &IndexedDocument) {
        self.take_out(&document.id);
        let slot = self.documents.len() as u32;
        self.by_document.insert(slot, document.terms.iter().copied());
        let first_row = self.chunks.len() as u32;
        for (row, chunk) in (first_row..).zip(&document.chunks) {
            self.chunks.push(slot);
            let numbered = |(place, count): &(u32, u32)| {
                let (term, _) = document.terms.get(*place as usize)?;
                Some((*term, *count))
            };
            self.by_chunk.insert(row, chunk.terms.iter().filter_map(numbered));
            if let Some(vector) = &chunk.vector {
                self.vectors.set(row, vector);
                #[cfg(feature = "approximate")]
                self.put_in_cell(row, vector);
            }
        }
        self.by_id.insert(document.id.clone(), slot);
        self.documents.push(Some(Entry {
            id: document.id.clone(),
            number: document.number,
            metadata: document.metadata.clone(),
            date: document.date,
            first_row,
            rows: document.chunks.len() as u32,
        }));
        self.tidy();
    }

    /// Removes a document with its chunks; tells whether it was there.
    pub fn remove(&mut self, id: &DocId) -> bool {
        let removed = self.take_out(id);
        if self.by_id.is_empty() {
            #[cfg(feature = "approximate")]
            let approximate = self.approximate;
            *self = Self::new(self.vectors.precision());
            #[cfg(feature = "approximate")]
            {
                self.approximate = approximate;
            }
        }
        self.tidy();
        removed
    }

    /// The nearest chunks. A vector of another dimension than the collection's is `Conflict` with code
    /// `embedder_mismatch`.
    pub fn dense(&self, query: &DenseQuery<'_>, source: &dyn IndexSource) -> Result<Vec<Candidate>> {
        self.check_dimension(query.vector)?;
        let precision = self.vectors.precision();
        let mut nearest = scan::nearest(self, query, precision.rescored(query.limit));
        let mut top = Top::new(query.limit);
        // In the order of the rows, which is about that in which the store has them.
        nearest.sort_unstable_by_key(|ranked| ranked.row);
        let rows: Vec<(u32, f32)> = nearest.iter().map(|ranked| (ranked.row, ranked.score)).collect();
        let cosines = self.cosines(query.vector, &rows, source)?;
        for (ranked, cosine) in nearest.iter().zip(cosines) {
            top.offer(cosine, ranked.row, || Some(ranked.key));
        }
        Ok(top.into_candidates())
    }

    /// The chunks with one of the terms, by BM25.
    pub fn lexical(&self, query: &LexicalQuery<'_>, source: &dyn IndexSource) -> Result<Vec<Candidate>> {
        let terms = query_terms(query.terms, source)?;
        let mut accepted = Accepted::new(self, query.filter);
        let mut top = Top::new(query.limit);
        match query.level {
            Level::Chunk => {
                let accept = |row| self.chunks.get(row as usize).is_some_and(|slot| accepted.holds(*slot));
                for (row, score) in self.by_chunk.best(&terms, query.limit, accept) {
                    top.offer(score, row, || self.key(row));
                }
            }
            Level::Document => {
                let accept =
                    |slot| self.entry(slot).is_some_and(|entry| entry.rows > 0) && accepted.holds(slot);
                for (slot, score) in self.by_document.best(&terms, query.limit, accept) {
                    let entry = self.entry(slot);
                    top.offer(score, slot, || entry.map(|entry| (&entry.id, 0)));
                }
            }
        }
        Ok(top.into_candidates())
    }

    /// The scores of given chunks, the same that the other two queries give.
    pub fn complete(&self, query: &CompleteQuery<'_>, source: &dyn IndexSource) -> Result<Vec<Scores>> {
        if let Some(vector) = query.vector {
            self.check_dimension(vector)?;
        }
        let mut wanted: Vec<(u32, u32, usize)> = Vec::new();
        for (place, key) in query.keys.iter().enumerate() {
            wanted.extend(self.row(key).map(|(slot, row)| (slot, row, place)));
        }
        wanted.sort_unstable();
        let mut scores = vec![Scores::default(); query.keys.len()];
        if !query.terms.is_empty() {
            let terms = query_terms(query.terms, source)?;
            let texts = |level: fn(&(u32, u32, usize)) -> u32| wanted.iter().map(level).collect::<Vec<u32>>();
            let lexical = match query.level {
                Level::Chunk => self.by_chunk.scores(&terms, &texts(|(_, row, _)| *row)),
                Level::Document => self.by_document.scores(&terms, &texts(|(slot, ..)| *slot)),
            };
            for ((.., place), lexical) in wanted.iter().zip(lexical) {
                scores[*place].lexical = Some(lexical);
            }
        }
        if let Some(vector) = query.vector {
            wanted.retain(|(_, row, _)| self.vectors.has(*row));
            let prepared = self.vectors.prepare(vector);
            let mut rows = Vec::new();
            for (_, row, _) in &wanted {
                self.vectors
                    .scan(&prepared, *row as usize, *row as usize + 1, |row, score| rows.push((row, score)));
            }
            for ((.., place), cosine) in wanted.iter().zip(self.cosines(vector, &rows, source)?) {
                scores[*place].dense = Some(cosine);
            }
        }
        Ok(scores)
    }

    /// The cosines of the query and the chunks in these rows: of the whole vectors, or where the store has none any
    /// more, those that are given.
    fn cosines(&self, query: &[f32], rows: &[(u32, f32)], source: &dyn IndexSource) -> Result<Vec<f32>> {
        let whole = |row| self.vectors.whole(row).map(|whole| vectors::cosine(query, whole));
        let mut cosines: Vec<f32> =
            rows.iter().map(|(row, about)| whole(*row).unwrap_or(vectors::within(*about))).collect();
        if self.vectors.precision() != VectorPrecision::F32 {
            let place = |row: u32| {
                let entry = self.entry(*self.chunks.get(row as usize)?)?;
                Some(VectorPlace::new(&entry.id, entry.number, row - entry.first_row))
            };
            let places: Vec<VectorPlace<'_>> = rows.iter().filter_map(|(row, _)| place(*row)).collect();
            source.vectors(&places, &mut |place, vector| {
                if let Some(cosine) = cosines.get_mut(place) {
                    *cosine = vectors::cosine(query, vector);
                }
            })?;
        }
        Ok(cosines)
    }

    /// Finds cells where there were too few vectors until now, or where so many came that others are better.
    #[cfg(feature = "approximate")]
    fn put_in_cell(&mut self, row: u32, vector: &[f32]) {
        let outgrown = match &mut self.cells {
            Some(cells) => cells.insert(row, vector),
            // Some rows may have no vector: what was not enough is looked at again when there is a quarter more.
            None => self.approximate.is_some_and(|wanted| {
                self.vectors.rows() >= wanted.from.max(self.looked_at + self.looked_at / 4 + 1)
            }),
        };
        if outgrown {
            self.find_cells();
        }
    }

    fn take_out(&mut self, id: &DocId) -> bool {
        let Some(slot) = self.by_id.remove(id) else { return false };
        let Some(entry) = self.documents.get_mut(slot as usize).and_then(Option::take) else { return false };
        self.by_document.remove(slot);
        for row in entry.first_row..entry.first_row + entry.rows {
            self.by_chunk.remove(row);
            self.vectors.unset(row);
        }
        self.removed_chunks += entry.rows as usize;
        true
    }

    /// Numbers everything anew once much of it is gone.
    fn tidy(&mut self) {
        let too_many = |removed: usize, all: usize| removed > REMOVED_KEPT + (all - removed) / 2;
        let removed_documents = self.documents.len() - self.by_id.len();
        if !too_many(self.removed_chunks, self.chunks.len())
            && !too_many(removed_documents, self.documents.len())
        {
            return;
        }
        let places = |living: &mut dyn Iterator<Item = bool>| {
            let mut next = 0..;
            living.map(|lives| if lives { next.next() } else { None }).collect::<Vec<Option<u32>>>()
        };
        let slots = places(&mut self.documents.iter().map(Option::is_some));
        let rows = places(&mut self.chunks.iter().map(|slot| self.entry(*slot).is_some()));
        self.by_document.renumber(&slots);
        self.by_chunk.renumber(&rows);
        self.vectors.renumber(&rows);
        #[cfg(feature = "approximate")]
        if let Some(cells) = &mut self.cells {
            cells.renumber(&rows);
        }
        self.documents.retain(Option::is_some);
        self.removed_chunks = 0;
        self.number_rows();
    }

    /// Derives rows and look-ups from the documents, whose chunks follow each other without a hole.
    fn number_rows(&mut self) {
        self.chunks.clear();
        self.by_id.clear();
        for (slot, entry) in (0..).zip(self.documents.iter_mut().flatten()) {
            entry.first_row = self.chunks.len() as u32;
            self.chunks.extend(std::iter::repeat_n(slot, entry.rows as usize));
            self.by_id.insert(entry.id.clone(), slot);
        }
    }

    fn entry(&self, document: u32) -> Option<&Entry> {
        self.documents.get(document as usize)?.as_ref()
    }

    fn key(&self, row: u32) -> Option<(&DocId, u32)> {
        let entry = self.entry(*self.chunks.get(row as usize)?)?;
        Some((&entry.id, row - entry.first_row))
    }

    /// The document and the row of a chunk.
    fn row(&self, key: &ChunkKey) -> Option<(u32, u32)> {
        let document = *self.by_id.get(&key.doc)?;
        let entry = self.entry(document)?;
        (key.ordinal < entry.rows).then(|| (document, entry.first_row + key.ordinal))
    }

    fn check_dimension(&self, vector: &[f32]) -> Result<()> {
        match self.vectors.dimension {
            Some(dimension) if dimension != vector.len() => Err(Error::conflict(format!(
                "the collection's vectors have {dimension} dimensions, the query's has {}",
                vector.len()
            ))
            .with_code("embedder_mismatch")),
            _ => Ok(()),
        }
    }
}

/// The terms that the store knows, each once, in the order of the query: sums then never depend on the order in which
/// terms were met.
fn query_terms(terms: &[String], source: &dyn IndexSource) -> Result<Vec<QueryTerm>> {
    let mut known: Vec<QueryTerm> = Vec::new();
    for term in terms {
        let Some(term) = source.term(term)? else { continue };
        match known.iter_mut().find(|known| known.term == term) {
            Some(known) => known.times += 1.0,
            None => known.push(QueryTerm { term, times: 1.0 }),
        }
    }
    Ok(known)
}

/// Which documents pass the filter: each is tested when it is first asked for.
struct Accepted<'a> {
    index: &'a ChunkIndex,
    filter: Option<&'a Filter>,
    tested: Vec<Option<bool>>,
}

impl<'a> Accepted<'a> {
    fn new(index: &'a ChunkIndex, filter: Option<&'a Filter>) -> Self {
        let tested = if filter.is_some() { index.documents.len() } else { 0 };
        Self { index, filter, tested: vec![None; tested] }
    }

    fn holds(&mut self, document: u32) -> bool {
        let Some(filter) = self.filter else { return true };
        let Some(tested) = self.tested.get_mut(document as usize) else { return false };
        *tested.get_or_insert_with(|| {
            let entry = self.index.entry(document);
            entry.is_some_and(|entry| filter.matches(&entry.metadata, entry.date))
        })
    }
}
