//! Removed documents with their vectors are soon in none of the stores' files.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken promise fails the test")]

use std::path::Path;

use operone_core::cache::{ContentHash, EmbeddingCache};
use operone_core::chunk::{Chunk, ChunkStore, Collection, Document, Level, LexicalQuery, NewDocument};
use operone_core::id::{DocId, TenantId};
use operone_sqlite::{SqliteChunkStore, SqliteEmbeddingCache};

/// Every mark in any file of the folder.
fn marks(folder: &Path) -> std::collections::BTreeSet<usize> {
    let mut marks = std::collections::BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for (place, _) in bytes.windows(6).enumerate().filter(|(_, window)| *window == b"<mark-") {
            let digits = bytes[place + 6..].iter().take_while(|byte| byte.is_ascii_digit());
            let number: String = digits.map(|byte| char::from(*byte)).collect();
            marks.extend(number.parse::<usize>());
        }
    }
    marks
}

/// A document that says its mark everywhere: id, source, title, metadata, text, headings, words, and in the vectors.
fn marked(number: u16) -> NewDocument {
    let mark = format!("<mark-{number}>");
    let mut document = Document::new(
        DocId::new(format!("doc-{number}")).unwrap(),
        format!("file:///{mark}.txt"),
        "text/plain",
    );
    document.title = Some(mark.clone());
    document.metadata = serde_json::from_value(serde_json::json!({"mark": mark})).unwrap();
    let chunks = (0..3).map(|ordinal| {
        let words = vec!["common".into(), mark.clone()];
        let mut chunk =
            Chunk::new(ordinal, 0, format!("{mark} {}", "x".repeat(usize::from(number) % 900)), words);
        chunk.heading = vec![mark.clone()];
        chunk.with_vector(Some(vector(number)))
    });
    NewDocument::new(document, chunks.collect(), vec!["common".into(), mark], "embedder")
}

/// A vector whose bytes no other document has.
fn vector(number: u16) -> Vec<f32> {
    vec![f32::from_bits(0x3f12_0000 | u32::from(number)); 4]
}

