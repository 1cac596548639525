//! The retriever: candidates by words and by meaning from a chunk store, fused, chosen, cited, cached by generation.

mod answers;
mod candidates;
mod config;
mod context;
mod fusion;
mod selection;

use std::sync::Arc;

use async_trait::async_trait;
use moka::sync::Cache;
use operone_core::cache::EmbeddingCache;
use operone_core::chunk::{ChunkKey, ChunkStore};
use operone_core::embed::Embedder;
use operone_core::error::ErrorReport;
use operone_core::retrieve::{Hit, Passage, Reranker, RetrieveQuery, Retrieved, Retriever, SearchMode};
use operone_core::text::{Analyser, min_max};
use operone_core::{Error, ErrorKind, Result};

use crate::ingest::embedder_mismatch;
use crate::rerank::LexicalReranker;
use crate::vectors::Vectors;

use answers::answers;
use candidates::Asked;
use fusion::{best_first, fuse};
use selection::{Found, looked_at, per_document, select};

pub use config::HybridConfig;

/// Finds passages by the words and by the meaning of a query, over any [`ChunkStore`]. Clones share the cache.
///
/// - Words are looked for in chunks and in whole documents, vectors in chunks, all under the same filter. Where the
///   store can, each candidate then gets the scores it lacks. The scores of words and of vectors are moved onto [0, 1]
///   over all candidates and added by their weights. A side that has nothing to say of a query, no word or no vector,
///   leaves its weight to the other.
/// - A hit holds a word of the query, or its cosine is at least [`HybridConfig::least_cosine`]: vectors always have
///   nearest neighbours, however far they are.
/// - Equal scores are in order of document id and place, so that every store gives the same order.
/// - The best candidates are reranked if the query or the configuration says so.
/// - Answers are kept by query, options, filter and the generation of the collection: one that is out of date is not
///   found again. Errors, and answers during which the collection changed, are not kept.
/// - Where the collection was built with another embedder, words alone are asked and the answer says so; a query for
///   vectors alone is refused. Vectors of two embedders are never compared.
/// - Codes: `blank_query`, `invalid_top_k`, `invalid_mmr`, `invalid_context`, `invalid_per_document`,
///   `embedder_mismatch`.
#[derive(Clone, Debug)]
pub struct HybridRetriever {
    store: Arc<dyn ChunkStore>,
    vectors: Vectors,
    reranker: Arc<dyn Reranker>,
    config: HybridConfig,
    answers: Cache<answers::Asked, Arc<Retrieved>>,
}

impl HybridRetriever {
    /// A retriever with the configuration that suits the embedder, [`HybridConfig::for_embedder`].
    pub fn new(
        store: Arc<dyn ChunkStore>,
        embedder: Arc<dyn Embedder>,
        cache: Arc<dyn EmbeddingCache>,
    ) -> Self {
        let config = HybridConfig::for_embedder(&embedder.info());
        Self::with_config(store, embedder, cache, config)
    }

    /// A retriever that finds and ranks by `config`.
    pub fn with_config(
        store: Arc<dyn ChunkStore>,
        embedder: Arc<dyn Embedder>,
        cache: Arc<dyn EmbeddingCache>,
        config: HybridConfig,
    ) -> Self {
        Self {
            store,
            vectors: Vectors::new(embedder, cache),
            reranker: Arc::new(LexicalReranker::default()),
            config,
            answers: answers(config.cache_bytes),
        }
    }

    /// Reranks with `reranker`, where reranking is asked for; [`LexicalReranker`] by default. It has a cache of its
    /// own from here on.
    #[must_use]
    pub fn with_reranker(mut self, reranker: Arc<dyn Reranker>) -> Self {
        self.reranker = reranker;
        self.answers = answers(self.config.cache_bytes);
        self
    }

