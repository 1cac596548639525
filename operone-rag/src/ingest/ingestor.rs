//! One document from its source into a chunk store.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use operone_core::cache::{ContentHash, EmbeddingCache};
use operone_core::chunk::{Chunk, ChunkStore, Collection, Document, NewDocument};
use operone_core::clock::{Period, Timestamp};
use operone_core::embed::Embedder;
use operone_core::id::{DocId, WorkId};
use operone_core::metadata::{Metadata, MetadataValue};
use operone_core::source::{Fetched, Parser, Source};
use operone_core::{Error, Result};
use tokio_util::sync::CancellationToken;

use super::manifest::{Rules, manifest};
use super::meter::{IngestMeter, Stage};
use super::prepare::{Prepared, prepare};
use super::turns::{Turn, Turns};
use super::{DocumentOutcome, DocumentRequest, DocumentStatus};
use crate::chunk::ChunkOptions;
use crate::parse::DocumentParser;
use crate::vectors::{BATCH, Vectors};

/// Takes documents into collections. Clones share everything.
#[derive(Clone, Debug)]
pub struct Ingestor {
    pub(super) store: Arc<dyn ChunkStore>,
    pub(super) vectors: Vectors,
    pub(super) turns: Arc<Turns>,
    pub(super) meter: Arc<IngestMeter>,
    cancelled: CancellationToken,
    parser: Arc<dyn Parser>,
    parser_id: String,
    sources: BTreeMap<String, Arc<dyn Source>>,
}

impl Ingestor {
    /// An ingestor without sources.
    pub fn new(
        store: Arc<dyn ChunkStore>,
        embedder: Arc<dyn Embedder>,
        cache: Arc<dyn EmbeddingCache>,
        parser: Arc<dyn Parser>,
    ) -> Self {
        Self {
            store,
            vectors: Vectors::new(embedder, cache),
            turns: Arc::default(),
            meter: Arc::default(),
            cancelled: CancellationToken::new(),
            parser,
            parser_id: DocumentParser::ID.into(),
            sources: BTreeMap::new(),
        }
    }

    /// Reads the schemes of `source` with it; an earlier source of a scheme is replaced.
    #[must_use]
    pub fn with_source(mut self, source: Arc<dyn Source>) -> Self {
        for scheme in source.schemes() {
            self.sources.insert(scheme.to_ascii_lowercase(), Arc::clone(&source));
        }
        self
    }

    /// Names the rules by which the parser reads text, [`DocumentParser::ID`] by default. Documents that were read
    /// by other rules are read again at their next ingest.
    #[must_use]
    pub fn with_parser_id(mut self, id: impl Into<String>) -> Self {
        self.parser_id = id.into();
        self
    }

    /// Counts what is got through with `meter`, of which other clones know nothing.
    #[must_use]
    pub fn with_meter(mut self, meter: Arc<IngestMeter>) -> Self {
        self.meter = meter;
        self
    }

    /// Gives documents up when `cancelled` ends, unless they are being stored already: their outcome is a failure with
    /// code `cancelled`.
    #[must_use]
    pub fn with_cancellation(mut self, cancelled: CancellationToken) -> Self {
        self.cancelled = cancelled;
        self
    }

    /// The options for a request that names none: what suits the embedder.
    pub fn default_options(&self) -> ChunkOptions {
        ChunkOptions::for_window(self.vectors.info().window)
    }

    /// Fetches a document and stores it unless it is stored already.
    ///
    /// - A document that cannot be taken in is an outcome, not an error; its earlier version stays. Codes are those
    ///   of [`Source::fetch`] and [`Parser::parse`], besides `unsupported_scheme`, `invalid_date`,
    ///   `embedder_mismatch`, and `too_large` for more than 100,000 chunks.
    /// - The error of this function is a store that does not answer: the same call may succeed later.
    /// - What is compared with the stored version is a hash of the bytes, the metadata, the options and the rules.
    ///   Of a changed document only chunks whose text changed are embedded.
    /// - `job` is stored with the document, so that a job that was cut off learns what is done.
    /// - A dropped future may leave either version, never a mixture. What was embedded is kept, so that the same call
    ///   again goes on there. Two calls for one document at once come one after the other; the last one stays.
    pub async fn ingest_document(
        &self,
        collection: &Collection,
        request: &DocumentRequest,
        options: &ChunkOptions,
        job: Option<(WorkId, u32)>,
    ) -> Result<DocumentOutcome> {
        let _turn = self.turn(collection, &request.source).await;
        self.ingest_in_turn(collection, request, options, job).await
    }

