//! The contract of a memory store: an append log per scope.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Entry, Scope, ScopeKey};
use crate::cache::ContentHash;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{MemoryId, TenantId};

/// One append log per scope. A store keeps and orders; it never ranks, and knows no clock.
///
/// Nothing is read without its scope: the scope is part of the key of everything stored. Only
/// [`MemoryStore::locate`] and [`MemoryStore::derived`] go from ids to scopes, within one tenant, and give no
/// content. Dropping a call leaves its write done whole or not done.
#[async_trait]
pub trait MemoryStore: fmt::Debug + Send + Sync + 'static {
    /// Does everything in a batch or nothing, in its order. See [`Batch`] for what may be asked.
    ///
    /// - Each new version of a memory is one record at the end of the log. A batch without any leaves the revision
    ///   as it was.
    /// - Batches of one scope are ordered: a scan never sees a later one without the earlier ones.
    /// - What was acknowledged survives a crash of the process.
    ///
    /// A fault of one operation fails the whole batch and begins its message with the place, `/entries/3` say.
    /// Codes: `revision_conflict`, `version_conflict`, `id_taken` (`Conflict`); `not_found` (`NotFound`);
    /// `idempotency_key_reused` (`Invalid`).
    async fn write(&self, scope: &ScopeKey, batch: Batch) -> Result<Receipt>;

    /// The records after `after`, oldest first, at most `limit`.
    async fn scan(&self, scope: &ScopeKey, after: Revision, limit: usize) -> Result<Vec<Record>>;

    /// The current version of a memory, whether or not it has expired or was superseded; `None` if it never was or
    /// was erased.
    async fn get(&self, scope: &ScopeKey, id: &MemoryId) -> Result<Option<Entry>>;

    /// Every version of a memory, the first one first; none if it never was or was erased.
    async fn history(&self, scope: &ScopeKey, id: &MemoryId) -> Result<Vec<Entry>>;

    /// The scope that holds a memory of this id; `None` if it never was or was erased.
    async fn locate(&self, tenant: &TenantId, id: &MemoryId) -> Result<Option<ScopeKey>>;

    /// The memories of a tenant whose current version was made from one of these, in no order. At most 64 ids.
    async fn derived(&self, tenant: &TenantId, from: &[MemoryId]) -> Result<Vec<(ScopeKey, MemoryId)>>;

    /// Erases every version of these memories and appends one tombstone for each, written at `at`, so that every
    /// derived index drops them; unknown ids are passed over, and an id that was erased stays so for ever.
    ///
    /// The text is gone from the store's files when this returns, and what the store kept to find it by as well.
    async fn erase(&self, scope: &ScopeKey, ids: &[MemoryId], at: Timestamp) -> Result<Erased>;

    /// The scope's revision: zero while nothing was written.
    async fn revision(&self, scope: &ScopeKey) -> Result<Revision>;

    /// The scopes of a tenant that were written to, after `after` in the order of their text, at most `limit`.
    async fn scopes(&self, tenant: &TenantId, after: Option<&Scope>, limit: usize) -> Result<Vec<Scope>>;

    /// The tenants that have scopes, after `after` in the order of their text, at most `limit`: for maintenance.
    async fn tenants(&self, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantId>>;

    /// The number last kept under a name by [`Batch::marks`] in this scope; zero if none was.
    async fn mark(&self, scope: &ScopeKey, name: &str) -> Result<u64>;
}

/// How many records a scope has had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

/// What is written at once: all of it, or nothing.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Batch {
    /// When it is written, by the clock of whoever writes.
    pub at: Timestamp,
    /// What is done, in this order; each operation sees the earlier ones.
    pub operations: Vec<Operation>,
    /// Makes a repeat of this write harmless.
    pub key: Option<WriteKey>,
    /// The revision that the scope must have, else `Conflict` with code `revision_conflict`.
    pub expected_revision: Option<Revision>,
    /// Numbers that are kept in the scope under a name each, with the rest or not at all: how far a reader of another
    /// log has come, say.
    pub marks: Vec<(String, u64)>,
}

impl Batch {
    /// A batch of operations.
    pub fn new(at: Timestamp, operations: Vec<Operation>) -> Self {
        Self { at, operations, key: None, expected_revision: None, marks: Vec::new() }
    }

    /// A batch of new memories, duplicates kept.
    pub fn of(at: Timestamp, entries: Vec<Entry>) -> Self {
        Self::new(at, entries.into_iter().map(Operation::put).collect())
    }

    /// Makes a repeat harmless.
    #[must_use]
    pub fn with_key(mut self, key: WriteKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Asks for a revision.
    #[must_use]
    pub fn with_expected_revision(mut self, revision: Revision) -> Self {
        self.expected_revision = Some(revision);
        self
    }

    /// Keeps a number under a name.
    #[must_use]
    pub fn with_mark(mut self, name: impl Into<String>, number: u64) -> Self {
        self.marks.push((name.into(), number));
        self
    }
}

impl Batch {
    /// For stores: the error if the scope has not the expected revision.
    pub fn check_revision(&self, revision: Revision) -> Result<()> {
        match self.expected_revision {
            Some(Revision(expected)) if expected != revision.0 => Err(Error::conflict(format!(
                "the scope has revision {}, not {expected}: read it again",
                revision.0
            ))
            .with_code("revision_conflict")),
            _ => Ok(()),
        }
    }
}

/// One thing to do to a scope.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// Adds a memory. An id that the scope has had is passed over, also after it was erased; one that another scope
    /// of the tenant has is `Conflict` with code `id_taken`.
    Put {
        /// The memory.
        entry: Entry,
        /// Passes it over as well if a memory of the scope says the same that is neither expired nor superseded.
        unique: bool,
    },
    /// Writes the next version of a memory, which keeps its id and the time of its first version. An id that the
    /// scope has not, or no more, is `NotFound`.
    Replace {
        /// The whole of the next version.
        entry: Entry,
        /// The version that it must have now, else `Conflict` with code `version_conflict`.
        expected: Option<u32>,
    },
}

