//! A chunk store within the process.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;

use super::chunk_index::{
    ChunkIndex, CountedDocument, IndexSource, IndexedDocument, Terms, VectorPlace, VectorSpace,
};
use crate::chunk::{
    Candidate, Chunk, ChunkKey, ChunkStore, ChunkStoreCapabilities, Collection, CollectionSummary,
    CompleteQuery, DenseQuery, Document, Generation, LexicalQuery, NewDocument, Scores, StoredChunk,
};
use crate::error::{Error, Result};
use crate::id::{DocId, TenantId, WorkId};

/// Keeps collections in memory, each with a [`ChunkIndex`]. Clones share them.
///
/// Queries compute on the calling thread: a few milliseconds where a hundred thousand vectors are
/// compared.
#[derive(Clone, Debug, Default)]
pub struct InProcessChunkStore {
    #[cfg(feature = "approximate")]
    approximate: Option<super::chunk_index::Approximate>,
    // Never held across an await: each call is one step under the lock, which makes it atomic.
    collections: Arc<RwLock<HashMap<Collection, Stored>>>,
}

#[derive(Debug, Default)]
struct Stored {
    generation: Generation,
    space: Option<VectorSpace>,
    documents: BTreeMap<DocId, NewDocument>,
    terms: Terms,
    index: ChunkIndex,
}

impl IndexSource for Stored {
    fn term(&self, term: &str) -> Result<Option<u32>> {
        Ok(self.terms.get(term))
    }

    fn vectors(&self, chunks: &[VectorPlace<'_>], found: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        for (place, chunk) in chunks.iter().enumerate() {
            let document = self.documents.get(chunk.id);
            let chunk = document.and_then(|document| document.chunks.get(chunk.ordinal as usize));
            if let Some(vector) = chunk.and_then(|chunk| chunk.vector.as_ref()) {
                found(place, vector);
            }
        }
        Ok(())
    }
}

impl Stored {
    fn summary(&self, name: &str) -> Option<CollectionSummary> {
        let space = self.space.as_ref().filter(|_| !self.documents.is_empty())?;
        let mut summary = CollectionSummary::new(name, space.embedder.as_str());
        summary.documents = self.documents.len() as u64;
        summary.chunks = self.documents.values().map(|document| document.chunks.len() as u64).sum();
        summary.dimension = space.dimension;
        summary.generation = self.generation;
        Some(summary)
    }
}

/// The error of an exchange that came too late.
fn generation_changed() -> Error {
    Error::conflict("the collection was changed meanwhile").with_code("generation_changed")
}

impl InProcessChunkStore {
    /// Sets when and how a dense query compares not all vectors, for collections that are made from now on.
    #[cfg(feature = "approximate")]
    #[must_use]
    pub fn with_approximate(mut self, approximate: Option<super::chunk_index::Approximate>) -> Self {
        self.approximate = approximate;
        self
    }

    /// Nothing, for a collection that is made.
    fn empty(&self) -> Stored {
        let stored = Stored::default();
        #[cfg(feature = "approximate")]
        let stored = Stored { index: ChunkIndex::default().with_approximate(self.approximate), ..stored };
        stored
    }

    fn read<T>(&self, collection: &Collection, read: impl FnOnce(&Stored) -> T) -> T {
        let collections = self.collections.read().unwrap_or_else(PoisonError::into_inner);
        match collections.get(collection) {
            Some(stored) => read(stored),
            None => read(&Stored::default()),
        }
    }
}

#[async_trait]
impl ChunkStore for InProcessChunkStore {
    fn capabilities(&self) -> ChunkStoreCapabilities {
        ChunkStoreCapabilities::default().with_complete(true).with_exchange(true)
    }

    async fn replace(&self, collection: &Collection, mut document: NewDocument) -> Result<Generation> {
        let counted = CountedDocument::new(&document);
        document.document.chunks = u32::try_from(document.chunks.len()).unwrap_or(u32::MAX);
        let mut collections = self.collections.write().unwrap_or_else(PoisonError::into_inner);
        let current = collections.get(collection).and_then(|stored| stored.space.as_ref());
        let space = VectorSpace::admit(current, &document)?;
        let stored = collections.entry(collection.clone()).or_insert_with(|| self.empty());
        stored.space = Some(space);
        let terms = counted.terms.iter().map(|(term, count)| (stored.terms.number(term), count)).collect();
        stored.generation.0 += 1;
        let number = i64::try_from(stored.generation.0).unwrap_or(i64::MAX);
        stored.index.insert(&IndexedDocument::new(&document.document, number, terms, counted.chunks));
        stored.documents.insert(document.document.id.clone(), document);
        Ok(stored.generation)
    }

