//! How far an ingest job is: what its journal says, as a page of outcomes.

use std::collections::BTreeMap;

use operone_core::error::ErrorReport;
use operone_core::id::{TenantId, WorkId};
use operone_core::journal::{Journal, Page, Status, WorkKind};
use operone_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{DocumentOutcome, DocumentStatus, IngestSpec};

/// The kind of event that holds the outcome of one document.
pub(super) const DOCUMENT: &str = "document";

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
    /// Where it stands.
    pub status: JobStatus,
    /// How many documents it has.
    pub count: usize,
    /// How many of them are done, failed ones included.
    pub done: usize,
    /// How many of them failed.
    pub failed: usize,
    /// Why the job itself failed.
    pub error: Option<ErrorReport>,
    /// The asked page of its documents in order, pending ones included.
    pub documents: Vec<JobDocument>,
}

/// An ingest job with its documents after the place `after`, at most `limit` (1 to 1,000). Another tenant's job,
/// and work of another kind, is `NotFound`.
pub async fn job_status(
    journal: &dyn Journal,
    tenant: &TenantId,
    id: &WorkId,
    after: Option<u32>,
    limit: usize,
) -> Result<JobView> {
    let work = journal.work(tenant, id).await?;
    if work.new.kind != WorkKind::INGEST {
        return Err(Error::not_found(format!("there is no ingest job {id}")));
    }
    let spec = IngestSpec::of(&work.new)?;
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
    let progress =
        work.snapshot.as_ref().and_then(|snapshot| Progress::deserialize(snapshot).ok()).unwrap_or_default();
    Ok(JobView {
        documents: documents.collect(),
        id: work.new.id,
        status: match work.status {
            Status::Completed => JobStatus::Completed,
            Status::Cancelled => JobStatus::Cancelled,
            status if status.is_terminal() => JobStatus::Failed,
            _ => JobStatus::Processing,
        },
        count: spec.documents.len(),
        done: progress.done,
        failed: progress.failed,
        error: work.outcome.and_then(|outcome| outcome.error),
    })
}

/// The snapshot of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) done: usize,
    pub(super) failed: usize,
}

impl Progress {
    pub(super) fn of<'a>(outcomes: impl Iterator<Item = &'a DocumentStatus>) -> Self {
        outcomes.fold(Self::default(), |progress, status| Self {
            done: progress.done + 1,
            failed: progress.failed + usize::from(*status == DocumentStatus::Failed),
        })
    }

    pub(super) fn count(&mut self, outcome: &DocumentOutcome) {
        self.done += 1;
        self.failed += usize::from(outcome.is_failed());
    }
}

/// The documents of a job whose outcomes are in the journal, by their places.
pub(super) async fn journalled(journal: &dyn Journal, id: &WorkId) -> Result<BTreeMap<u32, DocumentStatus>> {
    let mut done = BTreeMap::new();
    let mut after = 0;
    loop {
        let events = journal.events(id, after, Page::of(PAGE)).await?;
        let Some(last) = events.last() else { return Ok(done) };
        after = last.seq;
        for event in events.into_iter().filter(|event| event.event.kind == DOCUMENT) {
            let document = JobDocument::deserialize(&event.event.payload).map_err(|error| {
                Error::internal("an event of the job cannot be read")
                    .with_code("invalid_event")
                    .with_source(error)
            })?;
            done.insert(document.index, document.outcome.status);
        }
    }
}
