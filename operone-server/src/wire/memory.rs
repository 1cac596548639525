//! Memory on the wire.

use std::time::Duration;

use operone_core::clock::{Period, Timestamp};
use operone_core::error::{Error, Result};
use operone_core::id::MemoryId;
use operone_core::memory::{
    Entry, Explanation, NewMemory, RecallMode, RecallQuery, Recalled, Recency, Revision, ScopeKey, Trust,
};
use operone_core::metadata::Metadata;
use operone_memory::{Changed, Erasure, MemoryPatch};
use serde::{Deserialize, Deserializer, Serialize};

use super::rag::Filters;
use crate::error::{ApiError, ApiResult};

/// The half-life of age where none is given.
const HALF_LIFE_DAYS: f64 = 7.0;
/// The most ids that a receipt lists.
const LISTED: usize = 1000;

/// A point in time: milliseconds since 1970, or ISO 8601.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Moment {
    Millis(i64),
    Text(String),
}

impl Moment {
    /// The moment that it names, the first one of a day.
    pub(crate) fn first(&self) -> Result<Timestamp> {
        match self {
            Self::Millis(millis) => Ok(Timestamp::from_millis(*millis)),
            Self::Text(text) => match text.parse() {
                Ok(millis) => Ok(Timestamp::from_millis(millis)),
                Err(_) => Ok(Period::parse(text)?.first),
            },
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteMemories {
    pub(crate) scope: String,
    pub(crate) entries: Vec<WriteMemory>,
    pub(crate) expected_revision: Option<u64>,
    pub(crate) unique: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteMemory {
    content: String,
    #[serde(default)]
    tags: Vec<String>,
    id: Option<MemoryId>,
    expected_version: Option<u32>,
    kind: Option<String>,
    #[serde(default)]
    metadata: Metadata,
    importance: Option<f64>,
    trust: Option<Trust>,
    actor: Option<String>,
    thread: Option<String>,
    #[serde(default)]
    derived_from: Vec<MemoryId>,
    #[serde(default)]
    supersedes: Vec<MemoryId>,
    occurred_at: Option<Moment>,
    expires_at: Option<Moment>,
    ttl_seconds: Option<u64>,
}

impl WriteMemory {
    pub(crate) fn into_memory(self, place: usize, now: Timestamp) -> ApiResult<NewMemory> {
        let at = |name: &str, moment: Option<Moment>| {
            let moment = moment.map(|moment| moment.first()).transpose();
            moment.map_err(|error| ApiError::at(format!("/entries/{place}/{name}"), &error))
        };
        let mut memory = NewMemory::new(self.content).with_tags(self.tags);
        memory.id = self.id;
        memory.expected_version = self.expected_version;
        memory.kind = self.kind;
        memory.metadata = self.metadata;
        memory.importance = self.importance;
        memory.trust = self.trust.unwrap_or_default();
        memory.actor = self.actor;
        memory.thread = self.thread;
        memory.derived_from = self.derived_from;
        memory.supersedes = self.supersedes;
        memory.occurred_at = at("occurred_at", self.occurred_at)?;
        let lasts = self.ttl_seconds.map(|seconds| now.plus(Duration::from_secs(seconds)));
        memory.expires_at = at("expires_at", self.expires_at)?.or(lasts);
        Ok(memory)
    }
}

#[derive(Serialize)]
pub(crate) struct WrittenMemories {
    pub(crate) ids: Vec<String>,
    pub(crate) revision: u64,
}

/// What changes; `null` takes away what may be absent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeMemory {
    content: Option<String>,
    tags: Option<Vec<String>>,
    metadata: Option<Metadata>,
    #[serde(default, deserialize_with = "given")]
    kind: Option<Option<String>>,
    importance: Option<f64>,
    trust: Option<Trust>,
    #[serde(default, deserialize_with = "given")]
    expires_at: Option<Option<Moment>>,
    #[serde(default, deserialize_with = "given")]
    occurred_at: Option<Option<Moment>>,
    expected_version: Option<u32>,
}

impl ChangeMemory {
    pub(crate) fn into_patch(self) -> ApiResult<MemoryPatch> {
        let at = |name: &str, moment: Option<Option<Moment>>| match moment {
            Some(Some(moment)) => match moment.first() {
                Ok(moment) => Ok(Some(Some(moment))),
                Err(error) => Err(ApiError::at(format!("/{name}"), &error)),
            },
            Some(None) => Ok(Some(None)),
            None => Ok(None),
        };
        let mut patch = MemoryPatch::default();
        patch.content = self.content;
        patch.tags = self.tags;
        patch.metadata = self.metadata;
        patch.kind = self.kind;
        patch.importance = self.importance;
        patch.trust = self.trust;
        patch.expires_at = at("expires_at", self.expires_at)?;
        patch.occurred_at = at("occurred_at", self.occurred_at)?;
        patch.expected_version = self.expected_version;
        Ok(patch)
    }
}

/// `null` is something else than nothing.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    Lexical,
    Dense,
    Hybrid,
}

impl From<Mode> for RecallMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Lexical => Self::Lexical,
            Mode::Dense => Self::Dense,
            Mode::Hybrid => Self::Hybrid,
        }
    }
}

