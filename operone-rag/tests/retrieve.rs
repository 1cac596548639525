//! The promises of retrieval.
#![allow(
    clippy::clone_on_ref_ptr,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a broken promise fails the test"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use operone_core::chunk::{ChunkStore, Collection};
use operone_core::filter::Filter;
use operone_core::id::TenantId;
use operone_core::retrieve::{Hit, RetrieveOptions, RetrieveQuery, Retriever, SearchMode};
use operone_core::tool::ToolContext;
use operone_rag::ingest::DocumentRequest;
use operone_rag::{HybridConfig, HybridRetriever, search_tool};
use serde_json::json;
use support::{Counting, World};

fn query(world: &World, text: &str) -> RetrieveQuery {
    RetrieveQuery::new(world.collection.clone(), text)
}

async fn ask(world: &World, text: &str) -> Vec<Hit> {
    world.retriever(HybridConfig::default()).retrieve(query(world, text)).await.unwrap()
}

fn mode(mode: SearchMode) -> RetrieveOptions {
    RetrieveOptions::default().with_mode(mode)
}

fn uris(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.source.uri.as_str()).collect()
}

/// A world with four documents.
async fn library(completes: bool) -> World {
    let world = World::with(Counting::new("counting-1"), completes);
    for (name, text) in [
        ("sales.md", "# Sales\n\nQ3 sales were $1M, more than ever before."),
        ("staff.txt", "The staff of the sales department grew by three."),
        ("mode.txt", "The user prefers dark mode."),
        ("cat.txt", "A cat sat on the sofa."),
    ] {
        world.ingest(name, text).await;
    }
    world
}

#[tokio::test]
async fn hits_come_best_first_with_their_sources() {
    for completes in [true, false] {
        let world = library(completes).await;
        let hits = ask(&world, "What were the Q3 sales?").await;
        assert_eq!(uris(&hits), ["mem:sales.md", "mem:staff.txt"], "completes: {completes}");
        let best = &hits[0];
        assert!(best.content.contains("$1M"));
        assert_eq!((best.source.chunk_id.as_str(), best.source.start), ("c1", 0));
        assert_eq!(
            (best.source.title.as_deref(), &best.source.heading),
            (Some("Sales"), &vec!["Sales".to_owned()])
        );
        assert!(hits.iter().all(|hit| (0.0..=1.0).contains(&hit.score)));
        assert!(hits.windows(2).all(|pair| pair[0].score >= pair[1].score));
    }
}

