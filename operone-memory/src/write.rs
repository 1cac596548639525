//! Writes memories: fills in what was left out, passes over duplicates, and puts new ones in the place of old.

use operone_core::cache::ContentHash;
use operone_core::clock::Timestamp;
use operone_core::id::MemoryId;
use operone_core::memory::{
    Batch, Entry, NewMemory, Operation, Receipt, Revision, ScopeKey, Trust, WriteKey,
};
use operone_core::{Error, Result};
use uuid::Uuid;

use crate::memory::Memory;
use crate::validate;

/// How often a write is tried again because another one came first.
const TRIES: usize = 8;

/// Names the ids of promoted memories.
const PROMOTED: Uuid = Uuid::from_u128(0x4f0c_9d5e_2b1a_4c87_a3e6_0d95_7b1f_62c4);

/// Memories to write, and under what conditions.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WriteRequest {
    /// What to remember, at most [`MAX_BATCH`](crate::MAX_BATCH).
    pub memories: Vec<NewMemory>,
    /// Makes a repeat harmless: the same key with the same memories gives the first receipt, with others it is
    /// `Invalid` with code `idempotency_key_reused`. Kept for a day, in the transaction of the write.
    pub key: Option<String>,
    /// The revision that the scope must have.
    pub expected_revision: Option<Revision>,
    /// Whether to pass over what the scope holds already; the scope's policy decides if left out.
    pub unique: Option<bool>,
    /// Numbers to keep with the write; see [`Batch::marks`].
    pub marks: Vec<(String, u64)>,
}

impl WriteRequest {
    /// Memories without conditions.
    pub fn new(memories: Vec<NewMemory>) -> Self {
        Self { memories, ..Self::default() }
    }

    /// Makes a repeat harmless.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Asks for a revision.
    #[must_use]
    pub fn with_expected_revision(mut self, revision: Revision) -> Self {
        self.expected_revision = Some(revision);
        self
    }

    /// Says whether to pass over duplicates.
    #[must_use]
    pub fn with_unique(mut self, unique: bool) -> Self {
        self.unique = Some(unique);
        self
    }
}

