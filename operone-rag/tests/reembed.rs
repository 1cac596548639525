//! The promises of embedding a collection again.
#![allow(
    clippy::clone_on_ref_ptr,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a broken promise fails the test"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use operone_core::chunk::ChunkStore;
use operone_core::in_process::InProcessEmbeddingCache;
use operone_core::retrieve::{RetrieveOptions, RetrieveQuery, Retriever, SearchMode};
use operone_rag::ingest::{DocumentRequest, DocumentStatus, Ingestor};
use operone_rag::parse::DocumentParser;
use operone_rag::{HybridConfig, HybridRetriever};
use support::{Counting, World};
use tokio_util::sync::CancellationToken;

/// A collection with the vectors of one embedder, and an ingestor with another.
struct Changed {
    world: World,
    other: Arc<Counting>,
    cache: InProcessEmbeddingCache,
    ingestor: Ingestor,
}

const DOCUMENTS: usize = 30;

impl Changed {
    async fn new() -> Self {
        let world = World::new();
        for number in 0..DOCUMENTS {
            let paragraphs: String = (0..40)
                .map(|part| {
                    format!("Paragraph {part} of {number} tells of topic{number} at some length.\n\n")
                })
                .collect();
            let text = format!("# Title {number}\n\nIntro of it.\n\n## Part\n\n{paragraphs}");
            world.shelf.put(&format!("{number}.md"), text.as_str());
            let request = DocumentRequest::new(format!("mem:{number}.md"));
            let options = operone_rag::chunk::ChunkOptions::new(30, 5).unwrap();
            world.ingestor.ingest_document(&world.collection, &request, &options, None).await.unwrap();
        }
        world.embedder.take();
        let other = Arc::new(Counting::of_dimension("counting-2", 128));
        let cache = InProcessEmbeddingCache::default();
        let parser = Arc::new(DocumentParser::default());
        let ingestor = Ingestor::new(world.store.clone(), other.clone(), Arc::new(cache.clone()), parser)
            .with_source(world.shelf.clone());
        Self { world, other, cache, ingestor }
    }

    fn retriever(&self) -> HybridRetriever {
        HybridRetriever::new(self.world.store.clone(), self.other.clone(), Arc::new(self.cache.clone()))
    }

    fn query(&self, mode: SearchMode) -> RetrieveQuery {
        let options = RetrieveOptions::default().with_mode(mode).with_rerank(Some(false));
        RetrieveQuery::new(self.world.collection.clone(), "topic7").with_top_k(20).with_options(options)
    }

    async fn chunks(&self) -> u64 {
        let listed = self.world.store.collections(&self.world.collection.tenant).await.unwrap();
        listed.iter().find(|found| found.name == "default").unwrap().chunks
    }
}

