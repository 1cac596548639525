//! The promises of choosing, reranking and showing hits.
#![allow(
    clippy::clone_on_ref_ptr,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a broken promise fails the test"
)]

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use operone_core::Result;
use operone_core::retrieve::{
    Hit, NearDuplicates, Passage, Reranker, RetrieveOptions, RetrieveQuery, Retriever, SearchMode,
};
use operone_rag::HybridConfig;
use operone_rag::chunk::ChunkOptions;
use operone_rag::ingest::DocumentRequest;
use support::{Counting, World};

fn options() -> RetrieveOptions {
    RetrieveOptions::default()
}

/// Without a reranker, so that each test sees one thing at a time.
fn config() -> HybridConfig {
    HybridConfig::default().with_rerank(false)
}

async fn ask(world: &World, text: &str, top_k: usize, options: RetrieveOptions) -> Vec<Hit> {
    let query = RetrieveQuery::new(world.collection.clone(), text).with_top_k(top_k).with_options(options);
    world.retriever(config()).retrieve(query).await.unwrap()
}

async fn cut(world: &World, name: &str, text: &str, size: usize, overlap: usize) {
    world.shelf.put(name, text);
    let options = ChunkOptions::new(size, overlap).unwrap();
    let request = DocumentRequest::new(format!("mem:{name}"));
    let outcome = world.ingestor.ingest_document(&world.collection, &request, &options, None).await.unwrap();
    assert_eq!(outcome.error, None);
}

fn uris(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.source.uri.trim_start_matches("mem:")).collect()
}

fn places(hits: &[Hit]) -> Vec<(&str, u64, u64)> {
    hits.iter().map(|hit| (hit.source.chunk_id.as_str(), hit.source.start, hit.source.end)).collect()
}

#[tokio::test]
async fn each_mode_asks_its_own_side() {
    for completes in [true, false] {
        let world = World::with(Counting::new("counting-1"), completes);
        world.ingest("word.txt", "the engine has a turbine").await;
        world.ingest("parts.txt", "turbines turbined turbinate").await;
        world.ingest("other.txt", "a cat on the sofa").await;
        let mode = |mode| options().with_mode(mode);
        assert_eq!(uris(&ask(&world, "engine", 5, mode(SearchMode::Lexical)).await), ["word.txt"]);
        world.embedder.take();
        ask(&world, "engine", 5, mode(SearchMode::Lexical)).await;
        assert!(world.embedder.take().is_empty(), "words alone need no vector");
        let dense = ask(&world, "engine", 5, mode(SearchMode::Dense)).await;
        assert_eq!(dense.len(), 3, "vectors alone give the nearest, however far");
        assert_eq!(dense[0].source.uri, "mem:word.txt");
    }
}

#[tokio::test]
async fn a_document_found_as_a_whole_is_shown_where_it_has_the_words() {
    let world = World::new();
    // Many chunks elsewhere have "wing" more often than the one of this document.
    let crowd = "wing wing wing wing. ".repeat(40);
    cut(&world, "crowd.txt", &crowd, 8, 0).await;
    let filler = "nothing to see in here at all. ".repeat(20);
    cut(&world, "rare.txt", &format!("{filler}A wing. {filler}"), 12, 0).await;
    let retriever = world.retriever(config().with_depth(4).with_dense_weight(0.0));
    let query = RetrieveQuery::new(world.collection.clone(), "wing").with_top_k(4);
    let query = query.with_options(options().with_per_document(Some(1)));
    let hits = retriever.retrieve(query).await.unwrap();
    assert_eq!(uris(&hits), ["crowd.txt", "rare.txt"]);
    assert!(hits[1].content.contains("A wing."), "{:?}", hits[1]);
}

#[tokio::test]
async fn no_more_hits_of_a_document_than_asked_for() {
    let world = World::new();
    cut(&world, "a.txt", "wing one. wing two. wing three. wing four.", 3, 0).await;
    cut(&world, "b.txt", "a wing of another kind of bird", 100, 0).await;
    let count = |hits: &[Hit]| uris(hits).iter().filter(|uri| **uri == "a.txt").count();
    assert_eq!(count(&ask(&world, "wing", 10, options()).await), 4);
    for most in [1, 2] {
        let hits = ask(&world, "wing", 10, options().with_per_document(Some(most))).await;
        assert_eq!((count(&hits), hits.len()), (most, most + 1));
    }
}

