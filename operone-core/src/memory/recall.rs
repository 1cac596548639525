//! The contract of recall: what agents and hosts call to remember and to find again.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use super::{Entry, Revision, ScopeKey, Trust};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::filter::Filter;
use crate::id::MemoryId;
use crate::metadata::Metadata;

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
    /// What kind of memory it is; see [`Entry::kind`].
    pub kind: Option<String>,
    /// What else is known of it, to filter by: at most [`NewMemory::MAX_METADATA`] keys.
    pub metadata: Metadata,
    /// How much it matters, in [0, 1]; ½ if left out.
    pub importance: Option<f64>,
    /// How far its origin can be trusted; that of the least trusted memory it was made from, at most.
    pub trust: Trust,
    /// Who said it.
    pub actor: Option<String>,
    /// The conversation it is part of.
    pub thread: Option<String>,
    /// The memories it was made from: at most [`NewMemory::MAX_SOURCES`].
    pub derived_from: Vec<MemoryId>,
    /// The name of the extractor that made it.
    pub derived_by: Option<String>,
    /// When it was first written, for one that comes from elsewhere; now if left out.
    pub recorded_at: Option<Timestamp>,
    /// When what it tells happened.
    pub occurred_at: Option<Timestamp>,
    /// From when on it cannot be read any more.
    pub expires_at: Option<Timestamp>,
    /// Writes the next version of the memory of this id, which must have this version now, else `Conflict` with code
    /// `version_conflict`; from 1. If left out, a memory of this id is passed over.
    pub expected_version: Option<u32>,
    /// Memories of the scope whose place it takes: they are kept, and found only by asking for what is superseded.
    /// At most [`NewMemory::MAX_SOURCES`].
    pub supersedes: Vec<MemoryId>,
}

impl NewMemory {
    /// The longest content, in bytes.
    pub const MAX_CONTENT: usize = 64 * 1024;
    /// The most tags.
    pub const MAX_TAGS: usize = 32;
    /// The most keys of metadata.
    pub const MAX_METADATA: usize = 32;
    /// The most memories that one is made from, or takes the place of.
    pub const MAX_SOURCES: usize = 64;

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

    /// Sets who said it.
    #[must_use]
    pub fn with_actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = Some(actor.into());
        self
    }

    /// Sets the conversation it is part of.
    #[must_use]
    pub fn with_thread(mut self, thread: impl Into<String>) -> Self {
        self.thread = Some(thread.into());
        self
    }

    /// Sets how far its origin can be trusted.
    #[must_use]
    pub fn with_trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Remembered {
    /// The ids in the order of the memories; for a duplicate that of the memory that was there.
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
    /// Only memories that match, judged before the cut to `limit`. Besides the metadata it sees the keys `tags`,
    /// `kind`, `actor`, `thread` and `trust`; the date is when it happened, or else when it was recorded.
    pub filter: Option<Filter>,
    /// Only memories of at least this trust.
    pub min_trust: Option<Trust>,
    /// What ranks; by words and vectors where there are vectors, if left out.
    pub mode: Option<RecallMode>,
    /// Goes on where an earlier answer to the same query ended: its [`Recalled::next`].
    pub cursor: Option<String>,
    /// No more memories than have this many tokens together. The best is cut off rather than passed over.
    pub max_tokens: Option<usize>,
    /// The revision that must be searched at least: that of a write to be seen.
    pub at_least: Option<Revision>,
    /// What was known at this time: later writes are not seen. What was erased is not seen either.
    pub as_of: Option<Timestamp>,
    /// Also memories that others took the place of.
    pub include_superseded: bool,
    /// Whether to say how each score came about.
    pub explain: bool,
    /// How much newer memories are preferred; not at all if left out.
    pub recency: Option<Recency>,
}

impl RecallQuery {
    /// The most memories that one query may ask for.
    pub const MAX_LIMIT: usize = 100;

    /// Looks for `text` and wants ten memories.
    pub fn new(scope: ScopeKey, text: impl Into<String>) -> Self {
        Self {
            scope,
            text: text.into(),
            limit: 10,
            filter: None,
            min_trust: None,
            mode: None,
            cursor: None,
            max_tokens: None,
            at_least: None,
            as_of: None,
            include_superseded: false,
            explain: false,
            recency: None,
        }
    }

    /// Wants at most `limit` memories.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Wants only memories that match.
    #[must_use]
    pub fn with_filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Goes on after an earlier answer.
    #[must_use]
    pub fn with_cursor(mut self, cursor: Option<String>) -> Self {
        self.cursor = cursor;
        self
    }

    /// Says what ranks.
    #[must_use]
    pub fn with_mode(mut self, mode: RecallMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Wants what was known at a time.
    #[must_use]
    pub fn with_as_of(mut self, time: Timestamp) -> Self {
        self.as_of = Some(time);
        self
    }

    /// Wants to know how each score came about.
    #[must_use]
    pub fn with_explain(mut self) -> Self {
        self.explain = true;
        self
    }
}

/// What ranks memories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecallMode {
    /// Words alone.
    Lexical,
    /// Vectors alone; `Unsupported` without an embedder.
    Dense,
    /// Both; `Unsupported` without an embedder.
    Hybrid,
}

/// How much newer memories are preferred.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recency {
    /// From 0, not at all, to 1: the share of a score between an old memory and one of now.
    pub weight: f64,
    /// The age at which half of the preference is gone; not zero.
    pub half_life: Duration,
}

/// The answer to a [`RecallQuery`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Recalled {
    /// The memories, best first.
    pub memories: Vec<ScoredMemory>,
    /// The scope's revision that was searched.
    pub revision: Revision,
    /// The share of the query's words that the scope's best match has, in [0, 1], rare words weighing more: near
    /// zero the scope knows nothing of the matter, whatever was found. 1 for an empty query.
    pub coverage: f64,
    /// Whether `max_tokens` cut the answer.
    pub truncated: bool,
    /// Where the answer goes on, if there is more. Writes that come later do not change what follows.
    pub next: Option<String>,
    /// How many memories of the scope can be read now.
    pub readable: usize,
}

impl Recalled {
    /// Memories and the revision they were found at.
    pub fn new(memories: Vec<ScoredMemory>, revision: Revision) -> Self {
        Self { memories, revision, coverage: 0.0, truncated: false, next: None, readable: 0 }
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
    /// How the score came about, if that was asked for.
    pub explanation: Option<Explanation>,
}

impl ScoredMemory {
    /// A memory with its score.
    pub fn new(entry: Entry, score: f64) -> Self {
        Self { entry, score, explanation: None }
    }
}

/// How a score came about. The score is `relevance × prior`.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// The terms of the query that the memory has itself.
    pub terms: Vec<String>,
    /// BM25 over its own words and those around it.
    pub lexical: f64,
    /// What its conversation as a whole added to that.
    pub thread: f64,
    /// The cosine with the query, if vectors ranked.
    pub dense: Option<f64>,
    /// What words and vectors come to, in [0, 1].
    pub relevance: f64,
    /// What importance and age come to, in (0, 1].
    pub prior: f64,
}
