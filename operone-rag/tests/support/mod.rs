//! What the tests of this crate share: a source in memory, an embedder that counts, a store that can fail.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use operone_core::chunk::{
    Candidate, Chunk, ChunkKey, ChunkStore, ChunkStoreCapabilities, Collection, CollectionSummary,
    CompleteQuery, DenseQuery, Document, Generation, LexicalQuery, NewDocument, Scores, StoredChunk,
};
use operone_core::clock::{Period, Timestamp};
use operone_core::embed::{Embedder, EmbedderInfo, Tokenizer};
use operone_core::id::{DocId, TenantId, WorkId};
use operone_core::in_process::{HashingEmbedder, InProcessChunkStore, InProcessEmbeddingCache};
use operone_core::source::{Fetched, Parsed, Parser, Source};
use operone_core::{Error, ErrorKind, Result};
use operone_rag::ingest::Ingestor;
use operone_rag::parse::DocumentParser;
use operone_rag::{HybridConfig, HybridRetriever};

pub(crate) fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "out for lunch")
}

/// Lets a number of calls fail.
#[derive(Debug, Default)]
pub(crate) struct Faults(AtomicUsize);

impl Faults {
    pub(crate) fn set(&self, count: usize) {
        self.0.store(count, Ordering::SeqCst);
    }

    fn check(&self) -> Result<()> {
        let one_less = |left: usize| left.checked_sub(1);
        match self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
            Ok(_) => Err(unavailable()),
            Err(_) => Ok(()),
        }
    }
}

/// Documents by name: `mem:a.md`, also spelt `MEM:a.md`.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    pub(crate) documents: Mutex<HashMap<String, Vec<u8>>>,
    pub(crate) faults: Faults,
}

impl Shelf {
    pub(crate) fn put(&self, name: &str, text: impl Into<Vec<u8>>) {
        self.documents.lock().unwrap().insert(format!("mem:{name}"), text.into());
    }
}

#[async_trait]
impl Source for Shelf {
    fn schemes(&self) -> &[&str] {
        &["mem"]
    }

    fn normalize(&self, uri: &str) -> Result<String> {
        Ok(format!("mem:{}", &uri[4..]))
    }

    async fn fetch(&self, uri: &str) -> Result<Fetched> {
        self.faults.check()?;
        let documents = self.documents.lock().unwrap();
        let bytes = documents.get(uri).ok_or_else(|| Error::not_found("there is no such document"))?;
        Ok(Fetched::new(&uri[4..], bytes.clone()).with_modified(Some(day("2020-02-02"))))
    }
}

pub(crate) fn day(date: &str) -> Timestamp {
    Period::parse(date).unwrap().first
}

/// Takes the bytes as text without a thread of its own, which a clock that stands still would not wait for.
#[derive(Debug)]
pub(crate) struct Plain;

#[async_trait]
impl Parser for Plain {
    async fn parse(&self, document: Fetched) -> Result<Parsed> {
        Ok(Parsed::new("text/plain", String::from_utf8_lossy(&document.bytes)))
    }
}

/// Counts the texts it embeds.
#[derive(Debug)]
pub(crate) struct Counting {
    inner: HashingEmbedder,
    pub(crate) id: String,
    pub(crate) window: usize,
    pub(crate) texts: Mutex<Vec<String>>,
    pub(crate) faults: Faults,
    /// After so many calls none is answered any more.
    pub(crate) calls: AtomicUsize,
}

impl Counting {
    pub(crate) fn new(id: &str) -> Self {
        Self::of_dimension(id, 256)
    }

    /// Vectors of another dimension cannot be compared with those of others unnoticed.
    pub(crate) fn of_dimension(id: &str, dimension: usize) -> Self {
        let inner = HashingEmbedder::new(dimension);
        Self {
            inner,
            id: id.into(),
            window: 8192,
            texts: Mutex::default(),
            faults: Faults::default(),
            calls: AtomicUsize::new(usize::MAX),
        }
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.texts.lock().unwrap())
    }
}

#[async_trait]
impl Embedder for Counting {
    fn info(&self) -> EmbedderInfo {
        EmbedderInfo::new(self.id.as_str(), self.inner.info().dimension, self.window)
    }

    fn tokenizer(&self) -> Arc<dyn Tokenizer> {
        self.inner.tokenizer()
    }

    async fn embed(&self, texts: &[String]) -> Result<Vec<Option<Vec<f32>>>> {
        self.faults.check()?;
        assert!(texts.len() <= 64);
        let one_less = |left: usize| left.checked_sub(1);
        if self.calls.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_err() {
            std::future::pending::<()>().await;
        }
        self.texts.lock().unwrap().extend(texts.iter().cloned());
        self.inner.embed(texts).await
    }
}