#[tokio::test]
async fn what_says_almost_the_same_gives_way() {
    let world = World::new();
    let report = |word: &str| {
        let letters = ('a'..='k').flat_map(|one| ('a'..='j').map(move |other| format!("{one}{other}x")));
        let rest: Vec<String> = letters.collect();
        format!("wing slipstream lift tunnel {word} {}", rest.join(" "))
    };
    world.ingest("a.txt", &report("first")).await;
    world.ingest("b.txt", &report("second")).await;
    world.ingest("c.txt", &report("2024")).await;
    world.ingest("d.txt", "a wing").await;
    let hits = |top_k, near_duplicates| {
        let options = options().with_near_duplicates(near_duplicates);
        let world = &world;
        async move {
            let hits = ask(world, "wing slipstream lift tunnel", top_k, options).await;
            assert!(hits.windows(2).all(|pair| pair[0].score >= pair[1].score));
            let mut uris: Vec<String> = uris(&hits).into_iter().map(str::to_owned).collect();
            uris.sort();
            uris.concat().replace(".txt", "")
        }
    };
    assert_eq!(hits(10, NearDuplicates::Keep).await, "abcd");
    assert_eq!(hits(10, NearDuplicates::Last).await, "abcd", "they may fill up");
    let three = hits(3, NearDuplicates::Last).await;
    assert!(three == "acd" || three == "bcd", "another number is another text: {three}");
    let dropped = hits(10, NearDuplicates::Drop).await;
    assert!(dropped == "acd" || dropped == "bcd", "{dropped}");
}

#[tokio::test]
async fn maximal_marginal_relevance_brings_what_is_unlike() {
    let world = World::new();
    world.ingest("a.txt", "flutter of a wing at high speed in a tunnel").await;
    world.ingest("b.txt", "flutter of a wing at high speed in the wide tunnel").await;
    world.ingest("c.txt", "flutter in a market: how prices of grain moved").await;
    let asked = "flutter of a wing at high speed";
    let plain = ask(&world, asked, 3, options()).await;
    assert_eq!(uris(&plain)[2], "c.txt");
    assert_eq!(ask(&world, asked, 3, options().with_mmr(Some(1.0))).await, plain);
    let diverse = ask(&world, asked, 3, options().with_mmr(Some(0.3))).await;
    assert_eq!((uris(&diverse)[0], uris(&diverse)[1]), (uris(&plain)[0], "c.txt"));
    assert_eq!(diverse.len(), 3);
}

#[tokio::test]
async fn a_hit_grows_by_its_neighbours() {
    let sentences: Vec<String> = (0..9).map(|number| format!("Part {number} says x{number}.")).collect();
    let text = sentences.join("\n\n");
    for overlap in [0, 1] {
        let world = World::new();
        cut(&world, "a.txt", &text, 5, overlap).await;
        let alone = ask(&world, "x4", 1, options()).await;
        let chunk = alone[0].source.chunk_id.clone();
        let grown = ask(&world, "x4", 1, options().with_context(Some(15))).await;
        let [hit] = grown.as_slice() else { panic!("one hit: {grown:?}") };
        assert_eq!(hit.source.chunk_id, chunk, "the chunk that was found stays named");
        let range = usize::try_from(hit.source.start).unwrap()..usize::try_from(hit.source.end).unwrap();
        assert_eq!(hit.content, text[range], "what neighbours share is shown once");
        assert!(hit.content.len() > 2 * alone[0].content.len(), "{hit:?}");
        assert!(hit.content.contains("x4") && hit.content.contains("x5"));
        let same = ask(&world, "x4", 1, options().with_context(Some(5))).await;
        assert_eq!(same[0].content, alone[0].content, "no room, no growth");
    }
}

#[tokio::test]
async fn hits_that_touch_become_one_and_no_text_is_shown_twice() {
    let world = World::new();
    let text = "wing a b. wing c d. wing e f. none g h. none i j. wing k l. none m n.";
    cut(&world, "a.txt", text, 4, 0).await;
    cut(&world, "b.txt", "one more wing here", 100, 0).await;
    let hits = ask(&world, "wing", 10, options().with_context(Some(12))).await;
    let mut ranges: Vec<(u64, u64)> = hits
        .iter()
        .filter(|hit| hit.source.uri == "mem:a.txt")
        .map(|hit| (hit.source.start, hit.source.end))
        .collect();
    ranges.sort_unstable();
    assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{ranges:?}");
    assert_eq!(hits.len(), 3, "three in a row are one: {:?}", places(&hits));
    assert!(hits.iter().any(|hit| hit.content.starts_with("wing a b.") && hit.content.contains("wing e f.")));
    assert!(hits.iter().all(|hit| hit.content.split_whitespace().count() <= 12));
}