    /// Searches a collection that was built with the embedder `stored`.
    async fn search(&self, query: &RetrieveQuery, stored: Option<&str>) -> Result<Answer> {
        let mode = query.options.mode;
        let mut by_vectors =
            mode == SearchMode::Dense || (mode == SearchMode::Hybrid && self.config.dense_weight > 0.0);
        let present = self.vectors.info().id;
        let mut degraded = None;
        match stored {
            None => return Ok(Answer { hits: Vec::new(), degraded, whole: true }),
            Some(stored) if stored != present && by_vectors => {
                let mismatch = embedder_mismatch(&query.collection, stored, &present);
                if mode == SearchMode::Dense {
                    return Err(mismatch);
                }
                by_vectors = false;
                degraded = Some(mismatch.report());
            }
            Some(_) => {}
        }
        let terms = if mode == SearchMode::Dense { Vec::new() } else { Analyser.query_terms(&query.text) };
        let vector = if by_vectors { self.query_vector(query).await? } else { None };
        let asked = Asked {
            collection: &query.collection,
            terms: &terms,
            vector: vector.as_deref(),
            filter: query.filter.as_ref(),
            limit: self.config.depth.max(query.top_k),
        };
        let pool = asked.candidates(self.store.as_ref()).await?;
        let least_cosine = if mode == SearchMode::Dense { -1.0 } else { self.config.least_cosine };
        let ranked = fuse(pool, &self.config, least_cosine);
        Ok(Answer { degraded, ..self.shown(query, ranked).await? })
    }

    /// Reranks, chooses and reads what is shown of the ranked candidates.
    async fn shown(&self, query: &RetrieveQuery, mut ranked: Vec<(ChunkKey, f32)>) -> Result<Answer> {
        let options = &query.options;
        let mut whole = true;
        let by_default = self.config.rerank && options.mode == SearchMode::Hybrid;
        if options.rerank.unwrap_or(by_default) {
            whole &= self.rerank(query, &mut ranked).await?;
        }
        if let Some(most) = options.per_document {
            per_document(&mut ranked, most);
        }
        ranked.truncate(looked_at(options, query.top_k));
        let found = self.read(query, &ranked).await?;
        whole &= found.len() == ranked.len();
        let mut chosen = select(found, options, query.top_k);
        let hits = match options.context {
            Some(budget) => {
                let (store, tokenizer) = (self.store.as_ref(), self.vectors.tokenizer());
                let tokenizer = tokenizer.as_ref();
                context::grown(store, &query.collection, tokenizer, chosen, query.top_k, budget).await?
            }
            None => {
                chosen.truncate(query.top_k);
                chosen.into_iter().map(|found| Hit::new(found.chunk, found.score)).collect()
            }
        };
        Ok(Answer { hits, degraded: None, whole })
    }

    /// Orders the best candidates anew; their scores stay above those of the rest. Tells whether all were there.
    async fn rerank(&self, query: &RetrieveQuery, ranked: &mut Vec<(ChunkKey, f32)>) -> Result<bool> {
        let rest = ranked.split_off(self.config.rerank_depth.min(ranked.len()));
        let found = self.read(query, ranked).await?;
        let whole = found.len() == ranked.len();
        let passages: Vec<Passage> =
            found.iter().map(|found| Passage::new(&found.chunk, found.score)).collect();
        let mut scores = self.reranker.rerank(&query.text, &passages).await?;
        if scores.len() != passages.len() {
            let id = self.reranker.id();
            let detail =
                format!("the reranker {id} gave {} scores for {} passages", scores.len(), passages.len());
            return Err(Error::internal(detail).with_code("reranker_broken"));
        }
        min_max(&mut scores);
        let floor = rest.first().map_or(0.0, |(_, score)| *score);
        *ranked = found
            .into_iter()
            .zip(scores)
            .map(|(found, score)| (found.chunk.key, floor + (1.0 - floor) * score))
            .collect();
        best_first(ranked);
        ranked.extend(rest);
        Ok(whole)
    }

