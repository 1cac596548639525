//! The retriever: candidates by words and by meaning from a chunk store, their scores fused, cached by generation.

mod answers;
mod config;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use moka::sync::Cache;
use operone_core::cache::EmbeddingCache;
use operone_core::chunk::{
    Candidate, ChunkKey, ChunkStore, Collection, CompleteQuery, DenseQuery, Level, LexicalQuery, Scores,
};
use operone_core::embed::Embedder;
use operone_core::retrieve::{Hit, RetrieveQuery, Retriever};
use operone_core::text::{Analyser, min_max};
use operone_core::{Error, Result};

use crate::ingest::embedder_mismatch;
use crate::vectors::Vectors;

use answers::{Asked, answers};

pub use config::HybridConfig;

/// Finds passages by the words and by the meaning of a query, over any [`ChunkStore`]. Clones share the cache.
///
/// - Each side gives its best candidates under the same filter. Where the store can, each candidate then gets the
///   score of the other side too. Both scores are moved onto [0, 1] over all candidates and added by their weights.
///   A side that has nothing to say of a query, no word or no vector, leaves its weight to the other.
/// - A hit holds a word of the query, or its cosine is at least [`HybridConfig::least_cosine`]: vectors always have
///   nearest neighbours, however far they are.
/// - Equal scores are in order of document id and place, so that every store gives the same order.
/// - Answers are kept by query, filter and the generation of the collection: one that is out of date is not found
///   again. Errors, and answers during which the collection changed, are not kept.
/// - Codes: `blank_query`, `invalid_top_k`, `embedder_mismatch`.
#[derive(Clone, Debug)]
pub struct HybridRetriever {
    store: Arc<dyn ChunkStore>,
    vectors: Vectors,
    config: HybridConfig,
    answers: Cache<Asked, Arc<Vec<Hit>>>,
}

impl HybridRetriever {
    /// A retriever with the defaults of [`HybridConfig`].
    pub fn new(
        store: Arc<dyn ChunkStore>,
        embedder: Arc<dyn Embedder>,
        cache: Arc<dyn EmbeddingCache>,
    ) -> Self {
        Self::with_config(store, embedder, cache, HybridConfig::default())
    }

    /// A retriever that finds and ranks by `config`.
    pub fn with_config(
        store: Arc<dyn ChunkStore>,
        embedder: Arc<dyn Embedder>,
        cache: Arc<dyn EmbeddingCache>,
        config: HybridConfig,
    ) -> Self {
        Self { store, vectors: Vectors::new(embedder, cache), config, answers: answers(config.cache_bytes) }
    }

    async fn search(&self, query: &RetrieveQuery) -> Result<Answer> {
        let present = self.vectors.info().id;
        match self.store.embedder(&query.collection).await? {
            None => return Ok(Answer { hits: Vec::new(), whole: true }),
            Some(stored) if stored != present && self.config.dense_weight > 0.0 => {
                return Err(embedder_mismatch(&stored, &present));
            }
            Some(_) => {}
        }
        let terms = Analyser.terms(&query.text);
        let vector = self.query_vector(query).await?;
        let asked = Sides { terms: &terms, vector: vector.as_deref(), level: self.config.level };
        let mut found = self.candidates(query, &asked).await?;
        let complete = self.store.capabilities().complete;
        if complete {
            self.complete(&query.collection, &asked, &mut found).await?;
        }
        let mut ranked = self.fuse(found);
        ranked.truncate(query.top_k);
        let keys: Vec<ChunkKey> = ranked.iter().map(|(key, _)| key.clone()).collect();
        let chunks = self.store.chunks(&query.collection, &keys).await?;
        let whole = chunks.len() == keys.len() && chunks.iter().all(Option::is_some);
        let hits = chunks.into_iter().zip(ranked);
        Ok(Answer {
            hits: hits.filter_map(|(chunk, (_, score))| Some(Hit::new(chunk?, score))).collect(),
            whole,
        })
    }

    async fn query_vector(&self, query: &RetrieveQuery) -> Result<Option<Vec<f32>>> {
        if self.config.dense_weight <= 0.0 {
            return Ok(None);
        }
        let text = [query.text.clone()];
        let vectors =
            if query.fresh { self.vectors.uncached(&text).await? } else { self.vectors.of(&text).await? };
        Ok(vectors.into_iter().next().flatten())
    }

    async fn candidates(
        &self,
        query: &RetrieveQuery,
        sides: &Sides<'_>,
    ) -> Result<BTreeMap<ChunkKey, Scores>> {
        let limit = self.config.depth.max(query.top_k.saturating_mul(5));
        let filter = query.filter.as_ref();
        let mut found: BTreeMap<ChunkKey, Scores> = BTreeMap::new();
        if !sides.terms.is_empty() {
            let lexical = LexicalQuery { terms: sides.terms, level: sides.level, filter, limit };
            for Candidate { key, score } in self.store.lexical(&query.collection, lexical).await? {
                found.entry(key).or_default().lexical = Some(score);
            }
        }
        if let Some(vector) = sides.vector {
            let dense = DenseQuery { vector, filter, limit };
            for Candidate { key, score } in self.store.dense(&query.collection, dense).await? {
                found.entry(key).or_default().dense = Some(score);
            }
        }
        Ok(found)
    }

