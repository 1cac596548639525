//! How far an ingest job is: what its journal says, as a page of outcomes.

use std::collections::BTreeMap;

use operone_core::error::ErrorReport;
use operone_core::id::{TenantId, WorkId};
use operone_core::journal::{Journal, Page, Status, Work, WorkKind};
use operone_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::progress::{JobRate, Progress};
use super::{DocumentOutcome, IngestSpec, ReembedSpec};

/// The kind of event that holds the outcome of one document.
pub(super) const DOCUMENT: &str = "document";

/// The kind of event that tells of a document that was removed because its source is gone.
pub(super) const REMOVED: &str = "removed";

/// How many events are read at once.
const PAGE: usize = 1000;

/// A document of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobDocument {
    /// Its place in the job, from 0.
    pub index: u32,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: DocumentOutcome,
}

/// Where an ingest job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JobStatus {
    /// Queued or running.
    Processing,
    /// Every document was looked at; some may have failed.
    Completed,
    /// The job itself could not go on.
    Failed,
    /// Ended on request.
    Cancelled,
}

/// An ingest job with a page of its documents.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct JobView {
    /// The job.
    pub id: WorkId,
    /// Whether documents are ingested, or a collection is embedded again.
    pub kind: WorkKind,
    /// The name of the collection.
    pub collection: String,
    /// Where it stands.
    pub status: JobStatus,
    /// How many documents it has.
    pub count: usize,
    /// How many of them are done, failed ones included.
    pub done: usize,
    /// How many of them failed.
    pub failed: usize,
    /// How many documents were removed because their sources are gone.
    pub removed: usize,
    /// How many chunks the documents have that are done.
    pub chunks: u64,
    /// How many chunks its worker has found so far in documents that are new or changed.
    pub chunks_found: u64,
    /// How many of them have their vectors.
    pub chunks_embedded: u64,
    /// How fast it is; `None` unless it goes on and a document is done.
    pub rate: Option<JobRate>,
    /// Why the job itself failed.
    pub error: Option<ErrorReport>,
    /// The asked page of its documents in order, pending ones included.
    pub documents: Vec<JobDocument>,
}

/// An ingest job with its documents after the place `after`, at most `limit` (1 to 1,000), or a job that embeds a
/// collection again, which shows none. Another tenant's job, and work of another kind, is `NotFound`.
pub async fn job_status(
    journal: &dyn Journal,
    tenant: &TenantId,
    id: &WorkId,
    after: Option<u32>,
    limit: usize,
) -> Result<JobView> {
    let work = journal.work(tenant, id).await?;
    let spec = if work.new.kind == WorkKind::INGEST {
        IngestSpec::of(&work.new)?
    } else if work.new.kind == WorkKind::REEMBED {
        return Ok(JobView::of_reembed(&work, &ReembedSpec::of(&work.new)?));
    } else {
        return Err(Error::not_found(format!("there is no ingest job {id}")));
    };
    let first = after.map_or(0, |after| after.saturating_add(1));
    let limit = limit.clamp(1, PAGE);
    // The outcomes are the first events of a job, one for each document in order.
    let events = journal.events(id, u64::from(first), Page::of(limit)).await?;
    let mut outcomes: BTreeMap<u32, DocumentOutcome> = events
        .into_iter()
        .filter(|event| event.event.kind == DOCUMENT)
        .filter_map(|event| JobDocument::deserialize(&event.event.payload).ok())
        .map(|document| (document.index, document.outcome))
        .collect();
    let documents = (0..).zip(&spec.documents).skip(first as usize).take(limit).map(|(index, request)| {
        let pending = || DocumentOutcome::pending(&request.source);
        JobDocument { index, outcome: outcomes.remove(&index).unwrap_or_else(pending) }
    });
    let view = JobView::of(&work, &spec.collection, spec.documents.len());
    Ok(JobView { documents: documents.collect(), ..view })
}

impl JobView {
    fn of(work: &Work, collection: &str, count: usize) -> Self {
        let snapshot = work.snapshot.as_ref();
        let progress = snapshot.and_then(|snapshot| Progress::deserialize(snapshot).ok()).unwrap_or_default();
        Self {
            id: work.new.id.clone(),
            kind: work.new.kind.clone(),
            collection: collection.to_owned(),
            status: match work.status {
                Status::Completed => JobStatus::Completed,
                Status::Cancelled => JobStatus::Cancelled,
                status if status.is_terminal() => JobStatus::Failed,
                _ => JobStatus::Processing,
            },
            count,
            done: progress.done,
            failed: progress.failed,
            removed: progress.removed,
            chunks: progress.chunks,
            chunks_found: progress.chunks_found,
            chunks_embedded: progress.chunks_embedded,
            rate: progress.rate(count).filter(|_| !work.status.is_terminal()),
            error: work.outcome.as_ref().and_then(|outcome| outcome.error.clone()),
            documents: Vec::new(),
        }
    }

    /// Documents may have come or gone since the job was asked for.
    fn of_reembed(work: &Work, spec: &ReembedSpec) -> Self {
        let view = Self::of(work, &spec.collection, spec.documents);
        let count = if work.status == Status::Completed { view.done } else { view.count.max(view.done) };
        Self { count, ..view }
    }
}

/// What the journal has of a job.
#[derive(Debug, Default)]
pub(super) struct Journalled {
    /// For each document that is done, in order: whether it failed, and its chunks.
    pub(super) documents: Vec<(bool, u32)>,
    /// How many documents were removed.
    pub(super) removed: usize,
}

/// Reads what the journal has of a job.
pub(super) async fn journalled(journal: &dyn Journal, id: &WorkId) -> Result<Journalled> {
    let mut found = Journalled::default();
    let mut after = 0;
    loop {
        let events = journal.events(id, after, Page::of(PAGE)).await?;
        let Some(last) = events.last() else { return Ok(found) };
        after = last.seq;
        for event in events {
            match event.event.kind.as_str() {
                DOCUMENT => {
                    let outcome = JobDocument::deserialize(&event.event.payload).map_err(|error| {
                        Error::internal("an event of the job cannot be read")
                            .with_code("invalid_event")
                            .with_source(error)
                    })?;
                    let outcome = outcome.outcome;
                    found.documents.push((outcome.is_failed(), outcome.chunks.unwrap_or(0)));
                }
                REMOVED => found.removed += 1,
                _ => {}
            }
        }
    }
}
