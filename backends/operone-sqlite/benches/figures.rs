//! Commits per second of the journal, and how long the search index takes to load and to search. Run with
//! `cargo bench -p operone-sqlite`; the folder is `OPERONE_BENCH_DIR`, or the system's temporary one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use operone_core::chunk::{
    Chunk, ChunkStore, Collection, DenseQuery, Document, Level, LexicalQuery, NewDocument,
};
use operone_core::clock::{SystemClock, Timestamp};
use operone_core::filter::Filter;
use operone_core::id::{DocId, TenantId, WorkId};
use operone_core::journal::{Append, Claim, Journal, Lease, NewEvent, NewWork, WorkKind};
use operone_sqlite::{SqliteChunkStore, SqliteJournal};
use serde_json::json;

const CHUNKS: usize = 100_000;
const CHUNKS_PER_DOCUMENT: usize = 10;
const TERMS_PER_CHUNK: usize = 120;
const DIMENSION: usize = 384;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = match std::env::var_os("OPERONE_BENCH_DIR") {
        Some(path) => tempfile::tempdir_in(path)?,
        None => tempfile::tempdir()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        commits(folder.path()).await?;
        chunks(folder.path()).await
    })
}

async fn commits(folder: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    let journal = Arc::new(SqliteJournal::open(folder.join("journal.db"), Arc::new(SystemClock))?);
    for writers in [1, 16] {
        let mut leases = Vec::new();
        for writer in 0..writers {
            let id = WorkId::new(format!("run-{writers}-{writer}"))?;
            let now = Timestamp::from_millis(0);
            let work = NewWork::new(id.clone(), WorkKind::AGENT, TenantId::local(), json!({}), now);
            journal.enqueue(work).await?;
            let claim = Claim::new(vec![WorkKind::AGENT], "bench").with_work(id);
            leases.extend(journal.claim(claim).await?.map(|claimed| claimed.lease));
        }
        let begun = Instant::now();
        let tasks: Vec<_> =
            leases.into_iter().map(|lease| tokio::spawn(append_for(Arc::clone(&journal), lease))).collect();
        let mut appended = 0;
        for task in tasks {
            appended += task.await??;
        }
        let rate = appended as f64 / begun.elapsed().as_secs_f64();
        println!(
            "journal: {writers:2} writers, {rate:.0} appends/s, {:.2} ms each",
            1e3 * f64::from(writers) / rate
        );
    }
    Ok(())
}

async fn append_for(journal: Arc<SqliteJournal>, lease: Lease) -> operone_core::Result<u32> {
    let begun = Instant::now();
    let mut appended = 0;
    while begun.elapsed() < Duration::from_secs(3) {
        let event = NewEvent::new("step_end", json!({"step_id": appended, "output": "x".repeat(200)}));
        journal
            .append(&lease, Append::new(vec![event]).with_snapshot(json!({"messages": "y".repeat(2_000)})))
            .await?;
        appended += 1;
    }
    Ok(appended)
}

