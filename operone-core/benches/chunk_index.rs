//! How long the search index alone takes for words and for vectors, without a store. Run with
//! `cargo bench -p operone-core --features simd --bench chunk_index`; the number of chunks is `OPERONE_BENCH_CHUNKS`,
//! or 100,000.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

mod made_up;

use std::time::{Duration, Instant};

use operone_core::Result;
use operone_core::chunk::{Candidate, DenseQuery, Document, Level, LexicalQuery};
use operone_core::id::DocId;
use operone_core::in_process::chunk_index::{
    ChunkIndex, IndexSource, IndexedChunk, IndexedDocument, VectorPlace, VectorPrecision,
};

use made_up::{CHUNKS_PER_DOCUMENT, DIMENSION, Random, TERMS_PER_CHUNK};

/// Terms are their own numbers, and no whole vectors are kept.
struct Numbers;

impl IndexSource for Numbers {
    fn term(&self, term: &str) -> Result<Option<u32>> {
        Ok(term.parse().ok())
    }

    fn vectors(&self, _: &[VectorPlace<'_>], _: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        Ok(())
    }
}

fn main() {
    let asked = std::env::var("OPERONE_BENCH_CHUNKS").ok().and_then(|number| number.parse().ok());
    let count: usize = asked.unwrap_or(100_000);
    let mut random = Random::new(42);
    let mut index = ChunkIndex::new(VectorPrecision::I8);
    index.reserve(count, DIMENSION);
    let begun = Instant::now();
    for number in 0..count / CHUNKS_PER_DOCUMENT {
        index.insert(&document(number, &mut random));
    }
    index.pack();
    println!("built in {:.1} s, {} MB", begun.elapsed().as_secs_f64(), index.memory() / 1_000_000);
    let mut bytes = Vec::new();
    index.save(&mut bytes).unwrap();
    let begun = Instant::now();
    let index = ChunkIndex::load(&mut &*bytes, bytes.len() as u64, VectorPrecision::I8).unwrap();
    println!("read back in {:.3} s, {} MB", begun.elapsed().as_secs_f64(), bytes.len() / 1_000_000);
    drop(bytes);

    for level in [Level::Chunk, Level::Document] {
        let times = (0..300).map(|_| {
            let terms: Vec<String> = (0..8).map(|_| random.term().to_string()).collect();
            let query = LexicalQuery { terms: &terms, level, filter: None, limit: 100 };
            timed(|| index.lexical(&query, &Numbers))
        });
        report(&format!("words, 8 terms, {level:?}"), times);
    }
    let times = (0..100).map(|_| {
        let vector = random.vector();
        let query = DenseQuery { vector: &vector, filter: None, limit: 100 };
        timed(|| index.dense(&query, &Numbers))
    });
    report("vectors", times);
}

/// The fastest of three, so that what else the machine does counts less.
fn timed(search: impl Fn() -> Result<Vec<Candidate>>) -> (Duration, f64) {
    let once = || {
        let begun = Instant::now();
        let found = search().unwrap();
        let time = begun.elapsed();
        (time, found.iter().map(|candidate| f64::from(candidate.score)).sum())
    };
    let one = once();
    (one.0.min(once().0).min(once().0), one.1)
}

/// The sum of all scores is the same for the same answers.
fn report(name: &str, times: impl Iterator<Item = (Duration, f64)>) {
    let (mut times, scores): (Vec<_>, Vec<_>) = times.unzip();
    times.sort();
    let at = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1e3;
    let scores: f64 = scores.into_iter().sum();
    println!("{name}: p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms (scores {scores:.3})", at(50), at(90), at(99));
}

fn document(number: usize, random: &mut Random) -> IndexedDocument {
    let chunks: Vec<Vec<u32>> =
        (0..CHUNKS_PER_DOCUMENT).map(|_| (0..TERMS_PER_CHUNK).map(|_| random.term()).collect()).collect();
    let terms = counted(chunks.iter().flatten().copied().collect());
    let chunk = |chunk: Vec<u32>| {
        let place = |term| terms.binary_search_by_key(&term, |(term, _)| *term).unwrap() as u32;
        let counts = counted(chunk).into_iter().map(|(term, count)| (place(term), count));
        IndexedChunk { terms: counts.collect(), vector: Some(random.vector()) }
    };
    let chunks = chunks.into_iter().map(chunk).collect();
    let document = Document::new(DocId::new(format!("doc-{number}")).unwrap(), "", "text/plain");
    IndexedDocument::new(&document, number as i64, terms, chunks)
}

fn counted(mut terms: Vec<u32>) -> Vec<(u32, u32)> {
    terms.sort_unstable();
    terms.chunk_by(|one, other| one == other).map(|same| (same[0], same.len() as u32)).collect()
}
