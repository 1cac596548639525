//! What was acknowledged is there after a restart, however the process ended; damaged files are reported.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken promise fails the test")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use operone_core::cache::{ContentHash, EmbeddingCache};
use operone_core::chunk::{
    Chunk, ChunkStore, Collection, DenseQuery, Document, Level, LexicalQuery, NewDocument,
};
use operone_core::clock::{Clock, ManualClock, SystemClock, Timestamp};
use operone_core::id::{AgentId, DocId, MemoryId, TenantId, WorkId};
use operone_core::journal::{
    Append, Claim, Journal, Lease, NewAgent, NewEvent, NewWork, Outcome, Page, Status, WorkKind,
};
use operone_core::memory::{Batch, Entry, MemoryStore, Revision, Scope, ScopeKey};
use operone_core::{Error, ErrorKind};
use operone_sqlite::{SqliteChunkStore, SqliteEmbeddingCache, SqliteJournal, SqliteMemoryStore};
use serde_json::json;

fn open(folder: &Path) -> SqliteJournal {
    SqliteJournal::open(folder.join("journal.db"), Arc::new(SystemClock)).unwrap()
}

fn work_id() -> WorkId {
    WorkId::new("run-1").unwrap()
}

fn event(number: u64) -> NewEvent {
    NewEvent::new("step_end", json!({"number": number}))
}

async fn running(journal: &dyn Journal) -> Lease {
    let work = NewWork::new(work_id(), WorkKind::AGENT, TenantId::local(), json!({}), SystemClock.now());
    journal.enqueue(work).await.unwrap();
    claim(journal).await.unwrap()
}

async fn claim(journal: &dyn Journal) -> Option<Lease> {
    let claim = Claim::new(vec![WorkKind::AGENT], "test").with_lease_for(Duration::from_secs(600));
    journal.claim(claim).await.unwrap().map(|claimed| claimed.lease)
}