#[tokio::test]
async fn a_hit_does_not_grow_out_of_its_section() {
    let world = World::new();
    let text =
        "# One\n\nfirst part here.\n\n# Two\n\nsecond x9 part.\n\nthird part here.\n\n# Three\n\nlast part.";
    cut(&world, "a.md", text, 6, 0).await;
    let hits = ask(&world, "x9", 1, options().with_context(Some(100))).await;
    assert_eq!(hits[0].content, "# Two\n\nsecond x9 part.\n\nthird part here.");
    assert_eq!(hits[0].source.heading, ["Two"]);
}

/// Likes short texts best.
#[derive(Debug)]
struct ShortFirst;

#[async_trait]
impl Reranker for ShortFirst {
    fn id(&self) -> String {
        "short-first".into()
    }

    async fn rerank(&self, _: &str, passages: &[Passage]) -> Result<Vec<f32>> {
        Ok(passages.iter().map(|passage| -(passage.text.len() as f32)).collect())
    }
}

#[tokio::test]
async fn a_reranker_orders_the_best_candidates_only() {
    let world = World::new();
    for (name, text) in [
        ("long.txt", "wing wing wing of a very large bird"),
        ("mid.txt", "wing wing of a large bird too"),
        ("short.txt", "a wing and more words"),
        ("tail.txt", "wing"),
    ] {
        world.ingest(name, text).await;
    }
    let retriever = |depth| {
        let config = config().with_document_weight(1.0).with_rerank_depth(depth);
        world.retriever(config).with_reranker(Arc::new(ShortFirst))
    };
    let query = |rerank| {
        let query = RetrieveQuery::new(world.collection.clone(), "wing");
        query.with_options(options().with_mode(SearchMode::Lexical).with_rerank(rerank))
    };
    let plain = retriever(10).retrieve(query(None)).await.unwrap();
    let all = retriever(10).retrieve(query(Some(true))).await.unwrap();
    let mut lengths: Vec<usize> = all.iter().map(|hit| hit.content.len()).collect();
    assert!(lengths.is_sorted());
    lengths.reverse();
    let two = retriever(2).retrieve(query(Some(true))).await.unwrap();
    assert_eq!(uris(&two)[2..], uris(&plain)[2..], "what was not reranked stays behind");
    assert!(two[0].content.len() <= two[1].content.len());
    for hits in [all, two] {
        assert!(hits.windows(2).all(|pair| pair[0].score >= pair[1].score));
        assert!(hits.iter().all(|hit| (0.0..=1.0).contains(&hit.score)));
    }
}

/// Gives too few scores.
#[derive(Debug)]
struct Broken;

#[async_trait]
impl Reranker for Broken {
    fn id(&self) -> String {
        "broken".into()
    }

    async fn rerank(&self, _: &str, _: &[Passage]) -> Result<Vec<f32>> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn a_reranker_that_breaks_its_promise_is_an_error() {
    let world = World::new();
    world.ingest("a.txt", "a wing").await;
    let retriever = world.retriever(config().with_rerank(true)).with_reranker(Arc::new(Broken));
    let query = RetrieveQuery::new(world.collection.clone(), "wing");
    assert_eq!(retriever.retrieve(query).await.unwrap_err().code(), "reranker_broken");
}

#[tokio::test]
async fn impossible_options_are_refused() {
    let world = World::new();
    for (options, code) in [
        (options().with_mmr(Some(1.5)), "invalid_mmr"),
        (options().with_mmr(Some(f32::NAN)), "invalid_mmr"),
        (options().with_context(Some(0)), "invalid_context"),
        (options().with_per_document(Some(0)), "invalid_per_document"),
    ] {
        let query = RetrieveQuery::new(world.collection.clone(), "x").with_options(options);
        assert_eq!(world.retriever(config()).retrieve(query).await.unwrap_err().code(), code);
    }
}
