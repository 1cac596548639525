//! The promises of [`ChunkStore`].

mod collections;
mod filters;

use std::sync::Arc;

use super::cases;
use crate::cache::ContentHash;
use crate::chunk::{
    Candidate, Chunk, ChunkKey, ChunkStore, Collection, CompleteQuery, DenseQuery, Document, Generation,
    Level, LexicalQuery, NewDocument, Scores, StoredChunk,
};
use crate::clock::Timestamp;
use crate::error::ErrorKind;
use crate::id::{DocId, TenantId, WorkId};
use crate::text::Bm25;
use collections::{
    an_exchange_that_comes_too_late_changes_nothing, collections_are_listed_by_tenant_with_what_they_hold,
    readers_never_see_half_an_exchange, two_collections_are_exchanged_in_one_step,
};
use filters::{filters_apply_before_the_cut, filters_hold_as_the_truth_table_says};

cases! {
    dyn ChunkStore, chunk_store_conformance, chunk_store:
    a_new_collection_is_empty
    a_document_comes_back_as_it_was
    chunks_are_shown_in_the_order_asked
    a_replaced_document_leaves_nothing_behind
    readers_never_see_half_a_document
    concurrent_replacements_all_arrive
    another_embedder_or_dimension_is_refused
    removed_documents_are_gone
    an_emptied_collection_takes_another_embedder
    each_change_raises_the_generation
    documents_come_in_pages_by_id
    outcomes_are_those_of_the_job
    dense_candidates_are_the_nearest
    lexical_scores_are_bm25_of_the_chunks
    lexical_scores_are_bm25_of_the_documents
    scores_do_not_depend_on_what_was_there_before
    equal_scores_are_ordered_by_document_and_ordinal
    filters_apply_before_the_cut
    filters_hold_as_the_truth_table_says
    completed_scores_are_those_of_the_queries
    collections_and_tenants_are_apart
    collections_are_listed_by_tenant_with_what_they_hold
    two_collections_are_exchanged_in_one_step
    an_exchange_that_comes_too_late_changes_nothing
    readers_never_see_half_an_exchange
}

const EMBEDDER: &str = "conformance-3";

fn collection() -> Collection {
    Collection::of(TenantId::local())
}

fn doc_id(name: &str) -> DocId {
    DocId::new(name).unwrap()
}

