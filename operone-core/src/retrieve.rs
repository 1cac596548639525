//! The contracts of a retriever, which turns a query into ranked hits with citations, and of a reranker within it.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::chunk::{Collection, StoredChunk};
use crate::error::{ErrorReport, Result};
use crate::filter::Filter;

/// Finds passages.
#[async_trait]
pub trait Retriever: fmt::Debug + Send + Sync + 'static {
    /// The best passages for a query, best first; none found is an empty list, not an error.
    ///
    /// - Filters apply before the cut to `top_k`.
    /// - The same query on the same generation gives the same hits in the same order.
    async fn retrieve(&self, query: RetrieveQuery) -> Result<Vec<Hit>>;

    /// The same hits, and what could not be asked for them. A retriever that always asks everything need not
    /// implement it.
    async fn answer(&self, query: RetrieveQuery) -> Result<Retrieved> {
        Ok(Retrieved::new(self.retrieve(query).await?))
    }
}

/// Hits, and why they may be worse than they could be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Retrieved {
    /// The hits, best first.
    pub hits: Vec<Hit>,
    /// Why a side was not asked that should have been: code and detail of what was wrong.
    pub degraded: Option<ErrorReport>,
}

impl Retrieved {
    /// Hits for which everything was asked.
    pub fn new(hits: Vec<Hit>) -> Self {
        Self { hits, degraded: None }
    }

    /// Says why a side was not asked.
    #[must_use]
    pub fn with_degraded(mut self, degraded: Option<ErrorReport>) -> Self {
        self.degraded = degraded;
        self
    }
}

/// What to look for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RetrieveQuery {
    /// Where to look.
    pub collection: Collection,
    /// The query in words.
    pub text: String,
    /// The most hits; 1 to [`RetrieveQuery::MAX_TOP_K`].
    pub top_k: usize,
    /// Which documents may be found.
    pub filter: Option<Filter>,
    /// Passes every cache by.
    pub fresh: bool,
    /// How hits are found, ordered and shown.
    pub options: RetrieveOptions,
}

impl RetrieveQuery {
    /// The most hits one query may ask for.
    pub const MAX_TOP_K: usize = 1000;

    /// Looks for `text` and wants five hits.
    pub fn new(collection: Collection, text: impl Into<String>) -> Self {
        Self {
            collection,
            text: text.into(),
            top_k: 5,
            filter: None,
            fresh: false,
            options: RetrieveOptions::default(),
        }
    }

    /// Wants at most `top_k` hits.
    #[must_use]
    pub fn with_top_k(mut self, top_k: usize) -> Self {
        self.top_k = top_k;
        self
    }

    /// Looks only at documents that pass `filter`.
    #[must_use]
    pub fn with_filter(mut self, filter: Option<Filter>) -> Self {
        self.filter = filter;
        self
    }

    /// Passes every cache by.
    #[must_use]
    pub fn with_fresh(mut self, fresh: bool) -> Self {
        self.fresh = fresh;
        self
    }

    /// Sets how hits are found, ordered and shown.
    #[must_use]
    pub fn with_options(mut self, options: RetrieveOptions) -> Self {
        self.options = options;
        self
    }
}

/// How hits are found, ordered and shown. The default is what the retriever was configured to do, each hit one chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RetrieveOptions {
    /// Which sides are asked.
    pub mode: SearchMode,
    /// Whether the best candidates are ordered anew by a reranker; `None` leaves it to the retriever.
    pub rerank: Option<bool>,
    /// Maximal marginal relevance: what relevance counts against being unlike the hits before, in [0, 1]. `None`
    /// orders by relevance alone, as 1 does.
    pub mmr: Option<f32>,
    /// The most tokens of a hit: its chunk grows by its neighbours below the same headings up to that many, and hits
    /// that come to touch become one. `None` shows each chunk by itself.
    pub context: Option<usize>,
    /// The most hits from one document.
    pub per_document: Option<usize>,
    /// What becomes of passages that say almost the same.
    pub near_duplicates: NearDuplicates,
}

