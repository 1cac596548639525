//! Vectors of texts: from the cache where it has them, from the embedder else.

use std::ops::Range;
use std::sync::Arc;

use operone_core::cache::{ContentHash, EmbeddingCache};
use operone_core::embed::{Embedder, EmbedderInfo, Tokenizer};
use operone_core::text::normalize;
use operone_core::{Error, Result};

/// How many texts are embedded in one call.
pub(crate) const BATCH: usize = 64;

/// An embedder behind a cache. A text longer than the embedder's window is embedded in windows whose vectors are
/// averaged, so that nothing is cut off silently.
#[derive(Clone, Debug)]
pub(crate) struct Vectors {
    embedder: Arc<dyn Embedder>,
    cache: Arc<dyn EmbeddingCache>,
}

impl Vectors {
    pub(crate) fn new(embedder: Arc<dyn Embedder>, cache: Arc<dyn EmbeddingCache>) -> Self {
        Self { embedder, cache }
    }

    pub(crate) fn info(&self) -> EmbedderInfo {
        self.embedder.info()
    }

    /// Forgets the kept vectors of these texts.
    pub(crate) async fn forget(&self, hashes: &[ContentHash]) -> Result<()> {
        self.cache.remove(hashes).await
    }

    pub(crate) fn tokenizer(&self) -> Arc<dyn Tokenizer> {
        self.embedder.tokenizer()
    }

    /// One entry per text, in order. A cache that fails is passed by.
    pub(crate) async fn of(&self, texts: &[String]) -> Result<Vec<Option<Vec<f32>>>> {
        let id = self.info().id;
        let mut vectors = Vec::with_capacity(texts.len());
        for batch in texts.chunks(BATCH) {
            let hashes: Vec<ContentHash> = batch.iter().map(ContentHash::of).collect();
            let mut found = self.cache.get_many(&id, &hashes).await.unwrap_or_else(|error| {
                tracing::warn!(%error, code = error.code(), "the embedding cache cannot be read");
                Vec::new()
            });
            found.resize(batch.len(), None);
            let missing: Vec<String> = batch
                .iter()
                .zip(&found)
                .filter(|(_, found)| found.is_none())
                .map(|(text, _)| text.clone())
                .collect();
            if !missing.is_empty() {
                let mut embedded = self.uncached(&missing).await?.into_iter();
                let mut new = Vec::new();
                for (slot, hash) in found.iter_mut().zip(hashes).filter(|(slot, _)| slot.is_none()) {
                    *slot = embedded.next().flatten();
                    new.extend(slot.clone().map(|vector| (hash, vector)));
                }
                if let Err(error) = self.cache.put_many(&id, &new).await {
                    tracing::warn!(%error, code = error.code(), "the embedding cache cannot be written");
                }
            }
            vectors.append(&mut found);
        }
        Ok(vectors)
    }

    /// One entry per text, in order, all from the embedder.
    pub(crate) async fn uncached(&self, texts: &[String]) -> Result<Vec<Option<Vec<f32>>>> {
        let info = self.info();
        let tokenizer = self.tokenizer();
        let windows: Vec<Vec<String>> =
            texts.iter().map(|text| windows(text, tokenizer.as_ref(), info.window)).collect();
        let flat: Vec<String> = windows.iter().flatten().cloned().collect();
        let mut embedded = Vec::with_capacity(flat.len());
        for batch in flat.chunks(BATCH) {
            let vectors = self.embedder.embed(batch).await?;
            if vectors.len() != batch.len()
                || vectors.iter().flatten().any(|vector| vector.len() != info.dimension)
            {
                return Err(Error::internal(format!(
                    "the embedder {} gave vectors of another number or dimension than it promised",
                    info.id
                ))
                .with_code("embedder_broken"));
            }
            embedded.extend(vectors);
        }
        let mut embedded = embedded.into_iter();
        Ok(windows.iter().map(|windows| average(embedded.by_ref().take(windows.len()))).collect())
    }
}

fn windows(text: &str, tokenizer: &dyn Tokenizer, window: usize) -> Vec<String> {
    let window = window.max(1);
    // No token is shorter than a byte.
    if text.len() <= window {
        return vec![text.to_owned()];
    }
    let tokens = tokenizer.spans(text);
    if tokens.len() <= window {
        return vec![text.to_owned()];
    }
    let part = |tokens: &[Range<usize>]| match (tokens.first(), tokens.last()) {
        (Some(first), Some(last)) => text.get(first.start..last.end).unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    tokens.chunks(window).map(part).collect()
}

fn average(vectors: impl Iterator<Item = Option<Vec<f32>>>) -> Option<Vec<f32>> {
    let sum = vectors.flatten().reduce(|mut sum, vector| {
        sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += x);
        sum
    })?;
    normalize(sum)
}