impl Memory {
    /// Writes memories, all or none. The receipt has one line for each, in their order.
    ///
    /// A memory that supersedes others is no duplicate; the others get a version that names it. A fault names its
    /// place, as `/entries/3/content`.
    pub async fn write(&self, scope: &ScopeKey, request: WriteRequest) -> Result<Receipt> {
        validate::check(&request.memories)?;
        let key = request.key.clone().map(|key| {
            let asked = format!("{:?} {:?}", request.memories, request.expected_revision);
            WriteKey { key, fingerprint: ContentHash::of(asked) }
        });
        let now = self.clock.now();
        let count = request.memories.len();
        let unique = request.unique.unwrap_or_else(|| self.policies.of(&scope.scope).unique);
        let mut entries = Vec::with_capacity(count);
        for (place, memory) in request.memories.iter().enumerate() {
            entries.push(self.entry_of(scope, place, memory, now).await?);
        }
        // Where the caller names versions, a conflict is the caller's.
        let may_repeat = request.memories.iter().all(|memory| memory.expected_version.is_none());
        for tried in 1.. {
            let mut operations: Vec<Operation> = entries
                .iter()
                .zip(&request.memories)
                .map(|(entry, memory)| match memory.expected_version {
                    Some(version) => Operation::replace(entry.clone(), Some(version)),
                    None if unique && memory.supersedes.is_empty() => Operation::put_unique(entry.clone()),
                    None => Operation::put(entry.clone()),
                })
                .collect();
            for (place, memory) in request.memories.iter().enumerate() {
                if let Some(entry) = entries.get(place) {
                    operations.extend(self.supersede(scope, place, memory, &entry.id, now).await?);
                }
            }
            let mut batch = Batch::new(now, operations);
            batch.key.clone_from(&key);
            batch.expected_revision = request.expected_revision;
            batch.marks.clone_from(&request.marks);
            match self.store.write(scope, batch).await {
                Ok(mut receipt) => {
                    receipt.written.truncate(count);
                    return Ok(receipt);
                }
                Err(error) if error.code() == "version_conflict" && may_repeat && tried < TRIES => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::conflict("other writes always came first"))
    }

    /// Copies memories to another scope of the tenant, where they say what they were made from. Repeating it copies
    /// nothing twice. What expires in `from` stays in `to`. An id that `from` does not hold is `NotFound`.
    pub async fn promote(&self, from: &ScopeKey, ids: &[MemoryId], to: &ScopeKey) -> Result<Receipt> {
        if from.tenant != to.tenant {
            return Err(Error::invalid("memories stay with their tenant").with_code("invalid_scope"));
        }
        if ids.len() > validate::MAX_BATCH {
            let detail = format!("at most {} memories are promoted at once", validate::MAX_BATCH);
            return Err(Error::invalid(detail).with_code("invalid_memory"));
        }
        let now = self.clock.now();
        let unique = self.policies.of(&to.scope).unique;
        let index = self.index(from, None).await?;
        let mut operations = Vec::with_capacity(ids.len());
        for (place, id) in ids.iter().enumerate() {
            let original = index.get(id, now).ok_or_else(|| {
                Error::not_found(format!("/ids/{place}: there is no memory {id} in {}", from.scope.as_str()))
            })?;
            let name = format!("{}\u{1f}{}\u{1f}{id}", to.tenant, to.scope.as_str());
            let mut copy = Entry::clone(original);
            copy.id = MemoryId::from_uuid(Uuid::new_v5(&PROMOTED, name.as_bytes()));
            copy.occurred_at = Some(original.occurred_at.unwrap_or(original.recorded_at));
            copy.recorded_at = now;
            copy.derived_from = vec![id.clone()];
            (copy.version, copy.updated_at, copy.expires_at, copy.superseded_by) = (1, None, None, None);
            operations.push(Operation::Put { entry: copy, unique });
        }
        drop(index);
        self.store.write(to, Batch::new(now, operations)).await
    }

    async fn entry_of(
        &self,
        scope: &ScopeKey,
        place: usize,
        memory: &NewMemory,
        now: Timestamp,
    ) -> Result<Entry> {
        let id = memory.id.clone().unwrap_or_else(|| MemoryId::from_uuid(self.ids.next()));
        let mut tags = memory.tags.clone();
        let mut entry =
            Entry::new(id, memory.content.as_str(), Vec::new(), memory.recorded_at.unwrap_or(now));
        tags.sort();
        tags.dedup();
        entry.tags = tags;
        entry.kind.clone_from(&memory.kind);
        entry.metadata.clone_from(&memory.metadata);
        entry.importance = memory.importance.unwrap_or(entry.importance);
        entry.actor.clone_from(&memory.actor);
        entry.thread.clone_from(&memory.thread);
        entry.derived_from.clone_from(&memory.derived_from);
        entry.derived_by.clone_from(&memory.derived_by);
        entry.occurred_at = memory.occurred_at;
        entry.expires_at = memory.expires_at;
        entry.updated_at = memory.expected_version.map(|_| now);
        entry.trust = self.trust_of(scope, place, memory).await?;
        Ok(entry)
    }

    /// What was made from others is trusted no more than the least of them.
    async fn trust_of(&self, scope: &ScopeKey, place: usize, memory: &NewMemory) -> Result<Trust> {
        let mut trust = memory.trust;
        for (number, id) in memory.derived_from.iter().enumerate() {
            let holder = self.store.locate(&scope.tenant, id).await?;
            let source = match &holder {
                Some(holder) => self.store.get(holder, id).await?,
                None => None,
            };
            let source = source.ok_or_else(|| {
                Error::invalid(format!("/entries/{place}/derived_from/{number}: there is no memory {id}"))
                    .with_code("invalid_memory")
            })?;
            trust = trust.min(source.trust);
        }
        Ok(trust)
    }

    async fn supersede(
        &self,
        scope: &ScopeKey,
        place: usize,
        memory: &NewMemory,
        by: &MemoryId,
        now: Timestamp,
    ) -> Result<Vec<Operation>> {
        let mut operations = Vec::new();
        for (number, id) in memory.supersedes.iter().enumerate() {
            let Some(mut old) = self.store.get(scope, id).await? else {
                let detail = format!("/entries/{place}/supersedes/{number}: the scope has no memory {id}");
                return Err(Error::not_found(detail));
            };
            if old.superseded_by.as_ref() == Some(by) {
                continue;
            }
            let version = old.version;
            old.superseded_by = Some(by.clone());
            old.updated_at = Some(now);
            operations.push(Operation::replace(old, Some(version)));
        }
        Ok(operations)
    }
}
