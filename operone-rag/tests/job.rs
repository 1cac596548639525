//! The promises of an ingest job: progress, resumption, cancellation, and a lost lease.
#![allow(
    clippy::clone_on_ref_ptr,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a broken promise fails the test"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use operone_core::chunk::ChunkStore;
use operone_core::clock::{Clock, ManualClock, SystemClock};
use operone_core::event::{Event, EventBus, RAG_EVENTS, Received, Subscription};
use operone_core::id::{Ids, SystemIds, TenantId, WorkId};
use operone_core::in_process::{InProcessBus, InProcessJournal};
use operone_core::journal::{Append, Claim, Claimed, Journal, NewEvent, NewWork, Page, Status, WorkKind};
use operone_core::work::WorkHandler;
use operone_rag::chunk::ChunkOptions;
use operone_rag::ingest::{
    DocumentRequest, DocumentStatus, IngestHandler, IngestSpec, JobDocument, JobStatus, JobView, job_status,
};
use serde_json::json;
use support::{Counting, Plain, World};
use tokio_util::sync::CancellationToken;

struct Jobs {
    world: World,
    clock: Arc<ManualClock>,
    journal: Arc<InProcessJournal>,
    handler: IngestHandler,
    heard: Subscription,
}

impl Jobs {
    async fn new() -> Self {
        Self::of(World::new()).await
    }

    async fn of(world: World) -> Self {
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let journal = Arc::new(InProcessJournal::new(clock.clone()));
        let bus = Arc::new(InProcessBus::default());
        let heard = bus.subscribe(&[RAG_EVENTS]).await.unwrap();
        let handler = IngestHandler::new(world.ingestor.clone(), journal.clone(), bus);
        Self { world, clock, journal, handler, heard }
    }

    async fn enqueue(&self, names: &[&str]) -> WorkId {
        let documents = names.iter().map(|name| DocumentRequest::new(format!("mem:{name}"))).collect();
        let spec = IngestSpec::new(&self.world.collection, documents).unwrap();
        let id = WorkId::job(SystemIds.next());
        let spec = spec.with_options(Some(ChunkOptions::new(50, 5).unwrap()));
        self.journal
            .enqueue(spec.into_work(id.clone(), TenantId::local(), self.clock.now()).unwrap())
            .await
            .unwrap();
        id
    }

    async fn claim(&self) -> Claimed {
        self.journal.claim(Claim::new(vec![WorkKind::INGEST], "test")).await.unwrap().unwrap()
    }

    async fn run(&self) {
        self.handler.run(self.claim().await, CancellationToken::new()).await.unwrap();
    }

    async fn view(&self, id: &WorkId) -> JobView {
        job_status(self.journal.as_ref(), &TenantId::local(), id, None, 100).await.unwrap()
    }

    /// What was published so far.
    fn published(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(Some(Received::Event(event))) = self.heard.next().now_or_never() {
            events.push(event);
        }
        events
    }
}

fn statuses(view: &JobView) -> Vec<DocumentStatus> {
    view.documents.iter().map(|document| document.outcome.status).collect()
}

#[tokio::test]
async fn a_job_looks_at_every_document_and_says_what_came_of_it() {
    use DocumentStatus::{Failed, Indexed, Pending, Unchanged};
    let mut jobs = Jobs::new().await;
    jobs.world.ingest("old.txt", "Known already").await;
    jobs.world.shelf.put("new.txt", "New");
    let id = jobs.enqueue(&["new.txt", "missing.txt", "new.txt"]).await;
    let before = jobs.view(&id).await;
    assert_eq!((before.status, before.count, before.done, before.failed), (JobStatus::Processing, 3, 0, 0));
    assert_eq!(statuses(&before), [Pending; 3]);

    jobs.run().await;
    let view = jobs.view(&id).await;
    assert_eq!((view.status, view.count, view.done, view.failed), (JobStatus::Completed, 3, 3, 1));
    assert_eq!(statuses(&view), [Indexed, Failed, Unchanged]);
    let wire = serde_json::to_value(&view.documents[1]).unwrap();
    assert_eq!(
        (&wire["index"], &wire["source"], &wire["status"]),
        (&json!(1), &json!("mem:missing.txt"), &json!("failed"))
    );
    assert_eq!(wire["error"]["code"], "not_found");

    let events = jobs.published();
    let names: Vec<&str> = events.iter().map(|event| event.event.as_str()).collect();
    assert_eq!(names, ["ingest.progress", "ingest.progress", "ingest.progress", "ingest.complete"]);
    let complete = &events[3];
    assert_eq!((&complete.payload["job_id"], &complete.payload["docs_indexed"]), (&json!(id), &json!(2)));
    let journal = jobs.journal.events(&id, 0, Page::of(100)).await.unwrap();
    assert_eq!(journal.last().unwrap().event.kind, "end");
    assert_eq!(journal.last().unwrap().event.payload["status"], "completed");
}

