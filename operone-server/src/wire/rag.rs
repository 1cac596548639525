//! Ingest and retrieval on the wire.

use std::collections::BTreeMap;
use std::time::Duration;

use operone_core::chunk::{Collection, CollectionSummary, Document};
use operone_core::clock::Timestamp;
use operone_core::filter::{DateRange, Filter};
use operone_core::id::TenantId;
use operone_core::metadata::{Metadata, MetadataValue};
use operone_core::retrieve::{Hit, NearDuplicates, RetrieveOptions, RetrieveQuery, Retrieved, SearchMode};
use operone_rag::ingest::{self, DocumentOutcome, DocumentStatus, JobStatus};
use serde::{Deserialize, Serialize};

use super::ErrorView;
use crate::error::{ApiError, ApiResult};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IngestBatch {
    pub(crate) collection: Option<String>,
    pub(crate) documents: Vec<IngestDocument>,
    #[serde(default)]
    pub(crate) options: IngestOptions,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IngestDocument {
    pub(crate) source: String,
    #[serde(default)]
    pub(crate) metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IngestOptions {
    pub(crate) chunk_size: Option<usize>,
    pub(crate) overlap: Option<usize>,
    /// Folders whose documents go if their sources are gone.
    #[serde(default)]
    pub(crate) prune: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct IngestStarted {
    pub(crate) job_id: String,
    pub(crate) status: &'static str,
    pub(crate) count: usize,
}

/// A job as `GET /rag/jobs/{id}` shows it.
#[derive(Serialize)]
pub(crate) struct JobView {
    job_id: String,
    kind: String,
    collection: String,
    status: JobStatus,
    count: usize,
    done: usize,
    failed: usize,
    removed: usize,
    chunks: u64,
    chunks_found: u64,
    chunks_embedded: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    documents_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunks_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eta_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorView>,
    documents: Vec<JobDocument>,
}

/// What came of one document.
#[derive(Serialize)]
pub(crate) struct JobDocument {
    index: u32,
    source: String,
    status: DocumentStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    doc_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunks: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorView>,
}

impl JobDocument {
    pub(crate) fn new(index: u32, outcome: DocumentOutcome) -> Self {
        Self {
            index,
            source: outcome.source,
            status: outcome.status,
            doc_id: outcome.doc_id.map(|id| id.to_string()),
            chunks: outcome.chunks,
            error: outcome.error.map(ErrorView::new),
        }
    }
}

impl JobView {
    pub(crate) fn new(job: ingest::JobView) -> Self {
        let documents = job
            .documents
            .into_iter()
            .map(|ingest::JobDocument { index, outcome, .. }| JobDocument::new(index, outcome));
        Self {
            job_id: job.id.to_string(),
            kind: job.kind.as_str().to_owned(),
            collection: job.collection,
            status: job.status,
            count: job.count,
            done: job.done,
            failed: job.failed,
            removed: job.removed,
            chunks: job.chunks,
            chunks_found: job.chunks_found,
            chunks_embedded: job.chunks_embedded,
            documents_per_second: job.rate.map(|rate| rate.documents_per_second),
            chunks_per_second: job.rate.map(|rate| rate.chunks_per_second),
            eta_seconds: job.rate.map(|rate| rate.eta_seconds),
            error: job.error.map(ErrorView::new),
            documents: documents.collect(),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Documents {
    pub(crate) documents: Vec<DocumentView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct DocumentView {
    doc_id: String,
    uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    media_type: String,
    metadata: Metadata,
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<Timestamp>,
    chunks: u32,
}

impl DocumentView {
    pub(crate) fn new(document: Document) -> Self {
        Self {
            doc_id: document.id.to_string(),
            uri: document.uri,
            title: document.title,
            media_type: document.media_type,
            metadata: document.metadata,
            date: document.date,
            chunks: document.chunks,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Collections {
    pub(crate) collections: Vec<CollectionView>,
}

#[derive(Serialize)]
pub(crate) struct CollectionView {
    name: String,
    documents: u64,
    chunks: u64,
    embedder: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimension: Option<usize>,
    generation: u64,
    needs_reembed: bool,
}

impl CollectionView {
    /// What a collection holds, and whether its vectors come from another embedder than the `present` one.
    pub(crate) fn new(summary: CollectionSummary, present: &str) -> Self {
        Self {
            needs_reembed: summary.embedder != present,
            name: summary.name,
            documents: summary.documents,
            chunks: summary.chunks,
            embedder: summary.embedder,
            dimension: summary.dimension,
            generation: summary.generation.0,
        }
    }
}

/// A document that was uploaded.
#[derive(Serialize)]
pub(crate) struct Uploaded {
    pub(crate) doc_id: String,
    pub(crate) status: DocumentStatus,
    pub(crate) chunks: u32,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reembed {
    pub(crate) collection: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct JobCancelled {
    pub(crate) job_id: String,
    pub(crate) status: &'static str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RagQuery {
    pub(crate) collection: Option<String>,
    pub(crate) query: String,
    pub(crate) top_k: Option<usize>,
    #[serde(default)]
    pub(crate) filters: Filters,
    #[serde(default)]
    pub(crate) mode: SearchMode,
    pub(crate) rerank: Option<bool>,
    pub(crate) mmr: Option<f32>,
    pub(crate) context: Option<usize>,
    pub(crate) per_document: Option<usize>,
    #[serde(default)]
    pub(crate) near_duplicates: NearDuplicates,
}

impl RagQuery {
    pub(crate) fn into_query(self, tenant: TenantId) -> ApiResult<RetrieveQuery> {
        let collection =
            collection(tenant, self.collection).map_err(|error| ApiError::at("/collection", &error))?;
        let options = RetrieveOptions::default()
            .with_mode(self.mode)
            .with_rerank(self.rerank)
            .with_mmr(self.mmr)
            .with_context(self.context)
            .with_per_document(self.per_document)
            .with_near_duplicates(self.near_duplicates);
        let mut query = RetrieveQuery::new(collection, self.query)
            .with_filter(self.filters.into_filter()?)
            .with_options(options);
        if let Some(top_k) = self.top_k {
            query = query.with_top_k(top_k);
        }
        Ok(query)
    }
}

/// The collection of a name, or the default one.
pub(crate) fn collection(tenant: TenantId, name: Option<String>) -> operone_core::Result<Collection> {
    match name {
        Some(name) => Collection::named(tenant, name),
        None => Ok(Collection::of(tenant)),
    }
}

/// `date_range`, `where`, and equality on any other key.
#[derive(Default, Deserialize)]
pub(crate) struct Filters {
    date_range: Option<(String, String)>,
    #[serde(rename = "where")]
    condition: Option<Filter>,
    #[serde(flatten)]
    equal: BTreeMap<String, MetadataValue>,
}

impl Filters {
    pub(crate) fn into_filter(self) -> ApiResult<Option<Filter>> {
        let mut all = Vec::new();
        if let Some((from, to)) = self.date_range {
            let range =
                DateRange::parse(&from, &to).map_err(|error| ApiError::at("/filters/date_range", &error))?;
            all.push(Filter::DateRange(range));
        }
        if !self.equal.is_empty() {
            all.push(Filter::Eq(self.equal));
        }
        all.extend(self.condition);
        Ok(if all.len() > 1 { Some(Filter::And(all)) } else { all.pop() })
    }
}

#[derive(Serialize)]
pub(crate) struct RagResults {
    results: Vec<HitView>,
    latency_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<ErrorView>,
}

impl RagResults {
    pub(crate) fn new(found: Retrieved, latency: Duration) -> Self {
        Self {
            results: found.hits.into_iter().map(HitView::new).collect(),
            latency_ms: u64::try_from(latency.as_millis()).unwrap_or(u64::MAX),
            degraded: found.degraded.map(ErrorView::new),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct HitView {
    content: String,
    score: f32,
    source: SourceView,
}

#[derive(Serialize)]
struct SourceView {
    doc_id: String,
    chunk_id: String,
    uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<u32>,
    start: u64,
    end: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    heading: Vec<String>,
}

impl HitView {
    fn new(hit: Hit) -> Self {
        let Hit { content, score, source, .. } = hit;
        let source = SourceView {
            doc_id: source.doc_id,
            chunk_id: source.chunk_id,
            uri: source.uri,
            title: source.title,
            page: source.page,
            start: source.start,
            end: source.end,
            heading: source.heading,
        };
        Self { content, score, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_brought_together() {
        let filters: Filters = serde_json::from_str(
            r#"{"date_range": ["2023-01-01", "2023-12-31"], "priority": "high", "where": {"exists": "author"}}"#,
        )
        .unwrap();
        let Some(Filter::And(all)) = filters.into_filter().unwrap() else { panic!("not all of them") };
        assert_eq!(all.len(), 3);
        assert_eq!(Filters::default().into_filter().unwrap(), None);
    }
}
