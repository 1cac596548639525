//! The promises of [`ChunkStore`] about collections as wholes: listed, and exchanged.

use std::sync::Arc;

use super::{EMBEDDER, collection, doc_id, key, keys, lexical, put, texts, with_vectors, words};
use crate::chunk::{ChunkStore, Collection, DenseQuery, Level, LexicalQuery};
use crate::error::ErrorKind;
use crate::id::TenantId;

/// Only collections that hold a document are listed, in order of their names, each tenant's own.
pub(super) async fn collections_are_listed_by_tenant_with_what_they_hold(store: Arc<dyn ChunkStore>) {
    let tenant = TenantId::local();
    assert!(store.collections(&tenant).await.unwrap().is_empty());
    let notes = Collection::named(tenant.clone(), "notes").unwrap();
    let stranger = Collection::of(TenantId::new("stranger").unwrap());
    store.replace(&notes, with_vectors("a", &[("one", Some([1.0, 0.0, 0.0])), ("two", None)])).await.unwrap();
    store.replace(&notes, texts("b", &["three"])).await.unwrap();
    store.replace(&collection(), texts("c", &["four"])).await.unwrap();
    store.replace(&stranger, texts("d", &["five"])).await.unwrap();
    let listed = store.collections(&tenant).await.unwrap();
    let shown: Vec<_> = listed
        .iter()
        .map(|found| (found.name.as_str(), found.documents, found.chunks, found.dimension))
        .collect();
    assert_eq!(shown, [("default", 1, 1, None), ("notes", 2, 3, Some(3))]);
    assert!(listed.iter().all(|found| found.embedder == EMBEDDER));
    assert_eq!(listed[1].generation, store.generation(&notes).await.unwrap());
    store.remove(&collection(), &[doc_id("c")]).await.unwrap();
    let listed = store.collections(&tenant).await.unwrap();
    assert_eq!(listed.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["notes"]);
    assert_eq!(store.collections(&stranger.tenant).await.unwrap().len(), 1);
}

/// After an exchange each collection has what the other had, for every kind of read; both generations rise.
pub(super) async fn two_collections_are_exchanged_in_one_step(store: Arc<dyn ChunkStore>) {
    let other = Collection { name: "~other".into(), ..collection() };
    let old = with_vectors("a", &[("red apple", Some([1.0, 0.0, 0.0]))]);
    store.replace(&collection(), old).await.unwrap();
    let before = store.generation(&collection()).await.unwrap();
    let mut new = texts("a", &["red apple", "pear"]);
    new.embedder = "conformance-4".into();
    new.chunks[0].vector = Some(vec![0.0, 1.0]);
    store.replace(&other, new.clone()).await.unwrap();
    // Both indexes are in use.
    assert_eq!(lexical(&*store, "pear", Level::Chunk).await, []);
    let query = LexicalQuery { terms: &words("pear"), level: Level::Chunk, filter: None, limit: 9 };
    assert_eq!(store.lexical(&other, query).await.unwrap().len(), 1);

    let exchanged = store.exchange(&collection(), &other, before).await;
    if !store.capabilities().exchange {
        assert_eq!(exchanged.unwrap_err().kind(), ErrorKind::Unsupported);
        return;
    }
    let after = exchanged.unwrap();
    assert!(after > before);
    for one in [&collection(), &other] {
        assert_eq!(store.generation(one).await.unwrap(), after);
    }
    assert_eq!(store.embedder(&collection()).await.unwrap().unwrap(), "conformance-4");
    assert_eq!(store.embedder(&other).await.unwrap().unwrap(), EMBEDDER);
    assert_eq!(keys(&lexical(&*store, "pear", Level::Chunk).await), [key("a", 1)]);
    let nearest = DenseQuery { vector: &[0.0, 1.0], filter: None, limit: 9 };
    assert_eq!(keys(&store.dense(&collection(), nearest).await.unwrap()), [key("a", 0)]);
    assert_eq!(store.document_chunks(&collection(), &doc_id("a")).await.unwrap().len(), 2);
    assert!(store.chunks(&collection(), &[key("a", 1)]).await.unwrap()[0].is_some());
    assert_eq!(store.lexical(&other, query).await.unwrap(), []);
    // Both go on by themselves.
    store.remove(&other, &[doc_id("a")]).await.unwrap();
    let mut more = texts("b", &["pear tree"]);
    more.embedder = "conformance-4".into();
    store.replace(&collection(), more).await.unwrap();
    assert_eq!(lexical(&*store, "pear", Level::Chunk).await.len(), 2);
    assert!(store.documents(&other, None, 9).await.unwrap().is_empty());
}

