//! How a hybrid retriever finds and ranks.

use operone_core::chunk::Level;

/// How a [`HybridRetriever`](super::HybridRetriever) finds and ranks.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct HybridConfig {
    /// What the vectors count, in [0, 1]; the words count the rest. At 0 vectors are not asked at all.
    ///
    /// The default of 0.3 suits an embedder that knows no meaning, such as one that hashes words: more of it loses
    /// to the words alone. A model that knows meaning earns 0.5 to 0.7.
    pub dense_weight: f32,
    /// What BM25 scores.
    pub level: Level,
    /// How many candidates each side gives at least; five times `top_k` where that is more.
    pub depth: usize,
    /// The least cosine of a hit that holds no word of the query; 0.25 by default, which passages of another subject
    /// hardly reach.
    pub least_cosine: f32,
    /// The most bytes of answers that are kept for the same query, about.
    pub cache_bytes: u64,
}

impl Default for HybridConfig {
    fn default() -> Self {
        Self { dense_weight: 0.3, level: Level::Chunk, depth: 100, least_cosine: 0.25, cache_bytes: 32 << 20 }
    }
}

impl HybridConfig {
    /// Sets what the vectors count; kept within [0, 1].
    #[must_use]
    pub fn with_dense_weight(mut self, weight: f32) -> Self {
        self.dense_weight = if weight.is_finite() { weight.clamp(0.0, 1.0) } else { 0.0 };
        self
    }

    /// Sets what BM25 scores.
    #[must_use]
    pub fn with_level(mut self, level: Level) -> Self {
        self.level = level;
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

    /// Sets the most bytes of kept answers; 0 keeps none.
    #[must_use]
    pub fn with_cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = bytes;
        self
    }
}
