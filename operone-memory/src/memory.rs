//! Memory over any store: what it is made of, and how an index is brought up to date.

use std::sync::Arc;

use async_trait::async_trait;
use operone_core::clock::Clock;
use operone_core::embed::{Embedder, EmbedderKind};
use operone_core::id::{Ids, MemoryId, TenantId};
use operone_core::memory::{
    Entry, MemoryStore, NewMemory, Recall, RecallMode, RecallQuery, Recalled, Remembered, Revision, Scope,
    ScopeKey,
};
use operone_core::{Error, Result};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::index::{Index, Until, embedded_text};
use crate::indexes::{IndexKey, Indexes};
use crate::policy::{Policies, Policy};
use crate::write::WriteRequest;

/// How many records are read at once to catch up.
const PAGE: usize = 1000;

/// How many texts are embedded at once.
const EMBEDDED_AT_ONCE: usize = 256;

/// The memory that the indexes may take, in bytes, unless set otherwise.
const INDEX_BUDGET: usize = 256 * 1024 * 1024;

/// Ranked memory over a store.
///
/// - Ranking is BM25 over the stems of content, tags and actor (k1 0.9, b 0.4), with the frequencies of the scope
///   alone. In a conversation (a scope below `session`, or memories that name a thread) the words of the previous
///   and the next memory count too, by 0.5 and 0.3, and the score of the whole thread by 0.3 where a scope has
///   several. Without an embedder only memories that share a term with the query are given.
/// - In a thread that has a name, what was said next to a match is found as well: an answer by its question.
/// - With an embedder, words and vectors give a hundred candidates each, both scores of all of them are brought onto
///   [0, 1], and the sum is weighed by what kind of embedder it is. What holds no word of the query must be alike.
/// - A score is in [0, 1], in millionths. That of the best memory is the share of the query that it covers, rare
///   words weighing more. Importance moves a score by a twentieth up or down; age does nothing unless asked. Ties
///   go to the memory that was written later.
/// - An empty query gives the newest memories, each with score 1.
/// - The same log gives the same answers, whatever the store.
/// - The indexes of the scopes in use stay in the process within a budget. A scope that alone exceeds it still
///   works: its index stays until another scope is used, and then has to be built again. Recalls of one scope run
///   side by side, except while its index catches up.
/// - Dropping a call is safe at any point: a write is done whole or not, and what was caught up stays.
///
/// Codes: `invalid_memory`, `invalid_limit`, `invalid_cursor`, `invalid_query`, those of
/// [`MemoryStore::write`], and `revision_not_reached` (`Unavailable`).
#[derive(Debug)]
pub struct Memory {
    pub(crate) store: Arc<dyn MemoryStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) policies: Policies,
    embedder: Option<Arc<dyn Embedder>>,
    default_mode: RecallMode,
    indexes: Indexes,
}

impl Memory {
    /// Memory over `store`, without vectors, whose indexes may take 256 MiB.
    pub fn new(store: Arc<dyn MemoryStore>, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        let indexes = Indexes::new(INDEX_BUDGET);
        Self {
            store,
            clock,
            ids,
            policies: Policies::default(),
            embedder: None,
            default_mode: RecallMode::Hybrid,
            indexes,
        }
    }

    /// Sets how much memory the indexes may take, in bytes, by estimate.
    #[must_use]
    pub fn with_index_budget(mut self, bytes: usize) -> Self {
        self.indexes = Indexes::new(bytes);
        self
    }

    /// Ranks by vectors too. They are computed when they are first asked for and live in the process only.
    #[must_use]
    pub fn with_embedder(mut self, embedder: Arc<dyn Embedder>) -> Self {
        self.embedder = Some(embedder);
        self
    }

    /// Sets what ranks where a query does not say; words and vectors unless set otherwise. Without an embedder words
    /// rank alone.
    #[must_use]
    pub fn with_default_mode(mut self, mode: RecallMode) -> Self {
        self.default_mode = mode;
        self
    }