fn key(doc: &str, ordinal: u32) -> ChunkKey {
    ChunkKey { doc: doc_id(doc), ordinal }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn document(name: &str) -> Document {
    Document::new(doc_id(name), format!("file:///{name}.txt"), "text/plain")
}

/// A document whose chunks have these texts and vectors; the terms are the words.
fn with_vectors(name: &str, chunks: &[(&str, Option<[f32; 3]>)]) -> NewDocument {
    let (mut made, mut start) = (Vec::new(), 0);
    for (ordinal, (text, vector)) in (0..).zip(chunks) {
        let chunk = Chunk::new(ordinal, start, *text, words(text));
        made.push(chunk.with_vector(vector.map(|vector| vector.to_vec())));
        start += text.len() as u64;
    }
    let terms = chunks.iter().flat_map(|(text, _)| words(text)).collect();
    NewDocument::new(document(name), made, terms, EMBEDDER)
}

fn texts(name: &str, chunks: &[&str]) -> NewDocument {
    with_vectors(name, &chunks.iter().map(|text| (*text, None)).collect::<Vec<_>>())
}

async fn put(store: &dyn ChunkStore, documents: impl IntoIterator<Item = NewDocument>) {
    for document in documents {
        store.replace(&collection(), document).await.unwrap();
    }
}

async fn dense(store: &dyn ChunkStore, vector: [f32; 3], limit: usize) -> Vec<Candidate> {
    let query = DenseQuery { vector: &vector, filter: None, limit };
    store.dense(&collection(), query).await.unwrap()
}

async fn lexical(store: &dyn ChunkStore, terms: &str, level: Level) -> Vec<Candidate> {
    let query = LexicalQuery { terms: &words(terms), level, filter: None, limit: 100 };
    store.lexical(&collection(), query).await.unwrap()
}

fn keys(candidates: &[Candidate]) -> Vec<ChunkKey> {
    candidates.iter().map(|candidate| candidate.key.clone()).collect()
}

fn assert_scores(found: &[Candidate], expected: &[(ChunkKey, f32)]) {
    assert_eq!(keys(found), expected.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>());
    for (found, (_, score)) in found.iter().zip(expected) {
        assert!((found.score - score).abs() <= score.abs() * 1e-4, "{found:?} should have {score}");
    }
}

/// Chunks without the order of their terms, which no store has to keep.
fn comparable(mut chunks: Vec<Chunk>) -> Vec<Chunk> {
    chunks.iter_mut().for_each(|chunk| chunk.terms.sort());
    chunks
}

/// Where nothing was stored nothing is found, and the generation is zero.
async fn a_new_collection_is_empty(store: Arc<dyn ChunkStore>) {
    assert_eq!(store.generation(&collection()).await.unwrap(), Generation(0));
    assert_eq!(store.embedder(&collection()).await.unwrap(), None);
    assert_eq!(store.document(&collection(), &doc_id("a")).await.unwrap(), None);
    assert!(store.documents(&collection(), None, 10).await.unwrap().is_empty());
    assert!(store.document_chunks(&collection(), &doc_id("a")).await.unwrap().is_empty());
    assert_eq!(store.chunks(&collection(), &[key("a", 0)]).await.unwrap(), [None]);
    assert_eq!(store.remove(&collection(), &[doc_id("a")]).await.unwrap(), Generation(0));
    assert!(dense(&*store, [1.0, 0.0, 0.0], 10).await.is_empty());
    assert!(lexical(&*store, "tide", Level::Chunk).await.is_empty());
}

/// Documents and chunks come back whole; the store sets the count of the chunks.
async fn a_document_comes_back_as_it_was(store: Arc<dyn ChunkStore>) {
    let mut full =
        with_vectors("full", &[("Ebbe und Flut", Some([0.6, 0.0, -0.8])), ("猫 é e\u{301}", None)]);
    full.document.title = Some("Gezeiten".into());
    full.document.metadata = serde_json::from_str(
        r#"{"priority": "high", "year": 2023, "share": 0.5, "draft": false, "tags": ["a", "b"]}"#,
    )
    .unwrap();
    full.document.date = Some(Timestamp::from_millis(-1_234));
    full.document.manifest = "manifest".into();
    full.chunks[1].page = Some(7);
    full.chunks[1].heading = vec!["One".into(), "One \"point\" one".into()];
    full.chunks[0].hash = ContentHash::of("what was embedded");
    put(&*store, [full.clone(), NewDocument::new(document("bare"), Vec::new(), Vec::new(), EMBEDDER)]).await;
    let mut expected = full.document.clone();
    expected.chunks = 2;
    assert_eq!(store.document(&collection(), &doc_id("full")).await.unwrap(), Some(expected.clone()));
    let chunks = store.document_chunks(&collection(), &doc_id("full")).await.unwrap();
    assert_eq!(comparable(chunks), comparable(full.chunks.clone()));
    assert_eq!(store.document(&collection(), &doc_id("bare")).await.unwrap(), Some(document("bare")));
    assert!(store.document_chunks(&collection(), &doc_id("bare")).await.unwrap().is_empty());
    assert_eq!(store.embedder(&collection()).await.unwrap().as_deref(), Some(EMBEDDER));
    let shown = store.chunks(&collection(), &[key("full", 1)]).await.unwrap();
    assert_eq!(shown, [Some(StoredChunk::new(&expected, &full.chunks[1]))]);
}

/// Chunks are given in the order of the keys, `None` where one is gone.
async fn chunks_are_shown_in_the_order_asked(store: Arc<dyn ChunkStore>) {
    put(&*store, [texts("a", &["one ", "two"]), texts("b", &["three"])]).await;
    let asked = [key("b", 0), key("a", 2), key("a", 1), key("c", 0), key("a", 0), key("b", 0)];
    let shown = store.chunks(&collection(), &asked).await.unwrap();
    for (asked, shown) in asked.iter().zip(&shown) {
        assert!(shown.as_ref().is_none_or(|shown| shown.key == *asked));
    }
    let shown: Vec<_> = shown.iter().map(|chunk| chunk.as_ref().map(|chunk| chunk.text.as_str())).collect();
    assert_eq!(shown, [Some("three"), None, Some("two"), None, Some("one "), Some("three")]);
}

/// A replacement leaves neither chunks nor words nor vectors of the version before.
async fn a_replaced_document_leaves_nothing_behind(store: Arc<dyn ChunkStore>) {
    let x = Some([1.0, 0.0, 0.0]);
    put(&*store, [with_vectors("a", &[("old tide", x), ("old moon", x), ("old sea", x)])]).await;
    put(&*store, [with_vectors("a", &[("new tide", Some([0.0, 1.0, 0.0])), ("new moon", None)])]).await;
    assert!(lexical(&*store, "old sea", Level::Chunk).await.is_empty());
    assert!(lexical(&*store, "old sea", Level::Document).await.is_empty());
    assert_eq!(keys(&lexical(&*store, "new", Level::Chunk).await), [key("a", 0), key("a", 1)]);
    assert_eq!(keys(&dense(&*store, [1.0, 0.0, 0.0], 10).await), [key("a", 0)]);
    let shown = store.chunks(&collection(), &[key("a", 1), key("a", 2)]).await.unwrap();
    assert_eq!(shown[0].as_ref().unwrap().text, "new moon");
    assert_eq!(shown[1], None);
    assert_eq!(store.document_chunks(&collection(), &doc_id("a")).await.unwrap().len(), 2);
    assert_eq!(store.documents(&collection(), None, 10).await.unwrap().len(), 1);
}

/// While a document is replaced, every read sees one version whole.
async fn readers_never_see_half_a_document(store: Arc<dyn ChunkStore>) {
    let version = |number: usize| {
        let text = format!("version{number} common");
        texts("a", &vec![text.as_str(); 1 + number % 5])
    };
    put(&*store, [version(0)]).await;
    let writer = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for number in 1..30 {
                put(&*store, [version(number)]).await;
            }
        }
    });
    let mut seen = 0;
    while !writer.is_finished() || seen == 0 {
        let chunks = store.document_chunks(&collection(), &doc_id("a")).await.unwrap();
        let word = chunks[0].terms.iter().find(|term| term.starts_with("version")).unwrap();
        let number: usize = word.trim_start_matches("version").parse().unwrap();
        assert!(number >= seen, "version {number} came after {seen}");
        seen = number;
        assert_eq!(comparable(chunks), comparable(version(number).chunks));
        let found = lexical(&*store, "common", Level::Chunk).await;
        assert!(found.windows(2).all(|pair| pair[0].score == pair[1].score));
        assert_eq!(
            keys(&found),
            (0..found.len() as u32).map(|ordinal| key("a", ordinal)).collect::<Vec<_>>()
        );
        assert!((1..=5).contains(&found.len()));
    }
    writer.await.unwrap();
}