/// A store that counts queries, can fail, and need not complete scores.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) inner: InProcessChunkStore,
    pub(crate) completes: bool,
    pub(crate) queries: AtomicUsize,
    pub(crate) faults: Faults,
}

#[async_trait]
impl ChunkStore for Observed {
    fn capabilities(&self) -> ChunkStoreCapabilities {
        self.inner.capabilities().with_complete(self.completes)
    }

    async fn replace(&self, collection: &Collection, document: NewDocument) -> Result<Generation> {
        self.faults.check()?;
        self.inner.replace(collection, document).await
    }

    async fn remove(&self, collection: &Collection, ids: &[DocId]) -> Result<Generation> {
        self.inner.remove(collection, ids).await
    }

    async fn generation(&self, collection: &Collection) -> Result<Generation> {
        self.inner.generation(collection).await
    }

    async fn collections(&self, tenant: &TenantId) -> Result<Vec<CollectionSummary>> {
        self.inner.collections(tenant).await
    }

    async fn exchange(
        &self,
        live: &Collection,
        other: &Collection,
        expected: Generation,
    ) -> Result<Generation> {
        self.inner.exchange(live, other, expected).await
    }

    async fn embedder(&self, collection: &Collection) -> Result<Option<String>> {
        self.inner.embedder(collection).await
    }

    async fn document(&self, collection: &Collection, id: &DocId) -> Result<Option<Document>> {
        self.inner.document(collection, id).await
    }

    async fn documents(
        &self,
        collection: &Collection,
        after: Option<&DocId>,
        limit: usize,
    ) -> Result<Vec<Document>> {
        self.inner.documents(collection, after, limit).await
    }

    async fn outcomes(&self, collection: &Collection, job: &WorkId) -> Result<Vec<(u32, DocId)>> {
        self.inner.outcomes(collection, job).await
    }

    async fn dense(&self, collection: &Collection, query: DenseQuery<'_>) -> Result<Vec<Candidate>> {
        self.queries.fetch_add(1, Ordering::SeqCst);
        self.inner.dense(collection, query).await
    }

    async fn lexical(&self, collection: &Collection, query: LexicalQuery<'_>) -> Result<Vec<Candidate>> {
        self.queries.fetch_add(1, Ordering::SeqCst);
        self.inner.lexical(collection, query).await
    }

    async fn complete(&self, collection: &Collection, query: CompleteQuery<'_>) -> Result<Vec<Scores>> {
        assert!(self.completes, "asked for what the capabilities do not promise");
        self.inner.complete(collection, query).await
    }

    async fn chunks(&self, collection: &Collection, keys: &[ChunkKey]) -> Result<Vec<Option<StoredChunk>>> {
        self.inner.chunks(collection, keys).await
    }

    async fn document_chunks(&self, collection: &Collection, id: &DocId) -> Result<Vec<Chunk>> {
        self.inner.document_chunks(collection, id).await
    }
}

/// Everything that a test needs, all in this process.
pub(crate) struct World {
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) embedder: Arc<Counting>,
    pub(crate) store: Arc<Observed>,
    pub(crate) cache: InProcessEmbeddingCache,
    pub(crate) collection: Collection,
    pub(crate) ingestor: Ingestor,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Counting::new("counting-1"), true)
    }

    pub(crate) fn with(embedder: Counting, completes: bool) -> Self {
        Self::parsing_with(Arc::new(DocumentParser::default()), embedder, completes)
    }

    pub(crate) fn parsing_with(parser: Arc<dyn Parser>, embedder: Counting, completes: bool) -> Self {
        let (shelf, embedder) = (Arc::new(Shelf::default()), Arc::new(embedder));
        let store = Arc::new(Observed {
            inner: InProcessChunkStore::default(),
            completes,
            queries: AtomicUsize::new(0),
            faults: Faults::default(),
        });
        let cache = InProcessEmbeddingCache::default();
        let ingestor = Ingestor::new(store.clone(), embedder.clone(), Arc::new(cache.clone()), parser)
            .with_source(shelf.clone());
        Self { shelf, embedder, store, cache, collection: Collection::of(TenantId::local()), ingestor }
    }

    pub(crate) fn retriever(&self, config: HybridConfig) -> HybridRetriever {
        HybridRetriever::with_config(
            self.store.clone(),
            self.embedder.clone(),
            Arc::new(self.cache.clone()),
            config,
        )
    }

    /// Stores a document of this name and text.
    pub(crate) async fn ingest(&self, name: &str, text: &str) -> DocId {
        use operone_rag::ingest::DocumentRequest;
        self.shelf.put(name, text);
        let request = DocumentRequest::new(format!("mem:{name}"));
        let options = self.ingestor.default_options();
        let outcome =
            self.ingestor.ingest_document(&self.collection, &request, &options, None).await.unwrap();
        assert_eq!(outcome.error, None);
        outcome.doc_id.unwrap()
    }
}
