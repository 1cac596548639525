//! The contract of a retriever: a query to ranked hits with citations, as agents and hosts call it.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::chunk::{Collection, StoredChunk};
use crate::error::Result;
use crate::filter::Filter;

/// Finds passages.
#[async_trait]
pub trait Retriever: fmt::Debug + Send + Sync + 'static {
    /// The best passages for a query, best first; none found is an empty list, not an error.
    ///
    /// - Filters apply before the cut to `top_k`.
    /// - The same query on the same generation gives the same hits in the same order.
    async fn retrieve(&self, query: RetrieveQuery) -> Result<Vec<Hit>>;
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
}

impl RetrieveQuery {
    /// The most hits one query may ask for.
    pub const MAX_TOP_K: usize = 1000;

    /// Looks for `text` and wants five hits.
    pub fn new(collection: Collection, text: impl Into<String>) -> Self {
        Self { collection, text: text.into(), top_k: 5, filter: None, fresh: false }
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