/// Writers of different documents do not hinder each other.
async fn concurrent_replacements_all_arrive(store: Arc<dyn ChunkStore>) {
    let tasks: Vec<_> = (0..12)
        .map(|number| {
            let store = Arc::clone(&store);
            let document =
                with_vectors(&format!("d{number:02}"), &[("tide", Some([0.0, 0.6, 0.8])), ("moon", None)]);
            tokio::spawn(async move { store.replace(&collection(), document).await.unwrap() })
        })
        .collect();
    let mut generations = Vec::new();
    for task in tasks {
        generations.push(task.await.unwrap());
    }
    let last = generations.iter().max().copied();
    generations.sort();
    generations.dedup();
    assert_eq!(generations.len(), 12, "each change has a generation of its own");
    assert_eq!(Some(store.generation(&collection()).await.unwrap()), last);
    let all: Vec<_> = (0..12).map(|number| key(&format!("d{number:02}"), 0)).collect();
    assert_eq!(keys(&dense(&*store, [0.0, 0.0, 1.0], 100).await), all);
    assert_eq!(keys(&lexical(&*store, "tide", Level::Chunk).await), all);
}

/// Vectors of another embedder or dimension are refused and change nothing.
async fn another_embedder_or_dimension_is_refused(store: Arc<dyn ChunkStore>) {
    put(&*store, [with_vectors("a", &[("tide", Some([1.0, 0.0, 0.0]))])]).await;
    let before = store.generation(&collection()).await.unwrap();
    let mut other_embedder = with_vectors("b", &[("moon", Some([1.0, 0.0, 0.0]))]);
    other_embedder.embedder = "another".into();
    let mut other_dimension = with_vectors("b", &[("moon", Some([1.0, 0.0, 0.0]))]);
    other_dimension.chunks[0].vector = Some(vec![1.0, 0.0]);
    let mut replacement = with_vectors("a", &[("moon", None)]);
    replacement.embedder = "another".into();
    for refused in [other_embedder, other_dimension, replacement] {
        let error = store.replace(&collection(), refused).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Conflict, "embedder_mismatch"));
    }
    assert_eq!(store.generation(&collection()).await.unwrap(), before);
    assert_eq!(store.documents(&collection(), None, 10).await.unwrap().len(), 1);
    assert!(lexical(&*store, "moon", Level::Chunk).await.is_empty());
    assert_eq!(keys(&lexical(&*store, "tide", Level::Chunk).await), [key("a", 0)]);
}