fn has(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|file| {
        let content = std::fs::read(file.unwrap().path()).unwrap();
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}

fn vector_bytes(number: u16) -> Vec<u8> {
    vector(number).iter().flat_map(|component| component.to_le_bytes()).collect()
}

/// Waits, as what a removal leaves is taken out soon after it.
async fn wait_until(mut done: impl FnMut() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(done(), "something is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_document_is_soon_in_no_file() {
    const COUNT: u16 = 400;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chunks.db");
    let collection = Collection::of(TenantId::local());
    let store = SqliteChunkStore::open(&path).unwrap();
    for number in 0..COUNT {
        store.replace(&collection, marked(number)).await.unwrap();
    }
    let terms = ["common".to_owned()];
    let query = LexicalQuery { terms: &terms, level: Level::Document, filter: None, limit: 1000 };
    assert_eq!(store.lexical(&collection, query).await.unwrap().len(), usize::from(COUNT));
    // The index is saved when the store is dropped, and so holds what is removed now.
    drop(store);
    assert!(has(folder.path(), b"doc-7"));
    let store = SqliteChunkStore::open(&path).unwrap();
    assert_eq!(store.lexical(&collection, query).await.unwrap().len(), usize::from(COUNT));

    let removed: Vec<u16> = (0..COUNT).filter(|number| number % 3 == 0).collect();
    for some in removed.chunks(50) {
        let ids: Vec<DocId> =
            some.iter().map(|number| DocId::new(format!("doc-{number}")).unwrap()).collect();
        store.remove(&collection, &ids).await.unwrap();
    }
    let expected: std::collections::BTreeSet<usize> =
        (0..usize::from(COUNT)).filter(|number| number % 3 != 0).collect();
    wait_until(|| marks(folder.path()) == expected).await;
    assert!(!has(folder.path(), &vector_bytes(300)) && has(folder.path(), &vector_bytes(301)));
    // The others are found as before, also by a store that reads the file anew; a word that was taken out comes back.
    assert_eq!(store.lexical(&collection, query).await.unwrap().len(), expected.len());
    store.replace(&collection, marked(300)).await.unwrap();
    let mark = ["<mark-300>".to_owned()];
    for store in [store, SqliteChunkStore::open(&path).unwrap()] {
        let of_mark = LexicalQuery { terms: &mark, ..query };
        assert_eq!(store.lexical(&collection, of_mark).await.unwrap().len(), 1);
    }

    let store = SqliteChunkStore::open(&path).unwrap();
    let all: Vec<DocId> = (0..COUNT).map(|number| DocId::new(format!("doc-{number}")).unwrap()).collect();
    store.remove(&collection, &all).await.unwrap();
    wait_until(|| marks(folder.path()).is_empty() && !has(folder.path(), b"common")).await;
}

#[tokio::test]
async fn a_forgotten_vector_is_in_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let cache = SqliteEmbeddingCache::open(folder.path().join("cache.db")).unwrap();
    let entries: Vec<_> =
        (0..500_u16).map(|number| (ContentHash::of(number.to_le_bytes()), vector(number))).collect();
    cache.put_many("embedder", &entries).await.unwrap();
    let gone: Vec<ContentHash> = entries.iter().step_by(2).map(|(hash, _)| *hash).collect();
    cache.remove(&gone).await.unwrap();
    for (number, (hash, _)) in (0_u16..).zip(&entries) {
        let kept = number % 2 == 1;
        assert_eq!((has(folder.path(), &hash.0), has(folder.path(), &vector_bytes(number))), (kept, kept));
    }
}

#[test]
fn what_a_life_did_not_get_to_the_next_one_takes_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chunks.db");
    let collection = Collection::of(TenantId::local());
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let common = ["common".to_owned()];
    let query = LexicalQuery { terms: &common, level: Level::Document, filter: None, limit: 1000 };
    let first = runtime();
    first.block_on(async {
        let store = SqliteChunkStore::open(&path).unwrap();
        for number in 0..200 {
            store.replace(&collection, marked(number)).await.unwrap();
        }
        store.lexical(&collection, query).await.unwrap();
    });
    first.shutdown_timeout(std::time::Duration::from_secs(5));
    let second = runtime();
    second.block_on(async {
        let store = SqliteChunkStore::open(&path).unwrap();
        store.lexical(&collection, query).await.unwrap();
        store.remove(&collection, &[DocId::new("doc-7").unwrap()]).await.unwrap();
    });
    // Before the purge begins.
    second.shutdown_timeout(std::time::Duration::from_secs(5));
    assert!(marks(folder.path()).contains(&7));
    runtime().block_on(async {
        let store = SqliteChunkStore::open(&path).unwrap();
        assert_eq!(store.lexical(&collection, query).await.unwrap().len(), 199);
        wait_until(|| !marks(folder.path()).contains(&7) && !has(folder.path(), b"doc-7\"")).await;
        assert!(marks(folder.path()).contains(&8));
    });
}

#[test]
fn an_index_is_saved_however_early_the_program_ends() {
    for round in 0..6 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chunks.db");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let store = runtime.block_on(async {
            let store = SqliteChunkStore::open(&path).unwrap();
            let collection = Collection::of(TenantId::local());
            for number in 0..150 {
                store.replace(&collection, marked(number)).await.unwrap();
            }
            let terms = ["common".to_owned()];
            let query = LexicalQuery { terms: &terms, level: Level::Chunk, filter: None, limit: 9 };
            // It builds the index, and with that a save begins.
            assert_eq!(store.lexical(&collection, query).await.unwrap().len(), 9);
            tokio::time::sleep(std::time::Duration::from_millis(round)).await;
            store
        });
        if round % 2 == 0 {
            drop(runtime);
            drop(store);
        } else {
            drop(store);
            drop(runtime);
        }
        let file = rusqlite::Connection::open(&path).unwrap();
        let saved: i64 = file.query_row("SELECT count(*) FROM saved_indexes", [], |row| row.get(0)).unwrap();
        assert_eq!(saved, 1, "round {round}");
    }
}
