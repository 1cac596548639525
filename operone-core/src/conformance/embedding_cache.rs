//! The promises of [`EmbeddingCache`].

use std::sync::Arc;

use super::cases;
use crate::cache::{ContentHash, EmbeddingCache};

cases! {
    dyn EmbeddingCache, embedding_cache_conformance, embedding_cache:
    vectors_come_back_as_they_were_in_the_order_asked
    a_vector_that_is_kept_stays
    embedders_are_apart
    removed_vectors_are_gone_for_every_embedder
    nothing_asked_is_nothing_done
    many_vectors_at_once
    concurrent_puts_all_arrive
}

fn hash(number: usize) -> ContentHash {
    ContentHash::of(format!("text {number}"))
}

fn vector(number: usize) -> Vec<f32> {
    vec![number as f32 / 3.0, -1.0e-30, f32::MAX, -0.0]
}

fn entries(numbers: impl IntoIterator<Item = usize>) -> Vec<(ContentHash, Vec<f32>)> {
    numbers.into_iter().map(|number| (hash(number), vector(number))).collect()
}

/// One answer per hash, in order, bit for bit; `None` where nothing is kept; a hash asked twice is answered twice.
async fn vectors_come_back_as_they_were_in_the_order_asked(cache: Arc<dyn EmbeddingCache>) {
    cache.put_many("static", &entries([1, 2])).await.unwrap();
    let found = cache.get_many("static", &[2, 7, 1, 2].map(hash)).await.unwrap();
    let bits = |vector: &Vec<f32>| vector.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
    let found: Vec<_> = found.iter().map(|vector| vector.as_ref().map(bits)).collect();
    assert_eq!(found, [Some(bits(&vector(2))), None, Some(bits(&vector(1))), Some(bits(&vector(2)))]);
}

/// A second vector for the same embedder and hash changes nothing, also within one call.
async fn a_vector_that_is_kept_stays(cache: Arc<dyn EmbeddingCache>) {
    cache.put_many("static", &[(hash(1), vec![1.0]), (hash(1), vec![2.0])]).await.unwrap();
    cache.put_many("static", &[(hash(1), vec![3.0]), (hash(2), vec![4.0])]).await.unwrap();
    let found = cache.get_many("static", &[hash(1), hash(2)]).await.unwrap();
    assert_eq!(found, [Some(vec![1.0]), Some(vec![4.0])]);
}

/// One embedder never gets the vectors of another.
async fn embedders_are_apart(cache: Arc<dyn EmbeddingCache>) {
    cache.put_many("static", &[(hash(1), vec![1.0])]).await.unwrap();
    assert_eq!(cache.get_many("bert", &[hash(1)]).await.unwrap(), [None]);
    cache.put_many("bert", &[(hash(1), vec![2.0, 3.0])]).await.unwrap();
    assert_eq!(cache.get_many("static", &[hash(1)]).await.unwrap(), [Some(vec![1.0])]);
    assert_eq!(cache.get_many("bert", &[hash(1)]).await.unwrap(), [Some(vec![2.0, 3.0])]);
}

/// A removal is by hash, for all embedders; unknown hashes are passed over.
async fn removed_vectors_are_gone_for_every_embedder(cache: Arc<dyn EmbeddingCache>) {
    for embedder in ["static", "bert"] {
        cache.put_many(embedder, &entries([1, 2])).await.unwrap();
    }
    cache.remove(&[hash(1), hash(9)]).await.unwrap();
    cache.remove(&[hash(1)]).await.unwrap();
    for embedder in ["static", "bert"] {
        let found = cache.get_many(embedder, &[hash(1), hash(2)]).await.unwrap();
        assert_eq!(found, [None, Some(vector(2))]);
        cache.put_many(embedder, &entries([1])).await.unwrap();
        assert_eq!(cache.get_many(embedder, &[hash(1)]).await.unwrap(), [Some(vector(1))]);
    }
}

/// Empty lists are fine.
async fn nothing_asked_is_nothing_done(cache: Arc<dyn EmbeddingCache>) {
    cache.put_many("static", &[]).await.unwrap();
    cache.remove(&[]).await.unwrap();
    assert!(cache.get_many("static", &[]).await.unwrap().is_empty());
}

/// A call may name thousands.
async fn many_vectors_at_once(cache: Arc<dyn EmbeddingCache>) {
    let all: Vec<ContentHash> = (0..3_000).map(hash).collect();
    cache.put_many("static", &entries(0..3_000)).await.unwrap();
    let found = cache.get_many("static", &all).await.unwrap();
    assert!(found.into_iter().eq((0..3_000).map(|number| Some(vector(number)))));
    cache.remove(&all).await.unwrap();
    assert!(cache.get_many("static", &all).await.unwrap().iter().all(Option::is_none));
}

/// Callers do not hinder each other.
async fn concurrent_puts_all_arrive(cache: Arc<dyn EmbeddingCache>) {
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let cache = Arc::clone(&cache);
            let own = entries(task * 5..task * 5 + 10);
            tokio::spawn(async move { cache.put_many("static", &own).await.unwrap() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let all: Vec<ContentHash> = (0..45).map(hash).collect();
    let found = cache.get_many("static", &all).await.unwrap();
    assert!(found.into_iter().eq((0..45).map(|number| Some(vector(number)))));
}