/// What was removed is not found any more; unknown ids are passed over.
async fn removed_documents_are_gone(store: Arc<dyn ChunkStore>) {
    let x = Some([1.0, 0.0, 0.0]);
    put(&*store, ["a", "b", "c"].map(|name| with_vectors(name, &[("tide", x), (name, x)]))).await;
    store.remove(&collection(), &[doc_id("c"), doc_id("unknown"), doc_id("a"), doc_id("c")]).await.unwrap();
    assert_eq!(store.document(&collection(), &doc_id("a")).await.unwrap(), None);
    assert!(store.document_chunks(&collection(), &doc_id("a")).await.unwrap().is_empty());
    assert_eq!(store.chunks(&collection(), &[key("a", 0)]).await.unwrap(), [None]);
    let ids: Vec<_> =
        store.documents(&collection(), None, 10).await.unwrap().into_iter().map(|found| found.id).collect();
    assert_eq!(ids, [doc_id("b")]);
    assert_eq!(keys(&dense(&*store, [1.0, 0.0, 0.0], 10).await), [key("b", 0), key("b", 1)]);
    assert_eq!(keys(&lexical(&*store, "tide a c", Level::Chunk).await), [key("b", 0)]);
    assert_eq!(keys(&lexical(&*store, "tide a c", Level::Document).await), [key("b", 0)]);
}

/// While nothing is stored there is no embedder, so that another may come.
async fn an_emptied_collection_takes_another_embedder(store: Arc<dyn ChunkStore>) {
    put(&*store, [with_vectors("a", &[("tide", Some([1.0, 0.0, 0.0]))])]).await;
    let before = store.remove(&collection(), &[doc_id("a")]).await.unwrap();
    assert_eq!(store.embedder(&collection()).await.unwrap(), None);
    let mut other = with_vectors("a", &[("tide", None)]);
    other.embedder = "another".into();
    other.chunks[0].vector = Some(vec![0.0, 1.0]);
    assert!(store.replace(&collection(), other).await.unwrap() > before);
    assert_eq!(store.embedder(&collection()).await.unwrap().as_deref(), Some("another"));
    let query = DenseQuery { vector: &[0.0, 1.0], filter: None, limit: 1 };
    assert_eq!(keys(&store.dense(&collection(), query).await.unwrap()), [key("a", 0)]);
}

/// The generation rises with each change, and with nothing else.
async fn each_change_raises_the_generation(store: Arc<dyn ChunkStore>) {
    let first = store.replace(&collection(), texts("a", &["tide"])).await.unwrap();
    let second = store.replace(&collection(), texts("a", &["tide"])).await.unwrap();
    assert!(Generation(0) < first && first < second);
    assert_eq!(store.remove(&collection(), &[doc_id("b")]).await.unwrap(), second);
    assert_eq!(store.remove(&collection(), &[]).await.unwrap(), second);
    lexical(&*store, "tide", Level::Chunk).await;
    assert_eq!(store.generation(&collection()).await.unwrap(), second);
    let third = store.remove(&collection(), &[doc_id("a")]).await.unwrap();
    assert!(second < third);
    assert_eq!(store.generation(&collection()).await.unwrap(), third);
}

