//! A memory store within the process.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::{MemoryId, TenantId};
use crate::memory::{
    Batch, Change, Entry, Erased, MemoryStore, Operation, Receipt, Record, Revision, Scope, ScopeKey,
    WriteKey, WriteOutcome, Written,
};

/// Keeps the logs of all scopes in memory. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct InProcessMemoryStore {
    // Never held across an await: each call is one step under the lock, which makes it atomic.
    state: Arc<RwLock<State>>,
}

#[derive(Debug, Default)]
struct State {
    scopes: BTreeMap<ScopeKey, Log>,
    /// The scope of each memory that was ever written, erased ones included.
    places: HashMap<(TenantId, MemoryId), ScopeKey>,
}

#[derive(Debug, Default)]
struct Log {
    records: Vec<Record>,
    /// Where the versions of each id stand, in order; none for what was erased.
    versions: HashMap<MemoryId, Vec<usize>>,
    /// The memories whose current version has this content, by [`Entry::content_key`].
    by_content: HashMap<u64, Vec<MemoryId>>,
    keys: HashMap<String, KeptReceipt>,
    marks: HashMap<String, u64>,
}

#[derive(Debug)]
struct KeptReceipt {
    key: WriteKey,
    at: Timestamp,
    receipt: Receipt,
}

#[async_trait]
impl MemoryStore for InProcessMemoryStore {
    async fn write(&self, scope: &ScopeKey, batch: Batch) -> Result<Receipt> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let State { scopes, places } = &mut *state;
        if let Some(receipt) = scopes.get(scope).and_then(|log| log.replay(&batch)) {
            return receipt;
        }
        if batch.operations.is_empty() && batch.marks.is_empty() && batch.key.is_none() {
            let revision = scopes.get(scope).map(Log::revision).unwrap_or_default();
            batch.check_revision(revision)?;
            return Ok(Receipt::new(Vec::new(), revision));
        }
        let empty = Log::default();
        let log = scopes.get(scope).unwrap_or(&empty);
        batch.check_revision(log.revision())?;
        let taken = |id: &MemoryId| {
            places.get(&(scope.tenant.clone(), id.clone())).is_some_and(|other| other != scope)
        };
        let staged = log.stage(&batch, taken)?;
        let log = scopes.entry(scope.clone()).or_default();
        for entry in staged.entries {
            places.entry((scope.tenant.clone(), entry.id.clone())).or_insert_with(|| scope.clone());
            log.add(entry);
        }
        log.marks.extend(batch.marks);
        let receipt = Receipt::new(staged.written, log.revision());
        if let Some(key) = batch.key {
            let at = batch.at;
            log.keys.retain(|_, kept| at.since(kept.at) < WriteKey::KEPT_FOR);
            log.keys.insert(key.key.clone(), KeptReceipt { key, at, receipt: receipt.clone() });
        }
        Ok(receipt)
    }

    async fn scan(&self, scope: &ScopeKey, after: Revision, limit: usize) -> Result<Vec<Record>> {
        let state = self.read();
        // Revisions are dense from 1, so the record after `after` has the index `after`.
        let begin = usize::try_from(after.0).unwrap_or(usize::MAX);
        let records = state.scopes.get(scope).map(|log| log.records.as_slice()).unwrap_or_default();
        Ok(records.iter().skip(begin).take(limit).cloned().collect())
    }

    async fn get(&self, scope: &ScopeKey, id: &MemoryId) -> Result<Option<Entry>> {
        Ok(self.read().scopes.get(scope).and_then(|log| log.current(id)).cloned())
    }

    async fn history(&self, scope: &ScopeKey, id: &MemoryId) -> Result<Vec<Entry>> {
        let state = self.read();
        let Some(log) = state.scopes.get(scope) else { return Ok(Vec::new()) };
        let places = log.versions.get(id).map(Vec::as_slice).unwrap_or_default();
        Ok(places.iter().filter_map(|place| log.records.get(*place)?.entry().cloned()).collect())
    }

    async fn locate(&self, tenant: &TenantId, id: &MemoryId) -> Result<Option<ScopeKey>> {
        let state = self.read();
        let scope = state.places.get(&(tenant.clone(), id.clone()));
        let holds = |scope: &&ScopeKey| state.scopes.get(scope).is_some_and(|log| log.current(id).is_some());
        Ok(scope.filter(holds).cloned())
    }

    async fn derived(&self, tenant: &TenantId, from: &[MemoryId]) -> Result<Vec<(ScopeKey, MemoryId)>> {
        let state = self.read();
        let mut found = Vec::new();
        for (scope, log) in state.scopes.iter().filter(|(scope, _)| scope.tenant == *tenant) {
            let entries = log.versions.keys().filter_map(|id| log.current(id));
            let derived = entries.filter(|entry| entry.derived_from.iter().any(|id| from.contains(id)));
            found.extend(derived.map(|entry| (scope.clone(), entry.id.clone())));
        }
        Ok(found)
    }

    async fn erase(&self, scope: &ScopeKey, ids: &[MemoryId], at: Timestamp) -> Result<Erased> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let Some(log) = state.scopes.get_mut(scope) else {
            return Ok(Erased::new(Revision(0), Vec::new()));
        };
        let erased = ids.iter().filter(|id| log.erase(id, at)).cloned().collect();
        Ok(Erased::new(log.revision(), erased))
    }

    async fn revision(&self, scope: &ScopeKey) -> Result<Revision> {
        Ok(self.read().scopes.get(scope).map(Log::revision).unwrap_or_default())
    }

    async fn scopes(&self, tenant: &TenantId, after: Option<&Scope>, limit: usize) -> Result<Vec<Scope>> {
        let state = self.read();
        let own = state.scopes.keys().filter(|key| key.tenant == *tenant);
        let later = own.filter(|key| after.is_none_or(|after| key.scope > *after));
        Ok(later.map(|key| key.scope.clone()).take(limit).collect())
    }

    async fn tenants(&self, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantId>> {
        let state = self.read();
        let mut tenants: Vec<TenantId> = state.scopes.keys().map(|key| key.tenant.clone()).collect();
        tenants.dedup();
        Ok(tenants
            .into_iter()
            .filter(|tenant| after.is_none_or(|after| tenant > after))
            .take(limit)
            .collect())
    }

    async fn mark(&self, scope: &ScopeKey, name: &str) -> Result<u64> {
        let state = self.read();
        Ok(state.scopes.get(scope).and_then(|log| log.marks.get(name)).copied().unwrap_or_default())
    }
}

