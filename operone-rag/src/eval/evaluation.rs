//! Takes a judged collection into a store and asks its queries in each mode.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use operone_core::cache::EmbeddingCache;
use operone_core::chunk::{ChunkStore, Collection};
use operone_core::embed::Embedder;
use operone_core::id::{DocId, TenantId};
use operone_core::metadata::Metadata;
use operone_core::retrieve::{
    NearDuplicates, Reranker, RetrieveOptions, RetrieveQuery, Retriever, SearchMode,
};
use operone_core::source::{Fetched, Parsed, Parser};
use operone_core::{Error, Result};
use tokio::task::JoinSet;

use super::metrics::{Ranking, percentile};
use super::report::{EvalMode, EvalReport, Figures};
use super::{Dataset, EvalDocument, EvalQuery};
use crate::chunk::ChunkOptions;
use crate::ingest::Ingestor;
use crate::{HybridConfig, HybridRetriever};

/// How many documents are asked for per query.
const DEPTH: usize = 100;

/// Measures retrieval over a store with an embedder.
#[derive(Clone, Debug)]
pub struct Evaluation {
    store: Arc<dyn ChunkStore>,
    embedder: Arc<dyn Embedder>,
    cache: Arc<dyn EmbeddingCache>,
    reranker: Option<Arc<dyn Reranker>>,
    config: HybridConfig,
    chunks: ChunkOptions,
    collection: Collection,
}

/// How far an evaluation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EvalProgress {
    /// So many documents are stored.
    Stored(usize),
    /// So many queries were asked in this mode.
    Asked(EvalMode, usize),
}

impl Evaluation {
    /// Measures what a [`HybridRetriever`] does that is made of these, with documents cut as suits the embedder.
    pub fn new(
        store: Arc<dyn ChunkStore>,
        embedder: Arc<dyn Embedder>,
        cache: Arc<dyn EmbeddingCache>,
    ) -> Self {
        let info = embedder.info();
        Self {
            store,
            embedder,
            cache,
            reranker: None,
            config: HybridConfig::for_embedder(&info),
            chunks: ChunkOptions::for_window(info.window),
            collection: Collection { tenant: TenantId::local(), name: "evaluation".into() },
        }
    }