    /// Sets what applies to the scopes whose path begins with `root`.
    #[must_use]
    pub fn with_policy(mut self, root: &str, policy: Policy) -> Self {
        self.policies.set(root, policy);
        self
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn MemoryStore> {
        &self.store
    }

    /// A memory that can be read, with its scope. An expired one is not found.
    pub async fn get(&self, tenant: &TenantId, id: &MemoryId) -> Result<Option<(ScopeKey, Entry)>> {
        let Some(scope) = self.store.locate(tenant, id).await? else { return Ok(None) };
        let index = self.index(&scope, None).await?;
        let entry = index.get(id, self.clock.now()).map(|entry| Entry::clone(entry));
        Ok(entry.map(|entry| (scope, entry)))
    }

    /// Every version of a memory that can be read, the first one first; none if there is no such memory.
    pub async fn history(&self, tenant: &TenantId, id: &MemoryId) -> Result<Vec<Entry>> {
        match self.get(tenant, id).await? {
            Some((scope, _)) => self.store.history(&scope, id).await,
            None => Ok(Vec::new()),
        }
    }

    /// The scopes of a tenant that were written to, after `after`, at most `limit`.
    pub async fn scopes(&self, tenant: &TenantId, after: Option<&Scope>, limit: usize) -> Result<Vec<Scope>> {
        self.store.scopes(tenant, after, limit).await
    }

    pub(crate) fn embedder(&self) -> Option<&Arc<dyn Embedder>> {
        self.embedder.as_ref()
    }

    /// What vectors count beside words, and the least cosine without a word: as in retrieval, by what kind of
    /// embedder it is.
    pub(crate) fn dense_weights(&self) -> (f64, f64) {
        match self.embedder.as_ref().map(|embedder| embedder.info().kind) {
            Some(EmbedderKind::Model) => (0.5, 0.25),
            _ => (0.3, 0.4),
        }
    }

    pub(crate) fn default_mode(&self) -> RecallMode {
        match self.embedder {
            Some(_) => self.default_mode,
            None => RecallMode::Lexical,
        }
    }

    /// The index of a scope at the store's revision or later, until it is let go.
    pub(crate) async fn index(
        &self,
        scope: &ScopeKey,
        until: Option<Until>,
    ) -> Result<OwnedRwLockReadGuard<Index>> {
        let due: Revision = self.store.revision(scope).await?;
        let key = IndexKey { scope: scope.clone(), until };
        let lock: Arc<RwLock<Index>> = self.indexes.of(&key, self.policies.of(&scope.scope));
        let index = Arc::clone(&lock).read_owned().await;
        if index.revision() == due {
            return Ok(index);
        }
        drop(index);
        let mut writing = lock.write_owned().await;
        let caught_up = self.catch_up(scope, &mut writing).await;
        self.indexes.resized(&key, writing.bytes());
        caught_up?;
        Ok(OwnedRwLockWriteGuard::downgrade(writing))
    }

    /// The index with the vectors of all its memories.
    pub(crate) async fn index_with_vectors(
        &self,
        scope: &ScopeKey,
        until: Option<Until>,
        embedder: &dyn Embedder,
    ) -> Result<OwnedRwLockReadGuard<Index>> {
        let index = self.index(scope, until).await?;
        if index.has_all_vectors() {
            return Ok(index);
        }
        drop(index);
        // What is known of the scope as it is need not be computed for the scope as it was.
        let known = match until {
            Some(_) => Some(self.index(scope, None).await?),
            None => None,
        };
        let key = IndexKey { scope: scope.clone(), until };
        let lock = self.indexes.of(&key, self.policies.of(&scope.scope));
        let mut writing = lock.write_owned().await;
        self.catch_up(scope, &mut writing).await?;
        let embedded = self.embed(&mut writing, known.as_deref(), embedder).await;
        self.indexes.resized(&key, writing.bytes());
        embedded?;
        Ok(OwnedRwLockWriteGuard::downgrade(writing))
    }

    async fn embed(&self, index: &mut Index, known: Option<&Index>, embedder: &dyn Embedder) -> Result<()> {
        loop {
            let due = index.without_vectors(EMBEDDED_AT_ONCE);
            if due.is_empty() {
                return Ok(());
            }
            let mut vectors: Vec<(u32, Option<Arc<[f32]>>)> = due
                .iter()
                .map(|(place, entry)| (*place, known.and_then(|known| known.vector(entry))))
                .collect();
            let texts: Vec<String> = due
                .iter()
                .zip(&vectors)
                .filter(|(_, (_, vector))| vector.is_none())
                .map(|((_, entry), _)| embedded_text(entry))
                .collect();
            if !texts.is_empty() {
                let mut embedded = embedder.embed(&texts).await?.into_iter();
                for (_, vector) in vectors.iter_mut().filter(|(_, vector)| vector.is_none()) {
                    *vector = embedded.next().flatten().map(Arc::from);
                }
            }
            index.set_vectors(vectors);
            tokio::task::yield_now().await;
        }
    }

    /// Drops what was erased from what this process holds of a scope.
    pub(crate) async fn drop_erased(&self, scope: &ScopeKey) -> Result<()> {
        self.indexes.forget_earlier(scope);
        self.index(scope, None).await.map(drop)
    }

    /// Brings an index to the store's revision at least.
    async fn catch_up(&self, scope: &ScopeKey, index: &mut Index) -> Result<()> {
        let target = self.store.revision(scope).await?;
        if target < index.revision() {
            tracing::warn!(scope = scope.scope.as_str(), "the store went back: its index is built again");
            *index = Index::new(self.policies.of(&scope.scope), index.until());
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
        let receipt = self.write(scope, WriteRequest::new(memories)).await?;
        let ids = receipt.written.into_iter().map(|written| written.id).collect();
        Ok(Remembered::new(ids, receipt.revision))
    }

    async fn recall(&self, query: RecallQuery) -> Result<Recalled> {
        self.find(&query).await
    }
}

#[cfg(test)]
mod tests {
    use operone_core::clock::SystemClock;
    use operone_core::id::SystemIds;
    use operone_core::in_process::InProcessMemoryStore;

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
