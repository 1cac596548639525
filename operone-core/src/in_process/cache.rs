//! An embedding cache within the process.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::cache::{ContentHash, EmbeddingCache};
use crate::error::Result;

/// Keeps vectors in memory, up to a number of them. Clones share them.
#[derive(Clone, Debug)]
pub struct InProcessEmbeddingCache {
    capacity: usize,
    // Never held across an await.
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    vectors: HashMap<ContentHash, HashMap<String, Vec<f32>>>,
    count: usize,
    /// What was kept, oldest first; some of it may have been removed since.
    order: VecDeque<(ContentHash, String)>,
}

impl InProcessEmbeddingCache {
    /// An empty cache of at most so many vectors; one more pushes the oldest out.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, kept: Arc::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for InProcessEmbeddingCache {
    /// An empty cache of at most 100,000 vectors.
    fn default() -> Self {
        Self::new(100_000)
    }
}

#[async_trait]
impl EmbeddingCache for InProcessEmbeddingCache {
    async fn get_many(&self, embedder: &str, hashes: &[ContentHash]) -> Result<Vec<Option<Vec<f32>>>> {
        let kept = self.kept();
        Ok(hashes.iter().map(|hash| kept.vectors.get(hash)?.get(embedder).cloned()).collect())
    }

    async fn put_many(&self, embedder: &str, entries: &[(ContentHash, Vec<f32>)]) -> Result<()> {
        let mut kept = self.kept();
        for (hash, vector) in entries {
            let of_hash = kept.vectors.entry(*hash).or_default();
            if of_hash.contains_key(embedder) {
                continue;
            }
            of_hash.insert(embedder.to_owned(), vector.clone());
            kept.count += 1;
            kept.order.push_back((*hash, embedder.to_owned()));
        }
        while kept.count > self.capacity {
            let Some((hash, embedder)) = kept.order.pop_front() else { break };
            kept.forget(&hash, &embedder);
        }
        Ok(())
    }

    async fn remove(&self, hashes: &[ContentHash]) -> Result<()> {
        let mut kept = self.kept();
        for hash in hashes {
            kept.count -= kept.vectors.remove(hash).map_or(0, |of_hash| of_hash.len());
        }
        let Kept { vectors, order, .. } = &mut *kept;
        order.retain(|(hash, _)| vectors.contains_key(hash));
        Ok(())
    }
}

impl Kept {
    fn forget(&mut self, hash: &ContentHash, embedder: &str) {
        let Some(of_hash) = self.vectors.get_mut(hash) else { return };
        if of_hash.remove(embedder).is_some() {
            self.count -= 1;
        }
        if of_hash.is_empty() {
            self.vectors.remove(hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_cache_forgets_the_oldest() {
        let cache = InProcessEmbeddingCache::new(2);
        let hash = |text: &str| ContentHash::of(text);
        for text in ["a", "b", "c"] {
            cache.put_many("e", &[(hash(text), vec![1.0])]).await.unwrap();
        }
        let found = cache.get_many("e", &["a", "b", "c"].map(hash)).await.unwrap();
        assert_eq!(found, [None, Some(vec![1.0]), Some(vec![1.0])]);
        cache.remove(&[hash("b")]).await.unwrap();
        cache.put_many("e", &[(hash("d"), vec![2.0])]).await.unwrap();
        assert!(cache.get_many("e", &["c", "d"].map(hash)).await.unwrap().iter().all(Option::is_some));
    }
}
