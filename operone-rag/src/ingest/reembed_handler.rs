//! Runs jobs that embed a collection again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use operone_core::chunk::{Collection, CollectionSummary};
use operone_core::clock::Timestamp;
use operone_core::event::{Event, EventBus, RAG_EVENTS};
use operone_core::id::{TenantId, WorkId};
use operone_core::journal::{Append, Claimed, Journal, Lease, NewEvent, NewWork, Outcome, Status, WorkKind};
use operone_core::work::WorkHandler;
use operone_core::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::progress::Progress;
use super::{IngestMeter, Ingestor};

/// How often it is told how far a job is.
const TELL: Duration = Duration::from_secs(1);

/// The collection that a job is to embed again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReembedSpec {
    /// The name of the tenant's collection.
    pub collection: String,
    /// How many documents it had when it was asked for.
    pub documents: usize,
}

impl ReembedSpec {
    /// A collection as it is.
    pub fn new(collection: &CollectionSummary) -> Self {
        let documents = usize::try_from(collection.documents).unwrap_or(usize::MAX);
        Self { collection: collection.name.clone(), documents }
    }

    /// The job to queue in a journal.
    pub fn into_work(self, id: WorkId, tenant: TenantId, created_at: Timestamp) -> Result<NewWork> {
        let spec = serde_json::to_value(self)
            .map_err(|error| Error::internal("the job cannot be written as JSON").with_source(error))?;
        Ok(NewWork::new(id, WorkKind::REEMBED, tenant, spec, created_at))
    }

    /// What a job of the journal is to do; anything else is `Internal` with code `invalid_spec`.
    pub fn of(work: &NewWork) -> Result<Self> {
        Self::deserialize(&work.spec).map_err(|error| {
            Error::internal("the job's specification cannot be read")
                .with_code("invalid_spec")
                .with_source(error)
        })
    }
}

/// Runs jobs of the kind [`WorkKind::REEMBED`], see [`Ingestor::reembed`].
///
/// On the topic [`RAG_EVENTS`] it publishes `reembed.progress` every second and `reembed.complete` at the end.
#[derive(Clone, Debug)]
pub struct ReembedHandler {
    ingestor: Ingestor,
    journal: Arc<dyn Journal>,
    bus: Arc<dyn EventBus>,
}

impl ReembedHandler {
    /// Runs jobs of `journal`.
    pub fn new(ingestor: Ingestor, journal: Arc<dyn Journal>, bus: Arc<dyn EventBus>) -> Self {
        Self { ingestor, journal, bus }
    }

    async fn finish(&self, lease: &Lease, end: Value, outcome: Outcome) -> Result<()> {
        self.journal.finish(lease, Append::new(vec![NewEvent::new("end", end)]), outcome).await.map(|_| ())
    }

    async fn publish(&self, tenant: &TenantId, event: &str, payload: Value) {
        let event = Event::new(RAG_EVENTS, tenant.clone(), event, payload);
        if let Err(error) = self.bus.publish(event).await {
            tracing::warn!(%error, "an event of embedding again was not published");
        }
    }
}

#[async_trait]
impl WorkHandler for ReembedHandler {
    async fn run(&self, claimed: Claimed, cancelled: CancellationToken) -> Result<()> {
        let (lease, work) = (&claimed.lease, &claimed.work);
        let spec = ReembedSpec::of(&work.new)?;
        if work.cancel_requested {
            cancelled.cancel();
        }
        let meter = Arc::new(IngestMeter::default());
        let ingestor =
            self.ingestor.clone().with_meter(Arc::clone(&meter)).with_cancellation(cancelled.clone());
        let collection = Collection { tenant: work.new.tenant.clone(), name: spec.collection.clone() };
        let progress = Mutex::new(Progress::start());
        let reembed = ingestor.reembed(&collection, |done| {
            let mut progress = lock(&progress);
            progress.done = usize::try_from(done.documents).unwrap_or(usize::MAX);
            progress.chunks = done.chunks;
        });
        let counts = |progress: &Progress| progress.counts(&lease.work, spec.documents);
        let tell = async {
            loop {
                tokio::time::sleep(TELL).await;
                let now = {
                    let mut progress = lock(&progress);
                    progress.met(&meter);
                    *progress
                };
                let append = Append::new(Vec::new()).with_snapshot(now.to_json()?);
                if self.journal.append(lease, append).await?.cancel_requested {
                    cancelled.cancel();
                }
                self.publish(&collection.tenant, "reembed.progress", counts(&now)).await;
            }
        };
        let done = tokio::select! {
            done = reembed => done,
            error = tell => error,
        };
        match done {
            Ok(_) => {
                let mut now = *lock(&progress);
                now.met(&meter);
                self.journal.append(lease, Append::new(Vec::new()).with_snapshot(now.to_json()?)).await?;
                let output = json!({"done": now.done, "chunks": now.chunks});
                let end = json!({"status": Status::Completed, "done": now.done, "chunks": now.chunks});
                self.finish(lease, end, Outcome::completed(output)).await?;
                self.publish(&collection.tenant, "reembed.complete", counts(&now)).await;
                Ok(())
            }
            Err(error) if error.code() == "cancelled" => {
                let outcome = Outcome::new(Status::Cancelled);
                self.finish(lease, outcome.end_event().payload, outcome).await
            }
            // Someone else has the job now.
            Err(error) if error.code() == "lease_lost" => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}
