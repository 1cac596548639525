//! Commits per second of the journal, and how long the search index takes to load and to search. Run with
//! `cargo bench -p operone-sqlite --bench figures`; the folder is `OPERONE_BENCH_DIR`, or the system's temporary one, and
//! the number of chunks `OPERONE_BENCH_CHUNKS`, or 100,000. With `--features approximate` also what a part of the vectors finds.

#[path = "../../../operone-core/benches/made_up/mod.rs"]
mod made_up;

use std::sync::Arc;
use std::time::{Duration, Instant};

use operone_core::chunk::{
    Chunk, ChunkKey, ChunkStore, Collection, CompleteQuery, DenseQuery, Document, Level, LexicalQuery,
    NewDocument,
};
use operone_core::clock::{SystemClock, Timestamp};
use operone_core::filter::Filter;
use operone_core::id::{DocId, TenantId, WorkId};
use operone_core::in_process::chunk_index::VectorPrecision;
use operone_core::journal::{Append, Claim, Journal, Lease, NewEvent, NewWork, WorkKind};
use operone_sqlite::{ChunkIndexConfig, SqliteChunkStore, SqliteJournal};
use serde_json::json;

use made_up::{CHUNKS_PER_DOCUMENT, DIMENSION, Random, TERMS_PER_CHUNK};

const CHUNKS: usize = 100_000;

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
    let asked = std::env::var("OPERONE_BENCH_CHUNKS").ok().and_then(|number| number.parse().ok());
    let count: usize = asked.unwrap_or(CHUNKS);
    let mut random = Random::new(42);
    let store = SqliteChunkStore::open(&path)?;
    let begun = Instant::now();
    let mut writing = tokio::task::JoinSet::new();
    for number in 0..count / CHUNKS_PER_DOCUMENT {
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
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    println!("chunks: stored at {rate:.0} chunks/s, file of {} MB", path.metadata()?.len() / 1_000_000);
    drop(store);

    // The first time the index is built, and saved when the store is dropped; then it is read back.
    let query = random.vector();
    let mut last = None;
    for loaded in ["built", "read back", "read back"] {
        drop(last.take());
        let (begun, cpu, before) = (Instant::now(), cpu_seconds(), resident());
        let store = SqliteChunkStore::open(&path)?;
        search(&store, &collection, &query, None).await?;
        println!(
            "chunks: index of {count} {loaded} and searched in {:.3} s, {:.2} s of computing, {before} to {} MB resident",
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
            let query = random.vector();
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
    for (name, filter) in [("hybrid", None), ("hybrid, filtered", Some(&filter))] {
        let mut times = Vec::new();
        for _ in 0..300 {
            let (query, terms) = (random.vector(), (0..8).map(|_| term(&mut random)).collect::<Vec<_>>());
            let begun = Instant::now();
            hybrid(&store, &collection, &query, &terms, filter).await?;
            times.push(begun.elapsed());
        }
        report(name, times);
    }
    let mut times = Vec::new();
    for number in 0..100 {
        let document = document(number * 7, &mut random)?;
        let begun = Instant::now();
        store.replace(&collection, document).await?;
        times.push(begun.elapsed());
    }
    report("replace, 10 chunks", times);
    drop(store);
    precisions(&path, &collection, &mut random).await
}

/// What each form of the vectors takes, and how many of the ten nearest it finds; then the same where a query looks into
/// some of the cells only.
async fn precisions(
    path: &std::path::Path,
    collection: &Collection,
    random: &mut Random,
) -> Result<(), Box<dyn std::error::Error>> {
    let queries: Vec<Vec<f32>> = (0..QUERIES).map(|_| random.vector()).collect();
    let mut exact: Vec<Vec<ChunkKey>> = Vec::new();
    for precision in [VectorPrecision::F32, VectorPrecision::I8, VectorPrecision::Bits] {
        let config = ChunkIndexConfig::default().with_precision(precision);
        let found = nearest(path, collection, config, &queries).await?;
        report(&format!("{precision:?}, {} bytes a vector", precision.bytes(DIMENSION)), found.times);
        if precision == VectorPrecision::F32 {
            exact = found.nearest;
        } else {
            println!("chunks: {precision:?}: recall@10 {:.4}", recall(&exact, &found.nearest));
        }
    }
    #[cfg(feature = "approximate")]
    for share in [0.02, 0.05, 0.1] {
        use operone_core::in_process::chunk_index::Approximate;

        let approximate = Approximate::new().with_from(1).with_share(share);
        let config = ChunkIndexConfig::default().with_approximate(Some(approximate));
        let found = nearest(path, collection, config, &queries).await?;
        report(&format!("{share} of the cells, found in {:.2} s", found.loaded.as_secs_f64()), found.times);
        println!("chunks: {share} of the cells: recall@10 {:.4}", recall(&exact, &found.nearest));
    }
    Ok(())
}

const QUERIES: usize = 100;

/// The ten nearest of each query, and how long it took.
struct Found {
    loaded: Duration,
    times: Vec<Duration>,
    nearest: Vec<Vec<ChunkKey>>,
}

async fn nearest(
    path: &std::path::Path,
    collection: &Collection,
    config: ChunkIndexConfig,
    queries: &[Vec<f32>],
) -> Result<Found, Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let store = SqliteChunkStore::open_with(path, config)?;
    let first = queries.first().ok_or("no query")?;
    search(&store, collection, first, None).await?;
    let loaded = begun.elapsed();
    let (mut times, mut nearest) = (Vec::new(), Vec::new());
    for query in queries {
        let begun = Instant::now();
        let found = store.dense(collection, DenseQuery { vector: query, filter: None, limit: 10 }).await?;
        times.push(begun.elapsed());
        nearest.push(found.into_iter().map(|candidate| candidate.key).collect());
    }
    Ok(Found { loaded, times, nearest })
}

fn recall(exact: &[Vec<ChunkKey>], found: &[Vec<ChunkKey>]) -> f64 {
    let of_one = |(exact, found): (&Vec<ChunkKey>, &Vec<ChunkKey>)| {
        exact.iter().filter(|key| found.contains(key)).count()
    };
    exact.iter().zip(found).map(of_one).sum::<usize>() as f64 / (10 * QUERIES) as f64
}

/// What a query by words and vectors asks of the store: candidates three times, their missing scores, and five texts.
async fn hybrid(
    store: &SqliteChunkStore,
    collection: &Collection,
    vector: &[f32],
    terms: &[String],
    filter: Option<&Filter>,
) -> operone_core::Result<()> {
    let lexical = |level| LexicalQuery { terms, level, filter, limit: 100 };
    let (near, documents, chunks) = tokio::join!(
        store.dense(collection, DenseQuery { vector, filter, limit: 100 }),
        store.lexical(collection, lexical(Level::Document)),
        store.lexical(collection, lexical(Level::Chunk)),
    );
    let keys: Vec<ChunkKey> =
        near?.into_iter().chain(documents?).chain(chunks?).map(|candidate| candidate.key).collect();
    let complete = |level| {
        let vector = (level == Level::Chunk).then_some(vector);
        store.complete(collection, CompleteQuery { keys: &keys, vector, terms, level })
    };
    let (documents, chunks) = tokio::join!(complete(Level::Document), complete(Level::Chunk));
    documents.and(chunks)?;
    store.chunks(collection, keys.get(..5).unwrap_or(&keys)).await.map(drop)
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
        chunks.push(chunk.with_vector(Some(random.vector())));
        all.extend(terms);
    }
    Ok(NewDocument::new(document, chunks, all, "bench"))
}

fn term(random: &mut Random) -> String {
    format!("word{}", random.term())
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