/// Documents come in the order of their ids; each page begins after the last document of the page before.
async fn documents_come_in_pages_by_id(store: Arc<dyn ChunkStore>) {
    put(&*store, ["c", "a", "E", "d", "b"].map(|name| texts(name, &["tide"]))).await;
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.documents(&collection(), after.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        after = Some(last.id.clone());
        seen.extend(page.into_iter().map(|found| found.id));
    }
    assert_eq!(seen, ["E", "a", "b", "c", "d"].map(doc_id));
    let after_unknown = store.documents(&collection(), Some(&doc_id("bb")), 1).await.unwrap();
    assert_eq!(after_unknown[0].id, doc_id("c"));
}

/// A job finds the places and ids of the documents it stored, as long as no other job replaced them.
async fn outcomes_are_those_of_the_job(store: Arc<dyn ChunkStore>) {
    let job = |name: &str| WorkId::new(name).unwrap();
    put(
        &*store,
        [
            texts("c", &["tide"]).with_job(job("job-1"), 0),
            texts("a", &["tide"]).with_job(job("job-1"), 2),
            texts("b", &["tide"]).with_job(job("job-2"), 1),
            texts("d", &["tide"]),
        ],
    )
    .await;
    let outcomes = |job| {
        let store = Arc::clone(&store);
        async move {
            let mut outcomes = store.outcomes(&collection(), &job).await.unwrap();
            outcomes.sort();
            outcomes
        }
    };
    assert_eq!(outcomes(job("job-1")).await, [(0, doc_id("c")), (2, doc_id("a"))]);
    assert_eq!(outcomes(job("job-2")).await, [(1, doc_id("b"))]);
    assert!(outcomes(job("job-3")).await.is_empty());
    put(&*store, [texts("a", &["tide"]).with_job(job("job-2"), 0)]).await;
    assert_eq!(outcomes(job("job-1")).await, [(0, doc_id("c"))]);
    assert_eq!(outcomes(job("job-2")).await, [(0, doc_id("a")), (1, doc_id("b"))]);
}

/// The nearest by cosine, best first, at most so many; chunks without a vector never.
async fn dense_candidates_are_the_nearest(store: Arc<dyn ChunkStore>) {
    put(
        &*store,
        [
            with_vectors(
                "a",
                &[("one", Some([0.0, 1.0, 0.0])), ("two", Some([0.6, 0.8, 0.0])), ("three", None)],
            ),
            with_vectors("b", &[("four", Some([-1.0, 0.0, 0.0])), ("five", Some([1.0, 0.0, 0.0]))]),
        ],
    )
    .await;
    let expected = [(key("b", 1), 1.0), (key("a", 1), 0.6), (key("a", 0), 0.0), (key("b", 0), -1.0)];
    for limit in 0..6 {
        let found = dense(&*store, [1.0, 0.0, 0.0], limit).await;
        assert_scores(&found, &expected[..limit.min(4)]);
        assert!(found.iter().all(|candidate| (-1.0..=1.0).contains(&candidate.score)));
    }
}

/// The corpus of the lexical cases: `a` and `b` of two chunks each, `c` of one, and `empty` of none.
fn corpus() -> Vec<NewDocument> {
    vec![
        texts("a", &["tide tide moon", "sun"]),
        texts("b", &["tide sun sun sun sun", "moon star"]),
        texts("c", &["star star star"]),
        NewDocument::new(document("empty"), Vec::new(), Vec::new(), EMBEDDER),
    ]
}

fn bm25(total: usize, containing: usize, count: f32, length: f32, mean: f32) -> f32 {
    Bm25::inverse_document_frequency(total, containing) * Bm25::default().term_weight(count, length, mean)
}

