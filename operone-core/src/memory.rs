//! The contracts of memory: an append log per scope for stores, ranked recall for agents and hosts.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{MemoryId, TenantId};

/// One append log per scope. A store keeps and orders; it never ranks.
#[async_trait]
pub trait MemoryStore: fmt::Debug + Send + Sync + 'static {
    /// Appends entries in their order, all or none, and gives the scope's new revision.
    ///
    /// - An entry whose id the scope already holds is passed over: a repeated append changes nothing, and an
    ///   append of only such entries leaves the revision as it was.
    /// - Appends to one scope are ordered: a scan never sees a later one without the earlier ones.
    /// - What was acknowledged survives a crash of the process.
    async fn append(&self, scope: &ScopeKey, entries: Vec<Entry>) -> Result<Revision>;

    /// The records after `after`, oldest first, at most `limit`.
    async fn scan(&self, scope: &ScopeKey, after: Revision, limit: usize) -> Result<Vec<Record>>;

    /// One entry with its scope; `None` if it never was or was erased.
    async fn get(&self, tenant: &TenantId, id: &MemoryId) -> Result<Option<(ScopeKey, Entry)>>;

    /// Erases the content of entries and appends one tombstone for each, so that every derived index drops
    /// them; unknown ids are passed over. Gives the new revision and how many were erased.
    ///
    /// The content is gone from the store's files when this returns.
    async fn erase(&self, scope: &ScopeKey, ids: &[MemoryId]) -> Result<(Revision, usize)>;

    /// The scope's revision: zero while nothing was written.
    async fn revision(&self, scope: &ScopeKey) -> Result<Revision>;
}

/// A scope of one tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeKey {
    /// Whose it is.
    pub tenant: TenantId,
    /// The scope.
    pub scope: Scope,
}

impl ScopeKey {
    /// A scope of a tenant.
    pub fn new(tenant: TenantId, scope: Scope) -> Self {
        Self { tenant, scope }
    }
}

/// What memories belong together: a path such as `longterm` or `session/42`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Scope(String);

impl Scope {
    /// The longest scope, in bytes.
    pub const MAX_LENGTH: usize = 256;

    /// Checks a scope: parts of ASCII letters, digits, `-`, `_`, `.` or `:`, joined by `/`.
    pub fn new(scope: impl Into<String>) -> Result<Self> {
        let scope = scope.into();
        let part = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':'))
        };
        if scope.len() > Self::MAX_LENGTH || !scope.split('/').all(part) {
            return Err(Error::invalid(format!(
                "'{scope}' is no scope: use parts of letters, digits, '-', '_', '.' or ':' joined by '/', such as longterm or session/42"
            ))
            .with_code("invalid_scope"));
        }
        Ok(Self(scope))
    }

    /// The scope as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How many records a scope has had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

/// A memory. Stored as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// Its id.
    pub id: MemoryId,
    /// What is remembered, verbatim.
    pub content: String,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// When it was written.
    pub recorded_at: Timestamp,
}

impl Entry {
    /// A memory with its tags.
    pub fn new(id: MemoryId, content: impl Into<String>, tags: Vec<String>, recorded_at: Timestamp) -> Self {
        Self { id, content: content.into(), tags, recorded_at }
    }
}

/// One line of a scope's log.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// Its place in the log, from 1.
    pub revision: Revision,
    /// The memory's id.
    pub id: MemoryId,
    /// The memory; `None` where it was erased, and for its tombstone.
    pub entry: Option<Entry>,
}

impl Record {
    /// A line of the log.
    pub fn new(revision: Revision, id: MemoryId, entry: Option<Entry>) -> Self {
        Self { revision, id, entry }
    }
}

/// Remembers and recalls, as agents and hosts call it.
#[async_trait]
pub trait Recall: fmt::Debug + Send + Sync + 'static {
    /// Writes memories, all or none, and gives their ids in order.
    async fn remember(&self, scope: &ScopeKey, memories: Vec<NewMemory>) -> Result<Remembered>;

    /// The memories that fit the query best, best first. Sees every acknowledged write.
    async fn recall(&self, query: RecallQuery) -> Result<Recalled>;
}

/// A memory to write.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct NewMemory {
    /// What to remember: not blank, at most [`NewMemory::MAX_CONTENT`] bytes.
    pub content: String,
    /// Words to find it by: at most [`NewMemory::MAX_TAGS`].
    pub tags: Vec<String>,
    /// Its id, if the caller wants a repeated write to change nothing.
    pub id: Option<MemoryId>,
}

impl NewMemory {
    /// The longest content, in bytes.
    pub const MAX_CONTENT: usize = 64 * 1024;
    /// The most tags.
    pub const MAX_TAGS: usize = 32;

    /// A memory without tags.
    pub fn new(content: impl Into<String>) -> Self {
        Self { content: content.into(), ..Self::default() }
    }

    /// Sets the tags.
    #[must_use]
    pub fn with_tags(mut self, tags: Vec<String>) -> Self {
        self.tags = tags;
        self
    }

    /// Sets the id.
    #[must_use]
    pub fn with_id(mut self, id: MemoryId) -> Self {
        self.id = Some(id);
        self
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Remembered {
    /// The ids in the order of the memories.
    pub ids: Vec<MemoryId>,
    /// The scope's revision after the write.
    pub revision: Revision,
}

impl Remembered {
    /// Ids and revision.
    pub fn new(ids: Vec<MemoryId>, revision: Revision) -> Self {
        Self { ids, revision }
    }
}

/// What to recall.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RecallQuery {
    /// Where to look.
    pub scope: ScopeKey,
    /// The query in words; empty asks for the newest.
    pub text: String,
    /// The most memories; 1 to [`RecallQuery::MAX_LIMIT`].
    pub limit: usize,
}

impl RecallQuery {
    /// The most memories that one query may ask for.
    pub const MAX_LIMIT: usize = 100;

    /// Looks for `text` and wants ten memories.
    pub fn new(scope: ScopeKey, text: impl Into<String>) -> Self {
        Self { scope, text: text.into(), limit: 10 }
    }

    /// Wants at most `limit` memories.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

/// The answer to a [`RecallQuery`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Recalled {
    /// The memories, best first.
    pub memories: Vec<ScoredMemory>,
    /// The scope's revision that was searched.
    pub revision: Revision,
}

impl Recalled {
    /// Memories and the revision they were found at.
    pub fn new(memories: Vec<ScoredMemory>, revision: Revision) -> Self {
        Self { memories, revision }
    }
}

/// A memory that was found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ScoredMemory {
    /// The memory.
    pub entry: Entry,
    /// In [0, 1], higher is better; comparable within one answer only.
    pub score: f64,
}

impl ScoredMemory {
    /// A memory with its score.
    pub fn new(entry: Entry, score: f64) -> Self {
        Self { entry, score }
    }
}
