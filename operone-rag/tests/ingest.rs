//! The promises of taking in a document.
#![allow(
    clippy::clone_on_ref_ptr,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a broken promise fails the test"
)]

mod support;

use operone_core::chunk::ChunkStore;
use operone_core::embed::Tokenizer;
use operone_core::in_process::WordTokenizer;
use operone_core::metadata::Metadata;
use operone_core::source::Fetched;
use operone_rag::chunk::ChunkOptions;
use operone_rag::ingest::{DocumentOutcome, DocumentRequest, DocumentStatus};
use operone_rag::parse::parse_bytes;
use support::{Counting, World, day};

fn metadata(json: &str) -> Metadata {
    serde_json::from_str(json).unwrap()
}

async fn ingest(world: &World, request: &DocumentRequest, options: (usize, usize)) -> DocumentOutcome {
    let options = ChunkOptions::new(options.0, options.1).unwrap();
    world.ingestor.ingest_document(&world.collection, request, &options, None).await.unwrap()
}

fn paragraphs(words: &[&str]) -> String {
    words.iter().map(|word| format!("{word} a b c d e f g.\n\n")).collect()
}

#[tokio::test]
async fn a_second_ingest_writes_and_embeds_nothing() {
    let world = World::new();
    world.shelf.put("a.txt", paragraphs(&["one", "two", "three"]));
    let request = DocumentRequest::new("mem:a.txt").with_metadata(metadata(r#"{"priority": "high"}"#));
    let first = ingest(&world, &request, (10, 0)).await;
    assert_eq!((first.status, first.chunks), (DocumentStatus::Indexed, Some(3)));
    assert_eq!(world.embedder.take().len(), 3);
    let generation = world.store.generation(&world.collection).await.unwrap();

    // Another spelling names the same document.
    let again = DocumentRequest::new("MEM:a.txt").with_metadata(request.metadata.clone());
    let second = ingest(&world, &again, (10, 0)).await;
    assert_eq!(
        (second.status, second.chunks, &second.doc_id),
        (DocumentStatus::Unchanged, Some(3), &first.doc_id)
    );
    assert_eq!(second.source, "MEM:a.txt");
    assert_eq!(world.embedder.take().len(), 0);
    assert_eq!(world.store.generation(&world.collection).await.unwrap(), generation);
}

#[tokio::test]
async fn of_a_changed_document_only_changed_chunks_are_embedded() {
    let world = World::new();
    world.shelf.put("a.txt", paragraphs(&["one", "two", "three", "four"]));
    let request = DocumentRequest::new("mem:a.txt");
    let first = ingest(&world, &request, (10, 0)).await;
    world.embedder.take();
    // A paragraph in front moves every other one.
    world.shelf.put("a.txt", paragraphs(&["zero", "one", "two", "CHANGED", "four"]));
    let second = ingest(&world, &request, (10, 0)).await;
    assert_eq!(
        (second.status, second.chunks, second.doc_id.clone()),
        (DocumentStatus::Updated, Some(5), first.doc_id)
    );
    assert_eq!(world.embedder.take(), ["zero a b c d e f g.", "CHANGED a b c d e f g."]);
    let chunks = world.store.document_chunks(&world.collection, &second.doc_id.unwrap()).await.unwrap();
    assert!(chunks.iter().all(|chunk| chunk.vector.is_some()));
}

#[tokio::test]
async fn the_earlier_version_spares_the_embedder_even_without_a_cache() {
    let mut world = World::new();
    world.shelf.put("a.txt", paragraphs(&["one", "two"]));
    let request = DocumentRequest::new("mem:a.txt");
    ingest(&world, &request, (10, 0)).await;
    world.embedder.take();
    world.cache = operone_core::in_process::InProcessEmbeddingCache::default();
    let ingestor = operone_rag::ingest::Ingestor::new(
        world.store.clone(),
        world.embedder.clone(),
        std::sync::Arc::new(world.cache.clone()),
        std::sync::Arc::new(operone_rag::parse::DocumentParser::default()),
    );
    let fetched = Fetched::new("a.txt", paragraphs(&["one", "three"]).into_bytes());
    let options = ChunkOptions::new(10, 0).unwrap();
    ingestor
        .ingest_fetched(&world.collection, "mem:a.txt", fetched, &Metadata::new(), &options, None)
        .await
        .unwrap();
    assert_eq!(world.embedder.take(), ["three a b c d e f g."]);
}

#[tokio::test]
async fn whatever_decides_about_the_chunks_makes_a_new_version() {
    let world = World::new();
    world.shelf.put("a.txt", paragraphs(&["one", "two"]));
    let request = DocumentRequest::new("mem:a.txt");
    ingest(&world, &request, (10, 0)).await;
    assert_eq!(ingest(&world, &request, (10, 2)).await.status, DocumentStatus::Updated);
    let dated = request.clone().with_metadata(metadata(r#"{"date": "2023-01-01"}"#));
    assert_eq!(ingest(&world, &dated, (10, 2)).await.status, DocumentStatus::Updated);
    let other_rules = world.ingestor.clone().with_parser_id("other");
    let options = ChunkOptions::new(10, 2).unwrap();
    let outcome = other_rules.ingest_document(&world.collection, &dated, &options, None).await.unwrap();
    assert_eq!(outcome.status, DocumentStatus::Updated);
}

#[tokio::test]
async fn a_failure_is_an_outcome_and_the_earlier_version_stays() {
    let world = World::new();
    let id = world.ingest("a.txt", "The first version.").await;
    let long = format!("x{}", " y".repeat(200_000));
    for (name, text, metadata_json, code) in [
        ("a.txt", b" \n ".to_vec(), "{}", "empty"),
        ("a.txt", b"\x89PNG\r\n\x1a\n".to_vec(), "{}", "unsupported_format"),
        ("a.txt", b"text".to_vec(), r#"{"date": "yesterday"}"#, "invalid_date"),
        ("a.txt", b"text".to_vec(), r#"{"date": 2023}"#, "invalid_date"),
        ("a.txt", long.into_bytes(), "{}", "too_large"),
    ] {
        world.shelf.put(name, text);
        let request = DocumentRequest::new(format!("mem:{name}")).with_metadata(metadata(metadata_json));
        let outcome = ingest(&world, &request, (2, 1)).await;
        assert_eq!((outcome.status, outcome.doc_id), (DocumentStatus::Failed, Some(id.clone())));
        assert_eq!(outcome.error.unwrap().code, code);
    }
    let missing = ingest(&world, &DocumentRequest::new("mem:none.txt"), (10, 0)).await;
    assert_eq!(missing.error.unwrap().code, "not_found");
    let foreign = ingest(&world, &DocumentRequest::new("gopher://x/y"), (10, 0)).await;
    assert_eq!((foreign.doc_id, foreign.error.unwrap().code.as_str()), (None, "unsupported_scheme"));
    let chunks = world.store.document_chunks(&world.collection, &id).await.unwrap();
    assert_eq!(chunks[0].text, "The first version.");
}

#[tokio::test]
async fn the_date_is_the_callers_else_the_documents_else_that_of_the_change() {
    let world = World::new();
    let own = "---\ndate: 2021-01-01\n---\nText";
    for (text, metadata_json, expected) in [
        (own, r#"{"date": "2023-05-06T07:08:09+05:30"}"#, "2023-05-06T01:38:09Z"),
        (own, "{}", "2021-01-01T00:00:00Z"),
        ("Text", "{}", "2020-02-02T00:00:00Z"),
    ] {
        world.shelf.put("a.md", text);
        let request = DocumentRequest::new("mem:a.md").with_metadata(metadata(metadata_json));
        let id = ingest(&world, &request, (10, 0)).await.doc_id.unwrap();
        let document = world.store.document(&world.collection, &id).await.unwrap().unwrap();
        assert_eq!(document.date.unwrap().to_string(), expected);
    }
    assert_eq!(day("2020-02-02").to_string(), "2020-02-02T00:00:00Z");
}

#[tokio::test]
async fn chunks_are_exactly_their_bytes_and_are_embedded_below_their_headings() {
    let world = World::new();
    let text = "# Sales\n\nIntro words here.\n\n## Third quarter\n\nSales were one million dollars in all regions together.\n";
    world.shelf.put("a.md", text);
    let id = ingest(&world, &DocumentRequest::new("mem:a.md"), (8, 2)).await.doc_id.unwrap();
    let parsed = parse_bytes("a.md", text.as_bytes()).unwrap();
    let chunks = world.store.document_chunks(&world.collection, &id).await.unwrap();
    assert!(chunks.len() > 2);
    for (ordinal, chunk) in (0..).zip(&chunks) {
        assert_eq!(chunk.ordinal, ordinal);
        assert_eq!(parsed.text[chunk.start as usize..chunk.end as usize], chunk.text);
        assert!(WordTokenizer.spans(&chunk.text).len() <= 8);
    }
    let last = chunks.last().unwrap();
    assert_eq!(last.heading, ["Sales", "Third quarter"]);
    assert!(world.embedder.take().contains(&format!("Sales\nThird quarter\n{}", last.text)));
    assert!(last.terms.contains(&"quarter".to_owned()), "words of the headings can be found");
    let document = world.store.document(&world.collection, &id).await.unwrap().unwrap();
    assert_eq!((document.title.as_deref(), document.media_type.as_str()), (Some("Sales"), "text/markdown"));
}

#[tokio::test]
async fn a_chunk_beyond_the_window_is_embedded_whole() {
    let mut narrow = Counting::new("narrow");
    narrow.window = 4;
    let world = World::with(narrow, true);
    assert_eq!(world.ingestor.default_options(), ChunkOptions::for_window(4));
    world.shelf.put("a.txt", "one two three four five six seven eight nine");
    let outcome = ingest(&world, &DocumentRequest::new("mem:a.txt"), (100, 0)).await;
    assert_eq!(outcome.chunks, Some(1));
    assert_eq!(world.embedder.take(), ["one two three four", "five six seven eight", "nine"]);
    let chunks = world.store.document_chunks(&world.collection, &outcome.doc_id.unwrap()).await.unwrap();
    let length: f32 = chunks[0].vector.as_ref().unwrap().iter().map(|x| x * x).sum();
    assert!((length - 1.0).abs() < 1e-5);
}

#[tokio::test]
async fn another_embedder_is_refused_before_it_is_asked() {
    let world = World::new();
    world.ingest("a.txt", "Text").await;
    let other = World::with(Counting::new("counting-2"), true);
    let ingestor = operone_rag::ingest::Ingestor::new(
        world.store.clone(),
        other.embedder.clone(),
        std::sync::Arc::new(other.cache.clone()),
        std::sync::Arc::new(operone_rag::parse::DocumentParser::default()),
    )
    .with_source(world.shelf.clone());
    world.shelf.put("b.txt", "More text");
    let options = ingestor.default_options();
    let request = DocumentRequest::new("mem:b.txt");
    let outcome = ingestor.ingest_document(&world.collection, &request, &options, None).await.unwrap();
    let error = outcome.error.unwrap();
    assert_eq!(error.code, "embedder_mismatch");
    assert!(error.detail.contains("counting-1") && error.detail.contains("counting-2"), "{}", error.detail);
    assert!(other.embedder.take().is_empty());
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_an_error_and_changes_nothing() {
    let world = World::new();
    world.shelf.put("a.txt", "Text");
    world.store.faults.set(1);
    let options = ChunkOptions::new(10, 0).unwrap();
    let request = DocumentRequest::new("mem:a.txt");
    let error =
        world.ingestor.ingest_document(&world.collection, &request, &options, None).await.unwrap_err();
    assert!(error.is_retryable());
    assert_eq!(ingest(&world, &request, (10, 0)).await.status, DocumentStatus::Indexed);
    assert_eq!(world.embedder.take().len(), 1, "the second try found the vector in the cache");
}
