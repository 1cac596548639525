//! Runs ingest jobs: a few documents at a time, each journalled in its order, so that a job cut off anywhere goes on
//! there.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use operone_core::chunk::{Collection, Document};
use operone_core::event::{Event, EventBus, RAG_EVENTS};
use operone_core::id::{DocId, TenantId};
use operone_core::journal::{Append, Appended, Claimed, Journal, Lease, NewEvent, Outcome, Status};
use operone_core::work::WorkHandler;
use operone_core::{Error, Result};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::progress::Progress;
use super::tries::{again, ingest};
use super::view::{DOCUMENT, JobDocument, REMOVED, journalled};
use super::{DocumentOutcome, DocumentStatus, IngestMeter, IngestSpec, Ingestor};

/// How many documents of a job are worked on at the same time: while one is read others are embedded and written.
const AT_ONCE: usize = 8;

/// How often it is told how far a job is, if nothing else tells.
const TELL: Duration = Duration::from_secs(1);

/// Runs jobs of the kind [`WorkKind::INGEST`](operone_core::journal::WorkKind::INGEST).
///
/// - Each document's outcome is an event of kind `document` in the journal, in the order of the job.
/// - A source, an embedder, a store or a journal that does not answer is tried again for some seconds. Then the
///   document fails, or, where it was the store or the journal, the job is left to be taken up again.
/// - At most [`IngestHandler::AT_ONCE`] documents are in memory, however many the job has.
/// - When the end of the job is asked for, documents that are not being stored yet are given up. They count as pending,
///   but as failed with code `cancelled` where a later one was stored.
/// - On the topic [`RAG_EVENTS`] it publishes `ingest.progress` after each document and every second within one, and
///   `ingest.complete` at the end; `docs_indexed` counts every document that is stored, changed or not.
#[derive(Clone, Debug)]
pub struct IngestHandler {
    ingestor: Ingestor,
    journal: Arc<dyn Journal>,
    bus: Arc<dyn EventBus>,
}

impl IngestHandler {
    /// How many documents of a job are worked on at the same time.
    pub const AT_ONCE: usize = AT_ONCE;

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
        let job = Job {
            handler: self,
            lease: &claimed.lease,
            tenant: &claimed.work.new.tenant,
            spec: &spec,
            meter: Arc::default(),
            stop: CancellationToken::new(),
        };
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
    meter: Arc<IngestMeter>,
    /// Ends when no further document is to be begun and those that are worked on are to be given up.
    stop: CancellationToken,
}

