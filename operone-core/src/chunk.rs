//! The contract of a chunk store: documents in chunks, with candidates by vector and by words.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::cache::ContentHash;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::id::{DocId, TenantId, WorkId};
use crate::metadata::Metadata;

/// Keeps documents in chunks and finds candidates among them. It neither analyses text nor ranks: terms and
/// vectors are given, scores are raw.
#[async_trait]
pub trait ChunkStore: fmt::Debug + Send + Sync + 'static {
    /// What this store can do besides.
    fn capabilities(&self) -> ChunkStoreCapabilities;

    /// Replaces the document of this id with all its chunks, or adds it.
    ///
    /// - Atomic: every read, also after a crash, sees the old version whole or the new one whole.
    /// - Raises the collection's generation.
    /// - The vectors of a collection have one dimension and come from one embedder; another is `Conflict`
    ///   with code `embedder_mismatch` and changes nothing.
    /// - A dropped future may leave either version.
    async fn replace(&self, collection: &Collection, document: NewDocument) -> Result<Generation>;

    /// Removes documents with their chunks; unknown ids are passed over. Raises the generation if any was
    /// removed.
    async fn remove(&self, collection: &Collection, ids: &[DocId]) -> Result<Generation>;

    /// The collection's generation: zero while it is empty and new, higher after each change.
    async fn generation(&self, collection: &Collection) -> Result<Generation>;

    /// The tenant's collections that hold a document, in order of their names.
    async fn collections(&self, tenant: &TenantId) -> Result<Vec<CollectionSummary>>;

    /// Exchanges the documents of two collections of one tenant in one step; both then have the same generation,
    /// above what either had.
    ///
    /// - Every read sees both as before or both as after; ids, texts, words and vectors move as they are.
    /// - If `live` is not at `expected` any more, `Conflict` with code `generation_changed`, and nothing is changed.
    /// - `Unsupported` unless the capabilities say so.
    async fn exchange(
        &self,
        live: &Collection,
        other: &Collection,
        expected: Generation,
    ) -> Result<Generation>;

    /// What the collection was built with; `None` while nothing is stored.
    async fn embedder(&self, collection: &Collection) -> Result<Option<String>>;

    /// The document of this id without its chunks.
    async fn document(&self, collection: &Collection, id: &DocId) -> Result<Option<Document>>;

    /// Documents in order of their ids, from the one after `after`, at most `limit`.
    async fn documents(
        &self,
        collection: &Collection,
        after: Option<&DocId>,
        limit: usize,
    ) -> Result<Vec<Document>>;

    /// The outcomes that documents of this job stored with themselves: how a job that was cut off between
    /// the document and the journal learns what is done.
    async fn outcomes(&self, collection: &Collection, job: &WorkId) -> Result<Vec<(u32, DocId)>>;

    /// The chunks nearest to a vector by cosine, best first, among the documents that pass the filter;
    /// scores in [-1, 1]. Chunks without a vector are never candidates.
    async fn dense(&self, collection: &Collection, query: DenseQuery<'_>) -> Result<Vec<Candidate>>;

    /// The chunks that hold one of the terms, by BM25 of the asked level, best first, among the documents that
    /// pass the filter; scores above zero. Document frequencies are those of the whole collection.
    ///
    /// At [`Level::Document`] each candidate is the first chunk of its document with the document's score.
    async fn lexical(&self, collection: &Collection, query: LexicalQuery<'_>) -> Result<Vec<Candidate>>;

    /// The scores of given chunks, in their order: `None` where the chunk is gone or has no vector; a chunk
    /// without any of the terms has the lexical score zero. `Unsupported` unless the capabilities say so.
    async fn complete(&self, collection: &Collection, query: CompleteQuery<'_>) -> Result<Vec<Scores>>;

    /// The text and place of given chunks, in their order; `None` where the chunk is gone.
    async fn chunks(&self, collection: &Collection, keys: &[ChunkKey]) -> Result<Vec<Option<StoredChunk>>>;

    /// The chunks of one document in order, with their hashes and vectors: what a second ingest compares with.
    async fn document_chunks(&self, collection: &Collection, id: &DocId) -> Result<Vec<Chunk>>;
}

/// What a [`ChunkStore`] can do besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChunkStoreCapabilities {
    /// Gives the missing scores of given chunks: [`ChunkStore::complete`].
    pub complete: bool,
    /// Exchanges two collections: [`ChunkStore::exchange`].
    pub exchange: bool,
}

impl ChunkStoreCapabilities {
    /// Whether missing scores can be asked for.
    #[must_use]
    pub fn with_complete(mut self, complete: bool) -> Self {
        self.complete = complete;
        self
    }

    /// Whether two collections can be exchanged.
    #[must_use]
    pub fn with_exchange(mut self, exchange: bool) -> Self {
        self.exchange = exchange;
        self
    }
}

/// A corpus of one tenant, apart from all others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Collection {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its name; `default` unless something else was asked for.
    pub name: String,
}