impl InProcessMemoryStore {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a batch comes to before anything is changed.
#[derive(Default)]
struct Staged {
    entries: Vec<Entry>,
    written: Vec<Written>,
    /// The last version of each memory among `entries`.
    current: HashMap<MemoryId, usize>,
}

impl Staged {
    fn current(&self, id: &MemoryId) -> Option<&Entry> {
        self.entries.get(*self.current.get(id)?)
    }

    fn push(&mut self, entry: Entry, outcome: WriteOutcome) {
        self.written.push(Written::new(entry.id.clone(), entry.version, outcome));
        self.current.insert(entry.id.clone(), self.entries.len());
        self.entries.push(entry);
    }

    fn pass_over(&mut self, holder: &Entry) {
        self.written.push(Written::new(holder.id.clone(), holder.version, WriteOutcome::Existing));
    }
}

impl Log {
    fn revision(&self) -> Revision {
        Revision(self.records.len() as u64)
    }

    fn current(&self, id: &MemoryId) -> Option<&Entry> {
        self.records.get(*self.versions.get(id)?.last()?)?.entry()
    }

    /// The receipt of an earlier write of the same key.
    fn replay(&self, batch: &Batch) -> Option<Result<Receipt>> {
        let key = batch.key.as_ref()?;
        let kept = self.keys.get(&key.key)?;
        if kept.key != *key {
            return Some(Err(key.reused()));
        }
        Some(Ok(Receipt { replayed: true, ..kept.receipt.clone() }))
    }

    fn stage(&self, batch: &Batch, taken: impl Fn(&MemoryId) -> bool) -> Result<Staged> {
        let mut staged = Staged::default();
        for (place, operation) in batch.operations.iter().enumerate() {
            match operation {
                Operation::Put { entry, unique } => {
                    if let Some(holder) = staged.current(&entry.id).or_else(|| self.current(&entry.id)) {
                        let holder = holder.clone();
                        staged.pass_over(&holder);
                    } else if self.versions.contains_key(&entry.id) {
                        staged.written.push(Written::new(entry.id.clone(), 0, WriteOutcome::Erased));
                    } else if taken(&entry.id) {
                        return Err(Operation::id_taken(place, &entry.id));
                    } else if let Some(holder) = unique.then(|| self.same(&staged, entry, batch.at)).flatten()
                    {
                        staged.pass_over(&holder);
                    } else {
                        staged.push(Entry { version: 1, ..entry.clone() }, WriteOutcome::Created);
                    }
                }
                Operation::Replace { entry, expected } => {
                    let current = staged.current(&entry.id).or_else(|| self.current(&entry.id));
                    let current = current.ok_or_else(|| Operation::unknown(place, &entry.id))?;
                    let next = Operation::next_version(place, current, entry, *expected)?;
                    staged.push(next, WriteOutcome::Updated);
                }
            }
        }
        Ok(staged)
    }

    /// A memory that can be read at `now` and says the same.
    fn same(&self, staged: &Staged, entry: &Entry, now: Timestamp) -> Option<Entry> {
        let is_same = |other: &&Entry| {
            other.says_the_same_as(entry) && !other.is_expired(now) && other.superseded_by.is_none()
        };
        let held = self.by_content.get(&entry.content_key()).map(Vec::as_slice).unwrap_or_default();
        let held =
            held.iter().filter(|id| !staged.current.contains_key(id)).filter_map(|id| self.current(id));
        let is_last = |(place, entry): &(usize, &Entry)| staged.current.get(&entry.id) == Some(place);
        let added = staged.entries.iter().enumerate().filter(is_last).map(|(_, entry)| entry);
        held.chain(added).find(is_same).cloned()
    }

    fn add(&mut self, entry: Entry) {
        let key = entry.content_key();
        if let Some(before) = self.current(&entry.id).map(Entry::content_key) {
            self.forget_content(before, &entry.id);
        }
        self.by_content.entry(key).or_default().push(entry.id.clone());
        self.versions.entry(entry.id.clone()).or_default().push(self.records.len());
        self.push(entry.id.clone(), Change::Written(Box::new(entry)));
    }

    fn erase(&mut self, id: &MemoryId, at: Timestamp) -> bool {
        let Some(key) = self.current(id).map(Entry::content_key) else { return false };
        self.forget_content(key, id);
        for place in self.versions.get_mut(id).map(std::mem::take).unwrap_or_default() {
            if let Some(record) = self.records.get_mut(place) {
                record.change = Change::Blank;
            }
        }
        self.push(id.clone(), Change::Erased(at));
        true
    }

    fn forget_content(&mut self, key: u64, id: &MemoryId) {
        if let Some(ids) = self.by_content.get_mut(&key) {
            ids.retain(|other| other != id);
            if ids.is_empty() {
                self.by_content.remove(&key);
            }
        }
    }

    fn push(&mut self, id: MemoryId, change: Change) {
        self.records.push(Record::new(Revision(self.records.len() as u64 + 1), id, change));
    }
}
