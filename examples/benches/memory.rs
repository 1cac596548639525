//! Memories written per second, how long a read takes, and what a memory weighs. Run with
//! `cargo bench -p operone-examples --bench memory`; the folder is `OPERONE_BENCH_DIR`, or the system's temporary one.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a benchmark that cannot run says why")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use operone_core::clock::SystemClock;
use operone_core::id::{SystemIds, TenantId};
use operone_core::memory::{NewMemory, Recall, RecallQuery, Scope, ScopeKey};
use operone_memory::Memory;
use operone_sqlite::SqliteMemoryStore;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const SCOPES: usize = 1_000;
const PER_SCOPE: usize = 100;
const BATCH: usize = 256;
const READS: usize = 20_000;
/// Words of a memory: about 124 bytes, as turns of conversations have.
const WORDS: usize = 20;

/// Numbers without pattern, the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    /// A word; some are far more frequent than others.
    fn word(&mut self) -> String {
        let rank = self.below(90) * self.below(90);
        format!("w{rank:04}")
    }

    fn text(&mut self, words: usize) -> String {
        (0..words).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }
}

fn folder() -> TempDir {
    let folder = match std::env::var_os("OPERONE_BENCH_DIR") {
        Some(path) => tempfile::tempdir_in(path),
        None => tempfile::tempdir(),
    };
    folder.unwrap_or_else(|error| panic!("no folder: {error}"))
}

fn memory(folder: &TempDir) -> Memory {
    let store = SqliteMemoryStore::open(folder.path().join("memory.db"))
        .unwrap_or_else(|error| panic!("the store cannot be opened: {error}"));
    Memory::new(Arc::new(store), Arc::new(SystemClock), Arc::new(SystemIds)).with_index_budget(4 << 30)
}

fn scope(number: usize) -> ScopeKey {
    let scope = Scope::new(format!("user/{number}")).unwrap();
    ScopeKey::new(TenantId::local(), scope)
}

fn facts(random: &mut Random, count: usize) -> Vec<NewMemory> {
    (0..count).map(|_| NewMemory::new(random.text(WORDS))).collect()
}

fn writes(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("durable adds");
    group.sample_size(20).measurement_time(Duration::from_secs(6));
    for (name, batches, scopes) in [
        ("one", 0, SCOPES),
        ("a batch of 256, over 1,000 scopes", 1, SCOPES),
        ("16 batches of 256 at once, over 1,000 scopes", 16, SCOPES),
        ("16 batches of 256 at once, to one scope that grows", 16, 1),
    ] {
        let written = AtomicUsize::new(0);
        let folder = folder();
        let memory = Arc::new(memory(&folder));
        let mut random = Random(7);
        group.throughput(Throughput::Elements((batches * BATCH).max(1) as u64));
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter_batched(
                || match batches {
                    0 => vec![facts(&mut random, 1)],
                    _ => (0..batches).map(|_| facts(&mut random, BATCH)).collect(),
                },
                |batches| {
                    let tasks = batches.into_iter().map(|facts| {
                        let memory = Arc::clone(&memory);
                        let number = written.fetch_add(1, Ordering::Relaxed) % scopes;
                        async move { memory.remember(&scope(number), facts).await }
                    });
                    let all = futures_util::future::join_all(tasks);
                    async move { all.await.into_iter().for_each(|written| drop(written.map(drop))) }
                },
                criterion::BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn reads(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = folder();
    let memory = memory(&folder);
    let mut random = Random(11);
    let begun = Instant::now();
    let mut content = 0;
    runtime.block_on(async {
        for number in 0..SCOPES {
            let facts = facts(&mut random, PER_SCOPE);
            content += facts.iter().map(|fact| fact.content.len()).sum::<usize>();
            memory.remember(&scope(number), facts).await.map(drop).unwrap();
        }
    });
    let count = SCOPES * PER_SCOPE;
    println!("{count} memories in {SCOPES} scopes, written in {:.1} s", begun.elapsed().as_secs_f64());
    let (before, begun) = (resident(), Instant::now());
    runtime.block_on(async {
        for number in 0..SCOPES {
            let query = RecallQuery::new(scope(number), "w0001");
            memory.recall(query).await.map(drop).unwrap();
        }
    });
    println!(
        "cold: {:.2} ms a scope; index {} bytes a memory",
        begun.elapsed().as_secs_f64() * 1e3 / SCOPES as f64,
        resident().saturating_sub(before) / count as u64,
    );
    let file = std::fs::metadata(folder.path().join("memory.db")).map_or(0, |file| file.len());
    println!("file: {} bytes a memory of {} bytes", file / count as u64, content / count);

    let mut times: Vec<Duration> = runtime.block_on(async {
        let mut times = Vec::with_capacity(READS);
        for _ in 0..READS {
            let query = RecallQuery::new(scope(random.below(SCOPES)), random.text(5));
            let begun = Instant::now();
            memory.recall(query).await.map(drop).unwrap();
            times.push(begun.elapsed());
        }
        times
    });
    times.sort_unstable();
    let at = |share: f64| times.get((share * READS as f64) as usize).copied().unwrap_or_default();
    println!("warm reads: p50 {:?}, p99 {:?}, most {:?}", at(0.5), at(0.99), at(0.9999));

    let mut group = criterion.benchmark_group("reads");
    group.bench_function("warm, 100,000 memories in 1,000 scopes", |bencher| {
        bencher.to_async(&runtime).iter_batched(
            || RecallQuery::new(scope(random.below(SCOPES)), random.text(5)),
            |query| async { drop(memory.recall(query).await) },
            criterion::BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// The memory of this process, in bytes; zero where the system does not tell.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    pages.and_then(|pages| pages.split(' ').nth(1)?.parse::<u64>().ok()).map_or(0, |pages| pages * 4096)
}

criterion_group!(benches, reads, writes);
criterion_main!(benches);
