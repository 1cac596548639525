//! How a hybrid retriever finds and ranks.

use operone_core::embed::{EmbedderInfo, EmbedderKind};
use serde::{Deserialize, Serialize};

/// How a [`HybridRetriever`](super::HybridRetriever) finds and ranks.
///
/// From JSON, what is left out is the default.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HybridConfig {
    /// What the vectors count, in [0, 1]; the words count the rest. At 0 vectors are not asked at all.
    ///
    /// The default of 0.3 suits an embedder that knows no meaning, such as one that hashes words: more of it loses
    /// to the words alone. A model that knows meaning earns 0.5: [`HybridConfig::for_embedder`].
    pub dense_weight: f32,
    /// What the words of the whole document count, in [0, 1]; the words of the chunk itself count the rest. 0.5 by
    /// default: the document says what it is about, the chunk where it says so.
    pub document_weight: f32,
    /// How many candidates each side gives at least; `top_k` where that is more.
    pub depth: usize,
    /// The least cosine of a hit that holds no word of the query; 0.25 by default, which one passage of another subject
    /// in a thousand reaches at most. A query that asks for vectors alone has no such limit.
    pub least_cosine: f32,
    /// Whether a query by words and vectors is reranked that does not say.
    pub rerank: bool,
    /// How many of the best candidates are reranked.
    pub rerank_depth: usize,
    /// The most bytes of answers that are kept for the same query, about.
    pub cache_bytes: u64,
}

impl Default for HybridConfig {
    fn default() -> Self {
        Self {
            dense_weight: 0.3,
            document_weight: 0.5,
            depth: 100,
            least_cosine: 0.25,
            rerank: true,
            rerank_depth: 100,
            cache_bytes: 32 << 20,
        }
    }
}

impl HybridConfig {
    /// What suits the vectors of such an embedder. Those of a model count 0.5 and are not reranked, as rules about words
    /// add little to what a model says. Averages of word vectors come nearer to one another than others do: their
    /// least cosine is 0.4.
    pub fn for_embedder(info: &EmbedderInfo) -> Self {
        match info.kind {
            EmbedderKind::Hashing => Self::default(),
            EmbedderKind::Static => Self::default().with_least_cosine(0.4),
            _ => Self::default().with_dense_weight(0.5).with_rerank(false),
        }
    }

    /// Sets what the vectors count; kept within [0, 1].
    #[must_use]
    pub fn with_dense_weight(mut self, weight: f32) -> Self {
        self.dense_weight = share(weight);
        self
    }

    /// Sets what the words of the whole document count; kept within [0, 1].
    #[must_use]
    pub fn with_document_weight(mut self, weight: f32) -> Self {
        self.document_weight = share(weight);
        self
    }

    /// Sets how many candidates each side gives at least.
    #[must_use]
    pub fn with_depth(mut self, depth: usize) -> Self {
        self.depth = depth.max(1);
        self
    }

    /// Sets the least cosine of a hit that holds no word of the query.
    #[must_use]
    pub fn with_least_cosine(mut self, cosine: f32) -> Self {
        self.least_cosine = cosine;
        self
    }

    /// Sets whether a query is reranked that does not say.
    #[must_use]
    pub fn with_rerank(mut self, rerank: bool) -> Self {
        self.rerank = rerank;
        self
    }

    /// Sets how many of the best candidates are reranked.
    #[must_use]
    pub fn with_rerank_depth(mut self, depth: usize) -> Self {
        self.rerank_depth = depth.max(1);
        self
    }

    /// Sets the most bytes of kept answers; 0 keeps none.
    #[must_use]
    pub fn with_cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = bytes;
        self
    }
}

fn share(weight: f32) -> f32 {
    if weight.is_finite() { weight.clamp(0.0, 1.0) } else { 0.0 }
}
