//! A memory store within the process.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;

use crate::error::Result;
use crate::id::{MemoryId, TenantId};
use crate::memory::{Entry, MemoryStore, Record, Revision, ScopeKey};

/// Keeps the logs of all scopes in memory. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct InProcessMemoryStore {
    // Never held across an await: each call is one step under the lock, which makes it atomic.
    scopes: Arc<RwLock<HashMap<ScopeKey, Log>>>,
}

#[derive(Debug, Default)]
struct Log {
    records: Vec<Record>,
    /// Where in the log each id stands, erased ones included.
    places: HashMap<MemoryId, usize>,
}

#[async_trait]
impl MemoryStore for InProcessMemoryStore {
    async fn append(&self, scope: &ScopeKey, entries: Vec<Entry>) -> Result<Revision> {
        let mut scopes = self.scopes.write().unwrap_or_else(PoisonError::into_inner);
        if entries.is_empty() {
            return Ok(scopes.get(scope).map(Log::revision).unwrap_or_default());
        }
        let log = scopes.entry(scope.clone()).or_default();
        for entry in entries {
            if !log.places.contains_key(&entry.id) {
                log.places.insert(entry.id.clone(), log.records.len());
                log.push(entry.id.clone(), Some(entry));
            }
        }
        Ok(log.revision())
    }

    async fn scan(&self, scope: &ScopeKey, after: Revision, limit: usize) -> Result<Vec<Record>> {
        let scopes = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
        // Revisions are dense from 1, so the record after `after` has the index `after`.
        let begin = usize::try_from(after.0).unwrap_or(usize::MAX);
        let records = scopes.get(scope).map(|log| log.records.as_slice()).unwrap_or_default();
        Ok(records.iter().skip(begin).take(limit).cloned().collect())
    }

    async fn get(&self, tenant: &TenantId, id: &MemoryId) -> Result<Option<(ScopeKey, Entry)>> {
        let scopes = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
        let own = scopes.iter().filter(|(scope, _)| scope.tenant == *tenant);
        let mut found = own.filter_map(|(scope, log)| {
            let record = log.records.get(*log.places.get(id)?)?;
            Some((scope.clone(), record.entry.clone()?))
        });
        Ok(found.next())
    }

    async fn erase(&self, scope: &ScopeKey, ids: &[MemoryId]) -> Result<(Revision, usize)> {
        let mut scopes = self.scopes.write().unwrap_or_else(PoisonError::into_inner);
        let Some(log) = scopes.get_mut(scope) else { return Ok((Revision(0), 0)) };
        let mut erased = 0;
        for id in ids {
            let record = log.places.get(id).and_then(|place| log.records.get_mut(*place));
            if record.and_then(|record| record.entry.take()).is_some() {
                log.push(id.clone(), None);
                erased += 1;
            }
        }
        Ok((log.revision(), erased))
    }

    async fn revision(&self, scope: &ScopeKey) -> Result<Revision> {
        let scopes = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
        Ok(scopes.get(scope).map(Log::revision).unwrap_or_default())
    }
}

impl Log {
    fn revision(&self) -> Revision {
        Revision(self.records.len() as u64)
    }

    fn push(&mut self, id: MemoryId, entry: Option<Entry>) {
        self.records.push(Record::new(Revision(self.records.len() as u64 + 1), id, entry));
    }
}