/// A change of the live collection since the expected generation refuses the exchange.
pub(super) async fn an_exchange_that_comes_too_late_changes_nothing(store: Arc<dyn ChunkStore>) {
    let other = Collection { name: "~other".into(), ..collection() };
    put(&*store, [texts("a", &["one"])]).await;
    let before = store.generation(&collection()).await.unwrap();
    store.replace(&other, texts("b", &["two"])).await.unwrap();
    put(&*store, [texts("c", &["three"])]).await;
    let error = store.exchange(&collection(), &other, before).await.unwrap_err();
    if !store.capabilities().exchange {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        return;
    }
    assert_eq!((error.kind(), error.code()), (ErrorKind::Conflict, "generation_changed"));
    assert_eq!(store.documents(&collection(), None, 9).await.unwrap().len(), 2);
    assert_eq!(store.documents(&other, None, 9).await.unwrap().len(), 1);
}

/// While two collections are exchanged again and again, every read is of the one or of the other.
pub(super) async fn readers_never_see_half_an_exchange(store: Arc<dyn ChunkStore>) {
    const TIMES: usize = 30;
    if !store.capabilities().exchange {
        return;
    }
    let other = Collection { name: "~other".into(), ..collection() };
    store.replace(&collection(), with_vectors("a", &[("red", Some([1.0, 0.0, 0.0]))])).await.unwrap();
    let mut new = texts("a", &["red", "green", "red"]);
    new.embedder = "conformance-4".into();
    new.chunks.iter_mut().for_each(|chunk| chunk.vector = Some(vec![0.0, 1.0]));
    store.replace(&other, new).await.unwrap();
    let ended = std::sync::atomic::AtomicBool::new(false);
    let read = async {
        let mut seen = std::collections::BTreeSet::new();
        while !ended.load(std::sync::atomic::Ordering::SeqCst) {
            let before = store.generation(&collection()).await.unwrap();
            let embedder = store.embedder(&collection()).await.unwrap().unwrap();
            let found = lexical(&*store, "red", Level::Chunk).await.len();
            let (vector, chunks) = match embedder.as_str() {
                EMBEDDER => (vec![1.0, 0.0, 0.0], 1),
                _ => (vec![0.0, 1.0], 3),
            };
            let query = DenseQuery { vector: &vector, filter: None, limit: 9 };
            let near = store.dense(&collection(), query).await;
            let shown = store.chunks(&collection(), &[key("a", 0), key("a", 2)]).await.unwrap();
            if store.generation(&collection()).await.unwrap() == before {
                let expected = if chunks == 1 { 1 } else { 2 };
                assert_eq!((found, near.unwrap().len()), (expected, chunks), "of {embedder}");
                assert_eq!(shown.iter().flatten().count(), expected);
                seen.insert(embedder);
            }
            tokio::task::yield_now().await;
        }
        seen
    };
    let flip = async {
        for _ in 0..TIMES {
            let generation = store.generation(&collection()).await.unwrap();
            store.exchange(&collection(), &other, generation).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        ended.store(true, std::sync::atomic::Ordering::SeqCst);
    };
    let (seen, ()) = futures_util::future::join(read, flip).await;
    assert_eq!(seen.len(), 2);
}