/// A query in the address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadMemories {
    #[serde(default)]
    pub(crate) query: String,
    pub(crate) scope: String,
    pub(crate) limit: Option<usize>,
    pub(crate) cursor: Option<String>,
    pub(crate) max_tokens: Option<usize>,
    /// Joined by commas; one of them is enough.
    pub(crate) tags: Option<String>,
    pub(crate) mode: Option<Mode>,
    pub(crate) min_revision: Option<u64>,
    pub(crate) as_of: Option<String>,
    #[serde(default)]
    pub(crate) include_superseded: bool,
    #[serde(default)]
    pub(crate) explain: bool,
    pub(crate) recency: Option<f64>,
    pub(crate) half_life_days: Option<f64>,
    pub(crate) min_trust: Option<Trust>,
}

/// A query in the body, with filters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchMemories {
    #[serde(default)]
    query: String,
    scope: String,
    limit: Option<usize>,
    cursor: Option<String>,
    max_tokens: Option<usize>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    filters: Filters,
    mode: Option<Mode>,
    min_revision: Option<u64>,
    as_of: Option<Moment>,
    #[serde(default)]
    include_superseded: bool,
    #[serde(default)]
    explain: bool,
    recency: Option<f64>,
    half_life_days: Option<f64>,
    min_trust: Option<Trust>,
}

impl ReadMemories {
    pub(crate) fn into_search(self) -> SearchMemories {
        let tags = self.tags.as_deref().unwrap_or_default().split(',').map(str::trim);
        SearchMemories {
            query: self.query,
            scope: self.scope,
            limit: self.limit,
            cursor: self.cursor,
            max_tokens: self.max_tokens,
            tags: tags.filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
            filters: Filters::default(),
            mode: self.mode,
            min_revision: self.min_revision,
            as_of: self.as_of.map(Moment::Text),
            include_superseded: self.include_superseded,
            explain: self.explain,
            recency: self.recency,
            half_life_days: self.half_life_days,
            min_trust: self.min_trust,
        }
    }
}

impl SearchMemories {
    pub(crate) fn scope(&self) -> &str {
        &self.scope
    }

    pub(crate) fn into_query(self, scope: ScopeKey) -> ApiResult<RecallQuery> {
        use operone_core::filter::Filter;

        let mut query = RecallQuery::new(scope, self.query).with_cursor(self.cursor);
        if let Some(limit) = self.limit {
            query = query.with_limit(limit);
        }
        let tagged = self.tags.into_iter().map(|tag| Filter::eq("tags", tag.as_str())).collect::<Vec<_>>();
        let tagged = (!tagged.is_empty()).then_some(Filter::Or(tagged));
        query.filter = match (self.filters.into_filter()?, tagged) {
            (Some(filter), Some(tagged)) => Some(Filter::And(vec![filter, tagged])),
            (filter, tagged) => filter.or(tagged),
        };
        query.max_tokens = self.max_tokens;
        query.mode = self.mode.map(RecallMode::from);
        query.at_least = self.min_revision.map(Revision);
        let as_of = self.as_of.map(|moment| moment.first()).transpose();
        query.as_of = as_of.map_err(|error| ApiError::at("/as_of", &error))?;
        query.include_superseded = self.include_superseded;
        query.explain = self.explain;
        query.min_trust = self.min_trust;
        let half_life = Duration::try_from_secs_f64(86_400.0 * self.half_life_days.unwrap_or(HALF_LIFE_DAYS));
        query.recency = match (self.recency, half_life) {
            (Some(weight), Ok(half_life)) => Some(Recency { weight, half_life }),
            (None, Ok(_)) => None,
            (_, Err(_)) => {
                let error = Error::invalid("a number of days").with_code("invalid_query");
                return Err(ApiError::at("/half_life_days", &error));
            }
        };
        Ok(query)
    }
}