    async fn remove(&self, collection: &Collection, ids: &[DocId]) -> Result<Generation> {
        let mut collections = self.collections.write().unwrap_or_else(PoisonError::into_inner);
        let Some(stored) = collections.get_mut(collection) else { return Ok(Generation(0)) };
        let before = stored.documents.len();
        for id in ids {
            stored.documents.remove(id);
            stored.index.remove(id);
        }
        if stored.documents.len() < before {
            stored.generation.0 += 1;
        }
        if stored.documents.is_empty() {
            stored.space = None;
            stored.terms = Terms::default();
        }
        Ok(stored.generation)
    }

    async fn generation(&self, collection: &Collection) -> Result<Generation> {
        Ok(self.read(collection, |stored| stored.generation))
    }

    async fn collections(&self, tenant: &TenantId) -> Result<Vec<CollectionSummary>> {
        let collections = self.collections.read().unwrap_or_else(PoisonError::into_inner);
        let mut summaries: Vec<CollectionSummary> = collections
            .iter()
            .filter(|(collection, _)| collection.tenant == *tenant)
            .filter_map(|(collection, stored)| stored.summary(&collection.name))
            .collect();
        summaries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(summaries)
    }

    async fn exchange(
        &self,
        live: &Collection,
        other: &Collection,
        expected: Generation,
    ) -> Result<Generation> {
        let mut collections = self.collections.write().unwrap_or_else(PoisonError::into_inner);
        let generation = |collection| collections.get(collection).map(|stored: &Stored| stored.generation);
        let present = generation(live).unwrap_or_default();
        if present != expected {
            return Err(generation_changed());
        }
        let next = Generation(present.max(generation(other).unwrap_or_default()).0 + 1);
        let mut first = collections.remove(live).unwrap_or_default();
        let mut second = collections.remove(other).unwrap_or_default();
        (first.generation, second.generation) = (next, next);
        collections.insert(live.clone(), second);
        collections.insert(other.clone(), first);
        Ok(next)
    }

    async fn embedder(&self, collection: &Collection) -> Result<Option<String>> {
        Ok(self.read(collection, |stored| stored.space.as_ref().map(|space| space.embedder.clone())))
    }

    async fn document(&self, collection: &Collection, id: &DocId) -> Result<Option<Document>> {
        Ok(self.read(collection, |stored| stored.documents.get(id).map(|found| found.document.clone())))
    }

    async fn documents(
        &self,
        collection: &Collection,
        after: Option<&DocId>,
        limit: usize,
    ) -> Result<Vec<Document>> {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(self.read(collection, |stored| {
            let page = stored.documents.range::<DocId, _>((begin, Bound::Unbounded)).take(limit);
            page.map(|(_, found)| found.document.clone()).collect()
        }))
    }

    async fn outcomes(&self, collection: &Collection, job: &WorkId) -> Result<Vec<(u32, DocId)>> {
        let mut outcomes: Vec<(u32, DocId)> = self.read(collection, |stored| {
            let of_job = |found: &NewDocument| {
                let (_, place) = found.job.as_ref().filter(|(id, _)| id == job)?;
                Some((*place, found.document.id.clone()))
            };
            stored.documents.values().filter_map(of_job).collect()
        });
        outcomes.sort();
        Ok(outcomes)
    }

    async fn dense(&self, collection: &Collection, query: DenseQuery<'_>) -> Result<Vec<Candidate>> {
        self.read(collection, |stored| stored.index.dense(&query, stored))
    }

    async fn lexical(&self, collection: &Collection, query: LexicalQuery<'_>) -> Result<Vec<Candidate>> {
        self.read(collection, |stored| stored.index.lexical(&query, stored))
    }

    async fn complete(&self, collection: &Collection, query: CompleteQuery<'_>) -> Result<Vec<Scores>> {
        self.read(collection, |stored| stored.index.complete(&query, stored))
    }

    async fn chunks(&self, collection: &Collection, keys: &[ChunkKey]) -> Result<Vec<Option<StoredChunk>>> {
        Ok(self.read(collection, |stored| {
            let stored_chunk = |key: &ChunkKey| {
                let found = stored.documents.get(&key.doc)?;
                let chunk = found.chunks.get(key.ordinal as usize)?;
                Some(StoredChunk::new(&found.document, chunk))
            };
            keys.iter().map(stored_chunk).collect()
        }))
    }

    async fn document_chunks(&self, collection: &Collection, id: &DocId) -> Result<Vec<Chunk>> {
        Ok(self.read(collection, |stored| {
            stored.documents.get(id).map(|found| found.chunks.clone()).unwrap_or_default()
        }))
    }
}