impl Job<'_> {
    async fn run(&self, cancelled: &CancellationToken, cancel_requested: bool) -> Result<()> {
        let handler = self.handler;
        let collection = Collection { tenant: self.tenant.clone(), name: self.spec.collection.clone() };
        let journalled = journalled(handler.journal.as_ref(), &self.lease.work).await?;
        let stored = again(|| handler.ingestor.stored_by(&collection, &self.lease.work)).await?;
        let progress = Mutex::new(Progress::begin(&journalled));
        if cancel_requested {
            self.stop.cancel();
        }
        let work = async {
            self.documents(&collection, journalled.documents.len(), stored, &progress).await?;
            if !self.stop.is_cancelled() {
                self.prune(&collection, &progress).await?;
            }
            Ok::<(), Error>(())
        };
        let watch = async {
            cancelled.cancelled().await;
            self.stop.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            done = work => done?,
            () = watch => {}
            error = self.tell(&progress) => return Err(error),
        }
        let progress = *lock(&progress);
        if self.stop.is_cancelled() { self.cancel(&progress).await } else { self.complete(&progress).await }
    }

    /// Works on some documents at a time and journals them in the order of the job.
    async fn documents(
        &self,
        collection: &Collection,
        first: usize,
        mut stored: BTreeMap<u32, (DocId, u32)>,
        progress: &Mutex<Progress>,
    ) -> Result<()> {
        let ingestor = self.handler.ingestor.clone();
        let ingestor = ingestor.with_meter(Arc::clone(&self.meter)).with_cancellation(self.stop.clone());
        let options = self.spec.options.unwrap_or_else(|| ingestor.default_options());
        let mut waiting = (0_u32..).zip(&self.spec.documents).skip(first);
        let mut working = VecDeque::new();
        let mut given_up = Vec::new();
        loop {
            while working.len() < AT_ONCE
                && !self.stop.is_cancelled()
                && let Some((index, request)) = waiting.next()
            {
                // In the order of the job, so that a source that is named twice is done in that order.
                let turn = ingestor.turn(collection, &request.source).await;
                let known = take_stored(&mut stored, index, &request.source);
                let (ingestor, collection) = (ingestor.clone(), collection.clone());
                let (request, job) = (request.clone(), (self.lease.work.clone(), index));
                let work = tokio::spawn(async move {
                    let _turn = turn;
                    if let Some(outcome) = known {
                        return Ok(outcome);
                    }
                    ingest(|| ingestor.ingest_in_turn(&collection, &request, &options, Some(job.clone())))
                        .await
                });
                working.push_back((index, AbortOnDropHandle::new(work)));
            }
            let Some((index, work)) = working.pop_front() else { return Ok(()) };
            let outcome = work
                .await
                .map_err(|error| Error::internal("the work on a document broke off").with_source(error))??;
            if outcome.error.as_ref().is_some_and(|error| error.code == "cancelled") {
                given_up.push((index, outcome));
                continue;
            }
            // One that was given up is told only where a later one was not: the journal has them in order.
            for (index, outcome) in given_up.drain(..).chain([(index, outcome)]) {
                self.settle(index, outcome, progress).await?;
            }
        }
    }

    async fn settle(&self, index: u32, outcome: DocumentOutcome, progress: &Mutex<Progress>) -> Result<()> {
        let now = {
            let mut progress = lock(progress);
            progress.count(&outcome);
            progress.met(&self.meter);
            *progress
        };
        let event = NewEvent::new(DOCUMENT, to_json(&JobDocument { index, outcome })?);
        if self.append(vec![event], &now).await?.cancel_requested {
            self.stop.cancel();
        }
        self.publish("ingest.progress", self.counts(&now)).await;
        Ok(())
    }

    /// Removes what is gone from the folders that are to be pruned.
    async fn prune(&self, collection: &Collection, progress: &Mutex<Progress>) -> Result<()> {
        let present: Vec<String> =
            self.spec.documents.iter().map(|document| document.source.clone()).collect();
        let removed = |document: Document| async move {
            let now = {
                let mut progress = lock(progress);
                progress.removed += 1;
                *progress
            };
            let event = NewEvent::new(REMOVED, json!({"doc_id": document.id, "source": document.uri}));
            if self.append(vec![event], &now).await?.cancel_requested {
                self.stop.cancel();
            }
            Ok(())
        };
        let prune = self.handler.ingestor.prune(collection, &self.spec.prune, &present, removed);
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Ok(()),
            pruned = prune => pruned,
        }
    }

    /// Tells every second how far the work is, also within a document. Ends only with an error.
    async fn tell(&self, progress: &Mutex<Progress>) -> Error {
        let mut told = *lock(progress);
        loop {
            tokio::time::sleep(TELL).await;
            let now = {
                let mut progress = lock(progress);
                progress.met(&self.meter);
                *progress
            };
            if now.is_as_far_as(&told) {
                continue;
            }
            told = now;
            match self.append(Vec::new(), &now).await {
                Ok(appended) if appended.cancel_requested => self.stop.cancel(),
                Ok(_) => {}
                Err(error) => return error,
            }
            self.publish("ingest.progress", self.counts(&now)).await;
        }
    }

    async fn append(&self, events: Vec<NewEvent>, progress: &Progress) -> Result<Appended> {
        let snapshot = progress.to_json()?;
        again(|| {
            self.handler
                .journal
                .append(self.lease, Append::new(events.clone()).with_snapshot(snapshot.clone()))
        })
        .await
    }

    async fn complete(&self, progress: &Progress) -> Result<()> {
        let output = json!({
            "count": self.spec.documents.len(),
            "done": progress.done,
            "failed": progress.failed,
            "removed": progress.removed,
            "chunks": progress.chunks,
        });
        let mut end = output.clone();
        end.as_object_mut().into_iter().for_each(|end| {
            end.insert("status".into(), json!(Status::Completed));
        });
        self.finish(end, Outcome::completed(output), progress).await?;
        self.publish("ingest.complete", self.counts(progress)).await;
        Ok(())
    }

    async fn cancel(&self, progress: &Progress) -> Result<()> {
        let outcome = Outcome::new(Status::Cancelled);
        self.finish(outcome.end_event().payload, outcome, progress).await?;
        self.publish("ingest.cancelled", self.counts(progress)).await;
        Ok(())
    }

    async fn finish(&self, end: Value, outcome: Outcome, progress: &Progress) -> Result<()> {
        let append = Append::new(vec![NewEvent::new("end", end)]).with_snapshot(progress.to_json()?);
        again(|| self.handler.journal.finish(self.lease, append.clone(), outcome.clone())).await?;
        Ok(())
    }

    fn counts(&self, progress: &Progress) -> Value {
        progress.counts(&self.lease.work, self.spec.documents.len())
    }

    async fn publish(&self, event: &str, payload: Value) {
        let event = Event::new(RAG_EVENTS, self.tenant.clone(), event, payload);
        if let Err(error) = self.handler.bus.publish(event).await {
            tracing::warn!(job = %self.lease.work, %error, "an event of ingest was not published");
        }
    }
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
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

fn to_json(value: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(value)
        .map_err(|error| Error::internal("an event cannot be written as JSON").with_source(error))
}