    /// Keeps others off the document of a source; `None` where the source is none that can be read.
    pub(super) async fn turn(&self, collection: &Collection, source: &str) -> Option<Turn> {
        let (_, uri) = self.source(source).ok()?;
        Some(self.turns.take(&DocId::derive(collection, &uri)).await)
    }

    /// As [`Ingestor::ingest_document`], for who has the turn.
    pub(super) async fn ingest_in_turn(
        &self,
        collection: &Collection,
        request: &DocumentRequest,
        options: &ChunkOptions,
        job: Option<(WorkId, u32)>,
    ) -> Result<DocumentOutcome> {
        let (source, uri) = match self.source(&request.source) {
            Ok(found) => found,
            Err(error) => return Ok(DocumentOutcome::failed(&request.source, None, error.report())),
        };
        let id = DocId::derive(collection, &uri);
        let fetched = self.unless_cancelled(self.meter.time(Stage::Fetch, source.fetch(&uri))).await;
        let fetched = match fetched {
            Ok(fetched) => fetched,
            Err(error) => return Ok(DocumentOutcome::failed(&request.source, Some(id), error.report())),
        };
        let new = Incoming { uri: &uri, fetched, metadata: &request.metadata, options, job };
        let outcome = self.store_fetched(collection, &id, new).await?;
        Ok(DocumentOutcome { source: request.source.clone(), ..outcome })
    }

    /// Stores a document whose bytes are there already, under a URI that is taken as it is; else like
    /// [`Ingestor::ingest_document`].
    pub async fn ingest_fetched(
        &self,
        collection: &Collection,
        uri: &str,
        fetched: Fetched,
        metadata: &Metadata,
        options: &ChunkOptions,
        job: Option<(WorkId, u32)>,
    ) -> Result<DocumentOutcome> {
        let id = DocId::derive(collection, uri);
        let _turn = self.turns.take(&id).await;
        self.store_fetched(collection, &id, Incoming { uri, fetched, metadata, options, job }).await
    }

    async fn store_fetched(
        &self,
        collection: &Collection,
        id: &DocId,
        new: Incoming<'_>,
    ) -> Result<DocumentOutcome> {
        let uri = new.uri;
        match self.take_in(collection, id, new).await {
            Ok(outcome) => Ok(outcome),
            Err(Failure::Store(error)) if error.is_retryable() => Err(error),
            Err(Failure::Store(error) | Failure::Document(error)) => {
                Ok(DocumentOutcome::failed(uri, Some(id.clone()), error.report()))
            }
        }
    }

    /// What a job that was cut off had stored, by the place in the job.
    pub(super) async fn stored_by(
        &self,
        collection: &Collection,
        job: &WorkId,
    ) -> Result<BTreeMap<u32, (DocId, u32)>> {
        let mut stored = BTreeMap::new();
        for (index, id) in self.store.outcomes(collection, job).await? {
            if let Some(document) = self.store.document(collection, &id).await? {
                stored.insert(index, (id, document.chunks));
            }
        }
        Ok(stored)
    }