#[tokio::test]
async fn texts_words_and_ids_stay_and_vectors_are_those_of_the_new_embedder() {
    let changed = Changed::new().await;
    let (store, collection) = (&changed.world.store, &changed.world.collection);
    let retriever = changed.retriever();
    let before = retriever.answer(changed.query(SearchMode::Lexical)).await.unwrap();
    let documents = store.documents(collection, None, 100).await.unwrap();
    let ours = changed.world.retriever(HybridConfig::default());
    let embedded_before: std::collections::BTreeSet<_> = {
        let id = &documents[0].id;
        store.document_chunks(collection, id).await.unwrap().into_iter().map(|chunk| chunk.hash).collect()
    };

    let done = changed.ingestor.reembed(collection, |_| {}).await.unwrap();
    assert_eq!((done.documents, done.chunks), (DOCUMENTS as u64, changed.chunks().await));
    assert_eq!(changed.other.take().len() as u64, done.chunks, "each chunk is embedded once");
    assert_eq!(store.embedder(collection).await.unwrap().unwrap(), "counting-2");
    assert_eq!(store.documents(collection, None, 100).await.unwrap(), documents);
    assert_eq!(retriever.answer(changed.query(SearchMode::Lexical)).await.unwrap(), before);
    let chunks = store.document_chunks(collection, &documents[0].id).await.unwrap();
    assert!(chunks.iter().all(|chunk| chunk.vector.as_ref().unwrap().len() == 128));
    let embedded: std::collections::BTreeSet<_> = chunks.iter().map(|chunk| chunk.hash).collect();
    assert_eq!(embedded, embedded_before, "what is embedded is the same text below the same headings");
    assert_eq!(retriever.answer(changed.query(SearchMode::Hybrid)).await.unwrap().degraded, None);
    assert_eq!(retriever.answer(changed.query(SearchMode::Dense)).await.unwrap().hits.len(), 20);
    let behind = ours.answer(changed.query(SearchMode::Hybrid)).await.unwrap();
    assert_eq!(behind.degraded.unwrap().code, "embedder_mismatch");

    // The sources are known still: a second ingest embeds and writes nothing.
    let options = operone_rag::chunk::ChunkOptions::new(30, 5).unwrap();
    let request = DocumentRequest::new("mem:3.md");
    let outcome = changed.ingestor.ingest_document(collection, &request, &options, None).await.unwrap();
    assert_eq!(outcome.status, DocumentStatus::Unchanged);
    // Nothing is left beside it, and a second call does nothing.
    changed.other.take();
    assert_eq!(store.collections(&collection.tenant).await.unwrap().len(), 1);
    let generation = store.generation(collection).await.unwrap();
    changed.ingestor.reembed(collection, |_| {}).await.unwrap();
    assert!(changed.other.take().is_empty());
    assert_eq!(store.generation(collection).await.unwrap(), generation);
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_go_on_and_never_see_vectors_of_two_embedders() {
    let changed = Changed::new().await;
    let done = AtomicBool::new(false);
    // Vectors of the two have other dimensions: comparing them is an error.
    let ask = async |retriever: HybridRetriever| {
        let mut degraded = Vec::new();
        while !done.load(Ordering::SeqCst) {
            let answer = retriever.answer(changed.query(SearchMode::Hybrid).with_fresh(true)).await.unwrap();
            assert!(answer.hits[0].source.uri.ends_with(":7.md"), "{:?}", answer.hits[0]);
            degraded.push(answer.degraded.is_some());
            tokio::task::yield_now().await;
        }
        degraded.dedup();
        degraded
    };
    let work = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        changed.ingestor.reembed(&changed.world.collection, |_| {}).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        done.store(true, Ordering::SeqCst);
    };
    let (new, old, ()) =
        tokio::join!(ask(changed.retriever()), ask(changed.world.retriever(HybridConfig::default())), work);
    assert_eq!((new, old), (vec![true, false], vec![false, true]), "there is one switch");
}

#[tokio::test]
async fn what_was_cut_off_goes_on_and_removals_meanwhile_count() {
    let changed = Changed::new().await;
    let (store, collection) = (&changed.world.store, &changed.world.collection);
    // The process dies after ten calls of the embedder.
    changed.other.calls.store(10, Ordering::SeqCst);
    let cut = changed.ingestor.reembed(collection, |_| {});
    assert!(tokio::time::timeout(Duration::from_secs(2), cut).await.is_err());
    let first = changed.other.take();
    assert_eq!(
        store.embedder(collection).await.unwrap().unwrap(),
        "counting-1",
        "queries see the earlier one"
    );
    // One that is done and one that is not are removed before it goes on.
    let documents = store.documents(collection, None, 100).await.unwrap();
    for gone in [&documents[0].id, &documents[DOCUMENTS - 1].id] {
        changed.world.ingestor.remove_document(collection, gone).await.unwrap();
    }
    let chunks = changed.chunks().await;
    changed.other.calls.store(usize::MAX, Ordering::SeqCst);
    let done = changed.ingestor.reembed(collection, |_| {}).await.unwrap();
    assert_eq!((done.documents, done.chunks), (DOCUMENTS as u64 - 2, chunks));
    let rest = changed.other.take();
    assert!(!first.is_empty() && rest.iter().all(|text| !first.contains(text)), "nothing is embedded twice");
    let left = store.documents(collection, None, 100).await.unwrap();
    assert_eq!(left, documents[1..DOCUMENTS - 1]);
}

#[tokio::test]
async fn a_cancelled_one_takes_back_what_it_did() {
    let changed = Changed::new().await;
    let collection = &changed.world.collection;
    changed.other.calls.store(10, Ordering::SeqCst);
    let cancelled = CancellationToken::new();
    let ingestor = changed.ingestor.clone().with_cancellation(cancelled.clone());
    let (result, ()) = tokio::join!(ingestor.reembed(collection, |_| {}), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        cancelled.cancel();
    });
    assert_eq!(result.unwrap_err().code(), "cancelled");
    let listed = changed.world.store.collections(&collection.tenant).await.unwrap();
    assert_eq!((listed.len(), listed[0].embedder.as_str()), (1, "counting-1"));
    let nothing = operone_core::chunk::Collection::named(collection.tenant.clone(), "none").unwrap();
    assert_eq!(changed.ingestor.reembed(&nothing, |_| {}).await.unwrap_err().code(), "not_found");
}
