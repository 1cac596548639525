//! Remembers and recalls over any store.

use std::sync::Arc;

use async_trait::async_trait;
use operone_core::clock::Clock;
use operone_core::id::{Ids, MemoryId};
use operone_core::memory::{
    Entry, MemoryStore, NewMemory, Recall, RecallQuery, Recalled, Remembered, Revision, ScopeKey,
};
use operone_core::{Error, Result};

use crate::index::Index;
use crate::indexes::Indexes;
use crate::validate;

/// How many records are read at once to catch up.
const PAGE: usize = 1000;

/// The memory that the indexes may take, in bytes, unless set otherwise.
const INDEX_BUDGET: usize = 256 * 1024 * 1024;

/// Ranked memory over a store.
///
/// - Ranking is BM25 over the stems of content and tags (k1 0.9, b 0.4), with the frequencies of the scope alone.
///   In scopes whose first part is `session` the words of the previous and the next memory count too, by 0.5 and
///   0.3: a reply to a question ranks above the same words elsewhere. Only memories that share a term with the
///   query are given.
/// - A score is in [0, 1], rounded to six places. That of the best memory is the share of the query that it
///   covers, rare words weighing more. Ties go to the newer memory.
/// - An empty query gives the newest memories, each with score 1.
/// - Writes that repeat an id of the scope change nothing. Codes: `invalid_memory`, `invalid_limit`.
/// - The indexes of the scopes in use stay in the process within a budget. A scope that alone exceeds it still
///   works: its index stays until another scope is used, and then has to be built again. Recalls of one scope run
///   side by side, except while its index catches up.
/// - Dropping a recall is safe at any point: what was caught up stays.
#[derive(Debug)]
pub struct Memory {
    store: Arc<dyn MemoryStore>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    indexes: Indexes,
}

impl Memory {
    /// Memory over `store`, whose indexes may take 256 MiB.
    pub fn new(store: Arc<dyn MemoryStore>, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        Self { store, clock, ids, indexes: Indexes::new(INDEX_BUDGET) }
    }

    /// Sets how much memory the indexes may take, in bytes, by estimate.
    #[must_use]
    pub fn with_index_budget(mut self, bytes: usize) -> Self {
        self.indexes = Indexes::new(bytes);
        self
    }

    /// Brings an index to the store's revision at least.
    async fn catch_up(&self, scope: &ScopeKey, index: &mut Index) -> Result<()> {
        let target = self.store.revision(scope).await?;
        if target < index.revision() {
            tracing::warn!(scope = scope.scope.as_str(), "the store went back: its index is built again");
            *index = Index::new(scope);
        }
        while index.revision() < target {
            let before = index.revision();
            for record in self.store.scan(scope, before, PAGE).await? {
                index.apply(record);
            }
            if index.revision() <= before {
                return Err(Error::internal("the store's log ends before its revision")
                    .with_operation("memory.recall"));
            }
            // A long log is read in pages between which others get their turn.
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

#[async_trait]
impl Recall for Memory {
    async fn remember(&self, scope: &ScopeKey, memories: Vec<NewMemory>) -> Result<Remembered> {
        validate::check(&memories)?;
        let now = self.clock.now();
        let entries: Vec<Entry> = memories
            .into_iter()
            .map(|NewMemory { content, tags, id, .. }| {
                let id = id.unwrap_or_else(|| MemoryId::from_uuid(self.ids.next()));
                Entry::new(id, content, tags, now)
            })
            .collect();
        let ids = entries.iter().map(|entry| entry.id.clone()).collect();
        let revision = if entries.is_empty() {
            self.store.revision(scope).await?
        } else {
            self.store.append(scope, entries).await?
        };
        Ok(Remembered::new(ids, revision))
    }

    async fn recall(&self, query: RecallQuery) -> Result<Recalled> {
        let RecallQuery { scope, text, limit, .. } = &query;
        if !(1..=RecallQuery::MAX_LIMIT).contains(limit) {
            let detail = format!("the limit is between 1 and {}", RecallQuery::MAX_LIMIT);
            return Err(Error::invalid(detail).with_code("invalid_limit"));
        }
        let due: Revision = self.store.revision(scope).await?;
        let lock = self.indexes.of(scope);
        let mut index = lock.read().await;
        if index.revision() != due {
            drop(index);
            let mut writing = lock.write().await;
            let caught_up = self.catch_up(scope, &mut writing).await;
            self.indexes.resized(scope, writing.bytes());
            caught_up?;
            index = writing.downgrade();
        }
        let memories = if text.trim().is_empty() { index.newest(*limit) } else { index.search(text, *limit) };
        Ok(Recalled::new(memories, index.revision()))
    }
}

#[cfg(test)]
mod tests {
    use operone_core::clock::SystemClock;
    use operone_core::id::{SystemIds, TenantId};
    use operone_core::in_process::InProcessMemoryStore;
    use operone_core::memory::Scope;

    use super::*;

    #[tokio::test]
    async fn an_index_follows_a_store_that_was_put_back() {
        let scope = ScopeKey::new(TenantId::local(), Scope::new("longterm").unwrap());
        let over = |store: InProcessMemoryStore| {
            Memory::new(Arc::new(store), Arc::new(SystemClock), Arc::new(SystemIds))
        };
        let mut memory = over(InProcessMemoryStore::default());
        let facts = vec![NewMemory::new("first fact"), NewMemory::new("second fact")];
        memory.remember(&scope, facts).await.unwrap();
        let query = RecallQuery::new(scope.clone(), "fact");
        assert_eq!(memory.recall(query.clone()).await.unwrap().memories.len(), 2);
        memory.store = over(InProcessMemoryStore::default()).store;
        memory.remember(&scope, vec![NewMemory::new("another fact")]).await.unwrap();
        let found = memory.recall(query).await.unwrap();
        assert_eq!((found.memories.len(), found.revision), (1, Revision(1)));
        assert_eq!(found.memories[0].entry.content, "another fact");
    }
}