    /// The candidates with their texts, without those that are gone.
    async fn read(&self, query: &RetrieveQuery, ranked: &[(ChunkKey, f32)]) -> Result<Vec<Found>> {
        let keys: Vec<ChunkKey> = ranked.iter().map(|(key, _)| key.clone()).collect();
        let chunks = self.store.chunks(&query.collection, &keys).await?;
        let found = chunks.into_iter().zip(ranked);
        Ok(found.filter_map(|(chunk, (_, score))| Some(Found { chunk: chunk?, score: *score })).collect())
    }

    async fn query_vector(&self, query: &RetrieveQuery) -> Result<Option<Vec<f32>>> {
        let text = [query.text.clone()];
        let vectors =
            if query.fresh { self.vectors.uncached(&text).await? } else { self.vectors.of(&text).await? };
        Ok(vectors.into_iter().next().flatten())
    }
}

#[async_trait]
impl Retriever for HybridRetriever {
    async fn retrieve(&self, query: RetrieveQuery) -> Result<Vec<Hit>> {
        Ok(self.answer(query).await?.hits)
    }

    async fn answer(&self, query: RetrieveQuery) -> Result<Retrieved> {
        check(&query)?;
        let generation = self.store.generation(&query.collection).await?;
        let asked = answers::Asked::new(&query, generation)?;
        if !query.fresh
            && let Some(kept) = self.answers.get(&asked)
        {
            return Ok(kept.as_ref().clone());
        }
        let mut tries = 0;
        let (answer, now) = loop {
            tries += 1;
            let embedder = self.store.embedder(&query.collection).await?;
            let answer = self.search(&query, embedder.as_deref()).await;
            let now = self.store.generation(&query.collection).await?;
            if now != generation && self.store.embedder(&query.collection).await? != embedder {
                // Vectors of another embedder came in between: once more, among one kind of them.
                if tries == TRIES {
                    let detail = "the collection was embedded again while it was searched; ask once more";
                    return Err(Error::new(ErrorKind::Unavailable, detail).with_code("reembedded"));
                }
                continue;
            }
            let answer = answer?;
            // A document may be replaced between its scores and its text: then once more, with what is there now.
            if answer.whole || tries > 1 {
                break (answer, now);
            }
        };
        let retrieved = Retrieved::new(answer.hits).with_degraded(answer.degraded);
        if answer.whole && now == generation {
            self.answers.insert(asked, Arc::new(retrieved.clone()));
        }
        Ok(retrieved)
    }
}

/// Hits, and whether each chunk that was found was still there.
struct Answer {
    hits: Vec<Hit>,
    degraded: Option<ErrorReport>,
    whole: bool,
}

fn check(query: &RetrieveQuery) -> Result<()> {
    let most = RetrieveQuery::MAX_TOP_K;
    let options = &query.options;
    let (detail, code) = if query.text.trim().is_empty() {
        ("the query is blank".to_owned(), "blank_query")
    } else if query.top_k == 0 || query.top_k > most {
        (format!("top_k is 1 to {most}, not {}", query.top_k), "invalid_top_k")
    } else if let Some(mmr) = options.mmr.filter(|mmr| !(0.0..=1.0).contains(mmr)) {
        (format!("mmr is 0 to 1, not {mmr}"), "invalid_mmr")
    } else if options.context.is_some_and(|tokens| tokens == 0 || tokens > MAX_CONTEXT) {
        (format!("context is 1 to {MAX_CONTEXT} tokens"), "invalid_context")
    } else if options.per_document == Some(0) {
        ("per_document is at least 1".to_owned(), "invalid_per_document")
    } else {
        return Ok(());
    };
    Err(Error::invalid(detail).with_code(code))
}

/// How often a query is tried whose collection changes its embedder meanwhile.
const TRIES: u32 = 4;

/// The most tokens of a hit with its context.
const MAX_CONTEXT: usize = 8192;
