//! Erased memories, and removed documents with their vectors, are in none of the stores' files.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken promise fails the test")]

use std::path::Path;

use operone_core::cache::{ContentHash, EmbeddingCache};
use operone_core::chunk::{Chunk, ChunkStore, Collection, Document, Level, LexicalQuery, NewDocument};
use operone_core::clock::{Clock, SystemClock, Timestamp};
use operone_core::id::{DocId, MemoryId, TenantId};
use operone_core::memory::{Batch, Entry, MemoryStore, Revision, Scope, ScopeKey};
use operone_sqlite::{SqliteChunkStore, SqliteEmbeddingCache, SqliteMemoryStore};

const MEMORIES: usize = 1_500;

fn id(number: usize) -> MemoryId {
    MemoryId::new(format!("mem-{number}")).unwrap()
}

/// Text of many lengths, up to several pages, with a mark in the middle and at the end.
fn entry(number: usize) -> Entry {
    let filling = "x".repeat((number * number * 7) % if number.is_multiple_of(10) { 20_000 } else { 900 });
    let content = format!("{filling}<mark-{number}>{filling}<mark-{number}>");
    Entry::new(id(number), content, vec![format!("<mark-{number}>")], Timestamp::from_millis(0))
}

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

#[tokio::test]
async fn erased_text_is_in_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteMemoryStore::open(folder.path().join("memory.db")).unwrap();
    let scopes = ["longterm", "session/1", "session/2"]
        .map(|scope| ScopeKey::new(TenantId::local(), Scope::new(scope).unwrap()));
    for begin in (0..MEMORIES).step_by(10) {
        let scope = &scopes[(begin / 10) % scopes.len()];
        store
            .write(scope, Batch::of(SystemClock.now(), (begin..begin + 10).map(entry).collect()))
            .await
            .unwrap();
    }
    let erased: Vec<usize> = (0..MEMORIES).filter(|number| number % 3 != 0 || number % 7 == 0).collect();
    for batch in erased.chunks(400) {
        let ids: Vec<_> = batch.iter().copied().map(id).collect();
        let mut count = 0;
        for scope in &scopes {
            count += store.erase(scope, &ids, SystemClock.now()).await.unwrap().ids.len();
        }
        assert_eq!(count, batch.len());
        let left = marks(folder.path());
        assert!(batch.iter().all(|number| !left.contains(number)), "erased text is left");
    }
    let kept: std::collections::BTreeSet<usize> =
        (0..MEMORIES).filter(|number| number % 3 == 0 && number % 7 != 0).collect();
    assert_eq!(marks(folder.path()), kept);
    for number in kept {
        let scope = store.locate(&TenantId::local(), &id(number)).await.unwrap().unwrap();
        assert_eq!(store.get(&scope, &id(number)).await.unwrap(), Some(entry(number)));
    }
}

#[tokio::test]
async fn a_reader_does_not_keep_erased_text_alive() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteMemoryStore::open(folder.path().join("memory.db")).unwrap();
    let scope = ScopeKey::new(TenantId::local(), Scope::new("longterm").unwrap());
    store.write(&scope, Batch::of(SystemClock.now(), (0..50).map(entry).collect())).await.unwrap();
    let reading = tokio::spawn({
        let (store, scope) = (store.clone(), scope.clone());
        async move {
            for _ in 0..200 {
                store.scan(&scope, Revision(0), 50).await.unwrap();
            }
        }
    });
    for number in 0..20 {
        assert_eq!(store.erase(&scope, &[id(number)], SystemClock.now()).await.unwrap().ids.len(), 1);
        assert!(!marks(folder.path()).contains(&number));
    }
    reading.await.unwrap();
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