/// Each chunk by itself; a term that the query repeats counts as often.
async fn lexical_scores_are_bm25_of_the_chunks(store: Arc<dyn ChunkStore>) {
    put(&*store, corpus()).await;
    let mean = 14.0 / 5.0;
    let (a0, b0) = (bm25(5, 2, 2.0, 3.0, mean), bm25(5, 2, 1.0, 5.0, mean));
    let tide = [(key("a", 0), a0), (key("b", 0), b0)];
    assert_scores(&lexical(&*store, "tide", Level::Chunk).await, &tide);
    assert_scores(&lexical(&*store, "tide unknown", Level::Chunk).await, &tide);
    let twice = tide.clone().map(|(key, score)| (key, 2.0 * score));
    assert_scores(&lexical(&*store, "tide tide", Level::Chunk).await, &twice);
    let moon = bm25(5, 2, 1.0, 2.0, mean);
    let both = [(key("a", 0), a0 + bm25(5, 2, 1.0, 3.0, mean)), (key("b", 1), moon), (key("b", 0), b0)];
    assert_scores(&lexical(&*store, "moon tide", Level::Chunk).await, &both);
    assert!(lexical(&*store, "unknown", Level::Chunk).await.is_empty());
    assert!(lexical(&*store, "", Level::Chunk).await.is_empty());
    let query = LexicalQuery { terms: &words("tide"), level: Level::Chunk, filter: None, limit: 1 };
    assert_scores(&store.lexical(&collection(), query).await.unwrap(), &tide[..1]);
}

/// The document as a whole, shown by its first chunk.
async fn lexical_scores_are_bm25_of_the_documents(store: Arc<dyn ChunkStore>) {
    put(&*store, corpus()).await;
    let mean = 14.0 / 4.0;
    let expected = [(key("c", 0), bm25(4, 2, 3.0, 3.0, mean)), (key("b", 0), bm25(4, 2, 1.0, 7.0, mean))];
    assert_scores(&lexical(&*store, "star", Level::Document).await, &expected);
    let sun = [(key("b", 0), bm25(4, 2, 4.0, 7.0, mean)), (key("a", 0), bm25(4, 2, 1.0, 4.0, mean))];
    assert_scores(&lexical(&*store, "sun", Level::Document).await, &sun);
}

/// Documents that came and went leave no trace in scores.
async fn scores_do_not_depend_on_what_was_there_before(store: Arc<dyn ChunkStore>) {
    put(&*store, corpus()).await;
    let mut before = Vec::new();
    for level in [Level::Chunk, Level::Document] {
        before.push(lexical(&*store, "tide moon star", level).await);
    }
    let noise = |number: usize| texts(&format!("noise-{number}"), &["tide moon", "tide noise noise", "star"]);
    put(&*store, (0..5).map(noise)).await;
    put(&*store, [texts("b", &["something else altogether"]), texts("noise-1", &["moon"])]).await;
    let gone: Vec<DocId> = (0..5).map(|number| doc_id(&format!("noise-{number}"))).collect();
    store.remove(&collection(), &gone).await.unwrap();
    store.remove(&collection(), &[doc_id("a")]).await.unwrap();
    put(&*store, corpus().into_iter().rev()).await;
    for (level, before) in [Level::Chunk, Level::Document].into_iter().zip(before) {
        assert_eq!(lexical(&*store, "tide moon star", level).await, before);
    }
    assert!(lexical(&*store, "noise something", Level::Chunk).await.is_empty());
}

/// Among equals the lower document id comes first, then the lower ordinal; the cut keeps to that order.
async fn equal_scores_are_ordered_by_document_and_ordinal(store: Arc<dyn ChunkStore>) {
    let x = Some([0.0, 0.0, 1.0]);
    put(&*store, ["c", "a", "d", "b"].map(|name| with_vectors(name, &[("tide", x), ("tide", x)]))).await;
    put(&*store, ["d", "a"].map(|name| with_vectors(name, &[("tide", x), ("tide", x)]))).await;
    let ordered: Vec<ChunkKey> =
        ["a", "b", "c", "d"].iter().flat_map(|name| [key(name, 0), key(name, 1)]).collect();
    for limit in 1..9 {
        assert_eq!(keys(&dense(&*store, [0.0, 0.0, 1.0], limit).await), ordered[..limit]);
        let query = LexicalQuery { terms: &words("tide"), level: Level::Chunk, filter: None, limit };
        assert_eq!(keys(&store.lexical(&collection(), query).await.unwrap()), ordered[..limit]);
    }
    let first: Vec<ChunkKey> = ["a", "b", "c", "d"].map(|name| key(name, 0)).into();
    assert_eq!(keys(&lexical(&*store, "tide", Level::Document).await), first);
}

