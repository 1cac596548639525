//! The promises of ingest under load: few documents in memory, no work done twice, no half document, no stranger.
#![allow(
    clippy::clone_on_ref_ptr,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a broken promise fails the test"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use operone_core::cache::{ContentHash, EmbeddingCache};
use operone_core::chunk::{ChunkStore, Collection};
use operone_core::clock::{Clock, SystemClock};
use operone_core::id::{DocId, Ids, SystemIds, TenantId, WorkId};
use operone_core::in_process::{InProcessBus, InProcessJournal};
use operone_core::journal::{Claim, Journal, WorkKind};
use operone_core::retrieve::{RetrieveQuery, Retriever};
use operone_core::source::{Fetched, Source};
use operone_core::work::WorkHandler;
use operone_core::{Error, Result};
use operone_rag::HybridConfig;
use operone_rag::chunk::ChunkOptions;
use operone_rag::ingest::{
    DocumentRequest, DocumentStatus, IngestHandler, IngestMeter, IngestSpec, JobStatus, job_status,
};
use support::{Counting, Plain, World};
use tokio_util::sync::CancellationToken;

/// Makes documents as they are asked for and counts those that are not stored yet.
#[derive(Debug)]
struct Endless {
    world: Arc<support::Observed>,
    fetched: AtomicUsize,
    most_alive: AtomicUsize,
}

#[async_trait]
impl Source for Endless {
    fn schemes(&self) -> &[&str] {
        &["endless"]
    }

    fn normalize(&self, uri: &str) -> Result<String> {
        Ok(uri.to_owned())
    }