async fn chunks(folder: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    let path = folder.join("chunks.db");
    let collection = Collection::of(TenantId::local());
    let mut random = Random(42);
    let store = SqliteChunkStore::open(&path)?;
    let begun = Instant::now();
    let mut writing = tokio::task::JoinSet::new();
    for number in 0..CHUNKS / CHUNKS_PER_DOCUMENT {
        let (store, collection, document) =
            (store.clone(), collection.clone(), document(number, &mut random)?);
        writing.spawn(async move { store.replace(&collection, document).await });
        if writing.len() >= 16
            && let Some(written) = writing.join_next().await
        {
            written??;
        }
    }
    while let Some(written) = writing.join_next().await {
        written??;
    }
    let rate = CHUNKS as f64 / begun.elapsed().as_secs_f64();
    println!("chunks: stored at {rate:.0} chunks/s, file of {} MB", path.metadata()?.len() / 1_000_000);
    drop(store);

    // The first time the index is built, and saved when the store is dropped; then it is read back.
    let query = vector(&mut random);
    let mut last = None;
    for loaded in ["built", "read back", "read back"] {
        drop(last.take());
        let (begun, cpu, before) = (Instant::now(), cpu_seconds(), resident());
        let store = SqliteChunkStore::open(&path)?;
        search(&store, &collection, &query, None).await?;
        println!(
            "chunks: index of {CHUNKS} {loaded} and searched in {:.3} s, {:.2} s of computing, {before} to {} MB resident",
            begun.elapsed().as_secs_f64(),
            cpu_seconds() - cpu,
            resident()
        );
        last = Some(store);
    }
    let store = last.ok_or("no store")?;
    println!("chunks: file of {} MB with the saved index", path.metadata()?.len() / 1_000_000);

    let filter = Filter::eq("even", true);
    for (name, filter) in [("dense", None), ("dense, filtered", Some(&filter))] {
        let mut times = Vec::new();
        for _ in 0..100 {
            let query = vector(&mut random);
            let begun = Instant::now();
            search(&store, &collection, &query, filter).await?;
            times.push(begun.elapsed());
        }
        report(name, times);
    }
    for level in [Level::Chunk, Level::Document] {
        let mut times = Vec::new();
        for _ in 0..200 {
            let terms: Vec<String> = (0..8).map(|_| term(&mut random)).collect();
            let query = LexicalQuery { terms: &terms, level, filter: None, limit: 100 };
            let begun = Instant::now();
            store.lexical(&collection, query).await?;
            times.push(begun.elapsed());
        }
        report(&format!("lexical, 8 terms, {level:?}"), times);
    }
    let mut times = Vec::new();
    for number in 0..100 {
        let document = document(number * 7, &mut random)?;
        let begun = Instant::now();
        store.replace(&collection, document).await?;
        times.push(begun.elapsed());
    }
    report("replace, 10 chunks", times);
    Ok(())
}

async fn search(
    store: &SqliteChunkStore,
    collection: &Collection,
    vector: &[f32],
    filter: Option<&Filter>,
) -> operone_core::Result<()> {
    store.dense(collection, DenseQuery { vector, filter, limit: 100 }).await.map(drop)
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at =
        |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default().as_secs_f64() * 1e3;
    println!("chunks: {name}: p50 {:.2} ms, p99 {:.2} ms", at(50), at(99));
}

fn document(number: usize, random: &mut Random) -> operone_core::Result<NewDocument> {
    let mut document =
        Document::new(DocId::new(format!("doc-{number}"))?, format!("file:///{number}"), "text/plain");
    document.metadata = [("even".to_owned(), number.is_multiple_of(2).into())].into();
    let (mut chunks, mut all) = (Vec::new(), Vec::new());
    for ordinal in 0..CHUNKS_PER_DOCUMENT as u32 {
        let terms: Vec<String> = (0..TERMS_PER_CHUNK).map(|_| term(random)).collect();
        let chunk = Chunk::new(ordinal, 0, terms.join(" "), terms.clone());
        chunks.push(chunk.with_vector(Some(vector(random))));
        all.extend(terms);
    }
    Ok(NewDocument::new(document, chunks, all, "bench"))
}

/// A word of a vocabulary of 100,000 whose frequencies fall as those of a language do.
fn term(random: &mut Random) -> String {
    let rank = (f64::from(random.next()) * f64::ln(100_000.0)).exp();
    format!("word{}", rank as u32)
}

fn vector(random: &mut Random) -> Vec<f32> {
    let numbers: Vec<f32> = (0..DIMENSION).map(|_| random.next() - 0.5).collect();
    let length = numbers.iter().map(|number| number * number).sum::<f32>().sqrt();
    numbers.into_iter().map(|number| number / length).collect()
}

/// Numbers in [0, 1) that are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1_u64 << 24) as f32
    }
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1000
}

/// What this process has computed so far, in seconds, as Linux counts it: in hundredths.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    after_name.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
