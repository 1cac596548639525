//! A collection's vectors are made anew by the present embedder, beside those that queries use, and take their place in
//! one step.

use operone_core::cache::ContentHash;
use operone_core::chunk::{Chunk, Collection, Document, Level, LexicalQuery, NewDocument};
use operone_core::id::DocId;
use operone_core::{Error, ErrorKind, Result};

use super::Ingestor;
use super::prepare::{document_terms, embedded_text};
use crate::vectors::BATCH;

/// How many documents are looked at or removed at once.
const PAGE: usize = 100;

/// How often it is looked through for what was changed meanwhile.
const PASSES: usize = 100;

/// How far a collection is that is embedded again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReembedProgress {
    /// How many documents have their new vectors.
    pub documents: u64,
    /// How many chunks they have.
    pub chunks: u64,
}

impl Ingestor {
    /// Makes the vectors of a collection anew with the present embedder, from the texts that are stored.
    ///
    /// - Documents, chunks and their ids stay as they are; the sources are not read. Until the end queries and
    ///   removals go on with the earlier vectors; then the new ones take their place in one step.
    /// - A call that was cut off, by a crash also, is made up for by the same call: what was done is not done again.
    ///   One that is cancelled, see [`Ingestor::with_cancellation`], takes back what it did and is `Conflict` with
    ///   code `cancelled`.
    /// - A collection of the present embedder is left as it is. One without documents is `NotFound`; a store that
    ///   cannot exchange collections is `Unsupported`.
    /// - Until the end the collection needs about twice its room.
    pub async fn reembed(
        &self,
        collection: &Collection,
        mut progress: impl FnMut(ReembedProgress) + Send,
    ) -> Result<ReembedProgress> {
        if !self.store.capabilities().exchange {
            let detail =
                "this store cannot exchange collections: ingest the documents again into an empty one";
            return Err(Error::new(ErrorKind::Unsupported, detail).with_code("exchange_unsupported"));
        }
        let beside = Collection { tenant: collection.tenant.clone(), name: format!("~{}", collection.name) };
        let _turn = self.turns.take(&DocId::derive(&beside, "")).await;
        let result = self.unless_cancelled(self.reembed_beside(collection, &beside, &mut progress)).await;
        if result.as_ref().is_err_and(|error| error.code() == "cancelled") {
            self.clear(&beside).await?;
        }
        result
    }

    async fn reembed_beside(
        &self,
        collection: &Collection,
        beside: &Collection,
        progress: &mut (impl FnMut(ReembedProgress) + Send),
    ) -> Result<ReembedProgress> {
        let present = self.vectors.info().id;
        let mut done = ReembedProgress::default();
        for _ in 0..PASSES {
            // What is told before the generation holds for it or for an older one, which the exchange refuses.
            let generation = self.store.generation(collection).await?;
            match self.store.embedder(collection).await? {
                None => {
                    let name = &collection.name;
                    return Err(Error::not_found(format!("there is no collection {name}")));
                }
                Some(stored) if stored == present => {
                    // An earlier call may have ended here.
                    self.clear(beside).await?;
                    return Ok(done);
                }
                Some(_) => {}
            }
            if self.store.embedder(beside).await?.is_some_and(|other| other != present) {
                self.clear(beside).await?;
            }
            done = self.fill(collection, beside, progress).await?;
            self.drop_extra(collection, beside).await?;
            // The first query afterwards finds the index in memory.
            let nothing = LexicalQuery { terms: &[], level: Level::default(), filter: None, limit: 1 };
            self.store.lexical(beside, nothing).await?;
            match self.store.exchange(collection, beside, generation).await {
                Ok(_) => {
                    self.clear(beside).await?;
                    return Ok(done);
                }
                Err(error) if error.code() == "generation_changed" => {}
                Err(error) => return Err(error),
            }
        }
        let detail = "the collection is changed too often to be embedded again; the next try goes on here";
        Err(Error::new(ErrorKind::Unavailable, detail).with_code("generation_changed"))
    }

    /// Puts every document of a collection beside it that is not there as it is.
    async fn fill(
        &self,
        collection: &Collection,
        beside: &Collection,
        progress: &mut (impl FnMut(ReembedProgress) + Send),
    ) -> Result<ReembedProgress> {
        let (mut done, mut after) = (ReembedProgress::default(), None);
        loop {
            let page = self.store.documents(collection, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(done) };
            after = Some(last.id.clone());
            for document in page {
                let there = self.store.document(beside, &document.id).await?;
                let same = |there: &Document| *there == document && !document.manifest.is_empty();
                let count = u64::from(document.chunks);
                if !there.as_ref().is_some_and(same) {
                    self.put_beside(collection, beside, document).await?;
                }
                done.documents += 1;
                done.chunks += count;
                progress(done);
            }
        }
    }

    async fn put_beside(
        &self,
        collection: &Collection,
        beside: &Collection,
        document: Document,
    ) -> Result<()> {
        let mut chunks = self.store.document_chunks(collection, &document.id).await?;
        if chunks.is_empty() && document.chunks > 0 {
            // It was removed meanwhile.
            return Ok(());
        }
        self.meter.found(0, chunks.len());
        for some in chunks.chunks_mut(BATCH) {
            let texts: Vec<String> = some.iter().map(|chunk| text_of(&document, chunk)).collect();
            for ((chunk, text), vector) in some.iter_mut().zip(&texts).zip(self.vectors.of(&texts).await?) {
                (chunk.vector, chunk.hash) = (vector, ContentHash::of(text));
            }
            self.meter.embedded(texts.len());
        }
        let terms = document_terms(&document, &chunks);
        let new = NewDocument::new(document, chunks, terms, self.vectors.info().id);
        self.store.replace(beside, new).await.map(|_| ())
    }

    /// Removes what the collection itself does not have any more.
    async fn drop_extra(&self, collection: &Collection, beside: &Collection) -> Result<()> {
        let mut after = None;
        loop {
            let page = self.store.documents(beside, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id.clone());
            let mut gone = Vec::new();
            for document in page {
                if self.store.document(collection, &document.id).await?.is_none() {
                    gone.push(document.id);
                }
            }
            self.store.remove(beside, &gone).await?;
        }
    }

    /// Removes every document, but none of the kept vectors.
    async fn clear(&self, collection: &Collection) -> Result<()> {
        loop {
            let page = self.store.documents(collection, None, PAGE).await?;
            if page.is_empty() {
                return Ok(());
            }
            let ids: Vec<DocId> = page.into_iter().map(|document| document.id).collect();
            self.store.remove(collection, &ids).await?;
        }
    }
}

/// What is embedded for a stored chunk. One that was made by other rules is embedded by its text alone.
fn text_of(document: &Document, chunk: &Chunk) -> String {
    embedded_text(document, chunk).unwrap_or_else(|| chunk.text.clone())
}