impl Collection {
    /// The name of the collection that is used where none is named.
    pub const DEFAULT: &str = "default";

    /// The longest name, in bytes.
    pub const MAX_NAME: usize = 64;

    /// The tenant's default collection.
    pub fn of(tenant: TenantId) -> Self {
        Self { tenant, name: Self::DEFAULT.into() }
    }

    /// A collection of the tenant. A name has 1 to [`Collection::MAX_NAME`] ASCII letters, digits, `-`, `_` or `.`
    /// and begins with a letter or a digit; another one is `Invalid` with code `invalid_collection`.
    pub fn named(tenant: TenantId, name: impl Into<String>) -> Result<Self> {
        let collection = Self { tenant, name: name.into() };
        if collection.is_named() {
            return Ok(collection);
        }
        Err(Error::invalid(format!(
            "a collection's name has 1 to {} letters, digits, '-', '_' or '.', and begins with a letter or a digit",
            Self::MAX_NAME
        ))
        .with_code("invalid_collection"))
    }

    /// Whether the name is one that [`Collection::named`] takes: others are for work in progress.
    pub fn is_named(&self) -> bool {
        let bytes = self.name.as_bytes();
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        bytes.len() <= Self::MAX_NAME
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.iter().all(allowed)
    }
}

/// What a collection holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CollectionSummary {
    /// Its name.
    pub name: String,
    /// How many documents it has.
    pub documents: u64,
    /// How many chunks they have together.
    pub chunks: u64,
    /// The embedder that its vectors come from.
    pub embedder: String,
    /// How many components a vector has; `None` while no chunk has one.
    pub dimension: Option<usize>,
    /// Its generation.
    pub generation: Generation,
}

impl CollectionSummary {
    /// A collection of an embedder, without documents.
    pub fn new(name: impl Into<String>, embedder: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            documents: 0,
            chunks: 0,
            embedder: embedder.into(),
            dimension: None,
            generation: Generation::default(),
        }
    }
}

/// A number that rises with every change of a collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// A document as it is found again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Document {
    /// Derived from tenant, collection and source.
    pub id: DocId,
    /// The source.
    pub uri: String,
    /// The document's title, if it has one.
    pub title: Option<String>,
    /// What it was read from, for instance `application/pdf`.
    pub media_type: String,
    /// What the caller said of it.
    pub metadata: Metadata,
    /// What `date_range` compares with.
    pub date: Option<Timestamp>,
    /// The hash of the source's bytes together with everything that decides about the chunks.
    pub manifest: String,
    /// How many chunks it has.
    pub chunks: u32,
}

impl Document {
    /// A document without title, metadata, date and chunks.
    pub fn new(id: DocId, uri: impl Into<String>, media_type: impl Into<String>) -> Self {
        Self {
            id,
            uri: uri.into(),
            title: None,
            media_type: media_type.into(),
            metadata: Metadata::new(),
            date: None,
            manifest: String::new(),
            chunks: 0,
        }
    }
}

/// A document to store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewDocument {
    /// The document; its count of chunks is set by the store.
    pub document: Document,
    /// Its chunks in order.
    pub chunks: Vec<Chunk>,
    /// The analysed terms of the whole text, repeated as often as they occur.
    pub terms: Vec<String>,
    /// The id of the embedder that made the vectors.
    pub embedder: String,
    /// The job that stores it and its place in that job.
    pub job: Option<(WorkId, u32)>,
}

impl NewDocument {
    /// A document with its chunks.
    pub fn new(
        document: Document,
        chunks: Vec<Chunk>,
        terms: Vec<String>,
        embedder: impl Into<String>,
    ) -> Self {
        Self { document, chunks, terms, embedder: embedder.into(), job: None }
    }