/// Completed scores are those that the queries give, zero for chunks without the terms, `None` where there is
/// nothing to compare; a store that cannot says so.
async fn completed_scores_are_those_of_the_queries(store: Arc<dyn ChunkStore>) {
    put(
        &*store,
        [
            with_vectors("a", &[("tide moon", Some([1.0, 0.0, 0.0])), ("sun", None)]),
            with_vectors("b", &[("tide tide", Some([0.6, 0.8, 0.0])), ("star", Some([0.0, 0.0, 1.0]))]),
        ],
    )
    .await;
    let asked = [key("b", 1), key("a", 1), key("gone", 0), key("b", 0), key("a", 7), key("a", 0)];
    let vector = [0.8, 0.6, 0.0];
    for level in [Level::Chunk, Level::Document] {
        let terms = words("tide tide moon");
        let query = CompleteQuery { keys: &asked, vector: Some(&vector), terms: &terms, level };
        let completed = store.complete(&collection(), query).await;
        if !store.capabilities().complete {
            assert_eq!(completed.unwrap_err().kind(), ErrorKind::Unsupported);
            continue;
        }
        let completed = completed.unwrap();
        let near = dense(&*store, vector, 100).await;
        let worded = lexical(&*store, "tide tide moon", level).await;
        let score = |candidates: &[Candidate], key: &ChunkKey| {
            candidates.iter().find(|candidate| candidate.key == *key).map(|candidate| candidate.score)
        };
        for (key, scores) in asked.iter().zip(&completed) {
            let gone = key.doc == doc_id("gone") || key.ordinal == 7;
            let shown_by = match level {
                Level::Chunk => key.clone(),
                Level::Document => ChunkKey { ordinal: 0, ..key.clone() },
            };
            let lexical = if gone { None } else { Some(score(&worded, &shown_by).unwrap_or(0.0)) };
            assert_eq!(*scores, Scores { dense: score(&near, key), lexical }, "{key:?} at {level:?}");
        }
        let words_only = CompleteQuery { vector: None, ..query };
        assert!(store.complete(&collection(), words_only).await.unwrap().iter().all(|s| s.dense.is_none()));
        let vector_only = CompleteQuery { terms: &[], ..query };
        assert!(
            store.complete(&collection(), vector_only).await.unwrap().iter().all(|s| s.lexical.is_none())
        );
    }
}

/// Nothing crosses from one collection or tenant to another, also under the same ids.
async fn collections_and_tenants_are_apart(store: Arc<dyn ChunkStore>) {
    let named = Collection { tenant: TenantId::local(), name: "named".into() };
    let foreign = Collection::of(TenantId::new("other").unwrap());
    put(&*store, [with_vectors("a", &[("tide", Some([1.0, 0.0, 0.0]))])]).await;
    for other in [&named, &foreign] {
        assert_eq!(store.generation(other).await.unwrap(), Generation(0));
        assert_eq!(store.document(other, &doc_id("a")).await.unwrap(), None);
        assert!(store.documents(other, None, 10).await.unwrap().is_empty());
        assert_eq!(store.chunks(other, &[key("a", 0)]).await.unwrap(), [None]);
        let query = DenseQuery { vector: &[1.0, 0.0, 0.0], filter: None, limit: 9 };
        assert!(store.dense(other, query).await.unwrap().is_empty());
        let mut document = texts("a", &["moon moon", "tide"]);
        document.embedder = "another".into();
        store.replace(other, document).await.unwrap();
        let query = LexicalQuery { terms: &words("tide"), level: Level::Chunk, filter: None, limit: 9 };
        assert_eq!(keys(&store.lexical(other, query).await.unwrap()), [key("a", 1)]);
    }
    assert_eq!(keys(&lexical(&*store, "tide moon", Level::Chunk).await), [key("a", 0)]);
    store.remove(&foreign, &[doc_id("a")]).await.unwrap();
    assert!(store.document(&collection(), &doc_id("a")).await.unwrap().is_some());
    assert!(store.document(&named, &doc_id("a")).await.unwrap().is_some());
}