impl Operation {
    /// Adds a memory whatever others say.
    pub fn put(entry: Entry) -> Self {
        Self::Put { entry, unique: false }
    }

    /// Adds a memory unless another one says the same.
    pub fn put_unique(entry: Entry) -> Self {
        Self::Put { entry, unique: true }
    }

    /// Writes the next version of a memory.
    pub fn replace(entry: Entry, expected: Option<u32>) -> Self {
        Self::Replace { entry, expected }
    }
}

/// For stores, so that all say the same.
impl Operation {
    /// The version after `current`: `entry` with the id and first time of the memory. A `Conflict` if `current` is not
    /// the expected version.
    pub fn next_version(
        place: usize,
        current: &Entry,
        entry: &Entry,
        expected: Option<u32>,
    ) -> Result<Entry> {
        if let Some(expected) = expected.filter(|expected| *expected != current.version) {
            return Err(Error::conflict(format!(
                "/entries/{place}: {} has version {}, not {expected}: read it again",
                current.id, current.version
            ))
            .with_code("version_conflict"));
        }
        let recorded_at = current.recorded_at;
        Ok(Entry { recorded_at, version: current.version.saturating_add(1), ..entry.clone() })
    }

    /// The error where another scope has the id.
    pub fn id_taken(place: usize, id: &MemoryId) -> Error {
        Error::conflict(format!("/entries/{place}: another scope has a memory {id}")).with_code("id_taken")
    }

    /// The error where the scope has no such memory.
    pub fn unknown(place: usize, id: &MemoryId) -> Error {
        Error::not_found(format!("/entries/{place}: the scope has no memory {id}"))
    }
}

/// Names a write, so that its repeat gives the first receipt and writes nothing. Kept with the write, in its scope,
/// for [`WriteKey::KEPT_FOR`] at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteKey {
    /// The name, of 1 to 255 bytes.
    pub key: String,
    /// What was asked for: the same key with another fingerprint is `Invalid` with code `idempotency_key_reused`.
    pub fingerprint: ContentHash,
}

impl WriteKey {
    /// How long a key is kept at least.
    pub const KEPT_FOR: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

    /// For stores: the error where the key was used for something else.
    pub fn reused(&self) -> Error {
        Error::invalid("the idempotency key was used for another write").with_code("idempotency_key_reused")
    }
}

/// What came of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// One for each operation, in order.
    pub written: Vec<Written>,
    /// The scope's revision after it. Who reads at this revision or later sees the write.
    pub revision: Revision,
    /// Whether this is the receipt of an earlier write of the same key.
    pub replayed: bool,
}

impl Receipt {
    /// The receipt of a write that was done now.
    pub fn new(written: Vec<Written>, revision: Revision) -> Self {
        Self { written, revision, replayed: false }
    }
}

/// What came of one operation. Stored with its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Written {
    /// The memory: for a duplicate the one that was there.
    pub id: MemoryId,
    /// Its version now; zero if it was erased.
    pub version: u32,
    /// What was done.
    pub outcome: WriteOutcome,
}

impl Written {
    /// What came of one operation.
    pub fn new(id: MemoryId, version: u32, outcome: WriteOutcome) -> Self {
        Self { id, version, outcome }
    }
}

/// What one operation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WriteOutcome {
    /// It added a memory.
    Created,
    /// Nothing: it was there.
    Existing,
    /// It wrote a new version.
    Updated,
    /// Nothing: a memory of this id was erased, and does not come back.
    Erased,
}

/// What was erased.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Erased {
    /// The scope's revision after it.
    pub revision: Revision,
    /// The memories that were there, in the order they were asked for.
    pub ids: Vec<MemoryId>,
}

impl Erased {
    /// What was erased, and the revision after it.
    pub fn new(revision: Revision, ids: Vec<MemoryId>) -> Self {
        Self { revision, ids }
    }
}

/// One line of a scope's log.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// Its place in the log, from 1, without holes.
    pub revision: Revision,
    /// The memory's id.
    pub id: MemoryId,
    /// What became of the memory.
    pub change: Change,
}

impl Record {
    /// A line of the log.
    pub fn new(revision: Revision, id: MemoryId, change: Change) -> Self {
        Self { revision, id, change }
    }

    /// The version that was written, if it was not erased since.
    pub fn entry(&self) -> Option<&Entry> {
        match &self.change {
            Change::Written(entry) => Some(entry),
            Change::Blank | Change::Erased(_) => None,
        }
    }
}

/// What one line of the log says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// A version of the memory was written.
    Written(Box<Entry>),
    /// A version was written here that has been erased since; the tombstone stands further on.
    Blank,
    /// The memory was erased, at this time.
    Erased(Timestamp),
}
