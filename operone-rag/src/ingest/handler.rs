//! Runs ingest jobs: one document after the other, each journalled, so that a job cut off anywhere goes on there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use operone_core::chunk::Collection;
use operone_core::event::{Event, EventBus, RAG_EVENTS};
use operone_core::id::{DocId, TenantId};
use operone_core::journal::{Append, Appended, Claimed, Journal, Lease, NewEvent, Outcome, Status};
use operone_core::work::WorkHandler;
use operone_core::{Error, Result};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::view::{DOCUMENT, JobDocument, Progress, journalled};
use super::{DocumentOutcome, DocumentStatus, IngestSpec, Ingestor};

/// How often something that may succeed later is tried before it counts as failed.
const TRIES: u32 = 5;

/// The pause after the first try; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(200);

/// Runs jobs of the kind [`WorkKind::INGEST`](operone_core::journal::WorkKind::INGEST).
///
/// - Each document's outcome is an event of kind `document` in the journal, in the order of the job.
/// - A source, an embedder, a store or a journal that does not answer is tried again for some seconds. Then the
///   document fails, or, where it was the store or the journal, the job is left to be taken up again.
/// - The end of the job is looked for between two documents.
/// - On the topic [`RAG_EVENTS`] it publishes `ingest.progress` after each document and `ingest.complete` at the end;
///   `docs_indexed` counts every document that is stored, changed or not.
#[derive(Clone, Debug)]
pub struct IngestHandler {
    ingestor: Ingestor,
    journal: Arc<dyn Journal>,
    bus: Arc<dyn EventBus>,
}

impl IngestHandler {
    /// Runs jobs of `journal`.
    pub fn new(ingestor: Ingestor, journal: Arc<dyn Journal>, bus: Arc<dyn EventBus>) -> Self {
        Self { ingestor, journal, bus }
    }
}

#[async_trait]
impl WorkHandler for IngestHandler {
    async fn run(&self, claimed: Claimed, cancelled: CancellationToken) -> Result<()> {
        let spec = match IngestSpec::of(&claimed.work.new) {
            Ok(spec) => spec,
            Err(error) => {
                let outcome = Outcome::failed(error.report());
                let events = vec![outcome.end_event()];
                return self.journal.finish(&claimed.lease, Append::new(events), outcome).await.map(|_| ());
            }
        };
        let job = Job { handler: self, lease: &claimed.lease, tenant: &claimed.work.new.tenant, spec: &spec };
        match job.run(&cancelled, claimed.work.cancel_requested).await {
            // Someone else has the job now.
            Err(error) if error.code() == "lease_lost" => Ok(()),
            result => result,
        }
    }
}

struct Job<'a> {
    handler: &'a IngestHandler,
    lease: &'a Lease,
    tenant: &'a TenantId,
    spec: &'a IngestSpec,
}

impl Job<'_> {
    async fn run(&self, cancelled: &CancellationToken, mut cancel_requested: bool) -> Result<()> {
        let ingestor = &self.handler.ingestor;
        let collection = Collection { tenant: self.tenant.clone(), name: self.spec.collection.clone() };
        let options = self.spec.options.unwrap_or_else(|| ingestor.default_options());
        let done = journalled(self.handler.journal.as_ref(), &self.lease.work).await?;
        let mut stored = again(|| ingestor.stored_by(&collection, &self.lease.work)).await?;
        let mut progress = Progress::of(done.values());
        for (index, request) in (0..).zip(&self.spec.documents) {
            if done.contains_key(&index) {
                continue;
            }
            if cancel_requested || cancelled.is_cancelled() {
                return self.cancel(&progress).await;
            }
            let outcome = match take_stored(&mut stored, index, &request.source) {
                Some(outcome) => outcome,
                None => {
                    let job = (self.lease.work.clone(), index);
                    ingest(|| ingestor.ingest_document(&collection, request, &options, Some(job.clone())))
                        .await?
                }
            };
            progress.count(&outcome);
            cancel_requested = self.append(index, outcome, &progress).await?.cancel_requested;
            self.publish("ingest.progress", self.counts(&progress)).await;
        }
        self.complete(&progress).await
    }

    async fn append(&self, index: u32, outcome: DocumentOutcome, progress: &Progress) -> Result<Appended> {
        let event = NewEvent::new(DOCUMENT, to_json(&JobDocument { index, outcome })?);
        let snapshot = to_json(progress)?;
        again(|| {
            self.handler
                .journal
                .append(self.lease, Append::new(vec![event.clone()]).with_snapshot(snapshot.clone()))
        })
        .await
    }

    async fn complete(&self, progress: &Progress) -> Result<()> {
        let output =
            json!({"count": self.spec.documents.len(), "done": progress.done, "failed": progress.failed});
        let mut end = output.clone();
        end.as_object_mut().into_iter().for_each(|end| {
            end.insert("status".into(), json!(Status::Completed));
        });
        self.finish(end, Outcome::completed(output)).await?;
        self.publish("ingest.complete", self.counts(progress)).await;
        Ok(())
    }

    async fn cancel(&self, progress: &Progress) -> Result<()> {
        let outcome = Outcome::new(Status::Cancelled);
        self.finish(outcome.end_event().payload, outcome).await?;
        self.publish("ingest.cancelled", self.counts(progress)).await;
        Ok(())
    }

    async fn finish(&self, end: Value, outcome: Outcome) -> Result<()> {
        let events = vec![NewEvent::new("end", end)];
        again(|| self.handler.journal.finish(self.lease, Append::new(events.clone()), outcome.clone()))
            .await?;
        Ok(())
    }

    fn counts(&self, progress: &Progress) -> Value {
        json!({
            "job_id": self.lease.work,
            "count": self.spec.documents.len(),
            "done": progress.done,
            "failed": progress.failed,
            "docs_indexed": progress.done - progress.failed,
        })
    }

    async fn publish(&self, event: &str, payload: Value) {
        let event = Event::new(RAG_EVENTS, self.tenant.clone(), event, payload);
        if let Err(error) = self.handler.bus.publish(event).await {
            tracing::warn!(job = %self.lease.work, %error, "an event of ingest was not published");
        }
    }
}

/// The outcome of a document that was stored by this job before it was cut off. Whether there was an earlier version
/// is not known any more; it was not there before this job as it is now, so it counts as indexed.
fn take_stored(
    stored: &mut BTreeMap<u32, (DocId, u32)>,
    index: u32,
    source: &str,
) -> Option<DocumentOutcome> {
    let (id, chunks) = stored.remove(&index)?;
    Some(DocumentOutcome::stored(source, DocumentStatus::Indexed, id, chunks))
}

/// Tries again what failed for a reason that may pass.
async fn again<T, F: Future<Output = Result<T>>>(mut call: impl FnMut() -> F) -> Result<T> {
    let mut pause = PAUSE;
    for _ in 1..TRIES {
        match call().await {
            Err(error) if error.is_retryable() => tokio::time::sleep(pause).await,
            result => return result,
        }
        pause *= 2;
    }
    call().await
}

/// Like [`again`], also for a document that failed for a reason that may pass.
async fn ingest<F: Future<Output = Result<DocumentOutcome>>>(
    mut call: impl FnMut() -> F,
) -> Result<DocumentOutcome> {
    let mut pause = PAUSE;
    for _ in 1..TRIES {
        let outcome = again(&mut call).await?;
        if !outcome.error.as_ref().is_some_and(|error| error.retryable) {
            return Ok(outcome);
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    again(call).await
}

fn to_json(value: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(value)
        .map_err(|error| Error::internal("an event cannot be written as JSON").with_source(error))
}