#[tokio::test]
async fn the_view_comes_in_pages_and_for_the_owner_only() {
    let jobs = Jobs::new().await;
    jobs.world.shelf.put("a.txt", "Text");
    let id = jobs.enqueue(&["a.txt", "b.txt", "a.txt", "d.txt", "a.txt"]).await;
    jobs.run().await;
    let page = job_status(jobs.journal.as_ref(), &TenantId::local(), &id, Some(1), 2).await.unwrap();
    assert_eq!(page.documents.iter().map(|document| document.index).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(statuses(&page), [DocumentStatus::Unchanged, DocumentStatus::Failed]);
    let beyond = job_status(jobs.journal.as_ref(), &TenantId::local(), &id, Some(4), 2).await.unwrap();
    assert!(beyond.documents.is_empty());
    let stranger = TenantId::new("stranger").unwrap();
    assert_eq!(
        job_status(jobs.journal.as_ref(), &stranger, &id, None, 1).await.unwrap_err().code(),
        "not_found"
    );
    let run = WorkId::run(SystemIds.next());
    let other =
        NewWork::new(run.clone(), WorkKind::new("other"), TenantId::local(), json!({}), jobs.clock.now());
    jobs.journal.enqueue(other).await.unwrap();
    let error = job_status(jobs.journal.as_ref(), &TenantId::local(), &run, None, 1).await.unwrap_err();
    assert_eq!(error.code(), "not_found");
}

#[tokio::test]
async fn a_job_that_was_cut_off_goes_on_where_it_was() {
    let jobs = Jobs::new().await;
    for name in ["a.txt", "b.txt", "c.txt"] {
        jobs.world.shelf.put(name, format!("Text of {name}"));
    }
    let id = jobs.enqueue(&["a.txt", "b.txt", "c.txt"]).await;
    let claimed = jobs.claim().await;
    // The first document is stored and journalled, the second is stored only.
    let options = ChunkOptions::new(50, 5).unwrap();
    for (index, name) in [(0, "mem:a.txt"), (1, "mem:b.txt")] {
        let request = DocumentRequest::new(name);
        let job = Some((id.clone(), index));
        let outcome = jobs
            .world
            .ingestor
            .ingest_document(&jobs.world.collection, &request, &options, job)
            .await
            .unwrap();
        if index == 0 {
            let mut payload = serde_json::to_value(outcome).unwrap();
            payload["index"] = json!(0);
            let event = NewEvent::new("document", payload);
            let append = Append::new(vec![event]).with_snapshot(json!({"done": 1, "failed": 0}));
            jobs.journal.append(&claimed.lease, append).await.unwrap();
        }
    }
    jobs.world.embedder.take();
    let generation = jobs.world.store.generation(&jobs.world.collection).await.unwrap();
    jobs.clock.advance(Duration::from_secs(31));

    jobs.run().await;
    assert_eq!(jobs.world.embedder.take(), ["Text of c.txt"], "nothing is done twice");
    assert_eq!(jobs.world.store.generation(&jobs.world.collection).await.unwrap().0, generation.0 + 1);
    let view = jobs.view(&id).await;
    assert_eq!((view.done, view.failed), (3, 0));
    assert_eq!(statuses(&view), [DocumentStatus::Indexed; 3]);
    assert!(view.documents.iter().all(|document| document.outcome.chunks == Some(1)));
    let kinds: Vec<String> = jobs
        .journal
        .events(&id, 0, Page::of(100))
        .await
        .unwrap()
        .into_iter()
        .map(|event| event.event.kind)
        .collect();
    assert_eq!(kinds, ["document", "document", "document", "end"]);
}

#[tokio::test]
async fn a_cancelled_job_stops_before_the_next_document() {
    let mut jobs = Jobs::new().await;
    let names: Vec<String> = (0..40).map(|number| format!("{number}.txt")).collect();
    for name in &names {
        jobs.world.shelf.put(name, "Text");
    }
    let id = jobs.enqueue(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let claimed = jobs.claim().await;
    jobs.journal.cancel(&TenantId::local(), &id).await.unwrap();
    // The claim was before: the first append tells.
    jobs.handler.run(claimed, CancellationToken::new()).await.unwrap();
    let view = jobs.view(&id).await;
    assert_eq!(view.status, JobStatus::Cancelled);
    assert!((1..=1 + 2 * IngestHandler::AT_ONCE).contains(&view.done), "{}", view.done);
    let (done, rest) = view.documents.split_at(view.done);
    assert!(rest.iter().all(|document| document.outcome.status == DocumentStatus::Pending));
    let stored = done.iter().filter(|document| document.outcome.status == DocumentStatus::Indexed).count();
    let given_up = |document: &JobDocument| {
        document.outcome.error.as_ref().is_some_and(|error| error.code == "cancelled")
    };
    assert_eq!(stored + done.iter().filter(|document| given_up(document)).count(), view.done);
    // What is told as pending or given up is not there.
    let found = jobs.world.store.documents(&jobs.world.collection, None, 100).await.unwrap();
    assert_eq!(found.len(), stored);
    assert_eq!(jobs.published().last().unwrap().event, "ingest.cancelled");

    let id = jobs.enqueue(&["a.txt"]).await;
    let cancelled = CancellationToken::new();
    cancelled.cancel();
    jobs.handler.run(jobs.claim().await, cancelled).await.unwrap();
    assert_eq!(statuses(&jobs.view(&id).await), [DocumentStatus::Pending]);
}

#[tokio::test]
async fn a_lost_lease_ends_the_run_without_a_trace() {
    let mut jobs = Jobs::new().await;
    jobs.world.shelf.put("a.txt", "Text");
    let id = jobs.enqueue(&["a.txt", "a.txt"]).await;
    let lost = jobs.claim().await;
    jobs.clock.advance(Duration::from_secs(31));
    let present = jobs.claim().await;
    jobs.handler.run(lost, CancellationToken::new()).await.unwrap();
    assert_eq!(jobs.journal.events(&id, 0, Page::of(10)).await.unwrap().len(), 0);
    assert!(jobs.published().is_empty());
    jobs.handler.run(present, CancellationToken::new()).await.unwrap();
    assert_eq!(jobs.view(&id).await.status, JobStatus::Completed);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_answer_is_tried_again() {
    let jobs = Jobs::of(World::parsing_with(Arc::new(Plain), Counting::new("counting-1"), true)).await;
    for name in ["a.txt", "b.txt", "c.txt"] {
        jobs.world.shelf.put(name, format!("Text of {name}"));
    }
    let id = jobs.enqueue(&["a.txt", "b.txt"]).await;
    jobs.world.shelf.faults.set(2);
    jobs.world.embedder.faults.set(2);
    jobs.world.store.faults.set(3);
    jobs.run().await;
    assert_eq!(statuses(&jobs.view(&id).await), [DocumentStatus::Indexed; 2]);

    // A source that never answers fails its documents, not the job.
    let id = jobs.enqueue(&["c.txt"]).await;
    jobs.world.shelf.faults.set(usize::MAX);
    jobs.run().await;
    let view = jobs.view(&id).await;
    assert_eq!((view.status, statuses(&view)), (JobStatus::Completed, vec![DocumentStatus::Failed]));
    assert_eq!(view.documents[0].outcome.error.as_ref().unwrap().code, "unavailable");
    jobs.world.shelf.faults.set(0);

    // A store that never answers leaves the job to be taken up again.
    let id = jobs.enqueue(&["c.txt"]).await;
    jobs.world.store.faults.set(usize::MAX);
    let error = jobs.handler.run(jobs.claim().await, CancellationToken::new()).await.unwrap_err();
    assert!(error.is_retryable());
    assert_eq!(jobs.view(&id).await.status, JobStatus::Processing);
    jobs.world.store.faults.set(0);
    jobs.clock.advance(Duration::from_secs(31));
    jobs.run().await;
    assert_eq!(statuses(&jobs.view(&id).await), [DocumentStatus::Indexed]);
}

#[tokio::test]
async fn a_job_has_one_to_ten_thousand_documents_and_a_specification() {
    let jobs = Jobs::new().await;
    let collection = &jobs.world.collection;
    assert_eq!(IngestSpec::new(collection, Vec::new()).unwrap_err().code(), "no_documents");
    let many = vec![DocumentRequest::new("mem:a"); IngestSpec::MAX_DOCUMENTS + 1];
    assert_eq!(IngestSpec::new(collection, many).unwrap_err().code(), "too_many_documents");

    let id = WorkId::job(SystemIds.next());
    let work =
        NewWork::new(id.clone(), WorkKind::INGEST, TenantId::local(), json!({"x": 1}), jobs.clock.now());
    jobs.journal.enqueue(work).await.unwrap();
    jobs.run().await;
    let work = jobs.journal.work(&TenantId::local(), &id).await.unwrap();
    assert_eq!(
        (work.status, work.outcome.unwrap().error.unwrap().code.as_str()),
        (Status::Failed, "invalid_spec")
    );
}