    /// Sets how hits are found and ranked.
    #[must_use]
    pub fn with_config(mut self, config: HybridConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets what orders candidates anew.
    #[must_use]
    pub fn with_reranker(mut self, reranker: Arc<dyn Reranker>) -> Self {
        self.reranker = Some(reranker);
        self
    }

    /// Sets how documents are cut.
    #[must_use]
    pub fn with_chunks(mut self, chunks: ChunkOptions) -> Self {
        self.chunks = chunks;
        self
    }

    /// Sets where the documents are kept, `evaluation` of the local tenant by default. What else is in there is
    /// found too.
    #[must_use]
    pub fn with_collection(mut self, collection: Collection) -> Self {
        self.collection = collection;
        self
    }

    /// Stores the documents and measures each mode; `progress` is told of every document and query.
    ///
    /// A document without text is not stored, which counts as never found. Any other that cannot be stored, and any
    /// query that fails, ends the evaluation with its error.
    pub async fn run(
        &self,
        dataset: &Dataset,
        modes: &[EvalMode],
        progress: impl Fn(EvalProgress),
    ) -> Result<EvalReport> {
        let (names, chunks) = self.store(dataset, &progress).await?;
        let mut report = EvalReport {
            documents: dataset.documents.len(),
            queries: dataset.queries.len(),
            chunks,
            embedder: self.embedder.info().id,
            ..EvalReport::default()
        };
        let mut retriever = HybridRetriever::with_config(
            Arc::clone(&self.store),
            Arc::clone(&self.embedder),
            Arc::clone(&self.cache),
            self.config,
        );
        if let Some(reranker) = &self.reranker {
            retriever = retriever.with_reranker(Arc::clone(reranker));
        }
        for mode in modes {
            let figures = self.measure(dataset, &names, &retriever, *mode, &progress).await?;
            report.modes.insert(*mode, figures);
        }
        Ok(report)
    }

    /// Stores the documents; gives their names by id, and how many chunks there are.
    async fn store(
        &self,
        dataset: &Dataset,
        progress: &impl Fn(EvalProgress),
    ) -> Result<(HashMap<String, String>, usize)> {
        let ingestor = Ingestor::new(
            Arc::clone(&self.store),
            Arc::clone(&self.embedder),
            Arc::clone(&self.cache),
            Arc::new(TitledText),
        )
        .with_parser_id(TitledText::ID);
        let at_once = std::thread::available_parallelism().map_or(1, usize::from);
        let mut names = HashMap::new();
        let (mut done, mut chunks) = (0, 0);
        let mut running = JoinSet::new();
        let mut documents = dataset.documents.iter();
        loop {
            while running.len() < at_once
                && let Some(document) = documents.next()
            {
                names.insert(DocId::derive(&self.collection, &document.id).to_string(), document.id.clone());
                running.spawn(store_one(
                    ingestor.clone(),
                    self.collection.clone(),
                    document.clone(),
                    self.chunks,
                ));
            }
            let Some(stored) = running.join_next().await else { break };
            let stopped = |error| Error::internal("storing a document failed").with_source(error);
            chunks += stored.map_err(stopped)??;
            done += 1;
            progress(EvalProgress::Stored(done));
        }
        Ok((names, chunks))
    }

    async fn measure(
        &self,
        dataset: &Dataset,
        names: &HashMap<String, String>,
        retriever: &HybridRetriever,
        mode: EvalMode,
        progress: &impl Fn(EvalProgress),
    ) -> Result<Figures> {
        let search = match mode {
            EvalMode::Lexical => SearchMode::Lexical,
            EvalMode::Dense => SearchMode::Dense,
            EvalMode::Hybrid | EvalMode::Rerank => SearchMode::Hybrid,
        };
        let options = RetrieveOptions::default()
            .with_mode(search)
            .with_rerank(Some(mode == EvalMode::Rerank))
            .with_per_document(Some(1))
            .with_near_duplicates(NearDuplicates::Keep);
        let mut figures = Figures::default();
        let mut times = Vec::with_capacity(dataset.queries.len());
        for (asked, query) in (1..).zip(&dataset.queries) {
            let EvalQuery { text, relevant, .. } = query;
            let wanted = RetrieveQuery::new(self.collection.clone(), text.as_str())
                .with_top_k(DEPTH)
                .with_options(options)
                .with_fresh(true);
            let begun = Instant::now();
            let hits = retriever.retrieve(wanted).await?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            let found = hits.into_iter().filter_map(|hit| {
                let name = names.get(&hit.source.doc_id)?;
                Some((name.clone(), hit.score))
            });
            let ranking = Ranking::new(found);
            figures.ndcg_at_10 += ranking.ndcg(relevant, 10);
            figures.recall_at_10 += ranking.recall(relevant, 10);
            figures.recall_at_100 += ranking.recall(relevant, DEPTH);
            figures.mrr += ranking.reciprocal_rank(relevant);
            progress(EvalProgress::Asked(mode, asked));
        }
        let count = dataset.queries.len().max(1) as f64;
        Ok(Figures {
            ndcg_at_10: figures.ndcg_at_10 / count,
            recall_at_10: figures.recall_at_10 / count,
            recall_at_100: figures.recall_at_100 / count,
            mrr: figures.mrr / count,
            p50_ms: percentile(&mut times, 0.5),
            p99_ms: percentile(&mut times, 0.99),
        })
    }
}

/// Stores a document and gives the number of its chunks; none if it has no text.
async fn store_one(
    ingestor: Ingestor,
    collection: Collection,
    document: EvalDocument,
    options: ChunkOptions,
) -> Result<usize> {
    let EvalDocument { id, title, text } = document;
    if title.trim().is_empty() && text.trim().is_empty() {
        return Ok(0);
    }
    let bytes = serde_json::to_vec(&(title, text))
        .map_err(|error| Error::internal("a document cannot be written as JSON").with_source(error))?;
    let fetched = Fetched::new(id.as_str(), bytes);
    let outcome =
        ingestor.ingest_fetched(&collection, &id, fetched, &Metadata::new(), &options, None).await?;
    match outcome.error {
        None => Ok(outcome.chunks.unwrap_or(0) as usize),
        Some(report) => Err(Error::from(report)),
    }
}

/// Reads a title and a text from JSON.
#[derive(Debug)]
struct TitledText;

impl TitledText {
    const ID: &'static str = "titled-text-1";
}

#[async_trait]
impl Parser for TitledText {
    async fn parse(&self, document: Fetched) -> Result<Parsed> {
        let (title, text): (String, String) = serde_json::from_slice(&document.bytes)
            .map_err(|error| Error::internal("a document is no title and text").with_source(error))?;
        // A document may be nothing but its title.
        if text.trim().is_empty() {
            return Ok(Parsed::new("text/plain", title));
        }
        let mut parsed = Parsed::new("text/plain", text);
        parsed.title = (!title.trim().is_empty()).then_some(title);
        Ok(parsed)
    }
}