    /// Asks for the scores that one side has and the other lacks.
    async fn complete(
        &self,
        collection: &Collection,
        sides: &Sides<'_>,
        found: &mut BTreeMap<ChunkKey, Scores>,
    ) -> Result<()> {
        let lacking = |has: fn(&Scores) -> bool| -> Vec<ChunkKey> {
            found.iter().filter(|(_, scores)| !has(scores)).map(|(key, _)| key.clone()).collect()
        };
        let (no_dense, no_lexical) =
            (lacking(|scores| scores.dense.is_some()), lacking(|scores| scores.lexical.is_some()));
        if sides.vector.is_some() && !no_dense.is_empty() {
            let query =
                CompleteQuery { keys: &no_dense, vector: sides.vector, terms: &[], level: sides.level };
            for (key, scores) in no_dense.iter().zip(self.store.complete(collection, query).await?) {
                found.entry(key.clone()).or_default().dense = scores.dense;
            }
        }
        if !sides.terms.is_empty() && !no_lexical.is_empty() {
            let query =
                CompleteQuery { keys: &no_lexical, vector: None, terms: sides.terms, level: sides.level };
            for (key, scores) in no_lexical.iter().zip(self.store.complete(collection, query).await?) {
                found.entry(key.clone()).or_default().lexical = scores.lexical;
            }
        }
        Ok(())
    }

    /// The candidates with their fused scores, best first, without those that have nothing to do with the query.
    fn fuse(&self, found: BTreeMap<ChunkKey, Scores>) -> Vec<(ChunkKey, f32)> {
        let dense = on_one_scale(found.values().map(|scores| scores.dense.filter(|score| score.is_finite())));
        let lexical =
            on_one_scale(found.values().map(|scores| scores.lexical.filter(|score| score.is_finite())));
        // Where no candidate holds a word all are equal, and equally nothing.
        let has_words = found.values().any(holds_word);
        let lexical = lexical.filter(|_| has_words);
        let (dense_weight, lexical_weight) = match (&dense, &lexical) {
            (Some(_), None) => (1.0, 0.0),
            (None, Some(_)) => (0.0, 1.0),
            _ => (self.config.dense_weight, 1.0 - self.config.dense_weight),
        };
        let score = |side: &Option<Vec<f32>>, at: usize| {
            side.as_ref().and_then(|side| side.get(at)).copied().unwrap_or(0.0)
        };
        let mut ranked: Vec<(ChunkKey, f32)> = found
            .into_iter()
            .enumerate()
            .filter(|(_, (_, scores))| {
                holds_word(scores) || scores.dense.is_some_and(|cosine| cosine >= self.config.least_cosine)
            })
            .map(|(at, (key, _))| {
                let fused = dense_weight * score(&dense, at) + lexical_weight * score(&lexical, at);
                (key, fused.clamp(0.0, 1.0))
            })
            .collect();
        // The sort is stable, so equal scores stay in the order of their keys.
        ranked.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        ranked
    }
}

#[async_trait]
impl Retriever for HybridRetriever {
    async fn retrieve(&self, query: RetrieveQuery) -> Result<Vec<Hit>> {
        if query.text.trim().is_empty() {
            return Err(Error::invalid("the query is blank").with_code("blank_query"));
        }
        if query.top_k == 0 || query.top_k > RetrieveQuery::MAX_TOP_K {
            let most = RetrieveQuery::MAX_TOP_K;
            return Err(Error::invalid(format!("top_k is 1 to {most}, not {}", query.top_k))
                .with_code("invalid_top_k"));
        }
        let generation = self.store.generation(&query.collection).await?;
        let asked = Asked::new(&query, generation)?;
        if !query.fresh
            && let Some(hits) = self.answers.get(&asked)
        {
            return Ok(hits.as_ref().clone());
        }
        let mut answer = self.search(&query).await?;
        if !answer.whole {
            // A document was replaced between its scores and its text: once more, with what is there now.
            answer = self.search(&query).await?;
        }
        if answer.whole && self.store.generation(&query.collection).await? == generation {
            self.answers.insert(asked, Arc::new(answer.hits.clone()));
        }
        Ok(answer.hits)
    }
}

/// What each side is asked for.
struct Sides<'a> {
    terms: &'a [String],
    vector: Option<&'a [f32]>,
    level: Level,
}

/// Hits, and whether each chunk that was found was still there.
struct Answer {
    hits: Vec<Hit>,
    whole: bool,
}

fn holds_word(scores: &Scores) -> bool {
    scores.lexical.is_some_and(|score| score > 0.0)
}

/// Scores moved onto [0, 1]; one that is missing counts as the least. `None` if all are missing.
fn on_one_scale(scores: impl Iterator<Item = Option<f32>>) -> Option<Vec<f32>> {
    let mut scores: Vec<f32> = scores.map(|score| score.unwrap_or(f32::NAN)).collect();
    if scores.iter().all(|score| score.is_nan()) {
        return None;
    }
    min_max(&mut scores);
    Some(scores)
}