    async fn fetch(&self, uri: &str) -> Result<Fetched> {
        let fetched = self.fetched.fetch_add(1, Ordering::SeqCst) + 1;
        let stored = self.world.inner.generation(&Collection::of(TenantId::local())).await?.0;
        self.most_alive.fetch_max(fetched.saturating_sub(usize::try_from(stored).unwrap()), Ordering::SeqCst);
        Ok(Fetched::new(uri, format!("Document {uri}").into_bytes()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_documents_a_job_has_a_few_are_in_memory() {
    let mut world = World::parsing_with(Arc::new(Plain), Counting::new("counting-1"), true);
    let source = Arc::new(Endless {
        world: world.store.clone(),
        fetched: AtomicUsize::new(0),
        most_alive: AtomicUsize::new(0),
    });
    world.ingestor = world.ingestor.with_source(source.clone());
    let journal = Arc::new(InProcessJournal::new(Arc::new(SystemClock)));
    let handler =
        IngestHandler::new(world.ingestor.clone(), journal.clone(), Arc::new(InProcessBus::default()));
    let count = 2_000;
    let documents = (0..count).map(|number| DocumentRequest::new(format!("endless:{number}"))).collect();
    let id = WorkId::job(SystemIds.next());
    let spec = IngestSpec::new(&world.collection, documents).unwrap();
    journal.enqueue(spec.into_work(id.clone(), TenantId::local(), SystemClock.now()).unwrap()).await.unwrap();
    let claimed = journal.claim(Claim::new(vec![WorkKind::INGEST], "test")).await.unwrap().unwrap();
    handler.run(claimed, CancellationToken::new()).await.unwrap();
    let view = job_status(journal.as_ref(), &TenantId::local(), &id, None, 1000).await.unwrap();
    assert_eq!((view.status, view.done, view.failed), (JobStatus::Completed, count, 0));
    assert_eq!((view.chunks, view.chunks_embedded, view.rate), (count as u64, count as u64, None));
    let alive = source.most_alive.load(Ordering::SeqCst);
    assert!((1..=IngestHandler::AT_ONCE).contains(&alive), "{alive} documents were in memory");
}

/// A text of many chunks, each unlike the others.
fn long(count: usize) -> String {
    (0..count).map(|number| format!("Paragraph {number} has words w{number}.\n\n")).collect()
}

#[tokio::test]
async fn a_document_that_was_cut_off_is_embedded_from_there_on() {
    let world = World::parsing_with(Arc::new(Plain), Counting::new("counting-1"), true);
    world.shelf.put("a.txt", long(500));
    let options = ChunkOptions::new(8, 0).unwrap();
    let request = DocumentRequest::new("mem:a.txt");
    let meter = Arc::new(IngestMeter::default());
    let ingestor = world.ingestor.clone().with_meter(meter.clone());
    // The fourth batch is never answered: there the process dies.
    world.embedder.calls.store(3, Ordering::SeqCst);
    let cut = ingestor.ingest_document(&world.collection, &request, &options, None);
    assert!(tokio::time::timeout(Duration::from_secs(2), cut).await.is_err());
    let figures = meter.figures();
    assert_eq!(figures.chunks_embedded, 3 * 64, "progress is told within a document");
    assert!(figures.chunks_found > figures.chunks_embedded && figures.bytes == long(500).len() as u64);
    let first = world.embedder.take();
    assert_eq!(first.len(), 3 * 64);
    assert!(world.store.documents(&world.collection, None, 9).await.unwrap().is_empty());

    world.embedder.calls.store(usize::MAX, Ordering::SeqCst);
    let outcome = world.ingestor.ingest_document(&world.collection, &request, &options, None).await.unwrap();
    assert_eq!(outcome.status, DocumentStatus::Indexed);
    let rest = world.embedder.take();
    assert_eq!(first.len() + rest.len(), outcome.chunks.unwrap() as usize, "nothing is embedded twice");
    assert!(rest.iter().all(|text| !first.contains(text)));
}

#[tokio::test]
async fn a_cancelled_document_is_given_up_between_two_batches() {
    let world = World::parsing_with(Arc::new(Plain), Counting::new("counting-1"), true);
    world.shelf.put("a.txt", long(500));
    world.embedder.calls.store(1, Ordering::SeqCst);
    let cancelled = CancellationToken::new();
    let ingestor = world.ingestor.clone().with_cancellation(cancelled.clone());
    let options = ChunkOptions::new(8, 0).unwrap();
    let request = DocumentRequest::new("mem:a.txt");
    let (outcome, ()) =
        tokio::join!(ingestor.ingest_document(&world.collection, &request, &options, None), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            cancelled.cancel();
        });
    assert_eq!(outcome.unwrap().error.unwrap().code, "cancelled");
    assert!(world.store.documents(&world.collection, None, 9).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_sees_a_document_before_or_after_its_replacement() {
    let world = World::parsing_with(Arc::new(Plain), Counting::new("counting-1"), true);
    let text = |version: usize| -> String {
        (0..6).map(|part| format!("Version v{version} of part {part} about whales.\n\n")).collect()
    };
    let options = ChunkOptions::new(8, 0).unwrap();
    let request = DocumentRequest::new("mem:a.txt");
    world.shelf.put("a.txt", text(0));
    world.ingestor.ingest_document(&world.collection, &request, &options, None).await.unwrap();
    let done = AtomicBool::new(false);
    let asking = async {
        let retriever = world.retriever(HybridConfig::default());
        let mut seen = std::collections::BTreeSet::new();
        while !done.load(Ordering::SeqCst) {
            let query = RetrieveQuery::new(world.collection.clone(), "whales").with_top_k(20);
            let hits = retriever.retrieve(query).await.unwrap();
            let versions: std::collections::BTreeSet<String> = hits
                .iter()
                .filter_map(|hit| hit.content.split_whitespace().find(|word| word.starts_with('v')))
                .map(str::to_owned)
                .collect();
            assert_eq!((hits.len(), versions.len()), (6, 1), "a mixture: {versions:?}");
            seen.extend(versions);
            tokio::task::yield_now().await;
        }
        seen.len()
    };
    let writing = async {
        for version in 1..60 {
            world.shelf.put("a.txt", text(version));
            let outcome =
                world.ingestor.ingest_document(&world.collection, &request, &options, None).await.unwrap();
            assert_eq!(outcome.status, DocumentStatus::Updated);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        done.store(true, Ordering::SeqCst);
    };
    let (seen, ()) = tokio::join!(asking, writing);
    assert!(seen > 5, "{seen} versions were seen");
}

#[tokio::test]
async fn text_that_went_with_a_change_or_a_removal_has_no_kept_vector() {
    let world = World::parsing_with(Arc::new(Plain), Counting::new("counting-1"), true);
    let options = ChunkOptions::new(8, 0).unwrap();
    let request = DocumentRequest::new("mem:a.txt");
    let ingest = async |text: &str| {
        world.shelf.put("a.txt", text);
        world.ingestor.ingest_document(&world.collection, &request, &options, None).await.unwrap()
    };
    let kept = async |text: &str| {
        let found = world.cache.get_many("counting-1", &[ContentHash::of(text)]).await.unwrap();
        found[0].is_some()
    };
    ingest("The first has gone.").await;
    assert!(kept("The first has gone.").await);
    let outcome = ingest("The second stays.").await;
    assert!(!kept("The first has gone.").await && kept("The second stays.").await);
    world.ingestor.remove_document(&world.collection, &outcome.doc_id.unwrap()).await.unwrap();
    assert!(!kept("The second stays.").await);
}

#[tokio::test]
async fn a_source_that_does_not_answer_keeps_its_document_when_a_folder_is_pruned() {
    let world = World::new();
    for name in ["docs/a.txt", "docs/b.txt", "other/c.txt", "docs2/d.txt"] {
        world.ingest(name, "Text").await;
    }
    world.shelf.documents.lock().unwrap().clear();
    let prune = async |below: &str, present: &[String]| {
        let mut removed = Vec::new();
        let note = |document: operone_core::chunk::Document| {
            removed.push(document.uri);
            std::future::ready(Ok(()))
        };
        world.ingestor.prune(&world.collection, &[below.to_owned()], present, note).await.unwrap();
        removed.sort();
        removed
    };
    world.shelf.faults.set(usize::MAX);
    assert_eq!(prune("mem:docs", &[]).await, [""; 0], "nobody knows whether they are gone");
    world.shelf.faults.set(0);
    assert_eq!(prune("mem:docs/", &["MEM:docs/a.txt".to_owned()]).await, ["mem:docs/b.txt"]);
    assert_eq!(prune("mem:docs", &[]).await, ["mem:docs/a.txt"]);
    let left = world.store.documents(&world.collection, None, 9).await.unwrap();
    assert_eq!(left.len(), 2);
    let folders = ["gopher://x".to_owned()];
    let unknown = world.ingestor.prune(&world.collection, &folders, &[], |_| std::future::ready(Ok(())));
    assert_eq!(unknown.await.unwrap_err().code(), "unsupported_scheme");
}

#[tokio::test]
async fn tenants_share_nothing_under_the_same_names() {
    let world = World::new();
    world.shelf.put("a.txt", "The meeting is on Monday.");
    let tenants = ["anna", "ben"].map(|name| TenantId::new(name).unwrap());
    let options = world.ingestor.default_options();
    let request = DocumentRequest::new("mem:a.txt");
    let collections = tenants.each_ref().map(|tenant| Collection::named(tenant.clone(), "notes").unwrap());
    let mut ids: Vec<DocId> = Vec::new();
    for collection in &collections {
        let outcome = world.ingestor.ingest_document(collection, &request, &options, None).await.unwrap();
        ids.push(outcome.doc_id.unwrap());
    }
    assert_ne!(ids[0], ids[1]);
    let retriever = world.retriever(HybridConfig::default());
    let found = async |collection: &Collection| {
        retriever.retrieve(RetrieveQuery::new(collection.clone(), "meeting")).await.unwrap().len()
    };
    // One knows the other's id, and may do nothing with it.
    let error = world.ingestor.remove_document(&collections[0], &ids[1]).await.unwrap_err();
    assert_eq!(error.code(), "not_found");
    assert_eq!(world.ingestor.remove_collection(&collections[0]).await.unwrap(), 1);
    assert_eq!((found(&collections[0]).await, found(&collections[1]).await), (0, 1));
    assert!(world.store.collections(&tenants[0]).await.unwrap().is_empty());
    assert_eq!(world.store.collections(&tenants[1]).await.unwrap().len(), 1);
    let again = world.ingestor.remove_collection(&collections[0]).await.unwrap_err();
    assert_eq!(again.code(), "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_for_one_document_at_once_come_one_after_the_other() {
    let world = World::new();
    world.shelf.put("a.txt", "Text");
    let options = world.ingestor.default_options();
    let request = DocumentRequest::new("mem:a.txt");
    let calls = (0..20).map(|_| world.ingestor.ingest_document(&world.collection, &request, &options, None));
    let outcomes: Vec<_> =
        join_all(calls).await.into_iter().map(|outcome: Result<_, Error>| outcome.unwrap()).collect();
    let indexed = outcomes.iter().filter(|outcome| outcome.status == DocumentStatus::Indexed).count();
    let unchanged = outcomes.iter().filter(|outcome| outcome.status == DocumentStatus::Unchanged).count();
    assert_eq!((indexed, unchanged), (1, 19));
    assert_eq!(world.embedder.take().len(), 1);
}