    pub(super) fn source(&self, uri: &str) -> Result<(&Arc<dyn Source>, String)> {
        let scheme = uri.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase()).unwrap_or_default();
        let source = self.sources.get(&scheme).ok_or_else(|| {
            let known: Vec<String> = self.sources.keys().map(|scheme| format!("{scheme}://")).collect();
            Error::invalid(format!("'{uri}' is no source that can be read; known are: {}", known.join(", ")))
                .with_code("unsupported_scheme")
        })?;
        Ok((source, source.normalize(uri)?))
    }

    async fn take_in(
        &self,
        collection: &Collection,
        id: &DocId,
        new: Incoming<'_>,
    ) -> Result<DocumentOutcome, Failure> {
        let Incoming { uri, fetched, metadata, options, job } = new;
        let own_date = date_of(metadata)?;
        let embedder = self.vectors.info().id;
        if let Some(other) = self.store.embedder(collection).await.map_err(Failure::Store)?
            && other != embedder
        {
            return Err(embedder_mismatch(collection, &other, &embedder).into());
        }
        self.meter.read(fetched.bytes.len());
        let rules = Rules { parser: &self.parser_id, tokenizer: &self.vectors.tokenizer().id() };
        let manifest = manifest(&fetched, metadata, options, rules)?;
        let existing = self.store.document(collection, id).await.map_err(Failure::Store)?;
        if let Some(same) = existing.as_ref().filter(|existing| existing.manifest == manifest) {
            return Ok(DocumentOutcome::stored(uri, DocumentStatus::Unchanged, id.clone(), same.chunks));
        }
        let modified = fetched.modified;
        let parsed = self.unless_cancelled(self.meter.time(Stage::Parse, self.parser.parse(fetched))).await?;
        let mut document = Document::new(id.clone(), uri, parsed.media_type.as_str());
        document.title.clone_from(&parsed.title);
        document.metadata = metadata.clone();
        document.date = own_date.or(parsed.date).or(modified);
        document.manifest = manifest;
        let text_bytes = parsed.text.len();
        let cut = prepare(parsed, self.vectors.tokenizer(), *options);
        let mut prepared = self.unless_cancelled(self.meter.time(Stage::Chunk, cut)).await?;
        self.meter.found(text_bytes, prepared.chunks.len());
        let known = match &existing {
            Some(_) => self.store.document_chunks(collection, id).await.map_err(Failure::Store)?,
            None => Vec::new(),
        };
        let stale = gone(&known, &prepared.chunks);
        let embed = self.meter.time(Stage::Embed, self.embed(&mut prepared, known));
        self.unless_cancelled(embed).await?;
        let count = prepared.chunks.len();
        let mut new = NewDocument::new(document, prepared.chunks, prepared.terms, embedder);
        if let Some((job, index)) = job {
            new = new.with_job(job, index);
        }
        let replaced = self.meter.time(Stage::Write, self.store.replace(collection, new)).await;
        replaced.map_err(Failure::Store)?;
        self.meter.written(count);
        if let Err(error) = self.vectors.forget(&stale).await {
            tracing::warn!(%error, document = %id, "vectors of text that is gone are still kept");
        }
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let status = if existing.is_some() { DocumentStatus::Updated } else { DocumentStatus::Indexed };
        Ok(DocumentOutcome::stored(uri, status, id.clone(), count))
    }

    /// Gives each chunk its vector; those that the earlier version has are taken from it.
    async fn embed(&self, prepared: &mut Prepared, known: Vec<Chunk>) -> Result<()> {
        let mut vectors: HashMap<ContentHash, Option<Vec<f32>>> =
            known.into_iter().map(|chunk| (chunk.hash, chunk.vector)).collect();
        let mut asked = HashSet::new();
        let (hashes, texts): (Vec<ContentHash>, Vec<String>) = prepared
            .chunks
            .iter()
            .zip(&prepared.texts)
            .filter(|(chunk, _)| !vectors.contains_key(&chunk.hash) && asked.insert(chunk.hash))
            .map(|(chunk, text)| (chunk.hash, text.clone()))
            .unzip();
        self.meter.embedded(prepared.chunks.len() - texts.len());
        for (hashes, texts) in hashes.chunks(BATCH).zip(texts.chunks(BATCH)) {
            vectors.extend(hashes.iter().copied().zip(self.vectors.of(texts).await?));
            self.meter.embedded(texts.len());
        }
        for chunk in &mut prepared.chunks {
            chunk.vector = vectors.get(&chunk.hash).cloned().flatten();
        }
        Ok(())
    }

    pub(super) async fn unless_cancelled<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.cancelled.cancelled() => {
                Err(Error::conflict("the end of the job was asked for").with_code("cancelled"))
            }
            done = work => done,
        }
    }
}

/// The error of a collection that was built with another embedder.
pub(crate) fn embedder_mismatch(collection: &Collection, stored: &str, present: &str) -> Error {
    let name = &collection.name;
    Error::conflict(format!(
        "the collection '{name}' was built with the embedder {stored}, and the present one is {present}, whose \
         vectors cannot be compared: embed it again (POST /rag/reembed, or operone-server reembed --collection {name}), \
         or go back to {stored}; until then it is searched by words alone"
    ))
    .with_code("embedder_mismatch")
}

/// A document that is to be taken in.
struct Incoming<'a> {
    uri: &'a str,
    fetched: Fetched,
    metadata: &'a Metadata,
    options: &'a ChunkOptions,
    job: Option<(WorkId, u32)>,
}

/// The hashes that only the earlier version has.
fn gone(known: &[Chunk], present: &[Chunk]) -> Vec<ContentHash> {
    let present: HashSet<ContentHash> = present.iter().map(|chunk| chunk.hash).collect();
    known.iter().map(|chunk| chunk.hash).filter(|hash| !present.contains(hash)).collect()
}

/// Why a document was not stored.
enum Failure {
    /// Because of the document, its source, its parser or the embedder.
    Document(Error),
    /// Because of the store.
    Store(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Document(error)
    }
}

fn date_of(metadata: &Metadata) -> Result<Option<Timestamp>> {
    match metadata.get("date") {
        None => Ok(None),
        Some(MetadataValue::Text(date)) => Ok(Some(Period::parse(date)?.first)),
        Some(_) => Err(Error::invalid("the metadata's date must be a string with an ISO 8601 date or time")
            .with_code("invalid_date")),
    }
}