async fn numbers(journal: &dyn Journal) -> Vec<u64> {
    let events = journal.events(&work_id(), 0, Page::of(usize::MAX)).await.unwrap();
    let dense: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(dense, (1..=events.len() as u64).collect::<Vec<_>>());
    events.into_iter().map(|event| event.event.payload["number"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_reopened_journal_has_everything() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = TenantId::local();
    let agent = AgentId::new("agent-1").unwrap();
    let before = {
        let journal = open(folder.path());
        let new = NewAgent::new(agent.clone(), tenant.clone(), json!({"goal": "é"}), SystemClock.now());
        journal.create_agents(vec![new]).await.unwrap();
        let now = SystemClock.now();
        let run = NewWork::new(work_id(), WorkKind::AGENT, tenant.clone(), json!({}), now);
        journal.enqueue(run.with_agent(agent.clone())).await.unwrap();
        let lease = claim(&journal).await.unwrap();
        journal.append(&lease, Append::new(vec![event(1)]).with_snapshot(json!({"step": 1}))).await.unwrap();
        journal.finish(&lease, Append::new(vec![event(2)]), Outcome::completed(json!("done"))).await.unwrap();
        journal.agent(&tenant, &agent).await.unwrap()
    };
    let journal = open(folder.path());
    assert_eq!(journal.agent(&tenant, &agent).await.unwrap(), before);
    assert_eq!(before.run.unwrap().status, Status::Completed);
    assert_eq!(numbers(&journal).await, [1, 2]);
    assert_eq!(claim(&journal).await, None);
}

#[tokio::test]
async fn leases_of_a_dead_process_are_void() {
    let folder = tempfile::tempdir().unwrap();
    let dead = {
        let journal = open(folder.path());
        let lease = running(&journal).await;
        journal.append(&lease, Append::new(vec![event(1)])).await.unwrap();
        assert_eq!(claim(&journal).await, None);
        lease
    };
    let journal = open(folder.path());
    assert_eq!(journal.work(&TenantId::local(), &work_id()).await.unwrap().status, Status::Running);
    let lease = claim(&journal).await.expect("the work is due at once");
    assert!(lease.epoch > dead.epoch);
    assert_eq!(journal.work(&TenantId::local(), &work_id()).await.unwrap().attempts, 2);
    assert_eq!(journal.append(&dead, Append::new(vec![event(9)])).await.unwrap_err().code(), "lease_lost");
    assert_eq!(journal.append(&lease, Append::new(vec![event(2)])).await.unwrap().last_seq, 2);
}

#[tokio::test]
async fn leases_go_by_the_clock_that_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000_000)));
    let journal =
        SqliteJournal::open(folder.path().join("journal.db"), Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
    running(&journal).await;
    clock.advance(Duration::from_secs(599));
    assert_eq!(claim(&journal).await, None);
    clock.advance(Duration::from_secs(1));
    assert!(claim(&journal).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_whose_callers_are_gone_are_whole_or_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    {
        let journal = Arc::new(open(folder.path()));
        let lease = running(&*journal).await;
        let tasks: Vec<_> = (0..200_u64)
            .map(|number| {
                let (journal, lease) = (Arc::clone(&journal), lease.clone());
                tokio::spawn(async move {
                    let pair = vec![event(number), event(number)];
                    journal.append(&lease, Append::new(pair)).await.unwrap();
                    number
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(3)).await;
        for (place, task) in tasks.into_iter().enumerate() {
            if place % 2 == 0 {
                task.abort();
            }
            acknowledged.extend(task.await);
        }
        assert!(acknowledged.len() >= 100);
        // The last handle goes while writes of callers that are gone may still wait.
    }
    let journal = open(folder.path());
    let found = numbers(&journal).await;
    assert!(found.chunks(2).all(|pair| pair[0] == pair[1]), "half an append was written");
    assert!(acknowledged.iter().all(|number| found.contains(number)), "an acknowledged append is gone");
}

/// The process that the next test kills; by itself it does nothing.
#[tokio::test]
async fn append_until_killed() {
    let Some(folder) = std::env::var_os("OPERONE_TEST_KILLED_FOLDER") else { return };
    let journal = open(Path::new(&folder));
    let lease = running(&journal).await;
    for number in 1.. {
        let last = journal
            .append(&lease, Append::new(vec![event(number)]).with_snapshot(json!(number)))
            .await
            .unwrap()
            .last_seq;
        println!("acknowledged {last}");
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "append_until_killed", "--nocapture"])
        .env("OPERONE_TEST_KILLED_FOLDER", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        if let Some(number) = line.unwrap().strip_prefix("acknowledged ") {
            acknowledged = number.parse().unwrap();
        }
        if acknowledged == 40 {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(acknowledged >= 40);
    let journal = open(folder.path());
    let found = numbers(&journal).await;
    assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>());
    assert!(found.len() as u64 >= acknowledged);
    let work = journal.work(&TenantId::local(), &work_id()).await.unwrap();
    assert_eq!(work.snapshot, Some(json!(found.len())));
    assert!(claim(&journal).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_of_many_tasks_all_succeed() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Arc::new(open(folder.path()));
    let lease = running(&*journal).await;
    let tasks: Vec<_> = (0..16_u64)
        .map(|task| {
            let (journal, lease) = (Arc::clone(&journal), lease.clone());
            tokio::spawn(async move {
                for step in 0..20 {
                    journal.append(&lease, Append::new(vec![event(task * 100 + step)])).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let found = numbers(&*journal).await;
    assert_eq!(found.len(), 16 * 20);
    for task in 0..16_u64 {
        let own: Vec<u64> = found.iter().copied().filter(|number| number / 100 == task).collect();
        assert_eq!(own, (task * 100..task * 100 + 20).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_reopened_memory_has_everything_but_what_was_erased() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("memory.db");
    let scope = ScopeKey::new(TenantId::local(), Scope::new("longterm").unwrap());
    let id = |number: usize| MemoryId::new(format!("mem-{number}")).unwrap();
    let entry = |number| Entry::new(id(number), format!("fact {number}"), Vec::new(), SystemClock.now());
    let before = {
        let store = SqliteMemoryStore::open(&path).unwrap();
        store.write(&scope, Batch::of(SystemClock.now(), (0..5).map(entry).collect())).await.unwrap();
        store.erase(&scope, &[id(3)], SystemClock.now()).await.unwrap();
        store.scan(&scope, Revision(0), 100).await.unwrap()
    };
    let store = SqliteMemoryStore::open(&path).unwrap();
    assert_eq!(store.scan(&scope, Revision(0), 100).await.unwrap(), before);
    assert_eq!(
        store.write(&scope, Batch::of(SystemClock.now(), vec![entry(7)])).await.unwrap().revision,
        Revision(7)
    );
}

#[tokio::test]
async fn a_reopened_chunk_store_answers_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chunks.db");
    let collection = Collection::of(TenantId::local());
    let document = |name: &str, word: &str, vector: Vec<f32>| {
        let document = Document::new(DocId::new(name).unwrap(), format!("file:///{name}"), "text/plain");
        let terms = vec![word.to_owned(), "tide".to_owned()];
        let chunk = Chunk::new(0, 0, format!("{word} tide"), terms.clone()).with_vector(Some(vector));
        NewDocument::new(document, vec![chunk], terms, "test")
    };
    let terms = ["tide".to_owned(), "moon".to_owned()];
    let answers = |store: SqliteChunkStore| {
        let (collection, terms) = (collection.clone(), terms.clone());
        async move {
            let dense = DenseQuery { vector: &[0.6, 0.8], filter: None, limit: 9 };
            let lexical = LexicalQuery { terms: &terms, level: Level::Chunk, filter: None, limit: 9 };
            (
                store.dense(&collection, dense).await.unwrap(),
                store.lexical(&collection, lexical).await.unwrap(),
                store.generation(&collection).await.unwrap(),
                store.embedder(&collection).await.unwrap(),
                store.documents(&collection, None, 9).await.unwrap(),
            )
        }
    };
    let before = {
        let store = SqliteChunkStore::open(&path).unwrap();
        store.replace(&collection, document("a", "moon", vec![1.0, 0.0])).await.unwrap();
        // The index is loaded here and follows what comes.
        answers(store.clone()).await;
        store.replace(&collection, document("b", "sun", vec![0.0, 1.0])).await.unwrap();
        store.replace(&collection, document("a", "star", vec![0.8, 0.6])).await.unwrap();
        store.replace(&collection, document("c", "moon", vec![0.6, 0.8])).await.unwrap();
        store.remove(&collection, &[DocId::new("b").unwrap()]).await.unwrap();
        answers(store).await
    };
    assert_eq!(answers(SqliteChunkStore::open(&path).unwrap()).await, before);
    assert_eq!((before.0.len(), before.1.len()), (2, 2));
}

#[tokio::test]
async fn a_reopened_cache_has_its_vectors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("embeddings.db");
    let hash = ContentHash::of("text");
    {
        let cache = SqliteEmbeddingCache::open(&path).unwrap();
        cache.put_many("test", &[(hash, vec![0.5, -0.5])]).await.unwrap();
    }
    let cache = SqliteEmbeddingCache::open(&path).unwrap();
    assert_eq!(cache.get_many("test", &[hash]).await.unwrap(), [Some(vec![0.5, -0.5])]);
}

fn open_all(path: &Path) -> [Result<(), Error>; 4] {
    [
        SqliteJournal::open(path, Arc::new(SystemClock)).map(drop),
        SqliteMemoryStore::open(path).map(drop),
        SqliteChunkStore::open(path).map(drop),
        SqliteEmbeddingCache::open(path).map(drop),
    ]
}

#[test]
fn a_file_that_is_no_database_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.db");
    std::fs::write(&path, "this is no database, but it is long enough to look like one".repeat(100)).unwrap();
    for opened in open_all(&path) {
        let error = opened.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Internal, "corrupt"), "{error}");
        assert!(!error.is_retryable());
    }
}

#[tokio::test]
async fn a_damaged_page_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("memory.db");
    let scope = ScopeKey::new(TenantId::local(), Scope::new("longterm").unwrap());
    {
        let store = SqliteMemoryStore::open(&path).unwrap();
        let entry = |number: usize| {
            let id = MemoryId::new(format!("mem-{number}")).unwrap();
            Entry::new(id, "x".repeat(500), Vec::new(), SystemClock.now())
        };
        store.write(&scope, Batch::of(SystemClock.now(), (0..200).map(entry).collect())).await.unwrap();
    }
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.iter_mut().skip(4096).for_each(|byte| *byte = 0xa5);
    std::fs::write(&path, bytes).unwrap();
    // It is met when the file is opened already where it holds a part of the schema.
    let error = match SqliteMemoryStore::open(&path) {
        Ok(store) => store.scan(&scope, Revision(0), 1_000).await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!((error.kind(), error.code()), (ErrorKind::Internal, "corrupt"));
}

#[test]
fn a_file_of_a_newer_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("newer.db");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    for opened in open_all(&path) {
        let error = opened.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Unsupported, "newer_data"));
        assert!(error.message().contains("newer version"), "{error}");
    }
}

#[test]
fn a_folder_that_is_missing_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    for opened in open_all(&folder.path().join("missing/some.db")) {
        assert_eq!(opened.unwrap_err().code(), "data_folder_unwritable");
    }
}
