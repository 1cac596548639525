//! How well the in-process store and the hashing embedder find what the Cranfield judgements say.
#![allow(
    clippy::clone_on_ref_ptr,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a broken promise fails the test"
)]

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use operone_core::chunk::Collection;
use operone_core::embed::Embedder;
use operone_core::id::{DocId, TenantId};
use operone_core::in_process::{HashingEmbedder, InProcessChunkStore, InProcessEmbeddingCache};
use operone_core::metadata::Metadata;
use operone_core::retrieve::{RetrieveQuery, Retriever};
use operone_core::source::Fetched;
use operone_rag::chunk::ChunkOptions;
use operone_rag::ingest::Ingestor;
use operone_rag::parse::DocumentParser;
use operone_rag::{HybridConfig, HybridRetriever};
use serde_json::Value;

fn folder(set: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")).join(set)
}

fn lines(set: &str, file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder(set).join(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

struct Corpus {
    store: InProcessChunkStore,
    embedder: Arc<dyn Embedder>,
    cache: InProcessEmbeddingCache,
    collection: Collection,
    names: HashMap<String, String>,
    queries: Vec<(String, HashSet<String>)>,
}

impl Corpus {
    async fn read(set: &str) -> Self {
        let store = InProcessChunkStore::default();
        let embedder: Arc<dyn Embedder> = Arc::new(HashingEmbedder::new(512));
        let cache = InProcessEmbeddingCache::default();
        let collection = Collection::of(TenantId::local());
        let parser = Arc::new(DocumentParser::default());
        let ingestor =
            Ingestor::new(Arc::new(store.clone()), embedder.clone(), Arc::new(cache.clone()), parser);
        let whole = ChunkOptions::new(100_000, 0).unwrap();
        let mut names = HashMap::new();
        for document in lines(set, "corpus.jsonl") {
            let text =
                format!("{} {}", document["title"].as_str().unwrap(), document["text"].as_str().unwrap());
            let name = document["_id"].as_str().unwrap();
            let fetched = Fetched::new("document.txt", text.into_bytes());
            let ingested = ingestor
                .ingest_fetched(&collection, name, fetched, &Metadata::new(), &whole, None)
                .await
                .unwrap();
            match ingested.error {
                None => assert_eq!(ingested.chunks, Some(1)),
                Some(error) => assert_eq!(error.code, "empty"),
            }
            names.insert(DocId::derive(&collection, name).to_string(), name.to_owned());
        }
        let mut relevant: HashMap<String, HashSet<String>> = HashMap::new();
        let judgements = std::fs::read_to_string(folder(set).join("qrels.tsv")).unwrap();
        for line in judgements.lines().skip(1) {
            let mut fields = line.split('\t');
            let (query, document) = (fields.next().unwrap(), fields.next().unwrap());
            relevant.entry(query.into()).or_default().insert(document.into());
        }
        let queries = lines(set, "queries.jsonl");
        let queries = queries.iter().filter_map(|query| {
            let relevant = relevant.remove(query["_id"].as_str().unwrap())?;
            Some((query["text"].as_str().unwrap().to_owned(), relevant))
        });
        Self { queries: queries.collect(), store, embedder, cache, collection, names }
    }

    fn retriever(&self, config: HybridConfig) -> HybridRetriever {
        HybridRetriever::with_config(
            Arc::new(self.store.clone()),
            self.embedder.clone(),
            Arc::new(self.cache.clone()),
            config,
        )
    }

    /// The mean nDCG@10 and recall@100 over all judged queries, as trec_eval counts them.
    async fn measure(&self, config: HybridConfig) -> (f64, f64) {
        let retriever = self.retriever(config);
        let (mut gain, mut recall) = (0.0, 0.0);
        for (text, relevant) in &self.queries {
            let query = RetrieveQuery::new(self.collection.clone(), text.as_str()).with_top_k(100);
            let hits = retriever.retrieve(query).await.unwrap();
            let names: Vec<&String> = hits.iter().map(|hit| &self.names[&hit.source.doc_id]).collect();
            let discount = |rank: usize| 1.0 / ((rank + 2) as f64).log2();
            let found = names.iter().take(10).enumerate().filter(|(_, name)| relevant.contains(**name));
            let ideal: f64 = (0..relevant.len().min(10)).map(discount).sum();
            gain += found.map(|(rank, _)| discount(rank)).sum::<f64>() / ideal;
            recall +=
                names.iter().filter(|name| relevant.contains(**name)).count() as f64 / relevant.len() as f64;
        }
        let count = self.queries.len() as f64;
        (gain / count, recall / count)
    }
}

async fn report(set: &str) -> (f64, f64) {
    let corpus = Corpus::read(set).await;
    println!("{set}: {} judged queries", corpus.queries.len());
    let mut lexical = 0.0;
    let mut default = 0.0;
    let weights = [0.0, HybridConfig::default().dense_weight, 0.5, 1.0];
    for weight in weights {
        let (gain, recall) = corpus.measure(HybridConfig::default().with_dense_weight(weight)).await;
        println!("  dense_weight {weight:.2}: nDCG@10 {gain:.4}, recall@100 {recall:.4}");
        if weight == 0.0 {
            lexical = gain;
        }
        if weight == HybridConfig::default().dense_weight {
            default = gain;
        }
    }
    (lexical, default)
}

mod with_data {
    use super::*;

    #[tokio::test]
    #[ignore = "needs the data folder"]
    async fn words_alone_reach_the_baseline_and_vectors_do_no_harm() {
        let (lexical, hybrid) = report("cranfield").await;
        assert!(lexical >= 0.36, "nDCG@10 by words is {lexical:.4}");
        assert!(hybrid >= lexical - 0.005, "nDCG@10 is {hybrid:.4} with vectors and {lexical:.4} without");
    }

    #[tokio::test]
    #[ignore = "needs the data folder"]
    async fn scifact() {
        let (lexical, hybrid) = report("scifact").await;
        assert!(lexical >= 0.665, "nDCG@10 by words is {lexical:.4}");
        assert!(hybrid >= lexical - 0.005, "nDCG@10 is {hybrid:.4} with vectors and {lexical:.4} without");
    }
}
