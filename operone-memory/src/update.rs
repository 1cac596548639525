//! Changes a memory: a new version, the earlier ones stay in its history.

use operone_core::clock::Timestamp;
use operone_core::id::{MemoryId, TenantId};
use operone_core::memory::{Batch, Entry, NewMemory, Operation, Revision, ScopeKey, Trust};
use operone_core::metadata::Metadata;
use operone_core::{Error, Result};

use crate::memory::Memory;
use crate::validate;

/// How often a change is tried again because another one came first.
const TRIES: usize = 16;

/// What to change of a memory; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct MemoryPatch {
    /// What it says.
    pub content: Option<String>,
    /// All of its tags.
    pub tags: Option<Vec<String>>,
    /// All of its metadata.
    pub metadata: Option<Metadata>,
    /// Its kind; `Some(None)` takes it away.
    pub kind: Option<Option<String>>,
    /// How much it matters, in [0, 1].
    pub importance: Option<f64>,
    /// How far its origin can be trusted.
    pub trust: Option<Trust>,
    /// When it expires; `Some(None)` lets it stay.
    pub expires_at: Option<Option<Timestamp>>,
    /// When what it tells happened; `Some(None)` takes it away.
    pub occurred_at: Option<Option<Timestamp>>,
    /// The version that it must have, else `Conflict` with code `version_conflict`. If left out, a change that came
    /// in between is kept where this one says nothing of it.
    pub expected_version: Option<u32>,
}

impl Memory {
    /// Writes the next version of a memory that can be read, and gives it with its scope and the new revision.
    pub async fn update(
        &self,
        tenant: &TenantId,
        id: &MemoryId,
        patch: &MemoryPatch,
    ) -> Result<(ScopeKey, Entry, Revision)> {
        for tried in 1.. {
            let found = self.get(tenant, id).await?;
            let (scope, before) =
                found.ok_or_else(|| Error::not_found(format!("there is no memory {id}")))?;
            let now = self.clock.now();
            let next = patch.applied_to(&before, now);
            check(&next)?;
            let expected = patch.expected_version.unwrap_or(before.version);
            let batch = Batch::new(now, vec![Operation::replace(next.clone(), Some(expected))]);
            match self.store.write(&scope, batch).await {
                Ok(receipt) => {
                    let mut next = next;
                    next.version = receipt.written.first().map_or(next.version, |written| written.version);
                    return Ok((scope, next, receipt.revision));
                }
                Err(error) if error.code() == "version_conflict" => {
                    if patch.expected_version.is_some() || tried >= TRIES {
                        return Err(told_without_place(error));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::conflict("other writes always came first"))
    }
}

impl MemoryPatch {
    fn applied_to(&self, before: &Entry, now: Timestamp) -> Entry {
        let mut next = before.clone();
        next.updated_at = Some(now);
        if let Some(content) = &self.content {
            next.content.clone_from(content);
        }
        if let Some(tags) = &self.tags {
            next.tags.clone_from(tags);
            next.tags.sort();
            next.tags.dedup();
        }
        if let Some(metadata) = &self.metadata {
            next.metadata.clone_from(metadata);
        }
        if let Some(kind) = &self.kind {
            next.kind.clone_from(kind);
        }
        next.importance = self.importance.unwrap_or(next.importance);
        next.trust = self.trust.unwrap_or(next.trust);
        next.expires_at = self.expires_at.unwrap_or(next.expires_at);
        next.occurred_at = self.occurred_at.unwrap_or(next.occurred_at);
        next
    }
}

/// The rules for what is written hold for what is changed too.
fn check(next: &Entry) -> Result<()> {
    let mut memory = NewMemory::new(next.content.as_str()).with_tags(next.tags.clone());
    memory.kind.clone_from(&next.kind);
    memory.metadata.clone_from(&next.metadata);
    memory.importance = Some(next.importance);
    match validate::faults(std::slice::from_ref(&memory)).into_iter().next() {
        Some(fault) => {
            let pointer = fault.pointer.trim_start_matches("/entries/0").to_owned();
            Err(Error::invalid(format!("{pointer}: {}", fault.detail)).with_code("invalid_memory"))
        }
        None => Ok(()),
    }
}

fn told_without_place(error: Error) -> Error {
    let message = error.message().trim_start_matches("/entries/0: ").to_owned();
    Error::conflict(message).with_code("version_conflict")
}
