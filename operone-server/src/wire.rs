//! The bodies of requests and responses. Core types never go on the wire directly.

use std::collections::BTreeMap;

use operone_core::agent::{AgentSpec, Resources};
use operone_core::chunk::Document;
use operone_core::clock::Timestamp;
use operone_core::error::ErrorReport;
use operone_core::filter::{DateRange, Filter};
use operone_core::journal::{AgentRecord, Status, Work};
use operone_core::metadata::{Metadata, MetadataValue};
use operone_core::retrieve::Hit;
use operone_rag::ingest::{self, DocumentStatus, JobStatus};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{ApiError, ApiResult};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateAgent {
    pub(crate) goal: String,
    pub(crate) capabilities: Option<Vec<String>>,
    pub(crate) max_steps: Option<u32>,
    pub(crate) resources: Option<Resources>,
    #[serde(default)]
    pub(crate) require_enforcement: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateAgents {
    pub(crate) agents: Vec<CreateAgent>,
}

#[derive(Serialize)]
pub(crate) struct CreatedAgent {
    pub(crate) agent_id: String,
    pub(crate) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) enforced: Option<BTreeMap<&'static str, String>>,
}

#[derive(Serialize)]
pub(crate) struct CreatedAgents {
    pub(crate) agent_ids: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct AgentRun {
    pub(crate) agent_id: String,
    pub(crate) run_id: String,
    pub(crate) status: Status,
}

/// An agent as `GET /agents/{id}` shows it.
#[derive(Serialize)]
pub(crate) struct AgentView {
    agent_id: String,
    run_id: Option<String>,
    status: &'static str,
    goal: String,
    capabilities: Vec<String>,
    step_count: u64,
    max_steps: u32,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Resources>,
}

#[derive(Serialize)]
pub(crate) struct ErrorView {
    pub(crate) code: String,
    pub(crate) detail: String,
}

impl ErrorView {
    pub(crate) fn new(error: ErrorReport) -> Self {
        Self { code: error.code, detail: error.detail }
    }
}

impl AgentView {
    pub(crate) fn new(record: AgentRecord) -> operone_core::Result<Self> {
        let AgentRecord { agent, run, .. } = record;
        let spec: AgentSpec = serde_json::from_value(agent.spec).map_err(|error| {
            operone_core::Error::internal("the agent's stored spec cannot be read").with_source(error)
        })?;
        let turns = |run: &Work| run.snapshot.as_ref().and_then(|snapshot| snapshot.get("turns")?.as_u64());
        let outcome = run.as_ref().and_then(|run| run.outcome.as_ref());
        let part = |key: &str| outcome?.output.as_ref()?.get(key).filter(|part| !part.is_null()).cloned();
        Ok(Self {
            agent_id: agent.id.to_string(),
            status: run.as_ref().map_or("created", |run| run.status.as_str()),
            goal: spec.goal,
            capabilities: spec.capabilities,
            step_count: run.as_ref().and_then(turns).unwrap_or(0),
            max_steps: spec.max_steps,
            created_at: agent.created_at,
            output: part("text"),
            usage: part("usage"),
            error: outcome.and_then(|outcome| outcome.error.clone()).map(ErrorView::new),
            resources: spec.resources,
            run_id: run.map(|run| run.new.id.to_string()),
        })
    }
}

#[derive(Serialize)]
pub(crate) struct AgentPage {
    pub(crate) agents: Vec<AgentView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// The tool invocation envelope.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InvokeTool {
    pub(crate) tool: String,
    #[serde(default)]
    pub(crate) inputs: Value,
    pub(crate) agent_id: String,
    pub(crate) step_id: Option<StepId>,
}

/// `1` and `"step-1"` name the same step.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum StepId {
    Number(u64),
    Name(String),
}

impl StepId {
    pub(crate) fn number(&self) -> ApiResult<u64> {
        let number = match self {
            Self::Number(number) => Some(*number),
            Self::Name(name) => name.strip_prefix("step-").unwrap_or(name).parse().ok(),
        };
        number.ok_or_else(|| {
            ApiError::at(
                "/step_id",
                &operone_core::Error::invalid("a step is named 1 or \"step-1\", for instance"),
            )
        })
    }
}

#[derive(Serialize)]
pub(crate) struct InvokedTool {
    pub(crate) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ErrorView>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StartWorker {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) payload: StartWorkerPayload,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StartWorkerPayload {
    pub(crate) agent_id: String,
}

#[derive(Serialize)]
pub(crate) struct StartedWorker {
    pub(crate) worker_pid: u32,
    pub(crate) worker_id: String,
    pub(crate) host: String,
    pub(crate) run_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IngestBatch {
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
    status: JobStatus,
    count: usize,
    done: usize,
    failed: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorView>,
    documents: Vec<JobDocument>,
}

#[derive(Serialize)]
struct JobDocument {
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

impl JobView {
    pub(crate) fn new(job: ingest::JobView) -> Self {
        let documents =
            job.documents.into_iter().map(|ingest::JobDocument { index, outcome, .. }| JobDocument {
                index,
                source: outcome.source,
                status: outcome.status,
                doc_id: outcome.doc_id.map(|id| id.to_string()),
                chunks: outcome.chunks,
                error: outcome.error.map(ErrorView::new),
            });
        Self {
            job_id: job.id.to_string(),
            status: job.status,
            count: job.count,
            done: job.done,
            failed: job.failed,
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
pub(crate) struct JobCancelled {
    pub(crate) job_id: String,
    pub(crate) status: &'static str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RagQuery {
    pub(crate) query: String,
    pub(crate) top_k: Option<usize>,
    #[serde(default)]
    pub(crate) filters: Filters,
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
    pub(crate) results: Vec<HitView>,
    pub(crate) latency_ms: u64,
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
    pub(crate) fn new(hit: Hit) -> Self {
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteMemories {
    pub(crate) scope: String,
    pub(crate) entries: Vec<WriteMemory>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteMemory {
    pub(crate) content: String,
    #[serde(default)]
    pub(crate) tags: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct WrittenMemories {
    pub(crate) ids: Vec<String>,
    pub(crate) revision: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadMemories {
    #[serde(default)]
    pub(crate) query: String,
    pub(crate) scope: String,
    pub(crate) limit: Option<usize>,
}

#[derive(Serialize)]
pub(crate) struct ReadEntries {
    pub(crate) entries: Vec<ReadEntry>,
}

/// A memory as `GET /memory/{id}` shows it.
#[derive(Serialize)]
pub(crate) struct MemoryView {
    pub(crate) id: String,
    pub(crate) scope: String,
    pub(crate) content: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<String>,
    pub(crate) created_at: Timestamp,
}

#[derive(Serialize)]
pub(crate) struct ReadEntry {
    pub(crate) id: String,
    pub(crate) content: String,
    pub(crate) score: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<String>,
    pub(crate) created_at: Timestamp,
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

    #[test]
    fn a_step_has_two_spellings() {
        let step = |json: &str| serde_json::from_str::<StepId>(json).unwrap().number();
        assert_eq!((step("1").unwrap(), step("\"step-1\"").unwrap()), (1, 1));
        assert!(step("\"one\"").is_err());
    }
}