#[derive(Serialize)]
pub(crate) struct ReadEntries {
    entries: Vec<ReadEntry>,
    revision: u64,
    coverage: f64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl ReadEntries {
    pub(crate) fn new(recalled: Recalled) -> Self {
        let entries = recalled.memories.into_iter().map(|memory| ReadEntry {
            score: memory.score,
            explain: memory.explanation.map(ExplainView::new),
            fields: EntryFields::new(memory.entry),
        });
        Self {
            entries: entries.collect(),
            revision: recalled.revision.0,
            coverage: recalled.coverage,
            truncated: recalled.truncated,
            next: recalled.next,
        }
    }
}

#[derive(Serialize)]
struct ReadEntry {
    #[serde(flatten)]
    fields: EntryFields,
    score: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<ExplainView>,
}

#[derive(Serialize)]
struct ExplainView {
    terms: Vec<String>,
    lexical: f64,
    thread: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dense: Option<f64>,
    relevance: f64,
    prior: f64,
}

impl ExplainView {
    fn new(explanation: Explanation) -> Self {
        let Explanation { terms, lexical, thread, dense, relevance, prior, .. } = explanation;
        Self { terms, lexical, thread, dense, relevance, prior }
    }
}

/// A memory as `GET /memory/{id}` shows it.
#[derive(Serialize)]
pub(crate) struct MemoryView {
    scope: String,
    #[serde(flatten)]
    fields: EntryFields,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
}

impl MemoryView {
    pub(crate) fn new(scope: &ScopeKey, entry: Entry, revision: Option<Revision>) -> Self {
        let revision = revision.map(|revision| revision.0);
        Self { scope: scope.scope.as_str().to_owned(), fields: EntryFields::new(entry), revision }
    }
}

#[derive(Serialize)]
pub(crate) struct Versions {
    pub(crate) versions: Vec<EntryFields>,
}

/// What is told of a memory; what was not said is left out.
#[derive(Serialize)]
pub(crate) struct EntryFields {
    id: String,
    content: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    created_at: Timestamp,
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Metadata::is_empty")]
    metadata: Metadata,
    importance: f64,
    trust: Trust,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    derived_from: Vec<MemoryId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    derived_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    occurred_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    superseded_by: Option<MemoryId>,
}

impl EntryFields {
    pub(crate) fn new(entry: Entry) -> Self {
        Self {
            id: entry.id.to_string(),
            content: entry.content,
            tags: entry.tags,
            created_at: entry.recorded_at,
            version: entry.version,
            updated_at: entry.updated_at,
            kind: entry.kind,
            metadata: entry.metadata,
            importance: entry.importance,
            trust: entry.trust,
            actor: entry.actor,
            thread: entry.thread,
            derived_from: entry.derived_from,
            derived_by: entry.derived_by,
            occurred_at: entry.occurred_at,
            expires_at: entry.expires_at,
            superseded_by: entry.superseded_by,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EraseMemories {
    pub(crate) scope: String,
    pub(crate) ids: Option<Vec<MemoryId>>,
    pub(crate) tags: Option<Vec<String>>,
    pub(crate) before: Option<Moment>,
    pub(crate) after: Option<Moment>,
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// The receipt of an erasure. No text, only ids.
#[derive(Serialize)]
pub(crate) struct ErasedMemories {
    erased: usize,
    revision: u64,
    receipt_id: String,
    at: Timestamp,
    dry_run: bool,
    derived: usize,
    ids_hash: String,
    ids: Vec<String>,
}

impl ErasedMemories {
    pub(crate) fn new(erasure: Erasure) -> Self {
        let all = erasure.ids.iter().chain(erasure.derived.iter().map(|(_, id)| id));
        Self {
            erased: erasure.ids.len() + erasure.derived.len(),
            revision: erasure.revision.0,
            receipt_id: erasure.receipt_id,
            at: erasure.at,
            dry_run: erasure.dry_run,
            derived: erasure.derived.len(),
            ids_hash: erasure.ids_hash,
            ids: all.take(LISTED).map(ToString::to_string).collect(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OneScope {
    pub(crate) scope: String,
}

#[derive(Serialize)]
pub(crate) struct ImportedMemories {
    pub(crate) created: usize,
    pub(crate) passed_over: usize,
    pub(crate) revision: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PromoteMemories {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) ids: Vec<MemoryId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadChanges {
    pub(crate) scope: String,
    #[serde(default)]
    pub(crate) after: u64,
    pub(crate) limit: Option<usize>,
    #[serde(default)]
    pub(crate) content: bool,
}

#[derive(Serialize)]
pub(crate) struct ChangesView {
    pub(crate) changes: Vec<ChangeView>,
    pub(crate) next: u64,
    pub(crate) has_more: bool,
}

#[derive(Serialize)]
pub(crate) struct ChangeView {
    revision: u64,
    id: String,
    event: &'static str,
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<EntryFields>,
}

impl ChangeView {
    pub(crate) fn new(changed: Changed, with_content: bool) -> Self {
        Self {
            revision: changed.revision.0,
            id: changed.id.to_string(),
            event: changed.kind.as_str(),
            at: changed.at,
            version: changed.entry.as_ref().map(|entry| entry.version),
            entry: changed.entry.filter(|_| with_content).map(EntryFields::new),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadScopes {
    pub(crate) after: Option<String>,
    pub(crate) limit: Option<usize>,
}

#[derive(Serialize)]
pub(crate) struct ScopesView {
    pub(crate) scopes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}
