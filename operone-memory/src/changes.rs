//! The feed of changes of a scope, read by whoever follows it.

use operone_core::Result;
use operone_core::clock::Timestamp;
use operone_core::id::MemoryId;
use operone_core::memory::{Change, Entry, Revision, ScopeKey};

use crate::memory::Memory;

/// A part of the feed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Changes {
    /// The changes, the oldest first.
    pub changes: Vec<Changed>,
    /// Where the next part begins: pass it on as `after`.
    pub next: Revision,
    /// Whether there was more when this was read.
    pub has_more: bool,
}

/// One change of a memory.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Changed {
    /// Its place in the log: with the scope, the name of this change.
    pub revision: Revision,
    /// The memory.
    pub id: MemoryId,
    /// What became of it.
    pub kind: ChangeKind,
    /// When.
    pub at: Timestamp,
    /// The version that was written; `None` for an erasure.
    pub entry: Option<Entry>,
}

/// What became of a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChangeKind {
    /// It was written.
    Created,
    /// It got a new version.
    Updated,
    /// Another took its place.
    Superseded,
    /// It was erased.
    Erased,
}

impl ChangeKind {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Superseded => "superseded",
            Self::Erased => "erased",
        }
    }
}

impl Memory {
    /// The changes of a scope after a revision, at most `limit`. Each is given at least once to a reader that passes
    /// on [`Changes::next`]. What was erased since is left out, but for the erasure.
    pub async fn changes(&self, scope: &ScopeKey, after: Revision, limit: usize) -> Result<Changes> {
        let records = self.store.scan(scope, after, limit).await?;
        let next = records.last().map_or(after, |record| record.revision);
        let has_more = records.len() == limit && self.store.revision(scope).await? > next;
        let changed = records.into_iter().filter_map(|record| {
            let (kind, at, entry) = match record.change {
                Change::Written(entry) => (kind_of(&entry), entry.written_at(), Some(*entry)),
                Change::Erased(at) => (ChangeKind::Erased, at, None),
                _ => return None,
            };
            Some(Changed { revision: record.revision, id: record.id, kind, at, entry })
        });
        Ok(Changes { changes: changed.collect(), next, has_more })
    }
}

fn kind_of(entry: &Entry) -> ChangeKind {
    match (entry.version, &entry.superseded_by) {
        (1, _) => ChangeKind::Created,
        (_, Some(_)) => ChangeKind::Superseded,
        _ => ChangeKind::Updated,
    }
}