impl RetrieveOptions {
    /// Sets which sides are asked.
    #[must_use]
    pub fn with_mode(mut self, mode: SearchMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets whether the best candidates are reranked.
    #[must_use]
    pub fn with_rerank(mut self, rerank: Option<bool>) -> Self {
        self.rerank = rerank;
        self
    }

    /// Sets what relevance counts against being unlike the hits before.
    #[must_use]
    pub fn with_mmr(mut self, lambda: Option<f32>) -> Self {
        self.mmr = lambda;
        self
    }

    /// Sets the most tokens of a hit with its context.
    #[must_use]
    pub fn with_context(mut self, tokens: Option<usize>) -> Self {
        self.context = tokens;
        self
    }

    /// Sets the most hits from one document.
    #[must_use]
    pub fn with_per_document(mut self, hits: Option<usize>) -> Self {
        self.per_document = hits;
        self
    }

    /// Sets what becomes of passages that say almost the same.
    #[must_use]
    pub fn with_near_duplicates(mut self, near_duplicates: NearDuplicates) -> Self {
        self.near_duplicates = near_duplicates;
        self
    }
}

/// Which sides of an index are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SearchMode {
    /// Words alone.
    Lexical,
    /// Vectors alone.
    Dense,
    /// Both, their scores fused.
    #[default]
    Hybrid,
}

/// What becomes of passages that say almost the same as a better one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NearDuplicates {
    /// They are hits like others.
    Keep,
    /// They are hits only where there are not enough others.
    #[default]
    Last,
    /// They are no hits.
    Drop,
}

/// Orders candidates anew by reading them: a cross-encoder, or rules.
#[async_trait]
pub trait Reranker: fmt::Debug + Send + Sync + 'static {
    /// Names the model or the rules: other scores, another id. Constant.
    fn id(&self) -> String;

    /// One score per passage, in order; higher is better, on any scale, none of them NaN.
    ///
    /// - The scores decide alone: a reranker that wants the first stage to count weighs [`Passage::score`] in.
    /// - The same passages in another order get the same scores.
    /// - Either all passages are scored or the call fails.
    async fn rerank(&self, query: &str, passages: &[Passage]) -> Result<Vec<f32>>;
}

/// A candidate as a reranker reads it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Passage {
    /// The text.
    pub text: String,
    /// Its document's title.
    pub title: Option<String>,
    /// The headings above it, the highest first.
    pub heading: Vec<String>,
    /// What the first stage gave it, in [0, 1].
    pub score: f32,
}

impl Passage {
    /// A chunk with the score of the first stage.
    pub fn new(chunk: &StoredChunk, score: f32) -> Self {
        Self { text: chunk.text.clone(), title: chunk.title.clone(), heading: chunk.heading.clone(), score }
    }
}

/// A passage that was found, with where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Hit {
    /// The passage.
    pub content: String,
    /// In [0, 1], higher is better; comparable within one answer only.
    pub score: f32,
    /// Where it comes from.
    pub source: Citation,
}

impl Hit {
    /// A chunk with its score.
    pub fn new(chunk: StoredChunk, score: f32) -> Self {
        Self {
            score,
            source: Citation {
                doc_id: chunk.key.doc.to_string(),
                chunk_id: chunk.key.chunk_id(),
                uri: chunk.uri,
                title: chunk.title,
                page: chunk.page,
                start: chunk.start,
                end: chunk.end,
                heading: chunk.heading,
            },
            content: chunk.text,
        }
    }
}

/// Where a passage comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Citation {
    /// The document.
    pub doc_id: String,
    /// The chunk: `c1` for the first of its document.
    pub chunk_id: String,
    /// The source.
    pub uri: String,
    /// The document's title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The page on which it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    /// The first byte in the extracted text.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
    /// The headings above it, the highest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heading: Vec<String>,
}