    /// Names the job that stores it and its place in that job.
    #[must_use]
    pub fn with_job(mut self, job: WorkId, index: u32) -> Self {
        self.job = Some((job, index));
        self
    }
}

/// A part of a document.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Chunk {
    /// Its place in the document, from 0. Its id is `c1`, `c2`, …
    pub ordinal: u32,
    /// Its text: exactly the bytes `start..end` of the extracted text.
    pub text: String,
    /// The first byte.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
    /// The page on which it begins.
    pub page: Option<u32>,
    /// The headings above it, the highest first.
    pub heading: Vec<String>,
    /// The hash of what was embedded.
    pub hash: ContentHash,
    /// The analysed terms, repeated as often as they occur.
    pub terms: Vec<String>,
    /// The vector, of length 1; `None` where the embedder found no meaning.
    pub vector: Option<Vec<f32>>,
}

impl Chunk {
    /// A chunk of a text at a place, without page, headings and vector.
    pub fn new(ordinal: u32, start: u64, text: impl Into<String>, terms: Vec<String>) -> Self {
        let text = text.into();
        Self {
            ordinal,
            start,
            end: start + text.len() as u64,
            page: None,
            heading: Vec::new(),
            hash: ContentHash::of(&text),
            terms,
            vector: None,
            text,
        }
    }

    /// Sets the vector.
    #[must_use]
    pub fn with_vector(mut self, vector: Option<Vec<f32>>) -> Self {
        self.vector = vector;
        self
    }
}

/// Names a chunk within a collection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkKey {
    /// The document.
    pub doc: DocId,
    /// The chunk's place in it, from 0.
    pub ordinal: u32,
}

impl ChunkKey {
    /// The chunk's id on the wire: `c1` for the first.
    pub fn chunk_id(&self) -> String {
        format!("c{}", u64::from(self.ordinal) + 1)
    }
}

/// A chunk with a raw score.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The chunk.
    pub key: ChunkKey,
    /// Its score; higher is better.
    pub score: f32,
}

/// Asks for the nearest chunks.
#[derive(Clone, Copy, Debug)]
pub struct DenseQuery<'a> {
    /// A vector of the collection's dimension and of length 1.
    pub vector: &'a [f32],
    /// Which documents may be found.
    pub filter: Option<&'a Filter>,
    /// The most candidates.
    pub limit: usize,
}

/// Asks for the chunks with certain words.
#[derive(Clone, Copy, Debug)]
pub struct LexicalQuery<'a> {
    /// The analysed terms; one that is repeated counts as often.
    pub terms: &'a [String],
    /// What is scored.
    pub level: Level,
    /// Which documents may be found.
    pub filter: Option<&'a Filter>,
    /// The most candidates.
    pub limit: usize,
}

/// What BM25 scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Level {
    /// Each chunk by itself.
    #[default]
    Chunk,
    /// The document as a whole.
    Document,
}

/// Asks for the missing scores of given chunks.
#[derive(Clone, Copy, Debug)]
pub struct CompleteQuery<'a> {
    /// The chunks.
    pub keys: &'a [ChunkKey],
    /// The query's vector, if cosines are wanted.
    pub vector: Option<&'a [f32]>,
    /// The query's terms; empty if BM25 is not wanted.
    pub terms: &'a [String],
    /// What BM25 scores.
    pub level: Level,
}

/// The scores of one chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scores {
    /// The cosine.
    pub dense: Option<f32>,
    /// The BM25 score.
    pub lexical: Option<f32>,
}

/// A chunk as it is shown.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StoredChunk {
    /// Which chunk.
    pub key: ChunkKey,
    /// Its text.
    pub text: String,
    /// Its document's source.
    pub uri: String,
    /// Its document's title.
    pub title: Option<String>,
    /// The first byte in the extracted text.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
    /// The page on which it begins.
    pub page: Option<u32>,
    /// The headings above it, the highest first.
    pub heading: Vec<String>,
}

impl StoredChunk {
    /// The shown part of a chunk of `document`.
    pub fn new(document: &Document, chunk: &Chunk) -> Self {
        Self {
            key: ChunkKey { doc: document.id.clone(), ordinal: chunk.ordinal },
            text: chunk.text.clone(),
            uri: document.uri.clone(),
            title: document.title.clone(),
            start: chunk.start,
            end: chunk.end,
            page: chunk.page,
            heading: chunk.heading.clone(),
        }
    }
}