#[tokio::test]
async fn nothing_found_is_an_empty_list() {
    let world = library(true).await;
    assert!(ask(&world, "zebra xylophone").await.is_empty(), "nearest neighbours that are far are no hits");
    assert!(ask(&world, "?! …").await.is_empty(), "a query without a word");
    let empty = Collection { name: "empty".into(), ..world.collection.clone() };
    let retriever = world.retriever(HybridConfig::default());
    assert!(retriever.retrieve(RetrieveQuery::new(empty, "sales")).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_word_that_is_spelt_otherwise_is_found_by_its_vector() {
    let world = library(true).await;
    world.ingest("deploy.txt", "Kubernetes deployments are rolled out gradually.").await;
    let hits = ask(&world, "kuberneetes deploymnts").await;
    assert_eq!(uris(&hits), ["mem:deploy.txt"]);
    assert_eq!(hits[0].score, 1.0, "a side that has nothing to say leaves its weight to the other");
    let words_only = world.retriever(HybridConfig::default().with_dense_weight(0.0));
    assert!(words_only.retrieve(query(&world, "kuberneetes deploymnts")).await.unwrap().is_empty());
}

#[tokio::test]
async fn filters_apply_before_the_cut() {
    let world = World::new();
    for index in 0..30 {
        let name = format!("{index}.txt");
        world.shelf.put(&name, format!("Report number {index} of the series"));
        let metadata = serde_json::from_value(json!({"number": index})).unwrap();
        let request = DocumentRequest::new(format!("mem:{name}")).with_metadata(metadata);
        let options = world.ingestor.default_options();
        world.ingestor.ingest_document(&world.collection, &request, &options, None).await.unwrap();
    }
    let filter: Filter = serde_json::from_value(json!({"gte": {"number": 27}})).unwrap();
    let retriever = world.retriever(HybridConfig::default().with_depth(5));
    let asked = query(&world, "report of the series").with_top_k(2).with_filter(Some(filter));
    let hits = retriever.retrieve(asked).await.unwrap();
    assert_eq!(hits.len(), 2);
    assert!(
        hits.iter().all(|hit| ["mem:27.txt", "mem:28.txt", "mem:29.txt"].contains(&hit.source.uri.as_str()))
    );
}

#[tokio::test]
async fn equal_scores_are_in_order_of_document_and_place() {
    let world = World::new();
    for name in ["a.txt", "b.txt", "c.txt", "d.txt"] {
        world.ingest(name, "exactly the same words").await;
    }
    let hits = ask(&world, "same words").await;
    let ids: Vec<&String> = hits.iter().map(|hit| &hit.source.doc_id).collect();
    assert_eq!(ids.len(), 4);
    assert!(ids.is_sorted());
    assert!(hits.iter().all(|hit| hit.score == 1.0));
}

#[tokio::test]
async fn an_answer_is_kept_until_the_collection_changes() {
    let world = library(true).await;
    let retriever = world.retriever(HybridConfig::default());
    let count = || world.store.queries.swap(0, Ordering::SeqCst);
    let asked = query(&world, "dark  mode ");
    let first = retriever.retrieve(asked.clone()).await.unwrap();
    assert_eq!(count(), 3, "one by vector, one by words of chunks, one by words of documents");
    assert_eq!(retriever.retrieve(query(&world, "dark mode")).await.unwrap(), first);
    assert_eq!(count(), 0, "the second answer is kept, also under other white space");
    assert_eq!(retriever.retrieve(asked.clone().with_fresh(true)).await.unwrap(), first);
    assert_eq!(count(), 3, "fresh passes it by");
    assert_ne!(retriever.retrieve(asked.clone().with_top_k(1)).await.unwrap().len(), 0);
    assert_eq!(count(), 3, "another top_k is another query");
    let lexical = asked.clone().with_options(RetrieveOptions::default().with_mode(SearchMode::Lexical));
    retriever.retrieve(lexical).await.unwrap();
    assert_eq!(count(), 2, "another mode too");

    let id = &world.ingest("mode.txt", "The user prefers dark mode in the evening.").await;
    let changed = retriever.retrieve(asked.clone()).await.unwrap();
    assert!(changed[0].content.ends_with("in the evening."));
    world.store.remove(&world.collection, std::slice::from_ref(id)).await.unwrap();
    assert!(retriever.retrieve(asked).await.unwrap().is_empty(), "what was deleted is not found");
}

#[tokio::test]
async fn the_querys_vector_is_kept_too() {
    let world = library(true).await;
    world.embedder.take();
    ask(&world, "dark mode").await;
    ask(&world, "dark mode").await;
    assert_eq!(world.embedder.take(), ["dark mode"]);
    let retriever = world.retriever(HybridConfig::default());
    retriever.retrieve(query(&world, "dark mode").with_fresh(true)).await.unwrap();
    assert_eq!(world.embedder.take(), ["dark mode"], "fresh passes this cache by as well");
}

#[tokio::test]
async fn impossible_queries_are_refused() {
    let world = library(true).await;
    let retriever = world.retriever(HybridConfig::default());
    let code = async |query: RetrieveQuery| retriever.retrieve(query).await.unwrap_err().code().to_owned();
    assert_eq!(code(query(&world, " \n")).await, "blank_query");
    assert_eq!(code(query(&world, "x").with_top_k(0)).await, "invalid_top_k");
    assert_eq!(code(query(&world, "x").with_top_k(1001)).await, "invalid_top_k");
}

#[tokio::test]
async fn of_another_embedder_words_alone_are_asked_and_the_answer_says_why() {
    let world = library(true).await;
    let other = Arc::new(Counting::new("counting-2"));
    let retriever = HybridRetriever::new(world.store.clone(), other, Arc::new(world.cache.clone()));
    let lexical = query(&world, "sales").with_options(mode(SearchMode::Lexical).with_rerank(Some(false)));
    let expected = retriever.answer(lexical).await.unwrap();
    assert_eq!(expected.degraded, None);
    for _ in 0..2 {
        // The second time from the cache.
        let options = mode(SearchMode::Hybrid).with_rerank(Some(false));
        let found = retriever.answer(query(&world, "sales").with_options(options)).await.unwrap();
        assert_eq!(found.hits, expected.hits);
        let reason = found.degraded.unwrap();
        assert_eq!(reason.code, "embedder_mismatch");
        assert!(
            reason.detail.contains("counting-1") && reason.detail.contains("reembed"),
            "{}",
            reason.detail
        );
    }
    let dense = query(&world, "sales").with_options(mode(SearchMode::Dense));
    assert_eq!(retriever.answer(dense).await.unwrap_err().code(), "embedder_mismatch");
}

#[tokio::test]
async fn the_tool_finds_only_what_belongs_to_its_tenant() {
    let world = library(true).await;
    let tool = search_tool(Arc::new(world.retriever(HybridConfig::default())), Vec::new());
    assert_eq!(tool.spec().name, "rag.search");
    let found = tool.call(&ToolContext::default(), json!({"query": "dark mode", "top_k": 1})).await.unwrap();
    assert_eq!(found["results"][0]["source"]["uri"], "mem:mode.txt");
    assert!(found["results"][0]["score"].is_number());
    let stranger = ToolContext::new(TenantId::new("stranger").unwrap());
    let found = tool.call(&stranger, json!({"query": "dark mode"})).await.unwrap();
    assert_eq!(found, json!({"results": []}));
    for wrong in
        [json!({}), json!({"query": "x", "top_k": 21}), json!({"query": " "}), json!({"query": "x", "y": 1})]
    {
        assert!(tool.call(&ToolContext::default(), wrong).await.is_err());
    }
}
