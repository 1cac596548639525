//! Erases memories and what was made from them, and says so in a receipt.

use std::collections::{BTreeMap, BTreeSet};

use operone_core::cache::ContentHash;
use operone_core::clock::Timestamp;
use operone_core::id::{MemoryId, TenantId};
use operone_core::memory::{Entry, Revision, ScopeKey};
use operone_core::{Error, Result};

use crate::memory::Memory;

/// How many ids the store is asked about at once.
const ASKED_AT_ONCE: usize = 64;

/// Which memories of a scope to erase: those that all of these hold for. One that says nothing means all.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Selection {
    /// Those of these ids; none of them if the list is empty.
    pub ids: Option<Vec<MemoryId>>,
    /// Those that have one of these tags; none if the list is empty.
    pub tags: Option<Vec<String>>,
    /// Those recorded before this moment.
    pub before: Option<Timestamp>,
    /// Those recorded at this moment or later.
    pub after: Option<Timestamp>,
}

impl Selection {
    /// Those of these ids.
    pub fn ids(ids: Vec<MemoryId>) -> Self {
        Self { ids: Some(ids), ..Self::default() }
    }

    /// Those that have one of these tags.
    pub fn tags(tags: Vec<String>) -> Self {
        Self { tags: Some(tags), ..Self::default() }
    }

    fn holds(&self, entry: &Entry) -> bool {
        let is_named = self.ids.as_ref().is_none_or(|ids| ids.contains(&entry.id));
        let is_tagged = self.tags.as_ref().is_none_or(|tags| entry.tags.iter().any(|tag| tags.contains(tag)));
        is_named
            && is_tagged
            && self.before.is_none_or(|before| entry.recorded_at < before)
            && self.after.is_none_or(|after| entry.recorded_at >= after)
    }
}

/// The receipt of an erasure, or what one would do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Erasure {
    /// Names the receipt, `era-<uuidv7>`; in the log of the program too.
    pub receipt_id: String,
    /// When it was done.
    pub at: Timestamp,
    /// The memories of the scope itself.
    pub ids: Vec<MemoryId>,
    /// What was made from them, in whatever scope of the tenant.
    pub derived: Vec<(ScopeKey, MemoryId)>,
    /// The SHA-256 of all ids in their order, one a line, as hexadecimal digits.
    pub ids_hash: String,
    /// The scope's revision after it.
    pub revision: Revision,
    /// Whether nothing was erased: this is what would be.
    pub dry_run: bool,
}

impl Memory {
    /// Erases memories with all their versions, and whatever was made from them. Expired and superseded ones count.
    ///
    /// When it returns, the text is gone from the store's files and from what this process holds; other processes
    /// drop it before they next read the scope. A memory that is written meanwhile may stay. Unknown ids are passed
    /// over.
    pub async fn erase(&self, scope: &ScopeKey, selection: &Selection, dry_run: bool) -> Result<Erasure> {
        let index = self.index(scope, None).await?;
        let held = index.held().filter(|entry| selection.holds(entry));
        let ids: Vec<MemoryId> = held.map(|entry| entry.id.clone()).collect();
        let mut revision = index.revision();
        drop(index);
        let derived = self.derived_from(&scope.tenant, scope, &ids).await?;
        let at = self.clock.now();
        if !dry_run {
            for (other, ids) in by_scope(&derived) {
                let erased = self.store.erase(&other, &ids, at).await?;
                if other == *scope {
                    revision = erased.revision;
                }
                self.drop_erased(&other).await?;
            }
            revision = self.store.erase(scope, &ids, at).await?.revision.max(revision);
            self.drop_erased(scope).await?;
        }
        let receipt_id = format!("era-{}", self.ids.next());
        let ids_hash = hash_of(ids.iter().chain(derived.iter().map(|(_, id)| id)));
        if !dry_run {
            let (erased, derived) = (ids.len(), derived.len());
            tracing::info!(receipt_id, tenant = %scope.tenant, erased, derived, ids_hash, "memories were erased");
        }
        Ok(Erasure { receipt_id, at, ids, derived, ids_hash, revision, dry_run })
    }

    /// Erases one memory by its id; `NotFound` if there is none, or it has expired.
    pub async fn erase_one(&self, tenant: &TenantId, id: &MemoryId) -> Result<Erasure> {
        let found = self.get(tenant, id).await?;
        let (scope, _) = found.ok_or_else(|| Error::not_found(format!("there is no memory {id}")))?;
        self.erase(&scope, &Selection::ids(vec![id.clone()]), false).await
    }

    /// What was made from memories, directly or not, besides those themselves.
    async fn derived_from(
        &self,
        tenant: &TenantId,
        scope: &ScopeKey,
        ids: &[MemoryId],
    ) -> Result<Vec<(ScopeKey, MemoryId)>> {
        let mut seen: BTreeSet<MemoryId> = ids.iter().cloned().collect();
        let mut found = Vec::new();
        let mut asked: Vec<MemoryId> = ids.to_vec();
        while !asked.is_empty() {
            let mut next = Vec::new();
            for ids in asked.chunks(ASKED_AT_ONCE) {
                for (holder, id) in self.store.derived(tenant, ids).await? {
                    if seen.insert(id.clone()) {
                        next.push(id.clone());
                        found.push((holder, id));
                    }
                }
            }
            asked = next;
        }
        found.sort_unstable_by(|a, b| (a.0 != *scope, a).cmp(&(b.0 != *scope, b)));
        Ok(found)
    }
}

fn by_scope(derived: &[(ScopeKey, MemoryId)]) -> BTreeMap<ScopeKey, Vec<MemoryId>> {
    let mut by_scope: BTreeMap<ScopeKey, Vec<MemoryId>> = BTreeMap::new();
    for (scope, id) in derived {
        by_scope.entry(scope.clone()).or_default().push(id.clone());
    }
    by_scope
}

fn hash_of<'a>(ids: impl Iterator<Item = &'a MemoryId>) -> String {
    let lines: String = ids.map(|id| format!("{id}\n")).collect();
    ContentHash::of(lines).to_hex()
}
